-- Named queues: lines of runs with limits of their own, beside the one without limits that every run is in unless it says otherwise.
--
-- A run of a queue that has limits waits for its turn as a row of task_suspended with the reason `queue`; whoever serves the queue lets
-- as many into task_ready as the limits allow (dacapo.admit). Nothing of this is asked of a run that is in no named queue: its columns
-- are null, and its claim reads the same index as before.

create table dacapo.queue (
    id integer generated always as identity primary key,
    namespace text not null,
    name text not null,
    -- Runs that are on their way at the same time: ready, or played by a worker.
    concurrency integer,
    concurrency_per_key integer,
    -- Runs that begin within any stretch of time of this length.
    rate_runs integer,
    rate_ms bigint,
    rate_per_key_runs integer,
    rate_per_key_ms bigint,
    -- Nothing of it is claimed.
    paused boolean not null default false,
    -- Whether its runs wait for their turn.
    holds boolean not null generated always as (
        concurrency is not null or concurrency_per_key is not null or rate_runs is not null or rate_per_key_runs is not null
    ) stored,
    -- Of more keys than are looked at together, the last one that was.
    key_cursor text not null default '',
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    constraint queue_name_unique unique (namespace, name),
    constraint queue_default_has_no_row check (name <> 'default'),
    constraint queue_concurrency_positive check (concurrency > 0),
    constraint queue_concurrency_per_key_positive check (concurrency_per_key > 0),
    constraint queue_rate_positive check (rate_runs > 0 and rate_ms > 0),
    constraint queue_rate_whole check ((rate_runs is null) = (rate_ms is null)),
    constraint queue_rate_per_key_positive check (rate_per_key_runs > 0 and rate_per_key_ms > 0),
    constraint queue_rate_per_key_whole check ((rate_per_key_runs is null) = (rate_per_key_ms is null))
) with (fillfactor = 50);

-- How many runs began lately, by twentieths of the rate's stretch of time. A twentieth counts until its last run is so long ago.
create table dacapo.queue_rate (
    queue integer not null,
    per_key boolean not null,
    -- Number of the twentieth since 1970.
    part bigint not null,
    key text not null,
    runs integer not null,
    last_at timestamptz not null,
    primary key (queue, per_key, part, key)
) with (fillfactor = 50);

alter table dacapo.run
    -- Null: `default`.
    add column queue text,
    add column priority smallint,
    add column concurrency_key text,
    -- At most one active run of the workflow has this key.
    add column singleton_key text,
    -- Starts with this key that come soon after each other are one run.
    add column debounce_key text;

-- These columns travel with the row, too:
--   queue       the named queue; none for most
--   queue_key   the concurrency key, or the empty text; only with a queue
--   priority    higher goes first; a step of it is worth a minute of waiting. None: 0
alter table dacapo.task_ready
    add column queue integer,
    add column queue_key text,
    add column priority smallint,
    add constraint task_ready_key_iff_queue check ((queue is null) = (queue_key is null));
alter table dacapo.task_leased
    add column queue integer,
    add column queue_key text,
    add column priority smallint,
    add constraint task_leased_key_iff_queue check ((queue is null) = (queue_key is null));
alter table dacapo.task_suspended
    add column queue integer,
    add column queue_key text,
    add column priority smallint,
    -- Its place among those that wait for their turn: the time, made earlier by its priority.
    add column queued_at timestamptz,
    add constraint task_suspended_key_iff_queue check ((queue is null) = (queue_key is null)),
    drop constraint task_suspended_reason_known,
    drop constraint task_suspended_time_has_wake_at,
    drop constraint task_suspended_wake_at_only_when_timed,
    add constraint task_suspended_reason_known check (
        reason in ('event', 'time', 'retry', 'pause', 'boundary', 'blocked', 'queue', 'delay', 'workflow', 'singleton')
    ),
    add constraint task_suspended_time_has_wake_at check (reason not in ('time', 'retry', 'delay') or wake_at is not null),
    add constraint task_suspended_wake_at_only_when_timed check (wake_at is null or reason in ('event', 'time', 'retry', 'delay')),
    add constraint task_suspended_queue_has_place check (reason <> 'queue' or (queued_at is not null and queue is not null)),
    add constraint task_suspended_delay_before_start check (reason not in ('delay', 'singleton') or started_at is null);

drop index dacapo.task_ready_in_order;
create index task_ready_in_order on dacapo.task_ready (ready_at, run_id) where queue is null;
create index task_ready_by_queue on dacapo.task_ready (queue, ready_at, run_id) where queue is not null;
create index task_suspended_by_queue on dacapo.task_suspended (queue) where queue is not null;
create index task_leased_by_queue on dacapo.task_leased (queue) where queue is not null;
-- Those that had begun before those that have not.
create index task_suspended_in_queue on dacapo.task_suspended (
    queue, queue_key, (case when started_at is null then 1 else 0 end), queued_at
)
where reason = 'queue' and not paused;

-- The queues that a worker takes runs from; none: all.
alter table dacapo.worker add column queues text[];

create index task_suspended_aside on dacapo.task_suspended (run_id) where reason = 'workflow';

-- For people in an incident: while this has its row, no worker claims anything.
create table dacapo.standstill (
    only_row boolean primary key default true,
    since timestamptz not null default clock_timestamp(),
    reason text,
    constraint standstill_only_row check (only_row)
);

-- Workflows whose runs are not played. The claim that meets such a run puts it aside, as a row of task_suspended with the reason
-- `workflow`, so that nobody walks over it again and again.
create table dacapo.paused_workflow (
    namespace text not null,
    workflow text not null,
    since timestamptz not null default clock_timestamp(),
    -- Its runs go on: those that were put aside are moved back, in the order of their ids, from this one on.
    resumed boolean not null default false,
    resumed_at timestamptz,
    after_run uuid,
    primary key (namespace, workflow),
    constraint paused_workflow_resumed_has_time check (resumed = (resumed_at is not null))
);

