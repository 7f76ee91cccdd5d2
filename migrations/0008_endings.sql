-- Runs that are ended from outside, without asking their code: when their deadline has passed, or because somebody insists.

alter table dacapo.run add column deadline timestamptz;

-- Deadlines of runs that may still be active: a timer of its own, which suspension and pause do not touch. A row of a run that has ended
-- meanwhile goes when its time comes.
create table dacapo.deadline (
    run_id uuid primary key,
    at timestamptz not null
);
create index deadline_by_time on dacapo.deadline (at);

alter table dacapo.task_ready
    drop constraint task_ready_signal_known,
    add constraint task_ready_signal_known check (signal in ('cancel', 'kill', 'deadline'));
alter table dacapo.task_leased
    drop constraint task_leased_signal_known,
    add constraint task_leased_signal_known check (signal in ('pause', 'cancel', 'kill', 'deadline'));

-- Ends a run now: as cancelled for the signal `kill`, as failed with p_failure for `deadline`. A worker that plays it is told to drop it
-- in the middle of whatever it does, and writes the end.
-- ended | ending (by its worker) | or the status that does not allow it | not-found
-- Locks the task row before the run's row, in the order in which a worker's flush does.
create function dacapo.end_run(p_run uuid, p_signal text, p_failure text) returns text
language plpgsql as $$
declare
    v_started_at timestamptz;
begin
    for i in 1..1000 loop
        perform from dacapo.run where id = p_run and status = 'active';
        if not found then
            return dacapo.status_of(p_run);
        end if;
        update dacapo.task_leased set signal = p_signal, inbox_seq = inbox_seq + 1 where run_id = p_run;
        if found then
            if p_signal = 'kill' then
                update dacapo.run set cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp()) where id = p_run;
            end if;
            perform pg_notify('dacapo_signal', p_run::text);
            return 'ending';
        end if;
        delete from dacapo.task_suspended where run_id = p_run returning started_at into v_started_at;
        if not found then
            delete from dacapo.task_ready where run_id = p_run returning started_at into v_started_at;
            continue when not found;
        end if;
        update dacapo.run
        set status = case p_signal when 'kill' then 'cancelled' else 'failed' end,
            failure = p_failure,
            cancel_requested_at = case p_signal
                when 'kill' then coalesce(cancel_requested_at, clock_timestamp())
                else cancel_requested_at
            end,
            started_at = v_started_at,
            finished_at = clock_timestamp()
        where id = p_run;
        perform pg_notify('dacapo_run', p_run::text);
        return 'ended';
    end loop;
    raise exception 'run % is active but has no task', p_run;
end $$;

-- As before, and for a run in the queue that is to be ended: its status does not allow a pause.
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
        -- It is to be ended as soon as a worker takes it.
        if exists (select from dacapo.task_ready where run_id = p_run and signal is not null) then
            return dacapo.status_of(p_run);
        end if;
    end loop;
    raise exception 'run % is active but has no task', p_run;
end $$;

-- An older worker would not obey.
update dacapo.compatibility set breaking = 8;
