-- Moves the runs $2 to the deployment $1, each if its journal still has $3 rows, $4 of them with an outcome; $5 is who says so.
-- Called by: whoever has proved that they go on there, a bounded batch at a time. Answers for each what dacapo.move_run does.
-- Locks: the runs' task rows (skipping those locked by others), then their run rows, until the statement ends. Indexes: those of
-- dacapo.move_run.
select
    given.id as "run!",
    dacapo.move_run(given.id, $1, given.rows, given.done, $5) as "answer!"
from unnest($2::uuid[], $3::integer[], $4::integer[]) as given (id, rows, done)
