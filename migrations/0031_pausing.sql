-- As before, and for a run that a worker is to end because its deadline has passed: its status does not allow a pause.
create or replace function dacapo.pause(p_run uuid) returns text
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
        -- Its worker is told to end it: its deadline has passed.
        if exists (select from dacapo.task_leased where run_id = p_run and signal is not null) then
            return dacapo.status_of(p_run);
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
            returning run_id, started_at, inbox_seq, queue, queue_key, priority
        )
        insert into dacapo.task_suspended (run_id, reason, paused, started_at, inbox_seq, queue, queue_key, priority)
        select run_id, 'boundary', true, started_at, inbox_seq, queue, queue_key, priority from taken;
        if found then
            return 'paused-now';
        end if;
        -- It is to be ended as soon as a worker takes it.
        if exists (select from dacapo.task_ready where run_id = p_run and signal is not null) then
            return dacapo.status_of(p_run);
        end if;
    end loop;
    raise exception 'run % is active but has no task', p_run;
end $$;
