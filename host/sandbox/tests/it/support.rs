//! Guests, one sandbox for all tests, and runs to play.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use dacapo_model::{Changes, Manifest, Payload, RunId, Timestamp, Workflow};
use dacapo_sandbox::{
    Described, Ending, Prepared, Proof, RunSpec, Sandbox, SandboxConfig, describe,
};

use crate::memory_journal::{MemoryJournal, START_MS};

/// The bytes of a guest that `./x guests` builds.
pub fn guest(name: &str) -> Vec<u8> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/wasm32-wasip2/guest");
    let path = dir.join(format!("{name}.wasm"));
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("run ./x guests first: {}: {error}", path.display()))
}

/// Small limits, so that reaching them is quick.
pub fn config() -> SandboxConfig {
    SandboxConfig {
        cache_dir: Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("sandbox-cache")),
        memory_max_bytes: 32 << 20,
        cpu_between_calls_max_ms: 300,
        instances_max: 16,
        ..SandboxConfig::default()
    }
}

pub fn sandbox() -> &'static Sandbox {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    SANDBOX.get_or_init(|| Sandbox::new(config()).expect("the sandbox starts"))
}

/// A guest that is described and ready.
pub struct Guest {
    pub described: Described,
    pub prepared: Prepared,
}

impl Guest {
    pub fn new(bytes: &[u8]) -> Guest {
        let described = describe(bytes).expect("the guest can be described");
        let prepared = sandbox()
            .prepare(&described.digest, &described.component)
            .expect("the guest compiles");
        Guest {
            described,
            prepared,
        }
    }
}

pub fn probe() -> &'static Guest {
    static PROBE: OnceLock<Guest> = OnceLock::new();
    PROBE.get_or_init(|| Guest::new(&guest("probe")))
}

/// The probe after its code has changed.
pub fn probe2() -> &'static Guest {
    static PROBE: OnceLock<Guest> = OnceLock::new();
    PROBE.get_or_init(|| Guest::new(&guest("probe2")))
}

/// A run of one of the probe's workflows.
pub struct Run {
    pub id: RunId,
    pub workflow: String,
    pub input: String,
    pub labels: Vec<(String, String)>,
    /// What the deployment says of its code.
    pub changes: Changes,
    pub journal: Arc<MemoryJournal>,
    pub manifest: Manifest,
}

impl Run {
    /// `workflow` is `interface.function`, `input` JSON.
    pub fn new(workflow: &str, input: &str) -> Run {
        Run {
            id: RunId::new(),
            workflow: format!("test:probe/{workflow}"),
            input: input.to_owned(),
            labels: Vec::new(),
            changes: Changes::default(),
            journal: Arc::new(MemoryJournal::new()),
            manifest: Manifest::default(),
        }
    }

    /// Plays the run from the top over its journal.
    pub async fn go(&self) -> Ending {
        self.go_on(probe()).await
    }

    /// Plays the run with the code of another guest.
    pub async fn go_on(&self, guest: &Guest) -> Ending {
        self.go_in(sandbox(), guest, &guest.prepared).await
    }

    pub async fn go_in(&self, sandbox: &Sandbox, guest: &Guest, prepared: &Prepared) -> Ending {
        let (workflow, spec) = self.spec(sandbox, guest);
        sandbox
            .run(prepared, workflow, spec, Arc::clone(&self.journal) as _)
            .await
    }

    /// What becomes of the journal with the code of another guest.
    pub async fn prove_on(&self, guest: &Guest) -> Proof {
        let (workflow, spec) = self.spec(sandbox(), guest);
        sandbox().prove(&guest.prepared, workflow, spec, None).await
    }

    fn spec<'g>(&self, sandbox: &Sandbox, guest: &'g Guest) -> (&'g Workflow, RunSpec) {
        let workflows = &guest.described.descriptor.workflows;
        let workflow = workflows
            .iter()
            .find(|known| known.name == self.workflow)
            .expect("the guest has this workflow");
        let spec = RunSpec {
            run_id: self.id,
            workflow: self.workflow.clone(),
            input: Payload::from_trusted(self.input.clone()),
            seed: self.id,
            retries: 0,
            retry: None,
            terms: sandbox.terms(&self.manifest),
            created_at: Timestamp::from_millis(START_MS),
            labels: self.labels.clone(),
            changes: Some(Arc::new(self.changes.clone())),
            recorded: self.journal.rows(),
        };
        (workflow, spec)
    }
}

/// The output of a run that completed.
#[track_caller]
pub fn output(ending: Ending) -> String {
    match ending {
        Ending::Completed(payload) => payload.into_string(),
        other => panic!("expected the run to complete: {other:#?}"),
    }
}

/// Code and message of a run that failed.
#[track_caller]
pub fn failure(ending: Ending) -> (String, String) {
    match ending {
        Ending::Failed(failure) => (failure.code, failure.message),
        other => panic!("expected the run to fail: {other:#?}"),
    }
}

/// The details of a run that failed.
#[track_caller]
pub fn details(ending: &Ending) -> serde_json::Value {
    let Ending::Failed(failure) = ending else {
        panic!("expected the run to fail: {ending:#?}")
    };
    let details = failure.details.as_ref().expect("there are details");
    serde_json::from_str(details.as_str()).expect("details are JSON")
}
