//! What bodies are described as. What is answered has serde forms of the client's own; these say the same as types of OpenAPI, and the tests
//! of the server hold the two together.

#![allow(dead_code, reason = "they describe")]

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;

/// Any JSON.
pub(crate) type Json = Value;

/// What went wrong: RFC 9457.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct Problem {
    /// `urn:dacapo:problem:` and the code
    r#type: String,
    /// The code in a few words
    title: String,
    /// The status of the answer
    status: u16,
    /// A word for programs, which stays the same across versions
    code: String,
    /// What is wrong, with its place
    detail: String,
    /// What to do about it
    hint: Option<String>,
    /// The run that it is about, or that is in the way
    #[schema(format = "uuid")]
    run: Option<String>,
    /// Which of many starts it is, from 0
    index: Option<u64>,
    /// What would break whom
    changes: Option<Vec<TypeChange>>,
}

/// What a run is doing.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum Status {
    Queued,
    Running,
    Suspended,
    Paused,
    Cancelling,
    Completed,
    Failed,
    Cancelled,
    Blocked,
}

/// How many runs there are in each status that was asked for.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) struct Counts {
    queued: Option<u64>,
    running: Option<u64>,
    suspended: Option<u64>,
    paused: Option<u64>,
    cancelling: Option<u64>,
    completed: Option<u64>,
    failed: Option<u64>,
    cancelled: Option<u64>,
    blocked: Option<u64>,
}

/// A deployment by its name for people.
#[derive(ToSchema)]
pub(crate) struct Deployment {
    /// `ns:name`
    package: String,
    /// Its number within the package, from 1
    #[schema(minimum = 1)]
    number: i32,
}

/// What went wrong as part of a workflow's story.
#[derive(ToSchema)]
pub(crate) struct Failure {
    /// A word for programs
    code: String,
    /// One sentence for people
    message: String,
    /// Whether trying the same thing again could help
    retryable: bool,
    /// Whatever else a program might want to know
    #[schema(required = false)]
    details: Json,
}

/// How far a run is.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct RunProgress {
    /// What is done, as its code said, or steps and waits with an outcome
    done: u64,
    /// All that there is to do, if its code said that
    total: Option<u64>,
    /// What its code said about it
    note: Option<String>,
    /// When its code said so
    #[schema(format = "date-time")]
    said_at: Option<String>,
}

/// How far a run is, and how it stands.
#[derive(ToSchema)]
pub(crate) struct Progress {
    #[schema(format = "uuid")]
    run: String,
    status: Status,
    /// What is done, as its code said, or steps and waits with an outcome
    done: u64,
    /// All that there is to do, if its code said that
    total: Option<u64>,
    /// What its code said about it
    note: Option<String>,
}

/// What a run waits for.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct WaitingFor {
    /// `event`, `child`, `time`, `retry`, `pause`, `boundary`, `blocked`, `queue`, `delay`, `workflow`, `singleton`
    reason: String,
    /// The events that let it go on
    #[schema(required = false)]
    events: Vec<String>,
    /// When it goes on whatever happens
    #[schema(format = "date-time")]
    wake_at: Option<String>,
}

/// A run as it stands, without its steps.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct RunSummary {
    #[schema(format = "uuid")]
    id: String,
    /// The full name of its workflow
    workflow: String,
    deployment: Deployment,
    status: Status,
    /// What it was started with
    input: Json,
    /// What it returned, once it is completed
    output: Json,
    failure: Option<Failure>,
    labels: BTreeMap<String, String>,
    #[schema(format = "date-time")]
    created_at: String,
    /// When it is ended if it has not ended by itself
    #[schema(format = "date-time")]
    deadline: Option<String>,
    /// The run that started it, if one did
    #[schema(format = "uuid")]
    parent: Option<String>,
    /// The named queue that it is in
    queue: Option<String>,
    /// Runs with a higher one go first; 0 where it is left out
    priority: Option<i16>,
    concurrency_key: Option<String>,
    /// When a worker first took it
    #[schema(format = "date-time")]
    started_at: Option<String>,
    #[schema(format = "date-time")]
    finished_at: Option<String>,
    progress: RunProgress,
    waiting_for: Option<WaitingFor>,
    /// Why it cannot go on, while it is blocked
    #[schema(required = false)]
    blocked: Json,
}

