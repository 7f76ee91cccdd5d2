-- Rows that must never be there: the invariants of runs and of what belongs to them.
-- Called by: `dacapo doctor`. Locks: nothing. It reads all runs and the keys of all that belongs to them, the journals most of all.
with tasks as materialized (
    select run_id, queue, queue_key, priority from dacapo.task_ready
    union all select run_id, queue, queue_key, priority from dacapo.task_leased
    union all select run_id, queue, queue_key, priority from dacapo.task_suspended
),
found (code, what, run_id) as (
    select 'lost', 'runs are not done and have no task, so that nobody will play them', run.id
    from dacapo.run
    where run.status = 'active' and not exists (select from tasks where tasks.run_id = run.id)
    union all
    select 'stray-task', 'tasks are those of runs that are done or not there', tasks.run_id
    from tasks
    where not exists (select from dacapo.run where run.id = tasks.run_id and run.status = 'active')
    union all
    select 'two-tasks', 'runs have more than one task', run_id
    from tasks
    group by run_id
    having count(*) > 1
    union all
    select 'stray-queue', 'runs are in a queue that is not there', run_id
    from tasks
    where queue is not null and not exists (select from dacapo.queue where queue.id = tasks.queue)
    union all
    select 'stray-aside', 'runs were put aside, and their workflows are not paused', task.run_id
    from dacapo.task_suspended as task
    join dacapo.run on run.id = task.run_id
    where task.reason = 'workflow'
        and not exists (
            select from dacapo.paused_workflow as paused
            where paused.namespace = run.namespace and paused.workflow = run.workflow
        )
    union all
    select 'stray-singleton', 'keys of singletons belong to runs that are done or not there', singleton.run_id
    from dacapo.singleton
    where not exists (select from dacapo.run where run.id = singleton.run_id and run.status = 'active')
    union all
    select 'no-deployment', 'runs that are not done have a deployment that is not there', run.id
    from tasks
    join dacapo.run on run.id = tasks.run_id
    where run.status = 'active' and not exists (select from dacapo.deployment where deployment.id = run.deployment_id)
    union all
    select 'stray-journal', 'journals are those of runs that are not there', run_id
    from (select distinct run_id from dacapo.step) as journal
    where not exists (select from dacapo.run where run.id = journal.run_id)
    union all
    select 'twin-positions', 'journals of runs that are not done have two rows at one place', run_id
    from (
        select tasks.run_id
        from tasks
        join dacapo.step on step.run_id = tasks.run_id
        group by tasks.run_id, step.position
        having count(distinct step.key) > 1
    ) as twins
    union all
    select 'stray-event', 'events were taken by waits that have no outcome', event.run_id
    from tasks
    join dacapo.event on event.run_id = tasks.run_id
    where event.taken_by is not null and not exists (
        select from dacapo.step where step.run_id = event.run_id and step.key = event.taken_by and step.outcome is not null
    )
    union all
    select 'stray-child', 'runs know a parent that does not know them', run.id
    from tasks
    join dacapo.run on run.id = tasks.run_id
    where run.parent is not null and not exists (
        select from dacapo.child where child.parent = run.parent and child.run_id = run.id
    ) and exists (select from dacapo.run as parent where parent.id = run.parent)
    union all
    select 'stray-child', 'runs are known as children of runs that are not there', child.run_id
    from dacapo.child
    where not exists (select from dacapo.run where run.id = child.parent)
)
select
    code as "code!",
    count(*) || ' ' || what as "what!",
    'this can only be if rows were changed by hand or restored in part, or by a bug of dacapo' as "why!",
    'keep the database as it is, and report it with what `dacapo runs show RUN` says' as "advice!",
    count(*) as "count!",
    (array_agg(distinct run_id::text))[1:3] as "which!"
from found
group by code, what
