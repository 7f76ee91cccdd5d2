//! Dacapo's tables and every statement that touches them.
//!
//! This crate is the only one that knows SQL. A statement that moves state is a file under `sql/` with a header that says who calls
//! it, what it locks and what zero rows mean; it decides nothing beyond its own `where`. What is decided with the rows is the
//! business of the callers: the worker and the client.

#![forbid(unsafe_code)]

mod access;
mod children;
mod code;
mod columns;
mod connect;
mod deployments;
mod doctor;
mod error;
mod find;
mod going_back;
mod journal;
mod listen;
mod migrate;
mod moves;
mod queue;
mod queues;
mod recorded;
mod requests;
mod retention;
mod runs;
mod schedules;
mod special;
mod sql_steps;
mod time;
mod transfer;
mod unblock;
mod workers;

pub use access::{
    AuditNote, AuditRow, FindAudit, FoundSession, FoundToken, Grant, Hash, MadeToken, NewToken,
    SessionOf, TokenRow, begin_session, create_token, end_session, find_session, find_token,
    has_tokens, list_audit, list_tokens, manifests, note_audit, note_token_used, revoke_token,
    run_for_access, sweep_audit,
};
pub use children::{
    ChildState, ChildWorkflow, LeftChild, cancel_child, child_state, find_child_workflow,
    has_queue, parents_to_leave, parents_to_tell, tell_parent,
};
pub use code::{ActiveWorkflow, DeploymentRow, WorkflowRow};
pub use code::{
    active_workflow, component_bytes, component_exists, deployment, list_workflows, note_verified,
};
pub use connect::{Store, StoreConnection, in_time};
pub use deployments::{
    Caller, CollectedRow, Dependents, DeploymentChange, DeploymentContent, DeploymentRefusal,
    DeploymentSummary, MovedRuns, NewDeployment, SteerOutcome, Steered, activate,
    collect_deployments, dependents, deploy, deployment_changes, deployment_content,
    list_deployments, moved_to, retire_deployment,
};
pub use doctor::{Examination, Finding, ServingDeployment, examine, serving_deployments};
pub use error::StoreError;
pub use find::{Counted, FindRuns, PageAt, count_runs, count_runs_up_to, list_runs};
pub use going_back::{
    InterventionRow, OpenRow, Rerun, RerunRefusal, RetryPlan, RetryRefusal, SkipRefusal, Skipped,
    count_retriable, count_with_step, deployment_of, interventions, note, open_rows, plan_retry,
    rerun, retry, skip,
};
pub use journal::{ChildStart, End, FlushResult, LogRow, RecordRow, RunWrites, find_flush, flush};
pub use listen::{Channel, Listener, Notice};
pub use migrate::{
    MigrateError, MigrateOutcome, SchemaState, migrate, newest_schema, schema_state,
};
pub use moves::{Move, Moved, WholeRun, look_whole, move_runs, runs_in_flight};
pub use queue::{
    BeatScope, Claim, Claimed, ClaimedRuns, Expired, Heartbeat, InboxEvent, Look, LookBack,
    LookedBack, QueueBeat, RenewedFence, TakeOver, Timers, Woken, claim, close_expired_fences,
    close_own_fences, expire, hand_back, heartbeat, look, look_back, look_back_on, note_alone,
    read_journal_once, register, renew_fence, retire, take_over, vacuum_queue, wake_due,
};
pub use queues::{
    Admitted, Begins, DeletedQueue, FleetRow, LimitChange, Placing, PlacingDefaults, QueueChange,
    QueueDepth, QueueRow, Rate, Standstill, admit, begin_standstill, delete_queue, end_standstill,
    fleet, is_queue, list_queues, pause_queue, pause_workflow, paused_workflows, queue_depths,
    resume_workflow, set_queue, standstill, take_up,
};
pub use requests::{
    Cancelled, Killed, NotSent, Paused, Refusal, Request, Requested, Resumed, SendEvent, SentEvent,
    cancel, kill, pause, request, resume, send_event, send_event_to_many,
};
pub use retention::{
    RetentionRule, Swept, reset_retention, retention_rules, set_retention, sweep,
    take_retention_turn,
};
pub use runs::{
    FailedAttemptRow, FindLines, JournalSum, KnownSteps, LogLine, RunRow, StartResult, StartRun,
    StepRow, existing_runs, get_run, get_runs, log_lines, start_runs, steps_done, steps_of,
    steps_since,
};
pub use schedules::{
    DueLook, DueSchedule, DueSchedules, DueTick, ScheduleAdvance, ScheduleDefinition, ScheduleRow,
    ScheduleTarget, create_schedule, database_time, delete_schedule, list_schedules,
    lock_due_schedules, lock_schedule, note_triggered, pause_schedule, replace_schedule,
    resume_schedule, schedule_trouble,
};
pub use special::{OnConflict, Special, SpecialStart, promote_singletons, start_special};
pub use sql_steps::{
    BegunSqlStep, EarlierTransaction, FinishedSqlStep, SqlCaps, SqlConnection, SqlRole,
    SqlRoleError, SqlToken, SqlTransaction, SqlTransactionId, TakenBackSqlStep, begin_sql_step,
    sql_failure, take_back_sql_step,
};
pub use time::Time;
pub use transfer::{Imported, export_run, import_run};
pub use unblock::{NEWER_COMPONENT, missing_secrets, unblock_newer, unblock_secrets};
pub use workers::{WorkerRow, list_workers};
