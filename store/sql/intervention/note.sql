-- Leaves a note ($2 its text, $3 who) on the run $1, whatever that does. Called by: clients. Zero rows: there is no such run.
-- Locks: the run's row, so that no sweep deletes it meanwhile. Index: run_pkey.
with noted as (
    select id
    from dacapo.run
    where id = $1
    for key share
)
insert into dacapo.intervention (run_id, action, who, details)
select id, 'note', $3, json_build_object('text', $2::text)::text
from noted
