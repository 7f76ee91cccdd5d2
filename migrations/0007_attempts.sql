-- Steps that are tried again. While a step waits for its next attempt its row is open, and `due` is when that begins; the attempts that
-- failed have rows of their own, so that each failure is kept, and a step that succeeds at once costs nothing more than before.

create table dacapo.attempt (
    run_id uuid not null,
    key text not null,
    -- From 1.
    number integer not null,
    started_at timestamptz not null,
    finished_at timestamptz not null,
    failure text not null,
    -- The worker's host:pid, for people.
    worker text not null,
    primary key (run_id, key, number),
    constraint attempt_number_positive check (number > 0)
);

alter table dacapo.step
    drop constraint step_body_never_open,
    drop constraint step_due_only_when_timed,
    add constraint step_open_body_has_due check (kind <> 'step' or outcome is not null or due is not null),
    add constraint step_due_only_when_timed check (due is null or kind in ('wait', 'sleep') or (kind = 'step' and outcome is null));

alter table dacapo.task_suspended
    drop constraint task_suspended_reason_known,
    drop constraint task_suspended_time_has_wake_at,
    drop constraint task_suspended_wake_at_only_when_timed,
    add constraint task_suspended_reason_known check (reason in ('event', 'time', 'retry', 'pause', 'boundary', 'blocked')),
    add constraint task_suspended_time_has_wake_at check (reason not in ('time', 'retry') or wake_at is not null),
    add constraint task_suspended_wake_at_only_when_timed check (wake_at is null or reason in ('event', 'time', 'retry'));

-- An older worker would begin the next attempt at once.
update dacapo.compatibility set breaking = 7;