/// A run as it stands, with its steps.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct Run {
    #[schema(format = "uuid")]
    id: String,
    /// The full name of its workflow
    workflow: String,
    deployment: Deployment,
    status: Status,
    /// What it was started with
    input: Json,
    /// What it returned, once it is completed
    output: Json,
    failure: Option<Failure>,
    labels: BTreeMap<String, String>,
    #[schema(format = "date-time")]
    created_at: String,
    /// When it is ended if it has not ended by itself
    #[schema(format = "date-time")]
    deadline: Option<String>,
    /// The run that started it, if one did
    #[schema(format = "uuid")]
    parent: Option<String>,
    /// The named queue that it is in
    queue: Option<String>,
    /// Runs with a higher one go first; 0 where it is left out
    priority: Option<i16>,
    concurrency_key: Option<String>,
    /// When a worker first took it
    #[schema(format = "date-time")]
    started_at: Option<String>,
    #[schema(format = "date-time")]
    finished_at: Option<String>,
    progress: RunProgress,
    waiting_for: Option<WaitingFor>,
    /// Why it cannot go on, while it is blocked
    #[schema(required = false)]
    blocked: Json,
    /// Its steps, in the order in which it first reached them
    steps: Vec<Step>,
    /// What people did to it, and noted, the oldest first
    #[schema(required = false)]
    interventions: Vec<Intervention>,
}

/// Something that a person did to a run.
#[derive(ToSchema)]
pub(crate) struct Intervention {
    #[schema(format = "date-time")]
    at: String,
    /// `rerun`, `rerun-of`, `retry`, `skip`, `import`, `note`, `pause`, `resume`, `cancel`, `force-cancel`, `move`
    action: String,
    /// Who, as they said
    who: String,
    /// What exactly
    details: Json,
}

/// What an entry of a journal records.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum Kind {
    Step,
    Wait,
    Sleep,
    Pause,
    Fork,
    Branch,
    Child,
    Change,
}

/// How a step stands.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
pub(crate) enum StepStatus {
    Completed,
    Failed,
    Waiting,
    Retrying,
    TimedOut,
    Cancelled,
}

/// How a step came out: one of these.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct StepOutcome {
    /// Its result; an event's payload for a wait
    #[schema(required = false)]
    ok: Json,
    failed: Option<Failure>,
    timed_out: Option<bool>,
    cancelled: Option<bool>,
}

/// A step or a wait of a run.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct Step {
    /// Its place in the run: `scope/name#occurrence`
    key: String,
    name: String,
    kind: Kind,
    status: StepStatus,
    /// How often its body was tried and ended; 0 for waits
    attempts: u32,
    /// How it came out; none while it waits
    outcome: Option<StepOutcome>,
    #[schema(format = "date-time")]
    started_at: String,
    #[schema(format = "date-time")]
    finished_at: Option<String>,
    /// When the wait ends by itself, or the next attempt begins
    #[schema(format = "date-time")]
    due: Option<String>,
    /// Its attempts that failed, the first one first
    #[schema(required = false)]
    failed_attempts: Vec<FailedAttempt>,
}

/// An attempt at a step that failed.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct FailedAttempt {
    /// Which one it was, from 1
    number: u32,
    #[schema(format = "date-time")]
    started_at: String,
    #[schema(format = "date-time")]
    finished_at: String,
    failure: Failure,
    /// The worker that made it, as `host:pid`
    worker: String,
}

