//! `dacapo replay`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use dacapo_client::RunExport;
use dacapo_model::{ExportError, Kind, Outcome, Recorded, RecordedState};
use dacapo_sandbox::{LogLine, Observer, Seen};
use dacapo_store::WholeRun;
use dacapo_worker::Verdict;
use serde::Serialize;

use crate::arguments::{Global, NoDatabase};
use crate::command::deploy::{self, ManifestArgs};
use crate::command::{proof, runs};
use crate::error::{Failed, Result};
use crate::ui::{Ui, cut, table};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Runs as `dacapo runs export` wrote them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The component to play them over
    #[arg(long, short, value_name = "FILE.wasm")]
    component: PathBuf,
    #[command(flatten)]
    _no_database: NoDatabase,
    #[command(flatten)]
    manifest: ManifestArgs,
    /// Take it as fine, too, if the code comes to a step that the manifest says was inserted before it has asked for all that is recorded
    #[arg(long)]
    accept_inserted: bool,
    /// Play the journal only up to this step, by its key: what the code does when it comes there for the first time
    #[arg(long, value_name = "KEY")]
    until: Option<String>,
    /// Show whole payloads
    #[arg(long, short)]
    verbose: bool,
}

/// What became of one file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Replayed {
    file: PathBuf,
    run: String,
    workflow: String,
    verdict: &'static str,
    reason: String,
    is_proven: bool,
    /// Where the code was, innermost first, if it failed or contradicts the journal.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    backtrace: Vec<String>,
    /// It goes on, or it ends as it did.
    #[serde(skip)]
    is_fine: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    calls: Vec<Line>,
}

/// What the code did.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    /// The key of a call; none for a line of the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// What it is, or the level of the line.
    what: String,
    /// How it came out: a recorded outcome's word, `open` or `new`; empty for a line of the log.
    state: &'static str,
    /// The recorded outcome, or the line's text.
    text: String,
}

pub(crate) async fn run(args: Args, global: &Global, ui: Ui) -> Result<ExitCode> {
    let component = deploy::read(&args.component, &args.manifest)?;
    let exports = args
        .files
        .iter()
        .map(|file| read(file))
        .collect::<Result<Vec<_>>>()?;
    let limits = global.payload_limits();
    let candidate = proof::candidate(&component, args.accept_inserted, limits).await?;
    let with_calls = exports.len() == 1;
    let mut all = Vec::new();
    for (file, export) in args.files.iter().zip(exports) {
        let recorder = Arc::new(Recorder::default());
        let observer: Option<Arc<dyn Observer>> = match with_calls {
            true => Some(Arc::clone(&recorder) as Arc<dyn Observer>),
            false => None,
        };
        let id = export.run.id.to_string();
        let workflow = export.run.workflow.clone();
        let whole = whole(export, args.until.as_deref(), file)?;
        let verdict = candidate.judge(whole, observer).await;
        let mut calls = recorder.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Replayed {
            file: file.clone(),
            run: id,
            workflow,
            verdict: verdict.word(),
            reason: verdict.reason(),
            is_proven: verdict.is_proven(),
            backtrace: runs::backtrace(verdict.details()),
            is_fine: verdict.is_proven() || matches!(verdict, Verdict::FailsAsBefore(_)),
            calls: std::mem::take(&mut *calls),
        });
    }
    let is_fine = all.iter().all(|one| one.is_fine);
    ui.data(&all, |all| shown(all, args.verbose));
    Ok(match is_fine {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn read(file: &Path) -> Result<RunExport> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failed::usage(format!("cannot read {}: {error}", file.display())))?;
    let refused = |error: ExportError| Failed::usage(format!("{}: {error}", file.display()));
    let export = RunExport::from_json(&text).map_err(refused)?;
    match export.is_redacted() {
        // The code would be handed what it never recorded.
        true => Err(refused(ExportError::Redacted)),
        false => Ok(export),
    }
}

