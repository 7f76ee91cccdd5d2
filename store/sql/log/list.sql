-- Lines of the log of a run ($1) with one of the levels $2, by their ids, those after $3, at most $4. Called by: clients. Locks: nothing.
-- Index: log_pkey.
select
    id,
    at as "at!: Time",
    level,
    step,
    source,
    message,
    fields
from dacapo.log
where run_id = $1
    and level = any ($2::text[])
    and id > coalesce($3::uuid, '00000000-0000-0000-0000-000000000000')
order by id
limit $4
