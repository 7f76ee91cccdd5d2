-- Runs that stand still, or are about to: what, why it matters, what to do, how many, and the first few of them.
-- Called by: `dacapo doctor`. Locks: nothing. It scans all tasks, and of the events not taken at most 10,000.
with alive as materialized (
    select id, name, queues from dacapo.worker where lease_until > clock_timestamp()
),
-- What waits for a worker, and the queue's name; the one without limits is `default`.
waiting as materialized (
    select task.run_id, task.queue as queue_id, coalesce(queue.name, 'default') as queue, coalesce(queue.namespace, '') as namespace,
        coalesce(queue.paused, false) as paused, task.ready_at + coalesce(task.priority, 0) * interval '1 minute' as since, true as ready
    from dacapo.task_ready as task
    left join dacapo.queue on queue.id = task.queue
    union all
    select task.run_id, task.queue, queue.name, queue.namespace, queue.paused, task.suspended_at, false
    from dacapo.task_suspended as task
    join dacapo.queue on queue.id = task.queue
    where task.reason = 'queue' and not task.paused
),
served as materialized (
    select distinct waiting.queue, exists (
        select from alive where alive.queues is null or waiting.queue = any (alive.queues)
    ) as is_served
    from waiting
),
findings (code, what, why, advice, count, which) as (
    select 'no-worker', count(*) || ' runs are ready and no worker is alive', 'nothing is played at all',
        'start one with `dacapo worker`', count(*), (array_agg(run_id::text order by run_id))[1:3]
    from waiting
    where ready and not exists (select from alive)
    having count(*) > 0
    union all
    select 'queue-unserved',
        count(*) || ' runs wait in queue ' || waiting.queue || case namespace when '' then '' else ' (namespace ' || namespace || ')' end
            || ', which no worker that is alive serves',
        'the workers that are there serve other queues',
        'start one with `dacapo worker --queue ' || waiting.queue || '`', count(*), (array_agg(run_id::text order by run_id))[1:3]
    from waiting
    join served on served.queue = waiting.queue
    where not served.is_served and not paused and exists (select from alive)
    group by waiting.queue, namespace
    union all
    select 'queue-old', count(*) || ' runs are ready since more than a minute although workers are alive', 'they begin late',
        'the workers have no room: raise --runs-max or start more', count(*), (array_agg(run_id::text order by since))[1:3]
    from waiting
    join served on served.queue = waiting.queue
    where ready and served.is_served and not paused and since < clock_timestamp() - interval '1 minute'
        and not exists (select from dacapo.standstill)
    having count(*) > 0
    union all
    select 'overdue', count(*) || ' suspended runs should have been woken more than 10 seconds ago',
        'their sleeps, time-outs and next attempts are late',
        'start a worker with `dacapo worker`, or see the log of the one that runs',
        count(*), (array_agg(run_id::text order by wake_at))[1:3]
    from dacapo.task_suspended
    where wake_at < clock_timestamp() - interval '10 seconds' and not paused
    having count(*) > 0
    union all
    select 'deadline-passed', count(*) || ' runs go on although their deadlines passed more than 10 seconds ago',
        'they should have failed by now, and whoever waits for them is not told',
        'start a worker with `dacapo worker`, or see the log of the one that runs',
        count(*), (array_agg(deadline.run_id::text order by deadline.at))[1:3]
    from dacapo.deadline
    join dacapo.run on run.id = deadline.run_id
    where deadline.at < clock_timestamp() - interval '10 seconds' and run.status = 'active'
    having count(*) > 0
    union all
    select 'retrying-long', count(*) || ' runs try the same step again and again since more than a day',
        'what it does may never succeed',
        '`dacapo runs show RUN` shows the failures; mend what they say, finish the step with `dacapo skip RUN`, or `dacapo cancel RUN`',
        count(*), (array_agg(run_id::text order by run_id))[1:3]
    from dacapo.task_suspended as task
    where reason = 'retry' and exists (
        select from dacapo.step
        join dacapo.attempt on attempt.run_id = step.run_id and attempt.key = step.key
        where step.run_id = task.run_id and step.kind = 'step' and step.outcome is null
            and attempt.started_at < clock_timestamp() - interval '1 day'
    )
    having count(*) > 0
    union all
    select 'standstill', 'all queues are paused since ' || since || coalesce(': ' || reason, ''), 'no run is played',
        'when that is over, `dacapo queue resume --all`', 1, '{}'
    from dacapo.standstill
    union all
    select 'queue-paused', count(*) || ' runs wait in queue ' || queue || ' (namespace ' || namespace || '), which is paused',
        'they stand still until it is resumed', 'when that is over, `dacapo queue resume ' || queue || '`',
        count(*), (array_agg(run_id::text order by since))[1:3]
    from waiting
    where paused
    group by queue, namespace
    union all
    select 'workflow-paused',
        count(*) || ' runs of workflow ' || run.workflow || ' (namespace ' || run.namespace || ') wait, since it is paused',
        'they stand still until it is resumed', 'when that is over, `dacapo workflows resume ' || run.workflow || '`',
        count(*), (array_agg(run.id::text order by run.id))[1:3]
    from dacapo.task_suspended as task
    join dacapo.run on run.id = task.run_id
    join dacapo.paused_workflow as paused on paused.namespace = run.namespace and paused.workflow = run.workflow
    where task.reason = 'workflow' and not paused.resumed
    group by run.namespace, run.workflow
    union all
    select 'queue-line',
        count(*) || ' runs wait for their turn in queue ' || queue.name || ' (namespace ' || queue.namespace || '), the first since '
            || min(task.suspended_at),
        'more comes in than its limits let out',
        'see `dacapo queue list`; raise its limits with `dacapo queue set ' || queue.name || '`, or start fewer',
        count(*), (array_agg(task.run_id::text order by task.queued_at))[1:3]
    from dacapo.task_suspended as task
    join dacapo.queue on queue.id = task.queue
    where task.reason = 'queue' and not task.paused and queue.holds and not queue.paused
        and exists (select from served where served.queue = queue.name and served.is_served)
    group by queue.name, queue.namespace
    having min(task.suspended_at) < clock_timestamp() - interval '1 hour'
    union all
    select 'queue-stuck', count(*) || ' runs wait for their turn in queue ' || queue.name || ' (namespace ' || queue.namespace
            || '), which has no limits any more',
        'workers should have let them go on', 'start a worker with `dacapo worker`, or see the log of the one that runs',
        count(*), (array_agg(task.run_id::text order by task.queued_at))[1:3]
    from dacapo.task_suspended as task
    join dacapo.queue on queue.id = task.queue
    where task.reason = 'queue' and not task.paused and not queue.holds and not queue.paused
        and task.suspended_at < clock_timestamp() - interval '10 seconds'
        and queue.updated_at < clock_timestamp() - interval '10 seconds'
        and exists (select from served where served.queue = queue.name and served.is_served)
    group by queue.name, queue.namespace
    union all
    select 'event-misfit',
        count(*) || ' events that were sent to runs are none that the code of these runs takes; the first: ' || min(problem),
        'a wait that is given one fails, or waits for ever',
        'send what fits with `dacapo event RUN NAME PAYLOAD`, or move the run to code that takes them', count(*),
        (array_agg(distinct run_id::text))[1:3]
    from (
        select task.run_id, dacapo.event_problem(event.run_id, event.name, event.payload) as problem
        from (
            select run_id from dacapo.task_ready
            union all select run_id from dacapo.task_leased
            union all select run_id from dacapo.task_suspended
        ) as task
        join dacapo.event on event.run_id = task.run_id
        where event.taken_by is null
        limit 10000
    ) as event
    where problem is not null
    having count(*) > 0
)
select code as "code!", what as "what!", why as "why!", advice as "advice!", count as "count!", which as "which!" from findings
