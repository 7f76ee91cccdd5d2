-- While somebody holds an old snapshot, rows that are gone stay, and whoever looks for the first that is there reads all of them. Relatives are
-- looked for once for many of them, and found by their keys after that; and who is woken in front of others says so.

-- Like the other tables whose rows come and go with each run.
alter table dacapo.task_suspended set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
alter table dacapo.deadline set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
alter table dacapo.child_end set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
alter table dacapo.child_cancel set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);

-- As before; a run with a priority above zero is announced as one that may stand in front of where workers claim.
create or replace function dacapo.wake(p_run uuid, p_inbox integer, p_signal text) returns boolean
language plpgsql as $$
declare
    v_queue integer;
    v_priority smallint;
begin
    update dacapo.task_suspended set paused = false
    where run_id = p_run and (reason = 'singleton' or (reason = 'delay' and wake_at > clock_timestamp()));
    if found then
        return true;
    end if;
    update dacapo.task_suspended as task
    set reason = 'queue', events = null, wake_at = null, paused = false, blocked = null,
        queued_at = coalesce(task.queued_at, dacapo.place_in_line(task.priority)), inbox_seq = task.inbox_seq + p_inbox
    from dacapo.queue
    where task.run_id = p_run and queue.id = task.queue and queue.holds
    returning queue.id into v_queue;
    if found then
        perform pg_notify('dacapo_held', v_queue::text);
        return true;
    end if;
    with woken as (
        delete from dacapo.task_suspended where run_id = p_run
        returning run_id, started_at, inbox_seq, queue, queue_key, priority
    )
    insert into dacapo.task_ready (run_id, ready_at, started_at, inbox_seq, signal, queue, queue_key, priority)
    select run_id, dacapo.place_in_line(priority), started_at, inbox_seq + p_inbox, coalesce(
        p_signal,
        -- A cancel that the code has not been told of, because the run was blocked, say.
        (select 'cancel' from dacapo.run where id = p_run and cancel_requested_at is not null)
    ), queue, queue_key, priority
    from woken
    returning priority into v_priority;
    if found then
        perform pg_notify('dacapo_ready', case when v_priority > 0 then 'first' else '' end);
        return true;
    end if;
    return false;
end $$;

-- Parents of children that have ended and are noted as such in up to p_max rows. Called by: workers, which tell each of them in a transaction of
-- its own. Locks: the rows of child_end (skipping), until it has answered. It reads the table page after page: the keys are in no order, so by its
-- index each entry would lead to a page of its own.
create function dacapo.parents_to_tell(p_max integer) returns uuid[]
language sql volatile as $$
    select array(
        select distinct parent
        from (select parent from dacapo.child_end where ctid >= '(0,0)' limit greatest(p_max, 0) for update skip locked) as noted
    )
$$;

-- Tells a parent of all its children that have ended. Answers how many they were: 0 when somebody else is at it, or has done it. Of a child that is
-- just being brought back nothing is told.
create function dacapo.tell_parent(p_parent uuid) returns integer
language plpgsql as $$
declare
    v_child uuid;
    v_outcome text;
    v_told integer := 0;
begin
    for v_child in
        delete from dacapo.child_end
        where parent = p_parent and run_id in (
            -- Another worker may be at some of them.
            select run_id from dacapo.child_end where parent = p_parent for update skip locked
        )
        returning run_id
    loop
        select dacapo.outcome_of(run) into v_outcome
        from dacapo.run
        -- One that somebody has let go on is noted again when it ends.
        where id = v_child and status <> 'active'
        for key share;
        if found then
            perform dacapo.send_event(p_parent, 'child/' || v_child, v_outcome, 'child/' || v_child);
        end if;
        v_told := v_told + 1;
    end loop;
    return v_told;
end $$;

-- As before, for workers of before: tells one parent.
create or replace function dacapo.tell_parent() returns integer
language plpgsql as $$
declare
    v_parent uuid;
begin
    select parent into v_parent from dacapo.child_end limit 1 for update skip locked;
    if v_parent is null then
        return 0;
    end if;
    return dacapo.tell_parent(v_parent);
end $$;

-- Up to p_max parents whose children are to be cancelled. Called by: workers, which cancel each child in a transaction of its own. Locks: the rows of
-- child_cancel (skipping), until it has answered.
create function dacapo.parents_to_leave(p_max integer) returns uuid[]
language sql volatile as $$
    select array(select parent from dacapo.child_cancel where ctid >= '(0,0)' limit greatest(p_max, 0) for update skip locked)
$$;

-- Cancels one child of a parent that has ended or is being cancelled: only those that were there when it was cancelled, since what makes up for
-- things may start children, too. False: there is none. Null: somebody else is at it, or has done it.
create function dacapo.cancel_child(p_parent uuid) returns boolean
language plpgsql as $$
declare
    v_child uuid;
begin
    -- Taken away first: whoever notes it meanwhile waits, and notes it again.
    delete from dacapo.child_cancel
    where parent = (select parent from dacapo.child_cancel where parent = p_parent for update skip locked);
    if not found then
        return null;
    end if;
    perform from dacapo.run where id = p_parent for key share;
    select child.run_id into v_child
    from dacapo.run as parent
    join dacapo.child on child.parent = parent.id
    join dacapo.run as run on run.id = child.run_id
    where parent.id = p_parent and not child.detached and run.status = 'active' and run.cancel_requested_at is null
        and (parent.status <> 'active' or run.created_at <= parent.cancel_requested_at)
    limit 1;
    if v_child is null then
        return false;
    end if;
    insert into dacapo.child_cancel (parent) values (p_parent) on conflict do nothing;
    update dacapo.child set cancelled = true where parent = p_parent and run_id = v_child;
    perform dacapo.cancel(v_child);
    return true;
end $$;

-- As before, for workers of before: cancels one child of one parent.
create or replace function dacapo.cancel_child() returns boolean
language plpgsql as $$
declare
    v_parent uuid;
begin
    select parent into v_parent from dacapo.child_cancel limit 1 for update skip locked;
    if v_parent is null then
        return false;
    end if;
    perform dacapo.cancel_child(v_parent);
    return true;
end $$;