fn whole(export: RunExport, until: Option<&str>, file: &Path) -> Result<WholeRun> {
    let bad = |message: String| Failed::usage(format!("{}: {message}", file.display()));
    let mut recorded = export.recorded().map_err(|error| bad(error.to_string()))?;
    if let Some(until) = until {
        let at = recorded.iter().find(|row| row.key.as_str() == until);
        let Some(at) = at.map(|row| row.position) else {
            let keys: Vec<&str> = recorded.iter().map(|row| row.key.as_str()).collect();
            let keys = cut(&keys.join(", "), 300);
            return Err(bad(format!(
                "--until: expected the key of a row of its journal, got {until:?}; it has {keys}"
            )));
        };
        recorded = before(recorded, at);
    }
    let waiting = export.events.into_iter().filter(|event| {
        // What somebody else's runs are told of children is not the code's to take by name.
        event.taken_by.is_none() && !event.name.contains('/')
    });
    let run = export.run;
    let (seed, created_at) = run.origin.map_or((run.id, run.created_at), |origin| {
        (origin.id, origin.created_at)
    });
    Ok(WholeRun {
        run: run.id,
        workflow: run.workflow,
        ended: run.status.is_terminal().then_some(run.status),
        failure: run.failure,
        input: run.input,
        labels: run.labels.into_iter().collect(),
        seed,
        created_at,
        retries: 0,
        recorded,
        inbox: waiting.map(|event| (event.name, event.payload)).collect(),
        inbox_seq: 0,
    })
}

/// What a run had reached before this place of its journal. A fork in which something lies behind that was not over then, as a rerun from
/// there would have it.
fn before(recorded: Vec<Recorded>, at: u32) -> Vec<Recorded> {
    let (mut kept, gone): (Vec<Recorded>, Vec<Recorded>) =
        recorded.into_iter().partition(|row| row.position < at);
    for row in kept.iter_mut().filter(|row| row.kind == Kind::Fork) {
        let within = format!("{}/", row.key);
        if let RecordedState::Done {
            outcome: Outcome::Ok(plan),
            ..
        } = &row.state
            && gone
                .iter()
                .any(|gone| gone.key.as_str().starts_with(&within))
        {
            // It says how many branches there are, done or open.
            row.state = RecordedState::Open {
                due: None,
                failed_attempts: 0,
                plan: Some(plan.clone()),
            };
        }
    }
    kept
}

/// Keeps what the code does.
#[derive(Default)]
struct Recorder(Mutex<Vec<Line>>);

impl Recorder {
    fn push(&self, line: Line) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
    }
}

impl Observer for Recorder {
    fn seen(&self, seen: Seen<'_>) {
        let (key, kind, text) = match seen {
            Seen::Recorded { key, kind, outcome } => (key, kind, value(outcome)),
            Seen::Reached { key, kind, .. } => (key, kind, String::new()),
        };
        self.push(Line {
            key: Some(key.to_string()),
            what: kind.to_string(),
            state: seen.word(),
            text,
        });
    }

    fn logged(&self, line: LogLine) {
        self.push(Line {
            key: None,
            what: line.level.as_str().to_owned(),
            state: "",
            text: line.message,
        });
    }
}

fn value(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Ok(payload) => payload.as_str().to_owned(),
        Outcome::Failed(failure) => format!("{}: {}", failure.code, failure.message),
        Outcome::TimedOut | Outcome::Cancelled => String::new(),
    }
}

fn shown(all: &[Replayed], verbose: bool) -> String {
    if let [one] = all {
        let rows = one.calls.iter().map(|line| {
            let text = match verbose {
                true => line.text.clone(),
                false => cut(&line.text, 100),
            };
            let key = line.key.clone().unwrap_or_else(|| "  log".to_owned());
            vec![key, line.what.clone(), line.state.to_owned(), text]
        });
        let calls = table(&["call", "", "", ""], rows);
        let mut text = format!("run {} of {}\n{calls}\n{}", one.run, one.workflow, end(one));
        for frame in &one.backtrace {
            text.push_str("\n  at ");
            text.push_str(frame);
        }
        return text;
    }
    let rows = all.iter().map(|one| {
        vec![
            one.file.display().to_string(),
            one.workflow.clone(),
            one.verdict.to_owned(),
            cut(&one.reason, 300),
        ]
    });
    table(&["file", "workflow", "", ""], rows)
}

/// Where it stands, in a line.
fn end(one: &Replayed) -> String {
    let last = one.calls.iter().rev().find_map(|line| line.key.as_deref());
    match (one.verdict, last) {
        ("goes-on", Some(key)) => format!("it stands at {key}, and would go on from there"),
        ("goes-on", None) => "it would begin".to_owned(),
        ("fails-as-before", _) => format!("it fails as it did: {}", one.reason),
        ("completes", _) => "it would complete".to_owned(),
        (verdict, _) => format!("{verdict}: {}", one.reason),
    }
}
