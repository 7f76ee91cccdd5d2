-- Runs by their ids, in any order; $2 is whether their steps are counted, which whoever waits for a long run and looks at it again and again
-- does without. Called by: clients. No row for an id: there is no such run. Indexes: run_pkey, step_pkey, the keys of the task tables.
select
    run.id as "id!",
    run.namespace as "namespace!",
    run.workflow as "workflow!",
    run.deployment_id as "deployment_id!",
    deployment.package as "package!",
    deployment.number as "number!",
    run_status.status as "status!",
    run.input as "input!",
    run.output,
    run.failure,
    run.labels::text as "labels!",
    run.created_at as "created_at!: Time",
    run.deadline as "deadline: Time",
    run.parent,
    run.queue,
    run.priority,
    run.concurrency_key,
    run_status.started_at as "started_at: Time",
    run.finished_at as "finished_at: Time",
    run_status.waiting_for,
    run_status.waiting_for_events,
    run_status.wake_at as "wake_at: Time",
    run_status.blocked,
    progress.done as "said_done?",
    progress.total as "said_total?",
    progress.note as "said_note?",
    progress.at as "said_at?: Time",
    case when $2::boolean then (
        select count(*) from dacapo.step where step.run_id = run.id and step.outcome is not null
    ) end as "steps_done?"
from dacapo.run
join dacapo.run_status on run_status.run_id = run.id
join dacapo.deployment on deployment.id = run.deployment_id
left join dacapo.progress on progress.run_id = run.id
where run.id = any ($1::uuid[])
