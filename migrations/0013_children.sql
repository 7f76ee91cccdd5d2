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
-- A rerun of a parent knows the children that had been started, too.
create index child_by_run on dacapo.child (run_id);

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
    insert into dacapo.child_end (parent, run_id)
    select parent, run_id from dacapo.child where run_id = new.id
    on conflict do nothing;
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
        delete from dacapo.child_end
        where parent = v_parent and run_id in (
            -- Another worker may be at some of them.
            select run_id from dacapo.child_end where parent = v_parent for update skip locked
        )
        returning run_id
    loop
        perform dacapo.send_event(v_parent, 'child/' || v_child, dacapo.outcome_of(run), 'child/' || v_child)
        from dacapo.run
        -- One that somebody has let go on is noted again when it ends.
        where id = v_child and status <> 'active';
        v_told := v_told + 1;
    end loop;
    return v_told;
end $$;

-- Cancels one child whose parent has ended or is being cancelled: only those that were there when it was cancelled, since what makes up for
-- things may start children, too. False: there is none.
create function dacapo.cancel_child() returns boolean
language plpgsql as $$
declare
    v_parent uuid;
    v_child uuid;
begin
    -- Taken away first: whoever notes it meanwhile waits, and notes it again.
    delete from dacapo.child_cancel
    where parent = (select parent from dacapo.child_cancel limit 1 for update skip locked)
    returning parent into v_parent;
    if v_parent is null then
        return false;
    end if;
    select child.run_id into v_child
    from dacapo.run as parent
    join dacapo.child on child.parent = parent.id
    join dacapo.run as run on run.id = child.run_id
    where parent.id = v_parent and not child.detached and run.status = 'active' and run.cancel_requested_at is null
        and (parent.status <> 'active' or run.created_at <= parent.cancel_requested_at)
    limit 1;
    if v_child is not null then
        insert into dacapo.child_cancel (parent) values (v_parent) on conflict do nothing;
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

-- An older worker would tell no parent, and cancel no child.
update dacapo.compatibility set breaking = 13;
