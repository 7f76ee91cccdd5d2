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
    where ready_at + coalesce(priority, 0) * interval '1 minute' < clock_timestamp() - interval '1 minute'
        and not exists (select from dacapo.standstill)
        and not exists (select from dacapo.queue where queue.id = task_ready.queue and queue.paused)
        and exists (select from dacapo.worker where lease_until > clock_timestamp())
    having count(*) > 0
    union all
    select 'overdue', count(*) || ' suspended runs should have been woken more than 10 seconds ago',
        'start a worker with `dacapo worker`, or see the log of the one that runs'
    from dacapo.task_suspended
    where wake_at < clock_timestamp() - interval '10 seconds' and not paused
    having count(*) > 0
    union all
    select 'standstill', 'all queues are paused since ' || since || coalesce(': ' || reason, ''),
        'when that is over, `dacapo queue resume --all`'
    from dacapo.standstill
    union all
    select 'queue-unserved',
        (
            select count(*) from dacapo.task_ready where task_ready.queue = queue.id
        ) + (
            select count(*) from dacapo.task_suspended where task_suspended.queue = queue.id and reason = 'queue' and not task_suspended.paused
        ) || ' runs wait in queue ' || name || ' (namespace ' || namespace || '), which no worker that is alive serves',
        'start one with `dacapo worker --queue ' || name || '`'
    from dacapo.queue
    where not paused
        and exists (select from dacapo.worker where lease_until > clock_timestamp())
        and not exists (
            select from dacapo.worker where lease_until > clock_timestamp() and (queues is null or queue.name = any (queues))
        )
        and (
            exists (select from dacapo.task_ready where task_ready.queue = queue.id)
            or exists (
                select from dacapo.task_suspended
                where task_suspended.queue = queue.id and reason = 'queue' and not task_suspended.paused
            )
        )
    union all
    select 'queue-stuck', count(*) || ' runs wait for their turn in queue ' || queue.name || ' (namespace ' || queue.namespace
            || '), which has no limits any more',
        'start a worker with `dacapo worker`, or see the log of the one that runs'
    from dacapo.task_suspended as task
    join dacapo.queue on queue.id = task.queue
    where task.reason = 'queue' and not task.paused and not queue.holds and not queue.paused
        and task.suspended_at < clock_timestamp() - interval '10 seconds'
        and queue.updated_at < clock_timestamp() - interval '10 seconds'
    group by queue.name, queue.namespace
    union all
    select 'stray-queue', 'run ' || run_id || ' is in a queue that is not there', 'this is a bug of dacapo: please report it'
    from (
        select run_id, queue from dacapo.task_ready
        union all select run_id, queue from dacapo.task_leased
        union all select run_id, queue from dacapo.task_suspended
    ) as task
    where queue is not null and not exists (select from dacapo.queue where queue.id = task.queue)
    union all
    select 'stray-aside', 'run ' || run_id || ' was put aside, and its workflow is not paused', 'this is a bug of dacapo: please report it'
    from dacapo.task_suspended
    join dacapo.run on run.id = task_suspended.run_id
    where task_suspended.reason = 'workflow'
        and not exists (
            select from dacapo.paused_workflow as paused
            where paused.namespace = run.namespace and paused.workflow = run.workflow
        )
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