/// A part of the list of runs, the newest first.
#[derive(ToSchema)]
pub(crate) struct RunPage {
    items: Vec<RunSummary>,
    /// The `cursor` of what comes behind this; none at the end
    next: Option<String>,
    /// The `backFrom` of what comes before this; none at the beginning
    previous: Option<String>,
}

/// A line of a run's log.
#[derive(ToSchema)]
pub(crate) struct LogLine {
    /// What a page goes on behind
    #[schema(format = "uuid")]
    id: String,
    #[schema(format = "date-time")]
    at: String,
    /// `trace`, `debug`, `info`, `warn`, `error`
    level: String,
    /// The step whose attempt was open
    step: Option<String>,
    /// `log`, `stdout`, `stderr`
    source: String,
    message: String,
    /// Names and values
    fields: Json,
}

/// A run that was started, or found.
#[derive(ToSchema)]
pub(crate) struct Started {
    #[schema(format = "uuid")]
    run: String,
    /// False: a run with this key was there already, with an equal input, or one that waits for more starts, and this is it
    created: bool,
    /// The full name of its workflow
    workflow: String,
    /// The deployment that such a run goes to now; the run's own if it was created
    deployment: Deployment,
}

/// What became of an event.
#[derive(ToSchema)]
pub(crate) struct EventSent {
    #[schema(format = "uuid")]
    run: String,
    /// The event's name
    event: String,
    /// An event with this id was received before
    duplicate: bool,
}

/// What became of a run.
#[derive(ToSchema)]
pub(crate) struct RunStatus {
    #[schema(format = "uuid")]
    run: String,
    /// What it is doing now
    status: Status,
}

/// The run that another one was started again as.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct Rerun {
    #[schema(format = "uuid")]
    run: String,
    #[schema(format = "uuid")]
    new_run: String,
}

/// What a run went back to.
#[derive(ToSchema)]
pub(crate) struct Retried {
    #[schema(format = "uuid")]
    run: String,
    status: Status,
    /// The failed steps that are tried again
    opened: Vec<String>,
    /// What is removed from the journal
    removed: Vec<String>,
}

/// What was finished in a run's place.
#[derive(ToSchema)]
pub(crate) struct SkippedStep {
    #[schema(format = "uuid")]
    run: String,
    status: Status,
    /// The key of the step or wait
    step: String,
}

/// A note that was left.
#[derive(ToSchema)]
pub(crate) struct Noted {
    #[schema(format = "uuid")]
    run: String,
    note: String,
    who: String,
}

/// What became of many runs, or how many there would be.
#[derive(ToSchema)]
pub(crate) struct InBulk {
    /// How many runs would be changed; of a dry run alone
    runs: Option<u64>,
    /// Those that were changed
    #[schema(required = false)]
    changed: Vec<Changed>,
    /// Those that do not allow it, and why
    #[schema(required = false)]
    refused: Vec<Refused>,
    /// What kept the rest from being looked at, if anything did
    stopped: Option<Problem>,
}

/// A run that was changed.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct Changed {
    #[schema(format = "uuid")]
    run: String,
    /// The run that it was started again as
    #[schema(format = "uuid")]
    new_run: Option<String>,
}

/// A run that was left as it is.
#[derive(ToSchema)]
pub(crate) struct Refused {
    #[schema(format = "uuid")]
    run: String,
    code: String,
    message: String,
}

/// What became of an event for many runs, or how many there would be.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct SentToMany {
    /// How many runs would be sent it; of a dry run alone
    runs: Option<u64>,
    /// The id of the delivery: sent again under it, the event reaches those alone that have not received it yet
    delivery_id: Option<String>,
    /// Runs that have received it now
    sent: Option<u64>,
    /// Runs that had received it before
    duplicates: Option<u64>,
    /// Runs whose workflows declare their events, and not this one
    refused: Option<u64>,
    /// What is wrong with it for the first of these
    refusal: Option<Problem>,
    /// What kept the rest from receiving it, if anything did
    stopped: Option<Problem>,
}