-- Moves up to p_max runs back whose workflows are not paused any more. Answers how many it looked at: none means that there is nothing to do
-- at the moment. A claim that began before the workflow was resumed may put a run aside a little later, so all is looked at again for some
-- seconds. Called by: workers. Locks: the workflow's row (skipping), then the task rows. Index: task_suspended_aside.
create function dacapo.take_up(p_max integer) returns integer
language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_workflow dacapo.paused_workflow;
    v_run record;
    v_looked integer := 0;
begin
    select * into v_workflow from dacapo.paused_workflow where resumed limit 1 for update skip locked;
    if not found then
        return 0;
    end if;
    for v_run in
        select task.run_id, run.namespace = v_workflow.namespace and run.workflow = v_workflow.workflow as is_its
        from (
            select run_id from dacapo.task_suspended
            where reason = 'workflow' and run_id > coalesce(v_workflow.after_run, '00000000-0000-0000-0000-000000000000')
            order by run_id
            limit p_max
        ) as task
        cross join lateral (
            select namespace, workflow from dacapo.run where run.id = task.run_id offset 0
        ) as run
        order by task.run_id
    loop
        v_looked := v_looked + 1;
        v_workflow.after_run := v_run.run_id;
        if v_run.is_its then
            perform from dacapo.task_suspended where run_id = v_run.run_id and reason = 'workflow' for update;
            continue when not found;
            -- One that a person has paused stays so.
            update dacapo.task_suspended set reason = 'boundary' where run_id = v_run.run_id and paused;
            if not found then
                perform dacapo.wake(v_run.run_id, 0, null);
            end if;
        end if;
    end loop;
    if v_looked > 0 then
        update dacapo.paused_workflow set after_run = v_workflow.after_run
        where namespace = v_workflow.namespace and workflow = v_workflow.workflow;
    elsif v_workflow.resumed_at < clock_timestamp() - interval '5 seconds' then
        delete from dacapo.paused_workflow where namespace = v_workflow.namespace and workflow = v_workflow.workflow;
    else
        update dacapo.paused_workflow set after_run = null
        where namespace = v_workflow.namespace and workflow = v_workflow.workflow;
    end if;
    return v_looked;
end $$;

-- A place in line: now, made earlier by the priority.
create function dacapo.place_in_line(p_priority smallint) returns timestamptz
language sql volatile parallel safe as $$
    select clock_timestamp() - coalesce(p_priority, 0) * interval '1 minute'
$$;

-- Lets up to p_max runs of a queue into task_ready, as many as its limits allow:
--   * runs that had begun before those that have not; the rate counts only these
--   * then the run whose key has the fewest on their way, then the one that is first in line.
-- Answers how many those were; when to try again, if it is the rate that holds the others up; whether others wait; whether somebody else
-- is at it (then nothing was done).
-- A function, since what is on its way must be counted after the queue's row is locked, in a snapshot of its own: otherwise two workers
-- would let in twice as many. Called by: the workers that serve the queue, when runs of it come in, end or are suspended, and when the rate
-- allows more. Locks: the queue's row (skipping), then the task rows (skipping those locked by others).
-- Indexes: queue_pkey, task_suspended_in_queue, task_ready_by_queue, task_leased_by_queue, queue_rate_pkey.
create function dacapo.admit(
    p_queue integer, p_max integer, out admitted integer, out again_at timestamptz, out is_more boolean, out is_busy boolean
)
language plpgsql volatile
-- In the order of the indexes, and never all that waits, whatever the planner believes about how much that is.
set enable_seqscan = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
    c_keys_max constant integer := 256;
    v_queue dacapo.queue;
    v_now timestamptz;
    v_room integer := p_max;
    v_begin integer;
    v_runs uuid[];
    v_last text;
    v_keys integer;
