-- Sends one event ($2 name, $3 payload) to several runs ($1) under the delivery id $4, so that repeating it sends nothing twice.
-- Called by: clients, a bounded batch at a time. Answers for each run what dacapo.send_event does.
-- Locks: the runs' task rows, in the order of the ids, until the statement ends. Indexes: those of dacapo.send_event.
select
    run.id as "run!",
    dacapo.send_event(run.id, $2, $3, $4) as "answer!"
from (
    select id
    from unnest($1::uuid[]) as given (id)
    order by id
    offset 0
) as run
