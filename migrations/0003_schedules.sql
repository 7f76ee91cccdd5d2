-- Schedules: workflows that are started again and again by the clock.
--
-- A tick is a time at which a schedule asks for a run; the run's id is a hash of schedule and tick, so that run_pkey makes it
-- one. Whoever decides about ticks holds the schedule's row, and moves `next_tick` in the transaction that starts their runs.

create table dacapo.schedule (
    namespace text not null,
    name text not null,
    -- ns:pkg/interface.function, on whatever deployment is active when a tick is started.
    workflow text not null,
    input text not null,
    labels jsonb not null default '{}',
    -- Either a cron expression in a time zone, or an interval.
    cron text,
    time_zone text,
    every_s bigint,
    jitter_ms bigint not null default 0,
    overlap text not null,
    catch_up text not null,
    paused boolean not null default false,
    -- The first tick that nothing was decided about, and when to do so: later by its jitter, or after trouble. None: there are no
    -- more.
    next_tick timestamptz,
    next_at timestamptz,
    -- The run whose end the next tick waits for.
    waiting_for uuid,
    -- The last tick that was started (none if a person triggered it) and its run, which overlap is about.
    last_tick timestamptz,
    last_run uuid,
    -- The last ticks that were passed over: from one on, and before another.
    passed_from timestamptz,
    passed_until timestamptz,
    passed_reason text,
    -- Why the next tick cannot be started, as JSON, and since when.
    trouble text,
    trouble_since timestamptz,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    primary key (namespace, name),
    constraint schedule_cron_or_interval check ((cron is null) <> (every_s is null)),
    constraint schedule_zone_iff_cron check ((cron is null) = (time_zone is null)),
    constraint schedule_interval_positive check (every_s > 0),
    constraint schedule_jitter_not_negative check (jitter_ms >= 0),
    constraint schedule_overlap_known check (overlap in ('skip', 'queue', 'cancel-previous', 'allow')),
    constraint schedule_catch_up_known check (catch_up in ('none', 'one', 'all')),
    constraint schedule_next_at_iff_next_tick check ((next_tick is null) = (next_at is null)),
    constraint schedule_waits_with_a_tick check (waiting_for is null or next_tick is not null),
    constraint schedule_passed_reason_known check (passed_reason in ('missed', 'overlap')),
    constraint schedule_passed_has_reason check ((passed_from is null) = (passed_reason is null)),
    constraint schedule_trouble_has_since check ((trouble is null) = (trouble_since is null)),
    constraint schedule_labels_is_object check (jsonb_typeof(labels) = 'object')
) with (fillfactor = 70);
create index schedule_by_time on dacapo.schedule (next_at) where not paused;