begin
    admitted := 0;
    is_busy := false;
    is_more := exists (
        select from dacapo.task_suspended where queue = p_queue and reason = 'queue' and not paused
    );
    if not is_more then
        return;
    end if;
    select * into v_queue from dacapo.queue where id = p_queue and not paused for no key update skip locked;
    if not found then
        is_busy := exists (select from dacapo.queue where id = p_queue and not paused);
        return;
    end if;
    v_now := clock_timestamp();

    if v_queue.concurrency is not null then
        v_room := least(v_room, v_queue.concurrency - (
            (select count(*) from dacapo.task_ready where queue = p_queue)
            + (select count(*) from dacapo.task_leased where queue = p_queue)
        ));
    end if;
    if v_room <= 0 then
        return;
    end if;
    v_begin := v_room;
    if v_queue.rate_runs is not null then
        delete from dacapo.queue_rate
        where queue = p_queue and not per_key and part < dacapo.rate_part(v_now, v_queue.rate_ms) - 21;
        select least(v_begin, v_queue.rate_runs - coalesce(sum(runs), 0)), min(last_at) + v_queue.rate_ms * interval '1 millisecond'
        into v_begin, again_at
        from dacapo.queue_rate
        where queue = p_queue and not per_key and last_at > v_now - v_queue.rate_ms * interval '1 millisecond';
        v_begin := greatest(v_begin, 0);
    end if;
    if v_queue.rate_per_key_runs is not null then
        delete from dacapo.queue_rate
        where queue = p_queue and per_key and part < dacapo.rate_part(v_now, v_queue.rate_per_key_ms) - 21;
    end if;

    -- The keys of those that wait, one look into the index for each.
    with recursive key (key, place) as (
        (
            select queue_key, 1 from dacapo.task_suspended
            where queue = p_queue and reason = 'queue' and not paused and queue_key >= v_queue.key_cursor
            order by queue_key
            limit 1
        )
        union all
        select (
            select queue_key from dacapo.task_suspended
            where queue = p_queue and reason = 'queue' and not paused and queue_key > key.key
            order by queue_key
            limit 1
        ), place + 1
        from key
        where key.key is not null and place < c_keys_max
    ),
    waiting_key as materialized (
        select key from key where key is not null
    ),
    -- Put together by grouping: a join would compare every key with every other.
    known as materialized (
        select key, sum(runs)::integer as runs, sum(lately)::integer as lately, min(first_at) as first_at, count(*) over () as keys
        from (
            select key, 0 as runs, 0 as lately, null::timestamptz as first_at, true as is_waiting from waiting_key
            union all
            select queue_key, 1, 0, null, false from dacapo.task_ready where queue = p_queue
            union all
            select queue_key, 1, 0, null, false from dacapo.task_leased where queue = p_queue
            union all
            select key, 0, runs, last_at, false
            from dacapo.queue_rate
            where queue = p_queue and per_key and v_queue.rate_per_key_ms is not null
                and last_at > v_now - v_queue.rate_per_key_ms * interval '1 millisecond'
        ) as fact
        group by key
        having bool_or(is_waiting)
    ),
    allowed as materialized (
        select
            key,
            runs,
            -- Limits of a key are for runs that have one.
            case when key = '' or v_queue.concurrency_per_key is null then v_room
                else least(v_room, v_queue.concurrency_per_key - runs)
            end as room,
            case when key = '' or v_queue.rate_per_key_runs is null then v_begin
                else least(v_begin, v_queue.rate_per_key_runs - lately)
            end as may_begin,
            case when key <> '' and v_queue.rate_per_key_runs <= lately
                then first_at + v_queue.rate_per_key_ms * interval '1 millisecond'
            end as free_at,
            -- More than its share of the room is looked at for each; what is missing then comes with the next call.
            greatest(1, 2 * v_room / keys) as looks
        from known
    ),
    candidate as materialized (
        select head.run_id, head.has_begun, head.queued_at, allowed.runs + allowed.room as place_max,
            allowed.runs + row_number() over (partition by allowed.key order by head.has_begun desc, head.queued_at) as place
        from allowed
        cross join lateral (
            (
                select run_id, true as has_begun, queued_at
                from dacapo.task_suspended
                where queue = p_queue and reason = 'queue' and not paused and queue_key = allowed.key
                    and case when started_at is null then 1 else 0 end = 0
                order by queued_at
                limit greatest(least(allowed.room, allowed.looks), 0)
            )
            union all
            (
                select run_id, false, queued_at
                from dacapo.task_suspended
                where queue = p_queue and reason = 'queue' and not paused and queue_key = allowed.key
                    and case when started_at is null then 1 else 0 end = 1
                order by queued_at
                limit greatest(least(allowed.room, allowed.may_begin, allowed.looks), 0)
            )
        ) as head
        where allowed.room > 0
    ),
    -- Within a key no more than it has room for, and of those that begin no more in all than may.
    fitting as materialized (
        select candidate.*,
            count(*) filter (where not has_begun) over (order by has_begun desc, place, queued_at, run_id) as begins
        from candidate
        where place <= place_max
    )
    select
        array(
            select run_id from fitting
            where has_begun or begins <= v_begin
            order by has_begun desc, place, queued_at, run_id
            limit v_room
        ),
        case when count(*) >= c_keys_max then max(key) else '' end,
        count(*),
        least(case when v_begin = 0 then again_at end, min(allowed.free_at))
    into v_runs, v_last, v_keys, again_at
    from allowed;
    if v_last <> v_queue.key_cursor then
        update dacapo.queue set key_cursor = v_last where id = p_queue;
        -- The others have their turn.
        is_busy := cardinality(v_runs) = 0;
    end if;
    if cardinality(v_runs) = 0 then
        return;
    end if;

    with free as materialized (
        -- Found by their ids: the planner might read the whole line otherwise.
        select run_id
        from (
            select run_id, reason, paused from dacapo.task_suspended where run_id = any (v_runs) offset 0 for update skip locked
        ) as locked
        where reason = 'queue' and not paused
    ),
    let_in as (
        delete from dacapo.task_suspended
        where run_id = any (array(select run_id from free))
        returning run_id, started_at, inbox_seq, queue, queue_key, priority
    ),
    ready as (
        insert into dacapo.task_ready (run_id, started_at, inbox_seq, signal, queue, queue_key, priority)
        select let_in.run_id, started_at, inbox_seq,
            -- A cancel that came while it waited for its turn.
            (select case when cancel_requested_at is not null then 'cancel' end from dacapo.run where id = let_in.run_id),
            queue, queue_key, priority
        from let_in
        order by array_position(v_runs, run_id)
        returning run_id
    ),
    begun as (
        select queue_key as key, count(*)::integer as runs from let_in where started_at is null group by queue_key
    ),
    counted as (
        insert into dacapo.queue_rate as rate (queue, per_key, part, key, runs, last_at)
        select p_queue, false, dacapo.rate_part(v_now, v_queue.rate_ms), '', sum(runs), v_now
        from begun
        where v_queue.rate_ms is not null
        having sum(runs) > 0
        union all
        select p_queue, true, dacapo.rate_part(v_now, v_queue.rate_per_key_ms), key, runs, v_now
        from begun
        where v_queue.rate_per_key_ms is not null and key <> ''
        on conflict (queue, per_key, part, key) do update set runs = rate.runs + excluded.runs, last_at = excluded.last_at
    )
    select count(*) into admitted from ready;
    is_more := exists (
        select from dacapo.task_suspended where queue = p_queue and reason = 'queue' and not paused
    );
