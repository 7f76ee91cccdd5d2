-- Runs that are blocked for something that was not there go on by themselves once it is, whoever brings it and by whatever way: triggers of
-- what is brought wake them. One that is woken for nothing is blocked again. And an activation may say what it expects to be active.

-- Lets runs go on that are blocked with this code. Locks: their task rows, skipping those that somebody else moves at the moment.
-- Index: task_suspended_by_person.
create function dacapo.unblock(p_code text, p_runs uuid[]) returns integer
language plpgsql as $$
declare
    v_run uuid;
    v_woken integer := 0;
begin
    for v_run in
        select run_id from dacapo.task_suspended
        where run_id = any (p_runs) and reason = 'blocked' and blocked::jsonb ->> 'code' = p_code
        order by run_id
        for update skip locked
    loop
        perform dacapo.wake(v_run, 0, null);
        v_woken := v_woken + 1;
    end loop;
    return v_woken;
end $$;

-- New runs go to a deployment: whoever wanted to start a child of one of its workflows may try again. By the name that the code used, which
-- may be the end of a name; those that were blocked before that was kept try in any case.
create function dacapo.unblock_parents() returns trigger
language plpgsql as $$
begin
    perform dacapo.unblock('unknown-workflow', array(
        select task.run_id
        from dacapo.task_suspended as task
        join dacapo.run on run.id = task.run_id
        cross join lateral (select task.blocked::jsonb #>> '{details,workflow}' as name) as wanted
        where task.reason = 'blocked' and task.blocked::jsonb ->> 'code' = 'unknown-workflow' and run.namespace = new.namespace
            and (
                wanted.name is null
                or exists (
                    select from dacapo.workflow
                    where workflow.deployment_id = new.id
                        and (
                            workflow.name = wanted.name
                            or workflow.function = wanted.name
                            or right(workflow.name, length(wanted.name) + 1) in ('/' || wanted.name, ':' || wanted.name)
                        )
                )
            )
    ));
    return null;
end $$;
create trigger deployment_takes_runs after update of active, rollout_percent on dacapo.deployment
for each row when (
    (new.active and not old.active) or (new.rollout_percent is not null and old.rollout_percent is null)
)
execute function dacapo.unblock_parents();

-- Bytes that were missing or damaged are there.
create function dacapo.unblock_component() returns trigger
language plpgsql as $$
declare
    v_code text;
begin
    foreach v_code in array array['missing-component', 'bad-component'] loop
        perform dacapo.unblock(v_code, array(
            select task.run_id
            from dacapo.task_suspended as task
            join dacapo.run on run.id = task.run_id
            join dacapo.deployment on deployment.id = run.deployment_id
            where task.reason = 'blocked' and task.blocked::jsonb ->> 'code' = v_code and deployment.digest = new.digest
        ));
    end loop;
    return null;
end $$;
create trigger component_is_stored after insert or update of bytes on dacapo.component
for each row execute function dacapo.unblock_component();

-- A queue is there that somebody wanted to start a child in.
create function dacapo.unblock_queue() returns trigger
language plpgsql as $$
begin
    perform dacapo.unblock('unknown-queue', array(
        select task.run_id
        from dacapo.task_suspended as task
        join dacapo.run on run.id = task.run_id
        where task.reason = 'blocked' and task.blocked::jsonb ->> 'code' = 'unknown-queue' and run.namespace = new.namespace
            and coalesce(task.blocked::jsonb #>> '{details,queue}', new.name) = new.name
    ));
    return null;
end $$;
create trigger queue_is_made after insert on dacapo.queue
for each row execute function dacapo.unblock_queue();

-- What is deployed already is stored again, also if its component is not there any more.
do $$
declare
    c_from constant text := 'update dacapo.component set bytes = p_component where digest = v_digest and bytes <> p_component;';
    v_deploy constant text := pg_get_functiondef('dacapo.deploy(bytea, jsonb, jsonb)'::regprocedure);
begin
    if position(c_from in v_deploy) = 0 then
        raise exception 'dacapo.deploy does not say: %', c_from;
    end if;
    execute replace(
        v_deploy, c_from,
        'insert into dacapo.component as known (digest, bytes) values (v_digest, p_component)
        on conflict (digest) do update set bytes = excluded.bytes where known.bytes <> excluded.bytes;'
    );
end $$;

-- As before, with the option expects (the number that must be active, 0 for none; if another one is the answer is `moved`, and nothing was
-- changed): what was found out about the active one may be over when this is called.
-- Lets new runs go to a deployment that is there: to an older one, that is going back. Options: namespace, by, percent, labels, expects.
-- Answers with package, number, before (what was active) and outcome: `activated`, `rolled-out`, `same`, `moved`.
create or replace function dacapo.activate(package text, number integer, options jsonb default '{}') returns jsonb
language plpgsql volatile as $$
declare
    p_package constant text := package;
    p_number constant integer := number;
    p_options constant jsonb := coalesce(options, '{}');
    v_namespace text;
    v_rollout record;
    v_one dacapo.deployment;
    v_before integer;
    v_outcome text;
begin
    perform dacapo.check_options(p_options - 'expects' - 'percent', array['by', 'expects', 'labels', 'namespace', 'percent']);
    v_namespace := coalesce(p_options ->> 'namespace', 'default');
    v_rollout := dacapo.check_rollout(p_options);
    perform dacapo.lock_package(v_namespace, p_package);
    v_one := dacapo.the_deployment(v_namespace, p_package, p_number);
    if v_one.retired_at is not null then
        raise exception 'deployment % of % is retired: no new run can go there', p_number, p_package
            using errcode = 'object_not_in_prerequisite_state',
                hint = '`dacapo deployments retire ' || p_package || ' ' || p_number || ' --undo` takes that back; then activate it';
    end if;
    select d.number into v_before from dacapo.deployment as d where d.namespace = v_namespace and d.package = p_package and d.active;
    if p_options ->> 'expects' <> coalesce(v_before, 0)::text then
        return jsonb_build_object('package', p_package, 'number', p_number, 'before', v_before, 'outcome', 'moved');
    end if;
    if v_rollout.percent is not null then
        if v_one.active then
            raise exception 'deployment % of % is active: it takes all new runs but those of a roll-out', p_number, p_package
                using errcode = 'object_not_in_prerequisite_state', hint = 'give the share to another one; without a share this ends its roll-out';
        end if;
        perform dacapo.check_rollout_goes(v_namespace, p_package, p_number);
    end if;
    if v_one.active and not v_one.shared then
        v_outcome := 'same';
    else
        perform dacapo.let_take(
            v_one.id, v_rollout.percent, v_rollout.labels, coalesce(p_options ->> 'by', session_user)
        );
        v_outcome := case when v_rollout.percent is null then 'activated' else 'rolled-out' end;
    end if;
    return jsonb_build_object('package', p_package, 'number', p_number, 'before', v_before, 'outcome', v_outcome);
end $$;
