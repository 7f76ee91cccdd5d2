//! Starts, watches and steers workflow runs.
//!
//! A client needs the database and nothing else: it holds no WebAssembly and runs no loops of a worker. What it starts is checked
//! against the workflow's type before anything is written.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use dacapo_client::{Client, StartOptions};
//!
//! let client = Client::connect("postgres://localhost/app").await?;
//! let run = client
//!     .start_by_name("users:onboarding/accounts.onboard", r#"{"email": "a@b.c", "name": "Ada"}"#, StartOptions::default())
//!     .await?;
//! let account = client.wait_output(&run).await?;
//! println!("{account}");
//! # Ok(())
//! # }
//! ```
//!
//! [`refs!`] turns a directory of WIT into Rust types and one [`WorkflowRef`] for each workflow, so that starts and results are typed.

#![forbid(unsafe_code)]

mod access;
mod announce;
mod backlog;
mod broadcast;
mod client;
mod deployments;
mod error;
mod event;
mod gather;
mod going_back;
pub mod json;
mod list;
mod logs;
mod options;
mod queues;
mod reference;
mod remote;
mod requests;
mod resolve;
mod retention;
mod retry;
mod run;
mod schedules;
mod sight;
mod start;
mod transfer;
mod wait;
mod watch;
mod workers;
mod workflows;

pub use access::{
    Access, AuditEntry, AuditFilter, AuditPage, CreatedToken, Deed, DeedOutcome, Known, Secret,
    Token, Via,
};
pub use backlog::{Backlog, QueueBacklog};
pub use broadcast::SentToMany;
pub use client::Client;
pub use dacapo_client_macros::refs;
pub use dacapo_model::{
    CatchUp, Change as TypeChange, Descriptor, ExportError, Failure, InputError, Keep, Kind,
    Manifest, ManifestError, Overlap, PRIORITY_LEVELS, PassedOver, PassedOverReason, PatternError,
    Payload, PayloadLimits, PriorityError, REDACTED, RetentionSettings, Role, RoleError, Rollout,
    RunExport, RunId, Scope, Status, Timestamp, WITHHELD, WorkflowPattern, parse_priority,
};
pub use dacapo_store::{
    Begins, Cancelled, Counted, Killed, LimitChange, LogLine, MigrateError, MigrateOutcome,
    MovedRuns, OnConflict, Paused, QueueChange, QueueDepth, Rate, Resumed, RetentionRule,
    RetryPlan, SentEvent, Skipped, SteerOutcome, Steered, Store, migrate,
};
pub use deployments::{
    Activated, Breaking, Collected, Deploy, DeployOutcome, DeploymentChange, DeploymentDetails,
    DeploymentDiff, DeploymentInfo, DeploymentStatus, MOVED_ROWS, WorkflowTypes,
};
pub use error::{Action, ClientError};
pub use event::Event;
pub use going_back::{
    Change, Changed, InBulk, OnDeployment, RerunOptions, SkipOptions, SkippedStep,
};
pub use list::{Cursor, CursorError, ListFilter, Page, RunFilter};
pub use logs::{LogLevel, LogLevelError, LogTail};
pub use options::{Debounce, Singleton, StartOptions};
pub use queues::{PausedWorkflow, Queue, Standstill};
pub use reference::{DecodeError, WorkflowRef};
pub use remote::{Carried, REMOTE_CODES, RemoteAnswer, RemoteProblem, RemoteRequest, Transport};
pub use requests::By;
pub use run::{
    Deployment, FailedAttempt, Intervention, Progress, Run, RunProgress, RunSummary, Step,
    StepOutcome, StepStatus, WaitingFor,
};
pub use schedules::{
    BACKFILL_MAX, Backfilled, Existing, NewSchedule, Schedule, ScheduledRun, Trigger, Trouble, When,
};
pub use sight::Payloads;
pub use start::Started;
pub use watch::Watched;
pub use workers::Worker;
pub use workflows::{EventInfo, ValueInfo, WorkflowInfo};

/// What the code that [`refs!`] generates needs, so that its crate needs no dependency but this one.
#[doc(hidden)]
pub mod generated {
    pub use serde;
    pub use serde_json;
}
