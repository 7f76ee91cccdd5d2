//! What only those can do who know about components: this crate knows no wasm, and is handed somebody who does.

use async_trait::async_trait;
use dacapo_client::{Client, Descriptor, RunFilter, RunId};
use serde::Serialize;
use serde_json::Value;

use crate::Problem;

/// A component as it is deployed, and what it offers.
#[derive(Debug, Clone)]
pub struct Component {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Their SHA-256, in hex.
    pub digest: String,
    /// What it offers.
    pub descriptor: Descriptor,
}

/// Which runs are to go on with which code.
#[derive(Debug, Clone)]
pub struct Repair {
    /// The package of the deployment with the mended code.
    pub package: String,
    /// Its number.
    pub number: i32,
    /// The failed and blocked runs.
    pub filter: RunFilter,
    /// Do it, and do not only say what would become of them.
    pub apply: bool,
    /// Count runs as going on that would come to a step which was inserted.
    pub accept_inserted: bool,
    /// Who does it.
    pub who: String,
}

/// Whether the runs in flight on the other deployments of a package would go on with the code of this one.
#[derive(Debug, Clone)]
pub struct Prove {
    /// The package.
    pub package: String,
    /// The number of the deployment with the code.
    pub number: i32,
    /// Try no more than so many runs, chosen at random.
    pub sample: Option<u32>,
    /// Count runs as going on that would come to a step which was inserted.
    pub accept_inserted: bool,
}

/// What would become of runs in flight.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// How many would go on.
    pub proven: u64,
    /// How many would not.
    pub not_proven: u64,
    /// How many there are, if not all of them were tried.
    pub sampled_of: Option<u64>,
    /// What was found, by workflow, verdict and reason.
    pub findings: Vec<ProofFinding>,
}

/// Runs that were tried with the same result.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProofFinding {
    /// Full name of their workflow.
    pub workflow: String,
    /// What would become of them, as a word for programs.
    pub verdict: String,
    /// The same in words for people.
    pub says: String,
    /// Why; empty where nothing is wrong.
    pub reason: String,
    /// How many they are.
    pub runs: u64,
    /// One of them.
    pub example: RunId,
    /// The code may take them over.
    pub is_proven: bool,
}

/// Somebody who can read components and play journals over them.
#[async_trait]
pub trait Code: Send + Sync {
    /// Reads a component: its bytes, or those of a core module that carries component type information.
    ///
    /// # Errors
    /// The code `bad-component` if they are none.
    async fn describe(&self, bytes: Vec<u8>) -> Result<Component, Problem>;

    /// Plays failed and blocked runs over mended code, and lets them go on.
    ///
    /// # Errors
    /// Those of the client.
    async fn repair(&self, client: &Client, repair: Repair) -> Result<Value, Problem>;

    /// Plays runs in flight over the code of a deployment, without any effect.
    ///
    /// # Errors
    /// Those of the client.
    async fn prove(&self, client: &Client, prove: Prove) -> Result<Proof, Problem>;
}

impl Problem {
    /// The bytes are no component that can be deployed.
    pub fn bad_component(detail: impl Into<String>) -> Self {
        Self::new("bad-component", detail)
    }
}
