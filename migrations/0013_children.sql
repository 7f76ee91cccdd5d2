-- Children: runs that other runs have started. That a child has ended is told to its parent as an event of a name that nobody else can send
-- (`child/` and the child's id), by whatever worker comes first; who ends a child only notes that it is to be told, so that no statement
-- locks the tasks of two runs for it.

alter table dacapo.run
    add column parent uuid,
    -- How many runs have started each other on the way to this one.
    add column depth smallint not null default 0;

create table dacapo.child (
    parent uuid not null,
    run_id uuid not null,
    -- Outlives its parent.
    detached boolean not null,
    primary key (parent, run_id)
);

-- Children that have ended, and whose parents are to be told.
create table dacapo.child_end (
    parent uuid not null,
    run_id uuid not null,
    primary key (parent, run_id)
);

-- Runs that have ended, or that somebody cancelled: their children are to be cancelled.
create table dacapo.child_cancel (
    parent uuid primary key
);

create function dacapo.note_child_end() returns trigger
language plpgsql as $$
begin
    insert into dacapo.child_end (parent, run_id) values (new.parent, new.id) on conflict do nothing;
    perform pg_notify('dacapo_children', '');
    return null;
end $$;

-- An ordinary end calls neither of them.
create trigger run_ends_as_child after update of status on dacapo.run
for each row when (new.parent is not null and new.status <> 'active' and old.status = 'active')
execute function dacapo.note_child_end();

create function dacapo.note_child_cancel() returns trigger
language plpgsql as $$
begin
    if exists (select from dacapo.child where parent = new.id) then
        insert into dacapo.child_cancel (parent) values (new.id) on conflict do nothing;
        perform pg_notify('dacapo_children', '');
    end if;
    return null;
end $$;

-- Runs that complete are seen to by the flush.
create trigger run_ends_before_children after update of status, cancel_requested_at on dacapo.run
for each row when (
    (new.status in ('failed', 'cancelled') and old.status = 'active')
    or (new.cancel_requested_at is not null and old.cancel_requested_at is null)
)
execute function dacapo.note_child_cancel();

-- How a run came out, as its parent is told.
create function dacapo.outcome_of(p_run dacapo.run) returns text
language sql stable as $$
    select case p_run.status
        when 'completed' then '{"ok":' || p_run.output || '}'
        when 'failed' then '{"failed":' || p_run.failure || '}'
        when 'cancelled' then json_build_object('failed', json_build_object(
            'code', 'child-cancelled',
            'message', 'the child run ' || p_run.id || ' was cancelled',
            'retryable', false,
            'details', p_run.failure::json
        ))::text
    end
$$;

-- Tells one parent of all its children that have ended. Answers how many they were: 0 when there is nobody to be told.
create function dacapo.tell_parent() returns integer
language plpgsql as $$
declare
    v_parent uuid;
    v_child uuid;
    v_told integer := 0;
begin
    select parent into v_parent from dacapo.child_end limit 1 for update skip locked;
    if v_parent is null then
        return 0;
    end if;
    for v_child in
        delete from dacapo.child_end where parent = v_parent returning run_id
    loop
        perform dacapo.send_event(v_parent, 'child/' || v_child, dacapo.outcome_of(run), 'child/' || v_child)
        from dacapo.run
        where id = v_child;
        v_told := v_told + 1;
    end loop;
    return v_told;
end $$;

-- Cancels one child whose parent has ended or is being cancelled. False: there is none.
create function dacapo.cancel_child() returns boolean
language plpgsql as $$
declare
    v_parent uuid;
    v_child uuid;
begin
    select parent into v_parent from dacapo.child_cancel limit 1 for update skip locked;
    if v_parent is null then
        return false;
    end if;
    select child.run_id into v_child
    from dacapo.child
    join dacapo.run on run.id = child.run_id
    where child.parent = v_parent and not child.detached and run.status = 'active' and run.cancel_requested_at is null
    limit 1;
    if v_child is null then
        delete from dacapo.child_cancel where parent = v_parent;
    else
        perform dacapo.cancel(v_child);
    end if;
    return true;
end $$;

alter table dacapo.task_suspended
    drop constraint task_suspended_reason_known,
    drop constraint task_suspended_events_iff_event,
    drop constraint task_suspended_wake_at_only_when_timed,
    add constraint task_suspended_reason_known check (
        reason in ('event', 'child', 'time', 'retry', 'pause', 'boundary', 'blocked', 'queue', 'delay', 'workflow', 'singleton')
    ),
    add constraint task_suspended_events_iff_event check ((reason in ('event', 'child')) = (events is not null)),
    add constraint task_suspended_wake_at_only_when_timed check (wake_at is null or reason in ('event', 'child', 'time', 'retry', 'delay'));

-- As before, in the queue that it was in.
-- retried | nothing-failed | or the status that does not allow it | not-found
-- `opened` and `removed` are what the run went back to. Locks the run's row; a run that has ended has no task.
create or replace function dacapo.retry(p_run uuid, p_who text, out answer text, out opened text, out removed text[])
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
    update dacapo.run set status = 'active', failure = null, finished_at = null, deadline = v_run.deadline where id = p_run;
    insert into dacapo.task_suspended (run_id, reason, paused, started_at, inbox_seq, queue, queue_key, priority)
    select p_run, 'boundary', true, v_run.started_at, coalesce((select max(seq) from dacapo.event where run_id = p_run), 0),
        queue.id, case when queue.id is not null then coalesce(v_run.concurrency_key, '') end, v_run.priority
    from (select v_run.queue as name) as named
    left join dacapo.queue on queue.namespace = v_run.namespace and queue.name = named.name;
    perform dacapo.wake(p_run, 0, null);
    answer := 'retried';
end $$;

-- An older worker would tell no parent, and cancel no child.
update dacapo.compatibility set breaking = 13;
