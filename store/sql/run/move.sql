-- Moves the runs $2 to the deployment $1, each if its journal still has $3 rows, $4 of them with an outcome, the last of these at $5, and its
-- inbox still is at $6; $7 is who says so.
-- Called by: whoever has proved that they go on there, a bounded batch at a time. Answers for each what dacapo.move_run does.
-- Locks: the deployment's row (share), the runs' task rows (skipping those locked by others), then their run rows, until the statement ends. Indexes: those of
-- dacapo.move_run.
select
    given.id as "run!",
    dacapo.move_run(given.id, $1, given.rows, given.done, given.latest, given.inbox, $7) as "answer!"
from unnest($2::uuid[], $3::integer[], $4::integer[], $5::timestamptz[], $6::integer[]) as given (id, rows, done, latest, inbox)