end $$;

-- The twentieth of a rate's stretch of time that a time is in.
create function dacapo.rate_part(p_at timestamptz, p_ms bigint) returns bigint
language sql immutable parallel safe as $$
    select floor(extract(epoch from p_at) * 20000 / p_ms)::bigint
$$;

-- As before; a run of a queue with limits waits for its turn again, and one that is to begin later, or after another one, still does so.
create or replace function dacapo.wake(p_run uuid, p_inbox integer, p_signal text) returns boolean
language plpgsql as $$
declare
    v_queue integer;
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
    from woken;
    if found then
        perform pg_notify('dacapo_ready', '');
        return true;
    end if;
    return false;
end $$;

-- As before, with the columns of its queue.
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

create or replace view dacapo.run_status as
select
    run.id as run_id,
    case
        when run.status <> 'active' then run.status
        when suspended.reason = 'blocked' then 'blocked'
        when run.cancel_requested_at is not null then 'cancelling'
        when suspended.paused then 'paused'
        when suspended.reason in ('queue', 'workflow', 'singleton') then 'queued'
        when suspended.run_id is not null then 'suspended'
        when leased.run_id is not null then 'running'
        else 'queued'
    end as status,
    coalesce(run.started_at, leased.started_at, suspended.started_at, ready.started_at) as started_at,
    suspended.reason as waiting_for,
    suspended.events as waiting_for_events,
    suspended.wake_at,
    suspended.blocked,
    leased.worker_id
from dacapo.run
left join dacapo.task_leased leased on leased.run_id = run.id
left join dacapo.task_suspended suspended on suspended.run_id = run.id
left join dacapo.task_ready ready on ready.run_id = run.id;

-- Singletons: of the runs of a workflow that were started with one such key, one is active, and the others wait for its end.
create table dacapo.singleton (
    namespace text not null,
    workflow text not null,
    key text not null,
    run_id uuid not null,
    -- It may be played; the others wait.
    is_holder boolean not null,
    since timestamptz not null default clock_timestamp(),
    primary key (namespace, workflow, key, run_id)
);
create unique index singleton_one_holder on dacapo.singleton (namespace, workflow, key) where is_holder;
create index singleton_waiting on dacapo.singleton (since) where not is_holder;

-- The run that starts with such a key make, until it begins.
create table dacapo.debounce (
    namespace text not null,
    workflow text not null,
    key text not null,
    run_id uuid not null,
    -- It begins then at the latest.
    latest timestamptz not null,
    primary key (namespace, workflow, key)
);

-- Lets the run that waits longest for a singleton's key have it, if nobody has. One whose rows somebody holds is left for the next call.
-- Called by: the end of a run, and workers (dacapo.promote_singletons). Locks: the rows of singleton, then the task row, skipping.
create function dacapo.promote_singleton(p_namespace text, p_workflow text, p_key text) returns boolean
language plpgsql volatile
-- A start of the same key that is not committed must not hold up the flush or the heartbeat that this is part of.
set lock_timeout = '50ms'
as $$
declare
    v_run uuid;
begin
    if exists (
        select from dacapo.singleton
        where namespace = p_namespace and workflow = p_workflow and key = p_key and is_holder
    ) then
        return false;
    end if;
    select run_id into v_run
    from dacapo.singleton
    where namespace = p_namespace and workflow = p_workflow and key = p_key and not is_holder
    order by since, run_id
    limit 1
    for update skip locked;
    if not found then
        return false;
    end if;
    perform from dacapo.task_suspended where run_id = v_run and reason = 'singleton' for update skip locked;
    if not found then
        return false;
    end if;
    begin
        update dacapo.singleton set is_holder = true
        where namespace = p_namespace and workflow = p_workflow and key = p_key and run_id = v_run;
    exception when unique_violation or lock_not_available then
        return false;
    end;
    -- From here on it waits for nobody. One that a person has paused stays so; it goes on when that person resumes it.
    if exists (select from dacapo.task_suspended where run_id = v_run and paused) then
        update dacapo.task_suspended set reason = 'boundary' where run_id = v_run;
    else
        update dacapo.task_suspended set reason = 'boundary', paused = true where run_id = v_run;
        perform dacapo.wake(v_run, 0, null);
    end if;
    return true;
end $$;

-- The same for up to p_max keys that nobody has: those whose last holder ended while the start of the next one was not yet committed.
create function dacapo.promote_singletons(p_max integer) returns integer
language plpgsql volatile as $$
declare
    v_one record;
    v_promoted integer := 0;
begin
    for v_one in
        select distinct namespace, workflow, key
        from dacapo.singleton as waiting
        where not is_holder and not exists (
            select from dacapo.singleton as holder
            where holder.namespace = waiting.namespace and holder.workflow = waiting.workflow and holder.key = waiting.key
                and holder.is_holder
        )
        limit p_max
    loop
        if dacapo.promote_singleton(v_one.namespace, v_one.workflow, v_one.key) then
            v_promoted := v_promoted + 1;
        end if;
    end loop;
    return v_promoted;
end $$;

-- The keys of a run that ends are free.
create function dacapo.free_start_keys() returns trigger
language plpgsql as $$
declare
    v_held boolean;
begin
    if new.singleton_key is not null then
        delete from dacapo.singleton
        where namespace = new.namespace and workflow = new.workflow and key = new.singleton_key and run_id = new.id
        returning is_holder into v_held;
        if v_held then
            perform dacapo.promote_singleton(new.namespace, new.workflow, new.singleton_key);
        end if;
    end if;
    if new.debounce_key is not null then
        -- Whoever holds the row puts another run in its place.
        delete from dacapo.debounce
        where (namespace, workflow, key) in (
            select namespace, workflow, key from dacapo.debounce
            where namespace = new.namespace and workflow = new.workflow and key = new.debounce_key and run_id = new.id
            for update skip locked
        );
    end if;
    return null;