/// What a workflow takes or returns.
#[derive(ToSchema)]
pub(crate) struct ValueInfo {
    /// The name of the parameter
    name: Option<String>,
    /// The type in WIT syntax
    r#type: String,
    /// The JSON Schema (2020-12) of the type
    #[schema(value_type = Object)]
    schema: Json,
}

/// An event that a workflow declares.
#[derive(ToSchema)]
pub(crate) struct EventInfo {
    name: String,
    /// What its payload is; none if it has none, which is `null` in JSON
    payload: Option<ValueInfo>,
    docs: Option<String>,
}

/// When a failed attempt is followed by another one.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct RetryPolicy {
    max_attempts: u32,
    initial_ms: u64,
    factor: f32,
    max_ms: u64,
}

/// A workflow that can be started.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct Workflow {
    /// Its full name, `ns:pkg/interface.function`
    name: String,
    /// The deployment that new runs go to
    deployment: Deployment,
    /// SHA-256 of the component, in hex
    digest: String,
    #[schema(format = "date-time")]
    deployed_at: String,
    /// What it takes; none if it takes nothing
    input: Option<ValueInfo>,
    /// What it returns; none if it returns nothing
    output: Option<ValueInfo>,
    /// The events that it declares; empty if any will do
    events: Vec<EventInfo>,
    retry: Option<RetryPolicy>,
    queue: Option<String>,
    priority: Option<i16>,
    /// How long runs are kept once they have ended, where the manifest says it
    retention: Json,
    /// Why its runs are blocked, if its deployment is one that cannot be used
    problem: Option<String>,
    /// What its WIT says about it
    docs: Option<String>,
    /// It and its types as data, as in a descriptor; if that was asked for
    #[schema(required = false)]
    definition: Json,
    /// Whether something in its payloads is kept from who asks; if `definition` was asked for
    has_secrets: Option<bool>,
}

/// Whether a workflow is paused.
#[derive(ToSchema)]
pub(crate) struct WorkflowPaused {
    /// Its full name
    workflow: String,
    paused: bool,
}

/// A workflow whose runs are not played.
#[derive(ToSchema)]
pub(crate) struct PausedWorkflow {
    /// Its full name
    workflow: String,
    #[schema(format = "date-time")]
    since: String,
}

/// How a deployment stands.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
pub(crate) enum DeploymentStatus {
    Active,
    RollingOut,
    Inactive,
    Retired,
}

/// The part of the new runs that goes to a deployment while it is rolled out.
#[derive(ToSchema)]
pub(crate) struct Rollout {
    /// Of a hundred new runs so many
    #[schema(maximum = 100)]
    percent: u8,
    /// In any case those that have all these labels
    labels: BTreeMap<String, String>,
}

/// What was done to a deployment.
#[derive(ToSchema)]
pub(crate) struct DeploymentChange {
    /// `deployed`, `activated`, `rolled-out`, `retired`, `unretired`
    what: String,
    who: String,
    #[schema(format = "date-time")]
    at: String,
    rollout: Option<Rollout>,
}

/// A deployment.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct DeploymentInfo {
    package: String,
    number: i32,
    status: DeploymentStatus,
    rollout: Option<Rollout>,
    /// SHA-256 of the component, in hex
    digest: String,
    #[schema(format = "date-time")]
    deployed_at: String,
    #[schema(format = "date-time")]
    retired_at: Option<String>,
    last_change: Option<DeploymentChange>,
    runs_in_flight: i64,
}

/// A workflow with its types.
#[derive(ToSchema)]
pub(crate) struct WorkflowTypes {
    name: String,
    input: Option<ValueInfo>,
    output: Option<ValueInfo>,
    events: Vec<EventInfo>,
}

