-- Everything that is wrong, each with what to do about it. Called by: `dacapo doctor`. Locks: nothing. It scans the runs that are
-- not done and all tasks.
with tasks as (
    select run_id from dacapo.task_ready
    union all select run_id from dacapo.task_leased
    union all select run_id from dacapo.task_suspended
),
findings (code, what, advice) as (
    select 'setting', name || ' is ' || setting,
        'recorded steps can be lost when the server crashes: set ' || name || ' to on'
    from pg_settings
    where name in ('fsync', 'synchronous_commit', 'full_page_writes') and setting = 'off'
    union all
    select 'worker-gone', 'the lease of worker ' || worker.name || ' (' || worker.id || ') is over since ' || worker.lease_until,
        'any worker takes its runs over within a second: start one with `dacapo worker` if none runs'
    from dacapo.worker
    where worker.lease_until < clock_timestamp() - interval '2 seconds'
    union all
    select 'no-worker', count(*) || ' runs are ready and no worker is alive',
        'start one with `dacapo worker`'
    from dacapo.task_ready
    where not exists (select from dacapo.worker where lease_until > clock_timestamp())
    having count(*) > 0
    union all
    select 'queue-old', count(*) || ' runs are ready since more than a minute although workers are alive',
        'the workers have no room: raise --runs-max or start more'
    from dacapo.task_ready
    where ready_at < clock_timestamp() - interval '1 minute'
        and exists (select from dacapo.worker where lease_until > clock_timestamp())
    having count(*) > 0
    union all
    select 'overdue', count(*) || ' suspended runs should have been woken more than 10 seconds ago',
        'start a worker with `dacapo worker`, or see the log of the one that runs'
    from dacapo.task_suspended
    where wake_at < clock_timestamp() - interval '10 seconds' and not paused
    having count(*) > 0
    union all
    select 'blocked', 'run ' || run_id || ' is blocked: ' || (blocked::json ->> 'code') || ': ' || (blocked::json ->> 'message'),
        'mend the cause, then `dacapo resume ' || run_id || '`'
    from dacapo.task_suspended
    where reason = 'blocked'
    union all
    select 'schedule-trouble',
        'the tick ' || next_tick || ' of schedule ' || name || ' (namespace ' || namespace || ') cannot be started: '
            || (trouble::json ->> 'code') || ': ' || (trouble::json ->> 'message'),
        'mend the cause; it is tried again every few seconds'
    from dacapo.schedule
    where trouble is not null
    union all
    select 'schedule-overdue',
        'the tick ' || next_tick || ' of schedule ' || name || ' (namespace ' || namespace || ') should have been started more than 10 seconds ago',
        'start a worker with `dacapo worker`, or see the log of the one that runs'
    from dacapo.schedule
    where next_at < clock_timestamp() - interval '10 seconds'
        and not paused
        and not exists (select from dacapo.run where run.id = schedule.waiting_for and run.status = 'active')
    union all
    select 'lost', 'run ' || run.id || ' is not done and has no task', 'this is a bug of dacapo: please report it'
    from dacapo.run
    where run.status = 'active' and not exists (select from tasks where tasks.run_id = run.id)
    union all
    select 'stray-task', 'there is a task for run ' || tasks.run_id || ', which is done or not there',
        'this is a bug of dacapo: please report it'
    from tasks
    where not exists (select from dacapo.run where run.id = tasks.run_id and run.status = 'active')
    union all
    select 'orphan', 'run ' || run_id || ' is leased to worker ' || worker_id || ', which is not there',
        'the next worker that starts takes it over'
    from dacapo.task_leased
    where not exists (select from dacapo.worker where worker.id = task_leased.worker_id)
    union all
    select 'missing-component', 'deployment ' || deployment.number || ' of ' || deployment.package || ' has no component',
        'deploy the file with digest ' || deployment.digest || ' again'
    from dacapo.deployment
    where not exists (select from dacapo.component where component.digest = deployment.digest)
)
select code as "code!", what as "what!", advice as "advice!" from findings
