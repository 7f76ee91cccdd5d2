-- The schedules of a namespace by name, with the deployment that says what is secret in their inputs: the active one of the workflow, or else
-- the one that is being rolled out (none: it is not deployed); with $2 only the schedule of that name. Called by: clients.
-- Indexes: schedule_pkey, run_pkey, workflow_by_function, deployment_pkey.
select
    schedule.name as "name!",
    schedule.workflow as "workflow!",
    schedule.input as "input!",
    schedule.labels::text as "labels!",
    schedule.queue,
    schedule.priority,
    schedule.concurrency_key,
    schedule.cron,
    schedule.time_zone,
    schedule.every_s,
    schedule.jitter_ms as "jitter_ms!",
    schedule.overlap as "overlap!",
    schedule.catch_up as "catch_up!",
    schedule.paused as "paused!",
    schedule.next_tick as "next_tick: Time",
    schedule.next_at as "next_at: Time",
    schedule.waiting_for,
    schedule.last_tick as "last_tick: Time",
    schedule.last_run,
    run_status.status as "last_run_status?",
    schedule.passed_from as "passed_from: Time",
    schedule.passed_until as "passed_until: Time",
    schedule.passed_reason,
    schedule.trouble,
    schedule.trouble_since as "trouble_since: Time",
    schedule.created_at as "created_at!: Time",
    schedule.updated_at as "updated_at!: Time",
    (
        select workflow.deployment_id
        from dacapo.workflow
        join dacapo.deployment on deployment.id = workflow.deployment_id
        where workflow.function = substring(schedule.workflow from '[^.]*$')
            and workflow.name = schedule.workflow
            and deployment.namespace = schedule.namespace
            and (deployment.active or deployment.rollout_percent is not null)
        order by deployment.active desc
        limit 1
    ) as deployment_id
from dacapo.schedule
left join dacapo.run_status on run_status.run_id = schedule.last_run
where schedule.namespace = $1 and ($2::text is null or schedule.name = $2)
order by schedule.name