/// A deployment with what is in it.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct DeploymentDetails {
    package: String,
    number: i32,
    status: DeploymentStatus,
    rollout: Option<Rollout>,
    /// SHA-256 of the component, in hex
    digest: String,
    #[schema(format = "date-time")]
    deployed_at: String,
    #[schema(format = "date-time")]
    retired_at: Option<String>,
    last_change: Option<DeploymentChange>,
    runs_in_flight: i64,
    /// The version of its WIT package
    version: Option<String>,
    workflows: Vec<WorkflowTypes>,
    /// The workflows of other packages that it calls, as it knows them
    calls: Vec<WorkflowTypes>,
    /// The interfaces that it imports
    imports: Vec<String>,
    /// What it says beside its code
    #[schema(value_type = Object)]
    manifest: Json,
    /// What was done to it, in its order
    changes: Vec<DeploymentChange>,
}

/// A difference between two deployments of a workflow.
#[derive(ToSchema)]
pub(crate) struct TypeChange {
    /// The workflow's full name
    workflow: String,
    /// Where: `input.items[].price`, `output`, `events.paid`; empty: the workflow as a whole
    place: String,
    /// Somebody who got along with the old one may not get along with the new one
    breaking: bool,
    what: String,
}

/// What is different between two deployments of a package.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct DeploymentDiff {
    package: String,
    from: i32,
    to: i32,
    same_component: bool,
    changes: Vec<TypeChange>,
    imports_added: Vec<String>,
    imports_removed: Vec<String>,
    calls_added: Vec<String>,
    calls_removed: Vec<String>,
    /// Both manifests, where they are different
    manifests: Option<Vec<Json>>,
}

/// What became of a deployment.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
pub(crate) enum Steered {
    Created,
    Activated,
    RolledOut,
    Same,
    Retired,
    Unretired,
    Moved,
}

/// What steering a deployment did.
#[derive(ToSchema)]
pub(crate) struct SteerOutcome {
    package: String,
    number: i32,
    /// The number of the deployment that was active before
    before: Option<i32>,
    outcome: Steered,
    /// The number of the deployment that is being rolled out beside the same bytes, and goes on
    beside: Option<i32>,
    /// The number of the deployment whose roll-out has been ended by a new one
    ended: Option<i32>,
}

/// What an activation did.
#[derive(ToSchema)]
pub(crate) struct Activated {
    package: String,
    number: i32,
    /// The number of the deployment that was active before
    before: Option<i32>,
    outcome: Steered,
    beside: Option<i32>,
    ended: Option<i32>,
    /// What is different from the deployment that was active
    changes: Vec<TypeChange>,
}

/// What would become of runs in flight with other code.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct Proof {
    /// How many would go on
    proven: u64,
    /// How many would not
    not_proven: u64,
    /// How many there are, if not all of them were tried
    sampled_of: Option<u64>,
    /// What was found, by workflow, verdict and reason
    findings: Vec<ProofFinding>,
}

/// Runs that were tried with the same result.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct ProofFinding {
    /// Full name of their workflow
    workflow: String,
    /// `goes-on`, `goes-on-to`, `completes`, `fails`, `fails-as-before`, `diverges`, `journal-limit`, `input`, `event` or `no-workflow`
    verdict: String,
    /// The same in words for people
    says: String,
    /// Why; empty where nothing is wrong
    reason: String,
    /// How many they are
    runs: u64,
    /// One of them
    #[schema(format = "uuid")]
    example: String,
    /// The code may take them over
    is_proven: bool,
}

/// What a deploy did.
#[derive(ToSchema)]
pub(crate) struct Deployed {
    package: String,
    number: i32,
    /// False: this very component and manifest are in service already, and no deployment was made
    created: bool,
    outcome: Steered,
    /// The number of the deployment that was active before, if another one was
    before: Option<i32>,
    rollout: Option<Rollout>,
    beside: Option<i32>,
    ended: Option<i32>,
    /// What is different in types from the deployment that was active
    changes: Vec<TypeChange>,
    /// The settings of the manifest that are other ones than those of the deployment that was active
    settings: Vec<SettingChange>,
    /// SHA-256 of the component, in hex
    digest: String,
    /// The full names of its workflows
    workflows: Vec<String>,
    /// Those of the workflows of other packages that it calls
    calls: Vec<String>,
}