end $$;
create trigger run_frees_start_keys after update of status on dacapo.run
for each row when (
    old.status = 'active' and new.status <> 'active' and (new.singleton_key is not null or new.debounce_key is not null)
)
execute function dacapo.free_start_keys();

-- Starts one run with a singleton's or a debounce's key. Answers with what became of it:
--   started      the run is there; with p_debounce it begins after a quiet time
--   debounced    the run `run` is there already and has not begun: it has this input now, and begins later
--   exists       a run with this id was there; nothing was written. `existing` is its input
--   taken        the singleton's key belongs to the active run `run`, and p_on_conflict is `reject`; nothing was written
--   not-active   the deployment is not active any more; nothing was written
--   no-queue     there is no such queue; nothing was written
-- Called by: clients, dacapo.start. Locks: the queue's row (key share), the row of the debounce's key, and with `replace` those of the runs
-- that are cancelled.
create function dacapo.start_special(
    p_id uuid, p_workflow text, p_input text, p_deployment bigint, p_labels jsonb, p_deadline_ms bigint,
    p_queue text, p_priority smallint, p_concurrency_key text, p_waits_until timestamptz,
    p_singleton text, p_on_conflict text, p_debounce text, p_debounce_ms bigint, p_debounce_max_ms bigint,
    out outcome text, out run uuid, out existing text
)
language plpgsql volatile as $$
declare
    v_namespace text;
    v_queue_id integer;
    v_is_held boolean := false;
    v_waits_until timestamptz := p_waits_until;
    v_other uuid;
    v_latest timestamptz;
    v_waits_for_other boolean := false;
begin
    run := p_id;
    select namespace into v_namespace from dacapo.deployment where id = p_deployment and active;
    if not found then
        outcome := 'not-active';
        return;
    end if;
    if p_queue is not null then
        select id, holds into v_queue_id, v_is_held from dacapo.queue where namespace = v_namespace and name = p_queue for key share;
        if not found then
            outcome := 'no-queue';
            return;
        end if;
    end if;
    select input into existing from dacapo.run where id = p_id;
    if found then
        outcome := 'exists';
        return;
    end if;

    if p_debounce is not null then
        v_waits_until := clock_timestamp() + p_debounce_ms * interval '1 millisecond';
        insert into dacapo.debounce as known (namespace, workflow, key, run_id, latest)
        values (
            v_namespace, p_workflow, p_debounce, p_id,
            clock_timestamp() + greatest(p_debounce_ms, p_debounce_max_ms) * interval '1 millisecond'
        )
        on conflict (namespace, workflow, key) do update set run_id = known.run_id
        returning known.run_id, known.latest into v_other, v_latest;
        if v_other <> p_id then
            update dacapo.task_suspended set wake_at = least(v_waits_until, v_latest)
            where run_id = v_other and reason = 'delay';
            if found then
                update dacapo.run set input = p_input, labels = p_labels, deployment_id = p_deployment where id = v_other;
                run := v_other;
                outcome := 'debounced';
                return;
            end if;
            -- It has begun, and what comes now is another run's.
            update dacapo.debounce
            set run_id = p_id, latest = clock_timestamp() + greatest(p_debounce_ms, p_debounce_max_ms) * interval '1 millisecond'
            where namespace = v_namespace and workflow = p_workflow and key = p_debounce;
        end if;
    end if;

    if p_singleton is not null then
        for i in 1..100 loop
            insert into dacapo.singleton (namespace, workflow, key, run_id, is_holder)
            values (v_namespace, p_workflow, p_singleton, p_id, true)
            on conflict (namespace, workflow, key) where is_holder do nothing;
            exit when found;
            select run_id into v_other
            from dacapo.singleton
            where namespace = v_namespace and workflow = p_workflow and key = p_singleton and is_holder;
            continue when not found;
            if p_on_conflict = 'reject' then
                run := v_other;
                outcome := 'taken';
                return;
            end if;
            if p_on_conflict = 'replace' and i = 1 then
                -- Those that wait before the one that is active, so that none of them takes its place.
                for v_other in
                    select run_id from dacapo.singleton
                    where namespace = v_namespace and workflow = p_workflow and key = p_singleton
                    order by is_holder, since
                loop
                    perform dacapo.cancel(v_other);
                end loop;
                continue;
            end if;
            insert into dacapo.singleton (namespace, workflow, key, run_id, is_holder)
            values (v_namespace, p_workflow, p_singleton, p_id, false);
            v_waits_for_other := true;
            exit;
        end loop;
    end if;

    insert into dacapo.run (
        id, namespace, workflow, deployment_id, input, labels, deadline, queue, priority, concurrency_key, singleton_key, debounce_key
    )
    values (
        p_id, v_namespace, p_workflow, p_deployment, p_input, p_labels, clock_timestamp() + p_deadline_ms * interval '1 millisecond',
        p_queue, p_priority, p_concurrency_key, p_singleton, p_debounce
    )
    on conflict (id) do nothing;
    if not found then
        -- A rival with the same key committed meanwhile; the next try sees its run.
        raise exception 'run % was started by somebody else at the same time', p_id using errcode = 'serialization_failure';
    end if;
    insert into dacapo.deadline (run_id, at) select id, deadline from dacapo.run where id = p_id and deadline is not null;
    if v_waits_for_other then
        insert into dacapo.task_suspended (run_id, reason, inbox_seq, queue, queue_key, priority)
        values (p_id, 'singleton', 0, v_queue_id, case when v_queue_id is not null then coalesce(p_concurrency_key, '') end, p_priority);
        -- If the other one ends before this is committed, nobody else tells.
        perform pg_notify('dacapo_queue', '');
    else
        perform dacapo.place(p_id, v_queue_id, v_is_held, p_concurrency_key, p_priority, v_waits_until);
    end if;
    outcome := 'started';
