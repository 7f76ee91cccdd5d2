-- Workers and schedules that are not as they should be. $1: the version of this binary.
-- Called by: `dacapo doctor`. Locks: nothing. It reads the whole of `worker`, `task_leased` and `schedule`, which are small.
with findings (code, what, why, advice, count, which) as (
    select 'worker-gone',
        'the lease of worker ' || worker.name || ' (' || worker.id || ') is over since ' || worker.lease_until || ', and '
            || count(task.run_id) || ' runs are still leased to it',
        'it is dead or cannot reach the database, and nobody has taken its runs over',
        'any worker takes its runs over within a second: start one with `dacapo worker` if none runs',
        count(task.run_id), coalesce((array_agg(task.run_id::text order by task.run_id) filter (where task.run_id is not null))[1:3], '{}')
    from dacapo.worker
    left join dacapo.task_leased as task on task.worker_id = worker.id
    where worker.lease_until < clock_timestamp() - interval '2 seconds'
    group by worker.id, worker.name, worker.lease_until
    union all
    select 'worker-version', count(*) || ' workers are of version ' || version || ', and this is ' || $1,
        'workers of several versions get along while one replaces the other, but not for long',
        'replace those that are older, or use the `dacapo` of the workers', count(*), (array_agg(name order by name))[1:3]
    from dacapo.worker
    where lease_until > clock_timestamp() and version <> $1
    group by version
    union all
    select 'orphan', count(*) || ' runs are leased to workers that are not there', 'they stand still',
        'the next worker that starts takes them over: `dacapo worker`', count(*), (array_agg(run_id::text order by run_id))[1:3]
    from dacapo.task_leased
    where not exists (select from dacapo.worker where worker.id = task_leased.worker_id)
    having count(*) > 0
    union all
    select 'schedule-trouble',
        'the tick ' || next_tick || ' of schedule ' || name || ' (namespace ' || namespace || ') cannot be started: '
            || (trouble::json ->> 'code') || ': ' || (trouble::json ->> 'message'),
        'it is late, and those after it may be', 'mend the cause; it is tried again every few seconds', 1, array[name]
    from dacapo.schedule
    where trouble is not null
    union all
    select 'schedule-overdue',
        'the tick ' || next_tick || ' of schedule ' || name || ' (namespace ' || namespace || ') should have been started more than 10 seconds ago',
        'it is late, and those after it may be', 'start a worker with `dacapo worker`, or see the log of the one that runs', 1, array[name]
    from dacapo.schedule
    where next_at < clock_timestamp() - interval '10 seconds'
        and not paused
        and not exists (select from dacapo.run where run.id = schedule.waiting_for and run.status = 'active')
    union all
    select 'schedule-unknown-workflow',
        'schedule ' || name || ' (namespace ' || namespace || ') is to start ' || workflow || ', which no active deployment has',
        'its next tick, at ' || next_tick || ', cannot be started',
        'deploy it with `dacapo deploy FILE.wasm`, or `dacapo schedule pause ' || name || '`', 1, array[name]
    from dacapo.schedule
    where not paused and trouble is null and next_tick is not null
        and not exists (
            select from dacapo.workflow
            join dacapo.deployment on deployment.id = workflow.deployment_id
            where workflow.name = schedule.workflow and deployment.namespace = schedule.namespace
                and (deployment.active or deployment.rollout_percent is not null)
        )
)
select code as "code!", what as "what!", why as "why!", advice as "advice!", count as "count!", which as "which!" from findings
