-- What is recorded in the place of an event that the workflow declares is looked at as what is sent.

-- The parts of what a wait for any of several events records: an event's name beside its payload. Null: it is nothing like that.
create function dacapo.named_event(p_text text, out name text, out payload text)
language plpgsql immutable as $$
declare
    v_json json;
begin
    v_json := dacapo.without_nul(p_text)::json;
    if json_typeof(v_json) = 'array' and json_array_length(v_json) = 2 and json_typeof(v_json -> 0) = 'string' then
        name := v_json ->> 0;
        payload := (v_json -> 1)::text;
    end if;
exception
    when data_exception or statement_too_complex then
        return;
end $$;

-- Why this cannot be recorded for a wait, as far as the run's workflow declares its events: the event's name, a / and the problem. Null: it
-- can, or the row is no wait for an event, or nobody knows for which.
create function dacapo.wait_problem(p_run uuid, p_step dacapo.step, p_value text) returns text
language plpgsql stable as $$
declare
    v_declared text[];
    v_event text := regexp_replace(regexp_replace(p_step.key, '^.*/', ''), '#[0-9]+$', '');
    v_named record;
    v_waits text[];
    v_problem text;
begin
    -- Ends of children are no events of the workflow's.
    if p_step.kind <> 'wait' or p_step.outcome is null and p_step.payload like '["child/%' then
        return null;
    end if;
    select array(select event ->> 'name' from jsonb_array_elements(workflow.events) as events (event)) into v_declared
    from dacapo.run join dacapo.workflow on workflow.deployment_id = run.deployment_id and workflow.name = run.workflow
    where run.id = p_run and workflow.events is not null;
    if v_declared is null then
        return null;
    end if;
    select * into v_named from dacapo.named_event(p_value);
    if p_step.outcome is null and p_step.payload is not null then
        -- The code will say what it waits for when it is played.
        if json_typeof(p_step.payload::json) <> 'array' then
            return null;
        end if;
        select array(select json_array_elements_text(p_step.payload::json)) into v_waits;
        if cardinality(v_waits) > 1 and (v_named.name is null or v_named.name <> all (v_waits)) then
            return v_event || '/expected the name of one of ' || array_to_string(v_waits, ', ') || ' beside its payload, as in ["'
                || v_waits[1] || '", null]; got ' || left(p_value, 100);
        end if;
        -- One name alone: a wait for any of one event, or one that was recorded under another name.
        v_event := v_waits[1];
    else
        -- A wait that has an outcome does not say any more whether it was for one event or for any of several.
        v_waits := v_declared;
    end if;
    if v_named.name = any (v_waits) then
        v_problem := dacapo.event_problem(p_run, v_named.name, v_named.payload);
        if v_problem is null or cardinality(v_waits) > 1 and p_step.outcome is null then
            return v_named.name || '/' || v_problem;
        end if;
    end if;
    if p_step.outcome is not null and v_event <> all (v_declared) then
        return v_named.name || '/' || v_problem;
    end if;
    return v_event || '/' || dacapo.event_problem(p_run, v_event, p_value);
end $$;

-- As before, and refuses what is no event that the run's workflow declares.
-- skipped | skipped-paused (done, but the run is paused and stays so) | not-open | or the status that does not allow it | not-found
-- | or bad-event: the event's name, a / and why
-- Locks the task row.
create or replace function dacapo.skip(p_run uuid, p_key text, p_value text, p_who text) returns text
language plpgsql as $$
declare
    v_task dacapo.task_suspended;
    v_step dacapo.step;
    v_problem text;
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
        v_problem := dacapo.wait_problem(p_run, v_step, p_value);
        if v_problem is not null then
            return 'bad-event: ' || v_problem;
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
