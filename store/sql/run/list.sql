-- A page of runs, newest first. Called by: clients. $5, $6: creation time and id of the last row of the page before.
-- Index: run_by_creation.
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
    run_status.started_at as "started_at: Time",
    run.finished_at as "finished_at: Time",
    run_status.waiting_for,
    run_status.waiting_for_events,
    run_status.wake_at as "wake_at: Time",
    run_status.blocked,
    (select count(*) from dacapo.step where step.run_id = run.id and step.outcome is not null) as "steps_done?"
from dacapo.run
join dacapo.run_status on run_status.run_id = run.id
join dacapo.deployment on deployment.id = run.deployment_id
where run.namespace = $1
    and ($2::text is null or run_status.status = $2)
    and ($3::text is null or run.workflow = $3)
    and ($4::text is null or run.labels @> $4::text::jsonb)
    and (
        $5::timestamptz is null
        or (run.created_at, run.id) < ($5::timestamptz, $6::uuid)
    )
order by run.created_at desc, run.id desc
limit $7
