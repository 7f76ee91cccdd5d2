//! A component under test, and the sandbox that plays it.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use dacapo_model::{Descriptor, Workflow, is_short_for, similar_workflows, spelled_out};
use dacapo_sandbox::{Described, Prepared, Sandbox, SandboxConfig, describe};
use serde::Serialize;

use crate::error::Error;
use crate::run::Run;
use crate::stage::Stage;

/// A `.wasm` component with its workflows, compiled. Cheap to clone.
#[derive(Clone)]
pub struct Component {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    name: String,
    described: Described,
    pub(crate) prepared: Prepared,
    pub(crate) sandbox: Sandbox,
}

impl Component {
    /// Reads and compiles a file: a component, or a core module that carries component type information. Blocks meanwhile: a moment
    /// for a guest in Rust, seconds for one that brings an interpreter.
    ///
    /// The limits are those of a worker by default, except for the length of a journal: 2,000 rows.
    ///
    /// # Errors
    /// The file cannot be read, or could not be deployed either; the text says what to do about it.
    pub fn load(path: impl AsRef<Path>) -> Result<Component, Error> {
        let path = path.as_ref();
        Component::from_bytes(&path.display().to_string(), &read(path)?)
    }

    /// Reads and compiles a file, to be run under limits of one's own.
    ///
    /// # Errors
    /// See [`Component::load`]; also when a limit makes no sense.
    pub fn load_with(path: impl AsRef<Path>, limits: SandboxConfig) -> Result<Component, Error> {
        let path = path.as_ref();
        let bytes = read(path)?;
        let sandbox = Sandbox::new(limits).map_err(Error::Sandbox)?;
        Component::new(&path.display().to_string(), &bytes, sandbox)
    }

    /// Compiles bytes, such as those of `include_bytes!`. The name is for messages.
    ///
    /// # Errors
    /// See [`Component::load`].
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Component, Error> {
        Component::new(name, bytes, shared_sandbox()?)
    }

    /// The limits of [`Component::load`].
    pub fn default_limits() -> SandboxConfig {
        SandboxConfig {
            // What never ends by itself should end a test soon.
            steps_max: 2_000,
            // Of one process of tests.
            instances_max: 64,
            // One after the other, so that a test's journal is the same each time.
            branches_max: 1,
            ..SandboxConfig::default()
        }
    }

    fn new(name: &str, bytes: &[u8], sandbox: Sandbox) -> Result<Component, Error> {
        let described = describe(bytes).map_err(|source| Error::Describe {
            name: name.to_owned(),
            source,
        })?;
        let prepared = sandbox
            .prepare(&described.digest, &described.component)
            .map_err(|source| Error::Prepare {
                name: name.to_owned(),
                source,
            })?;
        Ok(Component {
            inner: Arc::new(Inner {
                name: name.to_owned(),
                described,
                prepared,
                sandbox,
            }),
        })
    }

    /// The full names of its workflows, `ns:pkg/interface.function`.
    pub fn workflows(&self) -> impl Iterator<Item = &str> {
        let workflows = &self.inner.described.descriptor.workflows;
        workflows.iter().map(|workflow| workflow.name.as_str())
    }

    pub(crate) fn descriptor(&self) -> &Descriptor {
        &self.inner.described.descriptor
    }

    /// A run of one of its workflows, by the full name or an end of it that is unique (`function`, `interface.function`).
    ///
    /// The input is any value that serde can write: `json!`, or a type that was made from the WIT.
    ///
    /// # Errors
    /// There is no such workflow, or the input is not of its type.
    pub fn run(&self, workflow: &str, input: impl Serialize) -> Result<Run, Error> {
        let input = serde_json::to_string(&input).map_err(|source| Error::Encode {
            what: "the input".to_owned(),
            source,
        })?;
        self.run_json(workflow, &input)
    }

    /// A run of one of its workflows, with JSON text as the input.
    ///
    /// # Errors
    /// See [`Component::run`].
    pub fn run_json(&self, workflow: &str, input: &str) -> Result<Run, Error> {
        let workflow = self.workflow(workflow)?;
        let limits = &self.inner.sandbox.config().payload;
        let input = workflow
            .check_input(input, limits)
            .map_err(|error| Error::BadInput {
                workflow: workflow.name.clone(),
                expected: match &workflow.param {
                    Some(param) => spelled_out(&param.ty),
                    None => "nothing".to_owned(),
                },
                error,
            })?;
        Ok(Run::new(Stage::new(self.clone(), workflow.clone(), input)))
    }

    fn workflow(&self, name: &str) -> Result<&Workflow, Error> {
        let workflows = &self.inner.described.descriptor.workflows;
        if let Some(workflow) = workflows.iter().find(|workflow| workflow.name == name) {
            return Ok(workflow);
        }
        let mut found: Vec<&Workflow> = workflows
            .iter()
            .filter(|workflow| is_short_for(name, &workflow.name))
            .collect();
        if found.len() > 1 {
            return Err(Error::AmbiguousWorkflow {
                name: name.to_owned(),
                full_names: found.iter().map(|one| one.name.clone()).collect(),
            });
        }
        found.pop().ok_or_else(|| Error::UnknownWorkflow {
            name: name.to_owned(),
            component: self.inner.name.clone(),
            similar: similar_workflows(name, self.workflows()),
            all: self.workflows().map(str::to_owned).collect(),
        })
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Component").field(&self.inner.name).finish()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}

/// One sandbox for all tests of a process: an engine takes address space for all its instances.
fn shared_sandbox() -> Result<Sandbox, Error> {
    static SHARED: Mutex<Option<Sandbox>> = Mutex::new(None);
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(sandbox) = &*shared {
        return Ok(sandbox.clone());
    }
    let sandbox = Sandbox::new(Component::default_limits()).map_err(Error::Sandbox)?;
    Ok(shared.insert(sandbox).clone())
}
