-- What is asked of a run from outside: send_event, pause, resume, cancel. They are functions because each must find the run's
-- task row, which may be on its way from one table to another: they look again until they hold it.
-- Each answers with one word; those before the word `or` changed something.

-- Wakes a suspended run. The caller holds no other lock on it. False: it was not there.
create function dacapo.wake(p_run uuid, p_inbox integer, p_signal text) returns boolean
language plpgsql as $$
begin
    with woken as (
        delete from dacapo.task_suspended where run_id = p_run
        returning run_id, started_at, inbox_seq
    )
    insert into dacapo.task_ready (run_id, started_at, inbox_seq, signal)
    select run_id, started_at, inbox_seq + p_inbox, coalesce(
        p_signal,
        -- A cancel that the code has not been told of, because the run was blocked, say.
        (select 'cancel' from dacapo.run where id = p_run and cancel_requested_at is not null)
    )
    from woken;
    if found then
        perform pg_notify('dacapo_ready', '');
        return true;
    end if;
    return false;
end $$;

-- sent | duplicate | not-found | or the final status that the run has
create function dacapo.send_event(p_run uuid, p_name text, p_payload text, p_delivery_id text default null) returns text
language plpgsql as $$
declare
    v_seq integer;
    v_status text;
    v_wakes boolean;
begin
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

-- The word for a run's status, for the answers below.
create function dacapo.status_of(p_run uuid) returns text
language sql stable as $$
    select coalesce((select status from dacapo.run_status where run_id = p_run), 'not-found')
$$;

-- pausing (at its next boundary) | paused-now | or the status that does not allow it | not-found
create function dacapo.pause(p_run uuid) returns text
language plpgsql as $$
declare
    v_cancelling boolean;
begin
    for i in 1..1000 loop
        select cancel_requested_at is not null into v_cancelling from dacapo.run where id = p_run and status = 'active';
        if v_cancelling is null or v_cancelling then
            return dacapo.status_of(p_run);
        end if;
        update dacapo.task_leased set signal = 'pause' where run_id = p_run and signal is null;
        if found then
            perform pg_notify('dacapo_signal', p_run::text);
            return 'pausing';
        end if;
        if exists (select from dacapo.task_leased where run_id = p_run and signal = 'pause') then
            return 'pausing';
        end if;
        update dacapo.task_suspended set paused = true where run_id = p_run and not paused and reason <> 'blocked';
        if found then
            return 'paused-now';
        end if;
        if exists (select from dacapo.task_suspended where run_id = p_run) then
            return dacapo.status_of(p_run);
        end if;
        with taken as (
            delete from dacapo.task_ready where run_id = p_run and signal is null
            returning run_id, started_at, inbox_seq
        )
        insert into dacapo.task_suspended (run_id, reason, paused, started_at, inbox_seq)
        select run_id, 'boundary', true, started_at, inbox_seq from taken;
        if found then
            return 'paused-now';
        end if;
    end loop;
    raise exception 'run % is active but has no task', p_run;
end $$;

-- resumed | or the status that does not allow it | not-found
create function dacapo.resume(p_run uuid) returns text
language plpgsql as $$
declare
    v_reason text;
    v_paused boolean;
begin
    for i in 1..1000 loop
        perform from dacapo.run where id = p_run and status = 'active';
        if not found then
            return dacapo.status_of(p_run);
        end if;
        -- A pause that has not taken effect yet is simply taken back.
        update dacapo.task_leased set signal = null, inbox_seq = inbox_seq + 1 where run_id = p_run and signal = 'pause';
        if found then
            perform pg_notify('dacapo_signal', p_run::text);
            return 'resumed';
        end if;
        select reason, paused into v_reason, v_paused from dacapo.task_suspended where run_id = p_run for update;
        if found then
            if not v_paused and v_reason <> 'blocked' then
                return dacapo.status_of(p_run);
            end if;
            if v_reason = 'pause' then
                update dacapo.step set outcome = 'ok', payload = 'null', finished_at = clock_timestamp()
                where run_id = p_run and kind = 'pause' and outcome is null;
            end if;
            if dacapo.wake(p_run, 0, null) then
                return 'resumed';
            end if;
        elsif exists (select from dacapo.task_leased where run_id = p_run)
            or exists (select from dacapo.task_ready where run_id = p_run) then
            return dacapo.status_of(p_run);
        end if;
    end loop;
    raise exception 'run % is active but has no task', p_run;
end $$;

-- cancelling-now (the code may compensate) | cancelled-now (it never began) | or the status that does not allow it | not-found
-- Locks the task row before the run's row, in the order in which a worker's flush does.
create function dacapo.cancel(p_run uuid) returns text
language plpgsql as $$
declare
    v_requested boolean;
    v_began boolean;
begin
    for i in 1..1000 loop
        select cancel_requested_at is not null into v_requested from dacapo.run where id = p_run and status = 'active';
        if v_requested is null then
            return dacapo.status_of(p_run);
        end if;
        -- The code of a blocked run cannot be played, and so cannot compensate: asked again, the run just ends.
        if v_requested then
            delete from dacapo.task_suspended where run_id = p_run and reason = 'blocked';
            if not found then
                return dacapo.status_of(p_run);
            end if;
            update dacapo.run set status = 'cancelled', finished_at = clock_timestamp() where id = p_run;
            perform pg_notify('dacapo_run', p_run::text);
            return 'cancelled-now';
        end if;
        update dacapo.task_leased set signal = 'cancel', inbox_seq = inbox_seq + 1 where run_id = p_run;
        if found then
            update dacapo.run set cancel_requested_at = clock_timestamp() where id = p_run;
            perform pg_notify('dacapo_signal', p_run::text);
            return 'cancelling-now';
        end if;
        -- Whether it began decides below; a run that never began has nothing to compensate.
        update dacapo.task_ready set signal = 'cancel', inbox_seq = inbox_seq + 1 where run_id = p_run
        returning started_at is not null into v_began;
        if found then
            update dacapo.run set cancel_requested_at = clock_timestamp() where id = p_run;
            if v_began then
                return 'cancelling-now';
            end if;
            delete from dacapo.task_ready where run_id = p_run;
        else
            perform from dacapo.task_suspended where run_id = p_run for update;
            continue when not found;
            select started_at is not null into v_began from dacapo.task_suspended where run_id = p_run;
            update dacapo.run set cancel_requested_at = clock_timestamp() where id = p_run;
            if v_began then
                perform dacapo.wake(p_run, 1, 'cancel');
                return 'cancelling-now';
            end if;
            delete from dacapo.task_suspended where run_id = p_run;
        end if;
        update dacapo.run set status = 'cancelled', finished_at = clock_timestamp() where id = p_run;
        perform pg_notify('dacapo_run', p_run::text);
        return 'cancelled-now';
    end loop;
    raise exception 'run % is active but has no task', p_run;
end $$;