end $$;

-- The options of a start that say in which queue and when. Locks the queue's row (key share), which only taking it away waits for.
create function dacapo.check_placing(
    p_namespace text, p_options jsonb, out queue text, out queue_id integer, out is_held boolean, out concurrency_key text,
    out priority smallint, out waits_until timestamptz
)
language plpgsql volatile as $$
declare
    v_text text;
    v_number numeric;
    v_delay interval;
begin
    is_held := false;
    queue := nullif(p_options ->> 'queue', 'default');
    if queue is not null then
        select named.id, named.holds into queue_id, is_held
        from dacapo.queue as named
        where named.namespace = p_namespace and named.name = check_placing.queue
        for key share;
        if not found then
            raise exception 'options.queue: there is no queue "%"', left(queue, 200)
                using errcode = 'no_data_found', hint = 'make it with `dacapo queue set`; `dacapo queue list` shows what there is';
        end if;
    end if;
    concurrency_key := p_options ->> 'concurrencyKey';
    if concurrency_key is not null then
        if octet_length(concurrency_key) not between 1 and 200 then
            raise exception 'options.concurrencyKey: expected 1 to 200 bytes, got %', octet_length(concurrency_key)
                using errcode = 'invalid_parameter_value';
        end if;
        if queue is null then
            raise exception 'options.concurrencyKey: limits per key are those of a named queue, and none is given'
                using errcode = 'invalid_parameter_value', hint = 'give the option queue as well';
        end if;
    end if;
    if coalesce(jsonb_typeof(p_options -> 'priority'), 'null') <> 'null' then
        if jsonb_typeof(p_options -> 'priority') = 'number' then
            v_number := (p_options ->> 'priority')::numeric;
        end if;
        if v_number is null or v_number <> trunc(v_number) or v_number not between -100 and 100 then
            raise exception 'options.priority: expected a whole number from -100 to 100, got %',
                dacapo.json_excerpt((p_options -> 'priority')::text)
                using errcode = 'invalid_parameter_value';
        end if;
        priority := nullif(v_number, 0);
    end if;
    if p_options ->> 'delay' is not null and p_options ->> 'at' is not null then
        raise exception 'options.at: expected either at or delay, got both' using errcode = 'invalid_parameter_value';
    end if;
    v_text := p_options ->> 'delay';
    if v_text is not null then
        begin
            v_delay := v_text::interval;
        exception when others then
            raise exception 'options.delay: expected an interval such as 10 minutes, got "%"', left(v_text, 60)
                using errcode = 'invalid_parameter_value';
        end;
        if v_delay < interval '0' or v_delay > interval '3660 days' then
            raise exception 'options.delay: expected 0 to 10 years, got "%"', left(v_text, 60) using errcode = 'invalid_parameter_value';
        end if;
        waits_until := clock_timestamp() + v_delay;
    end if;
    v_text := p_options ->> 'at';
    if v_text is not null then
        begin
            waits_until := v_text::timestamptz;
        exception when others then
            raise exception 'options.at: expected a time such as 2026-11-23T08:00:00Z, got "%"', left(v_text, 60)
                using errcode = 'invalid_parameter_value';
        end;
        if waits_until > '2100-01-01 00:00:00+00' or waits_until = '-infinity' then
            raise exception 'options.at: expected a time before 2100, got "%"', left(v_text, 60) using errcode = 'invalid_parameter_value';
        end if;
    end if;
    if waits_until <= clock_timestamp() then
        waits_until := null;
    end if;
end $$;

-- The options of a start that say how it goes together with other starts.
create function dacapo.check_special(
    p_options jsonb, out singleton text, out on_conflict text, out debounce text, out debounce_ms bigint, out debounce_max_ms bigint
)
language plpgsql immutable as $$
declare
    v_option text;
    v_interval interval;
begin
    singleton := p_options ->> 'singleton';
    on_conflict := p_options ->> 'onConflict';
    debounce := p_options ->> 'debounce';
    if octet_length(singleton) not between 1 and 1000 then
        raise exception 'options.singleton: expected 1 to 1000 bytes, got %', octet_length(singleton)
            using errcode = 'invalid_parameter_value';
    end if;
    if octet_length(debounce) not between 1 and 1000 then
        raise exception 'options.debounce: expected 1 to 1000 bytes, got %', octet_length(debounce)
            using errcode = 'invalid_parameter_value';
    end if;
    if on_conflict not in ('reject', 'queue', 'replace') then
        raise exception 'options.onConflict: expected one of reject, queue, replace, got "%"', left(on_conflict, 60)
            using errcode = 'invalid_parameter_value';
    end if;
    if on_conflict is not null and singleton is null then
        raise exception 'options.onConflict: it is about the option singleton, which is not given' using errcode = 'invalid_parameter_value';
    end if;
    on_conflict := coalesce(on_conflict, 'reject');
    if singleton is not null and on_conflict = 'queue' and coalesce(p_options ->> 'delay', p_options ->> 'at') is not null then
        raise exception 'options.onConflict: a run that waits for another one begins when that has ended: expected neither delay nor at'
            using errcode = 'invalid_parameter_value';
    end if;
    if debounce is not null then
        select key into v_option from jsonb_each_text(p_options)
        where key in ('at', 'delay', 'key', 'singleton') and value is not null order by key limit 1;
        if found then
            raise exception 'options.debounce: it does not go together with the option %', v_option using errcode = 'invalid_parameter_value';
        end if;
    end if;
    for v_option in select unnest(array['debounceFor', 'debounceMax']) loop
        if debounce is null and p_options ->> v_option is not null then
            raise exception 'options.%: it is about the option debounce, which is not given', v_option
                using errcode = 'invalid_parameter_value';
        end if;
        continue when debounce is null or (v_option = 'debounceMax' and p_options ->> v_option is null);
        begin
            v_interval := p_options ->> v_option;
        exception when others then
            v_interval := null;
        end;
        if v_interval is null or v_interval < interval '1 millisecond' or v_interval > interval '30 days' then
            raise exception 'options.%: expected an interval of 1 ms to 30 days, such as 5 seconds, got %',
                v_option, coalesce('"' || left(p_options ->> v_option, 60) || '"', 'nothing')
                using errcode = 'invalid_parameter_value';
        end if;
        if v_option = 'debounceFor' then
            debounce_ms := ceil(extract(epoch from v_interval) * 1000);
            debounce_max_ms := debounce_ms * 10;
        else
            debounce_max_ms := ceil(extract(epoch from v_interval) * 1000);
            if debounce_max_ms < debounce_ms then
                raise exception 'options.debounceMax: expected at least debounceFor (% ms), got % ms', debounce_ms, debounce_max_ms
                    using errcode = 'invalid_parameter_value';
            end if;
        end if;
    end loop;
