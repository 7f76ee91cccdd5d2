-- How many workers are alive, how many runs they hold, and how many runs stand still until somebody mends what blocks them. The last
-- count stops at $1. Called by: whoever serves metrics. Locks: nothing. It reads the whole of `worker` and `task_leased`, which are small.
-- Indexes: task_suspended_by_person.
select
    (select count(*) from dacapo.worker where lease_until > clock_timestamp()) as "workers!",
    (select count(*) from dacapo.task_leased) as "running!",
    (select count(*) from (select from dacapo.task_suspended where reason = 'blocked' limit $1) as counted) as "blocked!"
