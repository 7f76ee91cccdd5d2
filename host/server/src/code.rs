//! What only those can do who know about components: this crate knows no wasm, and is handed somebody who does.

use async_trait::async_trait;
use dacapo_client::{Client, Descriptor, RunFilter};
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
}

impl Problem {
    /// The bytes are no component that can be deployed.
    pub fn bad_component(detail: impl Into<String>) -> Self {
        Self::new("bad-component", detail)
    }
}