end $$;

-- Gives a new run its task, and tells the workers.
create function dacapo.place(
    p_run uuid, p_queue integer, p_is_held boolean, p_key text, p_priority smallint, p_waits_until timestamptz
) returns void
language plpgsql volatile as $$
declare
    v_key constant text := case when p_queue is not null then coalesce(p_key, '') end;
begin
    if p_waits_until is not null then
        insert into dacapo.task_suspended (run_id, reason, wake_at, inbox_seq, queue, queue_key, priority)
        values (p_run, 'delay', p_waits_until, 0, p_queue, v_key, p_priority);
        perform pg_notify('dacapo_due', floor(extract(epoch from p_waits_until) * 1000000)::bigint::text);
    elsif p_is_held then
        insert into dacapo.task_suspended (run_id, reason, queued_at, inbox_seq, queue, queue_key, priority)
        values (p_run, 'queue', dacapo.place_in_line(p_priority), 0, p_queue, v_key, p_priority);
        perform pg_notify('dacapo_held', p_queue::text);
    else
        insert into dacapo.task_ready (run_id, ready_at, queue, queue_key, priority)
        values (p_run, dacapo.place_in_line(p_priority), p_queue, v_key, p_priority);
        perform pg_notify('dacapo_ready', case when p_priority > 0 then 'first' else '' end);
    end if;
end $$;

-- As before, with options that are numbers.
create or replace function dacapo.check_options(p_options jsonb, p_known text[]) returns void
language plpgsql immutable as $$
declare
    v_unknown text;
begin
    if jsonb_typeof(p_options) <> 'object' then
        raise exception 'options: expected a JSON object, got %', dacapo.json_excerpt(p_options::text)
            using errcode = 'invalid_parameter_value';
    end if;
    select key into v_unknown from jsonb_object_keys(p_options) as key where key <> all (p_known) order by key limit 1;
    if found then
        raise exception 'options.%: unknown option; expected %', v_unknown, dacapo.listed(p_known)
            using errcode = 'invalid_parameter_value';
    end if;
    select key into v_unknown from jsonb_each(p_options)
    where key not in ('labels', 'priority') and jsonb_typeof(value) not in ('string', 'null') order by key limit 1;
    if found then
        raise exception 'options.%: expected a string, got %', v_unknown, dacapo.json_excerpt((p_options -> v_unknown)::text)
            using errcode = 'invalid_parameter_value';
    end if;
end $$;

-- Starts a run if and when the caller's transaction commits, and answers with its id. The workflow's name is a full one
-- (ns:pkg/interface.function), or an end of one where that is unique. Options:
--   key             at most one run of the workflow has this key while it is kept: starting it again answers with that run's id
--   labels          an object of strings, to find the run by
--   namespace       the tenant; default: default
--   queue           a named queue of the namespace; default: the one without limits
--   priority        a number from -100 to 100; higher goes first
--   concurrencyKey  what the queue's limits per key go by
--   delay           how much later the run begins, as an interval: 10 minutes
--   at              when it begins
--   singleton       at most one active run of the workflow has this key; if there is one when another is started, onConflict says what
--                   happens: reject (the default; an error), queue (it begins when the other has ended), replace (the other is cancelled)
--   debounce        starts with this key that come within debounceFor (an interval) of each other are one run, which has the newest input
--                   and begins when it has been quiet for that long, or debounceMax after the first start (default: ten times as long)
-- Everything that is wrong is an error, and nothing is written then.
create or replace function dacapo.start(workflow text, input text default 'null', options jsonb default '{}') returns uuid
language plpgsql volatile as $$
declare
    p_workflow constant text := workflow;
    p_input constant text := input;
    p_options constant jsonb := coalesce(options, '{}');
    v_namespace text;
    v_key text;
    v_labels jsonb;
    v_names text[];
    v_target record;
    v_schema jsonb;
    v_problem text;
    v_input text;
    v_id uuid;
    v_existing record;
    v_place record;
    v_special record;
    v_outcome record;