/// A setting of a manifest that is another one.
#[derive(ToSchema)]
pub(crate) struct SettingChange {
    /// The names that lead to it: `retry.attempts`
    setting: String,
    /// What it was; `null`: it was not there
    before: Json,
    /// What it is; `null`: it is not there
    now: Json,
}

/// What was taken away because nothing needs it, or would be.
#[derive(ToSchema)]
pub(crate) struct Collected {
    /// None: a component that no deployment had
    namespace: Option<String>,
    package: Option<String>,
    number: Option<i32>,
    /// SHA-256 of its component, in hex
    digest: String,
    /// The size of the component if that goes, too
    bytes: Option<i64>,
}

/// What becomes of a tick that comes while the run of an earlier one is active.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
pub(crate) enum Overlap {
    Skip,
    Queue,
    CancelPrevious,
    Allow,
}

/// What becomes of ticks that were missed because no worker was there.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
pub(crate) enum CatchUp {
    None,
    One,
    All,
}

/// A run of a schedule.
#[derive(ToSchema)]
pub(crate) struct ScheduledRun {
    #[schema(format = "uuid")]
    id: String,
    /// Its tick; none if a person triggered it
    #[schema(format = "date-time")]
    tick: Option<String>,
    /// None if the run is not there any more
    status: Option<Status>,
}

/// Ticks that were passed over.
#[derive(ToSchema)]
pub(crate) struct PassedOver {
    #[schema(format = "date-time")]
    from: String,
    #[schema(format = "date-time")]
    until: Option<String>,
    /// `missed`, `overlap`
    reason: String,
}

/// Why a tick cannot be started.
#[derive(ToSchema)]
pub(crate) struct Trouble {
    code: String,
    message: String,
    #[schema(format = "date-time")]
    since: String,
}

/// A schedule as it stands.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct Schedule {
    name: String,
    /// The full name of the workflow that it starts
    workflow: String,
    input: Json,
    labels: BTreeMap<String, String>,
    queue: Option<String>,
    priority: Option<i16>,
    concurrency_key: Option<String>,
    cron: Option<String>,
    time_zone: Option<String>,
    every_seconds: Option<i64>,
    jitter_ms: u64,
    overlap: Overlap,
    catch_up: CatchUp,
    paused: bool,
    /// The ticks that come
    #[schema(value_type = Vec<Time>)]
    next_ticks: Vec<String>,
    /// The run whose end the next tick waits for
    #[schema(format = "uuid")]
    waiting_for: Option<String>,
    last_run: Option<ScheduledRun>,
    passed_over: Option<PassedOver>,
    trouble: Option<Trouble>,
    #[schema(format = "date-time")]
    created_at: String,
    #[schema(format = "date-time")]
    updated_at: String,
}

/// A point in time: RFC 3339.
#[derive(ToSchema)]
#[schema(value_type = String, format = "date-time")]
pub(crate) struct Time(String);

/// A schedule that was taken away.
#[derive(ToSchema)]
pub(crate) struct ScheduleDeleted {
    schedule: String,
    deleted: bool,
}

/// A run of a schedule beside its ticks.
#[derive(ToSchema)]
pub(crate) struct Triggered {
    schedule: String,
    #[schema(format = "uuid")]
    run: String,
}

/// What a backfill did.
#[derive(ToSchema)]
pub(crate) struct Backfilled {
    /// The ticks of the time that was given
    #[schema(value_type = Vec<Time>)]
    ticks: Vec<String>,
    /// How many of them were started now; none of a dry run
    started: Option<u64>,
    /// How many had a run already
    existing: Option<u64>,
}

