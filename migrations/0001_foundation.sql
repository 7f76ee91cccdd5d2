-- The whole foundation. The schema `dacapo` exists already: it holds the table of applied migrations.
--
-- Every table that holds a run's state has the run's id first in its key and no foreign key, so that it can be distributed by
-- run id. A run that is not finished has exactly one row in exactly one of task_ready, task_leased and task_suspended; the row
-- moves between them (delete and insert in one statement), because updating an indexed column is never HOT.

-- What code can work with this schema: a binary whose newest migration is older than `breaking` must not touch it.
create table dacapo.compatibility (
    only_row boolean primary key default true,
    breaking bigint not null,
    constraint compatibility_only_row check (only_row)
);
insert into dacapo.compatibility (breaking) values (1);

-- Code ---------------------------------------------------------------------------------------------------------------------

create table dacapo.component (
    digest text primary key,
    bytes bytea not null,
    created_at timestamptz not null default clock_timestamp(),
    constraint component_digest_is_sha256 check (digest ~ '^[0-9a-f]{64}$')
);

create table dacapo.deployment (
    id bigint generated always as identity primary key,
    namespace text not null,
    package text not null,
    number integer not null,
    digest text not null references dacapo.component (digest),
    -- The descriptor of the component: its workflows with their types, as JSON.
    descriptor text not null,
    active boolean not null,
    created_at timestamptz not null default clock_timestamp(),
    constraint deployment_number_positive check (number > 0),
    constraint deployment_number_unique unique (namespace, package, number)
);
create unique index deployment_one_active on dacapo.deployment (namespace, package) where active;

create table dacapo.workflow (
    deployment_id bigint not null references dacapo.deployment (id),
    -- ns:pkg/interface.function
    name text not null,
    function text not null,
    -- The workflow's types as JSON, one element of the deployment's descriptor.
    schema text not null,
    primary key (deployment_id, name)
);
create index workflow_by_function on dacapo.workflow (function);

-- Runs ---------------------------------------------------------------------------------------------------------------------

create table dacapo.run (
    id uuid primary key,
    namespace text not null,
    workflow text not null,
    deployment_id bigint not null,
    -- `active` until it is done; what an active run is doing is told by the task table that holds it (view run_status).
    status text not null default 'active',
    input text not null,
    output text,
    failure text,
    labels jsonb not null default '{}',
    cancel_requested_at timestamptz,
    created_at timestamptz not null default clock_timestamp(),
    started_at timestamptz,
    finished_at timestamptz,
    constraint run_status_known check (status in ('active', 'completed', 'failed', 'cancelled')),
    constraint run_finished_at_iff_done check ((status = 'active') = (finished_at is null)),
    constraint run_output_iff_completed check ((status = 'completed') = (output is not null)),
    constraint run_failure_only_when_unsuccessful check (failure is null or status in ('failed', 'cancelled')),
    constraint run_failed_has_failure check (status <> 'failed' or failure is not null),
    constraint run_cancelled_was_requested check (status <> 'cancelled' or cancel_requested_at is not null),
    constraint run_labels_is_object check (jsonb_typeof(labels) = 'object')
) with (fillfactor = 85);
create index run_by_creation on dacapo.run (namespace, created_at, id);
create index run_by_label on dacapo.run using gin (labels jsonb_path_ops) where labels <> '{}';

-- The journal. Rows are inserted once; an open row (a wait that was reached) is completed once.
create table dacapo.step (
    run_id uuid not null,
    -- scope/name#occurrence
    key text not null,
    -- Order in which the run first reached its steps, from 1.
    position integer not null,
    kind text not null,
    outcome text,
    -- The value when the outcome is `ok`, the failure when it is `failed`, as JSON text exactly as given.
    payload text,
    due timestamptz,
    started_at timestamptz not null,
    finished_at timestamptz,
    primary key (run_id, key),
    constraint step_kind_known check (kind in ('step', 'wait', 'sleep', 'pause')),
    constraint step_outcome_known check (outcome in ('ok', 'failed', 'timed-out', 'cancelled')),
    constraint step_finished_at_iff_outcome check ((outcome is null) = (finished_at is null)),
    constraint step_payload_iff_value check ((outcome is not null and outcome in ('ok', 'failed')) = (payload is not null)),
    constraint step_body_never_open check (kind <> 'step' or outcome is not null),
    constraint step_due_only_when_timed check (due is null or kind in ('wait', 'sleep')),
    constraint step_sleep_has_due check (kind <> 'sleep' or outcome = 'cancelled' or due is not null)
);

