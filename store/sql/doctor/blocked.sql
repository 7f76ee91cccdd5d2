-- Runs that are blocked, by the code of what blocks them: how many, what the first says, and the first few of them. Called by: `dacapo doctor`.
-- Locks: nothing. Index: task_suspended_by_person.
select
    blocked.code as "code!",
    (array_agg(blocked.message order by blocked.run_id))[1] as message,
    count(*) as "count!",
    (array_agg(blocked.run_id::text order by blocked.run_id))[1:3] as "which!"
from (
    select run_id, coalesce(blocked::json ->> 'code', 'unknown') as code, blocked::json ->> 'message' as message
    from dacapo.task_suspended
    where reason = 'blocked'
) as blocked
group by blocked.code
order by blocked.code
