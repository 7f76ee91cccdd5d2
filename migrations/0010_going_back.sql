-- Going back: starting a run again from a step, letting a failed run go on, finishing what a run waits for in its place. What people do
-- so to a run is kept, with who and when.

-- What people have done to a run, beside asking its code.
create table dacapo.intervention (
    run_id uuid not null,
    id uuid not null default gen_random_uuid(),
    at timestamptz not null default clock_timestamp(),
    action text not null,
    -- user@host, or whatever name they gave.
    who text not null,
    -- What exactly, as JSON; its form depends on the action.
    details text not null,
    primary key (run_id, id),
    -- rerun: it was started again as another run. rerun-of: it is that other run.
    constraint intervention_action_known check (action in ('rerun', 'rerun-of', 'retry', 'skip', 'import'))
);

-- The run from whose journal a run goes on (the first one of several): what its code was told of time and randomness outside of
-- attempts, it must be told again. Null: it began with an empty journal.
alter table dacapo.run
    -- How often it was retried.
    add column retries smallint not null default 0,
    add column origin_id uuid,
    add column origin_created_at timestamptz,
    add constraint run_origin_whole check ((origin_id is null) = (origin_created_at is null));

-- What a failed run would go back to: the step that is opened again, and the keys that are removed from the journal. `is_possible` is false
-- when its code would come to the same end again, whatever was mended.
--
-- If the last row of the journal is a failure, that is what ended the run. If the workflow returned an error after that, the rows behind
-- its last failure are what it did about it. If the run was ended for something else, such as a limit or its deadline, its journal
-- has nothing to do with it. What other branches did beside the one of the failed step does not follow from it, whenever that was.
create function dacapo.retry_plan(p_run uuid, out is_possible boolean, out opened text, out removed text[])
language plpgsql stable as $$
declare
    v_code text;
    v_failed integer;
    v_last integer;
    v_parts text[];
begin
    is_possible := true;
    removed := '{}';
    select failure::json ->> 'code' into v_code from dacapo.run where id = p_run;
    -- That a branch has failed follows from something that failed in it.
    select max(position), max(position) filter (where outcome = 'failed') into v_last, v_failed
    from dacapo.step where run_id = p_run and kind <> 'branch';
    if v_code = 'deadline' then
        return;
    end if;
    if v_failed is distinct from v_last or v_last is null then
        if v_code in ('trap', 'memory-limit', 'stack-overflow', 'timeout', 'payload-limit', 'misuse', 'internal', 'refused') then
            return;
        end if;
        if v_failed is null then
            is_possible := false;
            return;
        end if;
    end if;
    select case when kind = 'step' then key end, string_to_array(key, '/') into opened, v_parts
    from dacapo.step where run_id = p_run and position = v_failed;
    removed := array(
        select key from dacapo.step
        where run_id = p_run and position >= v_failed and key is distinct from opened
            -- A fork's key is followed by the number of a branch: those with other numbers are other branches.
            and not exists (
                select from generate_series(1, cardinality(v_parts) - 2) as level
                where v_parts[level + 1] not like '%#%'
                    and starts_with(key, array_to_string(v_parts[:level], '/') || '/')
                    and not starts_with(key || '/', array_to_string(v_parts[:level + 1], '/') || '/')
            )
        order by position
    );
end $$;

-- Lets a failed run go on from its failed step: the same run, with the attempts that it has made, in the queue that it was in.
-- retried | nothing-failed | or the status that does not allow it | not-found
-- `opened` and `removed` are what the run went back to. Locks the run's row; a run that has ended has no task.
create function dacapo.retry(p_run uuid, p_who text, out answer text, out opened text, out removed text[])
language plpgsql as $$
declare
    v_run dacapo.run;
    v_possible boolean;
    v_dropped text[];