begin
    perform dacapo.check_options(
        p_options, array[
            'at', 'concurrencyKey', 'debounce', 'debounceFor', 'debounceMax', 'delay', 'key', 'labels', 'namespace', 'onConflict',
            'priority', 'queue', 'singleton'
        ]
    );
    v_namespace := coalesce(p_options ->> 'namespace', 'default');
    v_key := p_options ->> 'key';
    v_labels := coalesce(nullif(p_options -> 'labels', 'null'), '{}');
    if octet_length(v_key) not between 1 and 1000 then
        raise exception 'options.key: expected 1 to 1000 bytes, got %', octet_length(v_key) using errcode = 'invalid_parameter_value';
    end if;
    if jsonb_typeof(v_labels) <> 'object' then
        raise exception 'options.labels: expected an object of strings, got %', dacapo.json_excerpt(v_labels::text)
            using errcode = 'invalid_parameter_value';
    end if;
    select dacapo.path_to('options.labels', key) into v_problem
    from jsonb_each(v_labels)
    where jsonb_typeof(value) <> 'string' or key = '' or octet_length(key) > 200 or octet_length(value #>> '{}') > 200
    limit 1;
    if found then
        raise exception '%: expected a name and a string of at most 200 bytes each', v_problem
            using errcode = 'invalid_parameter_value';
    end if;
    v_place := dacapo.check_placing(v_namespace, p_options);
    v_special := dacapo.check_special(p_options);
    if p_workflow is null or p_input is null then
        raise exception 'cannot start a run: the % is null', case when p_workflow is null then 'workflow' else 'input' end
            using errcode = 'null_value_not_allowed', hint = 'JSON null is written ''null''';
    end if;

    -- A deployment may be replaced between the look and the insert; then all is looked at again.
    for i in 1..100 loop
        v_names := array(
            select found.name
            from dacapo.workflow as found
            join dacapo.deployment on deployment.id = found.deployment_id
            where deployment.active and deployment.namespace = v_namespace
                and (
                    found.name = p_workflow
                    or right(found.name, length(p_workflow) + 1) in ('.' || p_workflow, '/' || p_workflow, ':' || p_workflow)
                )
            order by found.name = p_workflow desc, found.name
        );
        if cardinality(v_names) = 0 then
            raise exception 'there is no workflow "%"', p_workflow
                using errcode = 'no_data_found', hint = '`dacapo workflows` shows what is deployed';
        elsif cardinality(v_names) > 1 and v_names[1] <> p_workflow then
            raise exception 'the name "%" is ambiguous; it stands for %', p_workflow, array_to_string(v_names, ' and ')
                using errcode = 'ambiguous_alias', hint = 'use a full name';
        end if;
        select found.deployment_id, found.name, found.schema into v_target
        from dacapo.workflow as found
        join dacapo.deployment on deployment.id = found.deployment_id
        where deployment.active and deployment.namespace = v_namespace and found.name = v_names[1];
        continue when not found;
        v_schema := v_target.schema::jsonb;
        v_problem := dacapo.input_problem(p_input, v_schema);
        if v_problem is not null then
            raise exception '%', v_problem using errcode = 'invalid_parameter_value',
                -- By its parts, even if it has a name: that says little to somebody who got the parts wrong.
                hint = v_target.name || ' takes ' || coalesce(dacapo.wit_type(
                    case jsonb_typeof(v_schema #> '{param,type}')
                        when 'object'
                        then v_schema #> '{param,type}' #- '{record,name}' #- '{variant,name}' #- '{enum,name}' #- '{flags,name}'
                        else v_schema #> '{param,type}'
                    end
                ), 'nothing');
        end if;
        v_input := case when v_schema -> 'param' is null then 'null' else p_input end;
        v_id := case
            when v_key is null then dacapo.new_run_id()
            else dacapo.keyed_run_id(v_namespace, v_target.name, v_key)
        end;
        if v_special.singleton is not null or v_special.debounce is not null then
            v_outcome := dacapo.start_special(
                v_id, v_target.name, v_input, v_target.deployment_id, v_labels, null,
                v_place.queue, v_place.priority, v_place.concurrency_key, v_place.waits_until,
                v_special.singleton, v_special.on_conflict, v_special.debounce, v_special.debounce_ms, v_special.debounce_max_ms
            );
            if v_outcome.outcome in ('started', 'debounced') then
                return v_outcome.run;
            elsif v_outcome.outcome = 'taken' then
                raise exception 'the singleton "%" belongs to run %, which is active', v_special.singleton, v_outcome.run
                    using errcode = 'unique_violation', hint = 'wait until it has ended, or say with onConflict: queue or replace';
            end if;
            continue when v_outcome.outcome <> 'exists';
        end if;
        insert into dacapo.run (id, namespace, workflow, deployment_id, input, labels, queue, priority, concurrency_key)
        select v_id, v_namespace, v_target.name, deployment.id, v_input, v_labels, v_place.queue, v_place.priority, v_place.concurrency_key
        from dacapo.deployment
        where deployment.id = v_target.deployment_id and deployment.active
        on conflict (id) do nothing;
        if found then
            perform dacapo.place(
                v_id, v_place.queue_id, v_place.is_held, v_place.concurrency_key, v_place.priority, v_place.waits_until
            );
            return v_id;
        end if;
        select run.input into v_existing from dacapo.run where run.id = v_id;
        if found and v_key is not null then
            if dacapo.is_same_input(v_existing.input, v_input, v_schema) then
                return v_id;
            end if;
            raise exception 'the key "%" belongs to run %, which was started with another input: it has %, this start has %',
                v_key, v_id, dacapo.shortened(v_existing.input), dacapo.shortened(v_input)
                using errcode = 'unique_violation',
                    hint = 'a key names one run: use another key for another input, or the first input to get the same run';
        end if;
    end loop;
    raise exception 'workflow "%" was deployed anew again and again while the run was being started', p_workflow
        using errcode = 'serialization_failure';
end $$;

-- An older worker would claim what is to wait, and lose the columns of queues.
update dacapo.compatibility set breaking = 11;