/// Runs that begin within any stretch of time of this length.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct Rate {
    #[schema(minimum = 1, maximum = 1000000)]
    runs: u32,
    #[schema(minimum = 100, maximum = 2678400000_i64)]
    per_ms: u64,
}

/// A named queue as it stands.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct Queue {
    name: String,
    concurrency: Option<u32>,
    concurrency_per_key: Option<u32>,
    rate: Option<Rate>,
    rate_per_key: Option<Rate>,
    paused: bool,
    /// Runs that wait: for their turn, or for a worker
    queued: u64,
    /// Runs that a worker plays
    running: u64,
    /// Active runs that wait for something else
    suspended: u64,
    #[schema(format = "date-time")]
    created_at: String,
    #[schema(format = "date-time")]
    updated_at: String,
}

/// Since when no worker takes anything, and why.
#[derive(ToSchema)]
pub(crate) struct Standstill {
    #[schema(format = "date-time")]
    since: String,
    reason: Option<String>,
}

/// The queues, and whether everything is paused.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct Queues {
    queues: Vec<Queue>,
    all_paused: Option<Standstill>,
}

/// Whether everything is paused.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct AllPaused {
    all_paused: Option<Standstill>,
}

/// A queue that was taken away.
#[derive(ToSchema)]
pub(crate) struct QueueDeleted {
    queue: String,
    deleted: bool,
}

/// How long some runs are kept once they have ended.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct RetentionRule {
    /// The full name of the workflow; none: all
    workflow: Option<String>,
    /// None: however they ended
    status: Option<Status>,
    /// None: for ever
    keep_seconds: Option<u64>,
}

/// A worker that has put its name down.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct Worker {
    /// One life of it
    #[schema(format = "uuid")]
    id: String,
    /// `host:pid`
    name: String,
    version: String,
    #[schema(format = "date-time")]
    started_at: String,
    /// When its runs are taken over if it says nothing more
    #[schema(format = "date-time")]
    lease_until: String,
    /// Whether its lease holds
    alive: bool,
    /// The queues that it serves; none: all
    queues: Option<Vec<String>>,
    /// Runs that it holds, of all namespaces
    runs: u64,
}

/// What waits in a queue.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct QueueDepth {
    /// `default` for what is in no named one
    name: String,
    /// Runs that wait, for their turn or for a worker; those beyond 10,000 are not counted
    waiting: u64,
    /// Runs that a worker plays
    running: u64,
    /// How long the one that is next in line has waited
    oldest_ms: Option<u64>,
}

/// How everything stands.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct Stats {
    runs: Counts,
    queues: Vec<QueueDepth>,
    workers_alive: u64,
    all_paused: Option<Standstill>,
    paused_workflows: Vec<PausedWorkflow>,
}

/// What became of something that somebody wanted to do.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum AuditOutcome {
    Done,
    Refused,
    Failed,
}

/// Who did what.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct AuditEntry {
    /// Its place: later entries have higher ones
    id: i64,
    #[schema(format = "date-time")]
    at: String,
    /// The name of a token, whom a provider knows, user@host of a command, `local`; none: nobody who was known
    who: Option<String>,
    /// How they were known: `token`, `session`, `oidc`, `local`, `command`, `nobody`
    via: String,
    /// The role that they had
    role: Option<String>,
    /// The name of an operation, or `token-create`, `token-revoke`, `sign-in`, `sign-out`
    action: String,
    /// What it was done to
    target: Option<String>,
    outcome: AuditOutcome,
    /// The answer's HTTP status, if it was a request
    status: Option<i16>,
    /// The address that it came from
    address: Option<String>,
}

/// Part of the audit.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct AuditPage {
    /// The entries, the newest first
    items: Vec<AuditEntry>,
    /// Where to go on; none at the end
    next: Option<i64>,
}