begin
    select * into v_run from dacapo.run where id = p_run for update;
    if v_run.status is distinct from 'failed' then
        answer := dacapo.status_of(p_run);
        return;
    end if;
    select plan.is_possible, plan.opened, plan.removed into v_possible, opened, removed from dacapo.retry_plan(p_run) as plan;
    if not v_possible then
        answer := 'nothing-failed';
        return;
    end if;
    v_dropped := removed || opened;
    -- What was taken by a wait that is gone can be taken again.
    update dacapo.event set taken_by = null where run_id = p_run and taken_by = any (removed);
    -- Their numbers begin anew when their steps are reached again.
    delete from dacapo.attempt where run_id = p_run and key = any (removed);
    delete from dacapo.step where run_id = p_run and key = any (removed);
    -- A fork around a row that is gone or open is not over, either; its payload says how many branches it has.
    update dacapo.step
    set outcome = null, finished_at = null,
        payload = case when kind = 'fork' then payload end,
        due = case when key = opened then clock_timestamp() end
    where run_id = p_run and outcome is not null
        and (key = opened or kind = 'fork' and key in (
            select array_to_string(parts[:level], '/')
            from unnest(v_dropped) as dropped
            cross join lateral (select string_to_array(dropped, '/') as parts) as split
            cross join lateral generate_series(1, cardinality(parts) - 1) as level
        ));
    insert into dacapo.intervention (run_id, action, who, details)
    values (p_run, 'retry', p_who, json_build_object('opened', opened, 'removed', to_json(removed), 'failure', v_run.failure::json)::text);
    -- A deadline that has passed would end it at once: it gets as long again as it had.
    if v_run.deadline is not null then
        if v_run.deadline <= clock_timestamp() then
            v_run.deadline := clock_timestamp() + (v_run.deadline - v_run.created_at);
        end if;
        insert into dacapo.deadline (run_id, at) values (p_run, v_run.deadline)
        on conflict (run_id) do update set at = excluded.at;
    end if;
    update dacapo.run set status = 'active', failure = null, finished_at = null, deadline = v_run.deadline,
        retries = retries + 1
    where id = p_run;
    insert into dacapo.task_suspended (run_id, reason, paused, started_at, inbox_seq, queue, queue_key, priority)
    select p_run, 'boundary', true, v_run.started_at, coalesce((select max(seq) from dacapo.event where run_id = p_run), 0),
        queue.id, case when queue.id is not null then coalesce(v_run.concurrency_key, '') end, v_run.priority
    from (select v_run.queue as name) as named
    left join dacapo.queue on queue.namespace = v_run.namespace and queue.name = named.name;
    perform dacapo.wake(p_run, 0, null);
    answer := 'retried';
end $$;

-- Finishes a row without an outcome, of a run that nobody plays: a wait, a sleep, a pause, or a step that waits for its next attempt. In a
-- run that is blocked because its code cannot use what was recorded for a step or a wait, that is recorded anew.
-- skipped | skipped-paused (done, but the run is paused and stays so) | not-open | or the status that does not allow it | not-found
-- Locks the task row.
create function dacapo.skip(p_run uuid, p_key text, p_value text, p_who text) returns text
language plpgsql as $$
declare
    v_task dacapo.task_suspended;
    v_step dacapo.step;
begin
    for i in 1..1000 loop
        perform from dacapo.run where id = p_run and status = 'active';
        if not found then
            return dacapo.status_of(p_run);
        end if;
        select * into v_task from dacapo.task_suspended where run_id = p_run for update;
        if not found then
            continue when not exists (
                select from dacapo.task_leased where run_id = p_run
                union all
                select from dacapo.task_ready where run_id = p_run
            );
            return dacapo.status_of(p_run);
        end if;
        select * into v_step from dacapo.step where run_id = p_run and key = p_key;
        if v_step.kind is null or v_step.kind not in ('step', 'wait', 'sleep', 'pause') then
            return 'not-open';
        end if;
        if v_step.outcome is not null and not (
            v_task.reason = 'blocked' and v_task.blocked::json ->> 'code' = 'rejected'
            and v_step.outcome = 'ok' and v_step.kind in ('step', 'wait')
        ) then
            return 'not-open';
        end if;
        update dacapo.step
        set outcome = 'ok',
            -- The end of a child is told like this.
            payload = case when v_step.outcome is null and payload like '["child/%' then '{"ok":' || p_value || '}' else p_value end,
            -- What came after it in the journal's time stays after it.
            finished_at = coalesce(finished_at, clock_timestamp()),
            due = case when kind = 'step' then null else due end
        where run_id = p_run and key = p_key;
        insert into dacapo.intervention (run_id, action, who, details)
        values (p_run, 'skip', p_who, json_build_object('step', p_key, 'was', case when v_step.outcome is not null then v_step.payload::json end)::text);
        -- A pause that the code asked for is over; one that somebody asked for is not.
        if v_task.paused and v_task.reason <> 'pause' then
            return 'skipped-paused';
        end if;
        if dacapo.wake(p_run, 0, null) then
            return 'skipped';
        end if;
        raise exception 'the task of run % moved while it was locked', p_run;
    end loop;
    raise exception 'run % is active but has no task', p_run;
end $$;

-- An older worker would tell the code of a run that goes on from another's journal another time than before.
update dacapo.compatibility set breaking = 10;