-- The inbox. `seq` comes from the run's task row, whose lock orders the senders of one run.
create table dacapo.event (
    run_id uuid not null,
    seq integer not null,
    name text not null,
    payload text not null,
    delivery_id text,
    received_at timestamptz not null default clock_timestamp(),
    -- The key of the wait that took it.
    taken_by text,
    primary key (run_id, seq)
) with (fillfactor = 85);
create unique index event_delivered_once on dacapo.event (run_id, delivery_id) where delivery_id is not null;

create table dacapo.log (
    run_id uuid not null,
    -- UUIDv7: lines of one run sort by it.
    id uuid not null,
    at timestamptz not null,
    level text not null,
    -- The step whose attempt was open.
    step text,
    source text not null,
    message text not null,
    fields text,
    primary key (run_id, id),
    constraint log_level_known check (level in ('trace', 'debug', 'info', 'warn', 'error')),
    constraint log_source_known check (source in ('log', 'stdout', 'stderr'))
);

-- The queue ----------------------------------------------------------------------------------------------------------------
-- Columns that travel with the row:
--   started_at          when a worker first took the run
--   inbox_seq           counts all that was sent to the run; whoever sends updates it, whoever gives the run up compares it
--   signal              a request that the run's worker has yet to act on
--   takeovers           how often in a row the run was taken over from a dead worker without a new outcome in its journal
--   takeover_progress   outcomes in the journal at the last takeover

create table dacapo.task_ready (
    run_id uuid primary key,
    ready_at timestamptz not null default clock_timestamp(),
    started_at timestamptz,
    inbox_seq integer not null default 0,
    signal text,
    takeovers smallint not null default 0,
    takeover_progress integer,
    constraint task_ready_signal_known check (signal = 'cancel')
) with (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
create index task_ready_in_order on dacapo.task_ready (ready_at, run_id);

create table dacapo.task_leased (
    run_id uuid primary key,
    worker_id uuid not null,
    leased_at timestamptz not null default clock_timestamp(),
    started_at timestamptz not null,
    inbox_seq integer not null,
    signal text,
    takeovers smallint not null,
    takeover_progress integer,
    constraint task_leased_signal_known check (signal in ('pause', 'cancel'))
) with (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);

create table dacapo.task_suspended (
    run_id uuid primary key,
    -- What the run waits for: an event, a time, a person (`pause` in the code, `boundary` when paused from outside), or for
    -- its cause of trouble to be mended.
    reason text not null,
    -- Names of the events that wake it.
    events text[],
    wake_at timestamptz,
    -- Neither events nor time wake a paused run.
    paused boolean not null default false,
    -- Why it is blocked, as JSON.
    blocked text,
    suspended_at timestamptz not null default clock_timestamp(),
    started_at timestamptz,
    inbox_seq integer not null,
    constraint task_suspended_reason_known check (reason in ('event', 'time', 'pause', 'boundary', 'blocked')),
    constraint task_suspended_events_iff_event check ((reason = 'event') = (events is not null)),
    constraint task_suspended_time_has_wake_at check (reason <> 'time' or wake_at is not null),
    constraint task_suspended_wake_at_only_when_timed check (wake_at is null or reason in ('event', 'time')),
    constraint task_suspended_person_means_paused check (reason not in ('pause', 'boundary') or paused),
    constraint task_suspended_blocked_has_reason check ((reason = 'blocked') = (blocked is not null))
) with (fillfactor = 85);
create index task_suspended_by_time on dacapo.task_suspended (wake_at) where wake_at is not null and not paused;

-- Workers ------------------------------------------------------------------------------------------------------------------
-- A worker process that was fenced registers again under a new id, so an id is one incarnation.

create table dacapo.worker (
    id uuid primary key,
    -- host:pid, for people.
    name text not null,
    version text not null,
    started_at timestamptz not null default clock_timestamp(),
    -- Renewed by heartbeat; when it has passed, others may take the worker's runs over.
    lease_until timestamptz not null
) with (fillfactor = 50);

-- One row for each connection that a worker writes through. Each write takes its own row `for share`, so that writers do not
-- wait for each other; a takeover closes them all and thereby waits for the writes that are under way.
create table dacapo.fence (
    worker_id uuid not null,
    connection smallint not null,
    open boolean not null default true,
    primary key (worker_id, connection)
) with (fillfactor = 50);

-- Reading ------------------------------------------------------------------------------------------------------------------

-- The status of each run in the words that people see.
create view dacapo.run_status as
select
    run.id as run_id,
    case
        when run.status <> 'active' then run.status
        when suspended.reason = 'blocked' then 'blocked'
        when run.cancel_requested_at is not null then 'cancelling'
        when suspended.paused then 'paused'
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
