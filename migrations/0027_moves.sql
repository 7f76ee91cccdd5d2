-- Runs that are moved to another deployment: what is compared, what keeps a claim from playing them on the old one, and that they look
-- again at what they wait for.

drop function dacapo.move_run(uuid, bigint, integer, integer, text);

-- Moves a run that nobody plays to another deployment, if it still is as it was when it was found to go on there: as many rows in its
-- journal, as many of them with an outcome, the last of these as old, and nothing sent to it since. It is played at once, since what it
-- waits for may be something else with the other code; one that a person has paused stays so, and one that has yet to begin, or to have its
-- turn, still does.
-- moved | changed (it is not as it was) | busy (somebody plays it) | ended | retired (the deployment is, or is not there)
-- Locks the deployment (share, so that it is not retired before this is committed, and not taken away before that is seen), then the task
-- row, then the run row.
create function dacapo.move_run(
    p_run uuid, p_to bigint, p_rows integer, p_done integer, p_latest timestamptz, p_inbox integer, p_who text
) returns text
language plpgsql as $$
declare
    v_reason text;
    v_paused boolean;
    v_inbox integer;
    v_rows integer;
    v_done integer;
    v_latest timestamptz;
    v_from bigint;
begin
    perform from dacapo.deployment where id = p_to and retired_at is null for share;
    if not found then
        return 'retired';
    end if;
    select reason, paused, inbox_seq into v_reason, v_paused, v_inbox
    from dacapo.task_suspended where run_id = p_run for update skip locked;
    if not found then
        select inbox_seq into v_inbox from dacapo.task_ready where run_id = p_run for update skip locked;
        if not found then
            if exists (select from dacapo.run where id = p_run and status = 'active') then
                return 'busy';
            end if;
            return 'ended';
        end if;
    end if;
    select count(*), count(outcome), max(finished_at) into v_rows, v_done, v_latest from dacapo.step where run_id = p_run;
    if (v_rows, v_done, v_inbox) <> (p_rows, p_done, p_inbox) or v_latest is distinct from p_latest then
        return 'changed';
    end if;
    select deployment_id into v_from from dacapo.run where id = p_run for update;
    update dacapo.run set deployment_id = p_to where id = p_run and deployment_id <> p_to;
    insert into dacapo.intervention (run_id, action, who, details)
    select p_run, 'move', p_who, json_build_object('from', here.number, 'to', there.number)::text
    from dacapo.deployment as here, dacapo.deployment as there
    where here.id = v_from and there.id = p_to;
    -- What a branch waits for is read from its row without playing it: now it is not known any more, and it is played once.
    update dacapo.step set payload = 'null'
    where run_id = p_run and outcome is null and kind = 'wait' and position('/' in key) > 0;
    if v_reason is null then
        -- A claim that began before would find the row in its place, and the old deployment in its snapshot: it is to find neither.
        with gone as (
            delete from dacapo.task_ready where run_id = p_run returning *
        )
        insert into dacapo.task_ready select * from gone;
        perform pg_notify('dacapo_ready', '');
    elsif v_reason in ('blocked', 'pause') or (v_reason in ('event', 'time', 'retry') and not v_paused) then
        -- One that waits in its code for a person says so again, if it still does.
        perform dacapo.wake(p_run, 0, null);
    end if;
    return 'moved';
end $$;

-- As before, and what the run's workflow declares is looked at again if the run was moved to another deployment meanwhile.
-- sent | duplicate | not-found | or the final status that the run has | or bad-event: and why
create or replace function dacapo.send_event(p_run uuid, p_name text, p_payload text, p_delivery_id text default null) returns text
language plpgsql as $$
declare
    v_seq integer;
    v_status text;
    v_wakes boolean;
    -- Before the problem, so that this is no newer than what the problem was found with.
    v_deployment constant bigint := (select deployment_id from dacapo.run where id = p_run);
    v_problem text := dacapo.event_problem(p_run, p_name, p_payload);
begin
    if v_problem is not null then
        return 'bad-event: ' || v_problem;
    end if;
    for i in 1..1000 loop
        if p_delivery_id is not null
            and exists (select from dacapo.event where run_id = p_run and delivery_id = p_delivery_id) then
            return 'duplicate';
        end if;
        v_wakes := false;
        update dacapo.task_leased set inbox_seq = inbox_seq + 1 where run_id = p_run returning inbox_seq into v_seq;
        if v_seq is null then
            update dacapo.task_suspended set inbox_seq = inbox_seq + 1 where run_id = p_run
            returning inbox_seq, not paused and p_name = any (events) into v_seq, v_wakes;
        end if;
        if v_seq is null then
            update dacapo.task_ready set inbox_seq = inbox_seq + 1 where run_id = p_run returning inbox_seq into v_seq;
        end if;
        if v_seq is not null then
            -- Whoever holds the task row keeps the run from being moved.
            if v_deployment is distinct from (select deployment_id from dacapo.run where id = p_run) then
                v_problem := dacapo.event_problem(p_run, p_name, p_payload);
                if v_problem is not null then
                    -- Nobody has seen the number.
                    update dacapo.task_leased set inbox_seq = inbox_seq - 1 where run_id = p_run;
                    update dacapo.task_suspended set inbox_seq = inbox_seq - 1 where run_id = p_run;
                    update dacapo.task_ready set inbox_seq = inbox_seq - 1 where run_id = p_run;
                    return 'bad-event: ' || v_problem;
                end if;
            end if;
            insert into dacapo.event (run_id, seq, name, payload, delivery_id)
            values (p_run, v_seq, p_name, p_payload, p_delivery_id)
            on conflict (run_id, delivery_id) where delivery_id is not null do nothing;
            if not found then
                return 'duplicate';
            end if;
            if v_wakes then
                perform dacapo.wake(p_run, 0, null);
            end if;
            return 'sent';
        end if;
        select status into v_status from dacapo.run where id = p_run;
        if v_status is null then
            return 'not-found';
        elsif v_status <> 'active' then
            return v_status;
        end if;
    end loop;
    raise exception 'run % is active but has no task', p_run;
end $$;
