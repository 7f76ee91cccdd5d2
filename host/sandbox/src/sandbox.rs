//! The sandbox: one engine for all guests of a process.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use dacapo_model::Manifest;
use dacapo_outbound::Outbound;
use metrics::{Histogram, Unit, histogram};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};

use crate::cache::{self, Cache};
use crate::compilers::Compilers;
use crate::config::SandboxConfig;
use crate::contract::{Lack, lack_of_component};
use crate::describe::{DescribeError, Described, describe};
use crate::engine;
use crate::guest::Guest;
use crate::host;
use crate::lines::{self, Lines, Source, Turn};
use crate::terms::Terms;
use crate::ticker::Ticker;

/// Runs components. Cheap to clone; all clones are the same sandbox.
#[derive(Clone)]
pub struct Sandbox {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: Arc<SandboxConfig>,
    /// The way out of steps, if there is one.
    pub(crate) outbound: Option<Outbound>,
    engine: Engine,
    linker: Linker<Guest>,
    cache: Option<Cache>,
    compiling: Slots,
    compilers: Compilers,
    reading_lines: Turn,
    pub(crate) ticker: Ticker,
    /// Places in the pool.
    pub(crate) places: Semaphore,
    /// Places for guests that compute for longer than a tick.
    pub(crate) turns: Arc<Semaphore>,
    /// How long instantiating takes.
    pub(crate) instantiation: Histogram,
}

const INSTANTIATION_SECONDS: &str = "dacapo_instantiation_seconds";

/// Tells the recorder of [`metrics`] what the metrics of sandboxes are.
pub fn describe_metrics() {
    metrics::describe_histogram!(
        INSTANTIATION_SECONDS,
        Unit::Seconds,
        "How long it takes to make an instance of a component."
    );
}

/// A component that is ready to be instantiated. Cheap to clone.
#[derive(Clone)]
pub struct Prepared {
    pub(crate) inner: Arc<PreparedInner>,
}

pub(crate) struct PreparedInner {
    digest: String,
    compiled: bool,
    pub(crate) pre: InstancePre<Guest>,
    /// Exported functions by the full names of their workflows.
    pub(crate) workflows: HashMap<String, ComponentExportIndex>,
    /// Places in the pool that an instance takes.
    pub(crate) places: u32,
    /// It imports what it takes to fork.
    pub(crate) forks: bool,
    pub(crate) lines: Arc<Lines>,
}

/// The sandbox could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A limit in the configuration makes no sense; the text says which.
    #[error("cannot set up the sandbox: {0}")]
    Config(String),
    /// The engine refused its settings, or the address space is not there.
    #[error("cannot set up the wasm engine for {instances_max} instances")]
    Engine {
        /// The configured number of instances.
        instances_max: u32,
        /// What the engine said.
        #[source]
        source: wasmtime::Error,
    },
    /// A thread could not be started.
    #[error("cannot start the ticker thread")]
    Thread(#[source] std::io::Error),
}

/// A component could not be made ready. Trying again with the same bytes and limits does not help.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The bytes are not those that the digest names.
    #[error("component {digest} is damaged: its bytes have the digest {actual}")]
    Damaged {
        /// The digest that was asked for.
        digest: String,
        /// The digest of the bytes.
        actual: String,
    },
    /// The bytes are not a valid component, or it is larger than the limits allow.
    #[error("component {digest} cannot be compiled: {source:#}")]
    Compile {
        /// The component.
        digest: String,
        /// What the compiler said.
        #[source]
        source: wasmtime::Error,
    },
    /// The component wants what another version of the contract has.
    #[error("component {digest} cannot be linked: {lack}")]
    OtherContract {
        /// The component.
        digest: String,
        /// What it wants.
        lack: Box<Lack>,
    },
    /// The component imports something that the host does not offer, or with another type.
    #[error("component {digest} cannot be linked: {source:#}")]
    Link {
        /// The component.
        digest: String,
        /// What the linker said.
        #[source]
        source: wasmtime::Error,
    },
    /// An instance takes more of the pool than there is.
    #[error(
        "component {digest} has {memories} memories and {tables} tables, more than the pool of {instances_max} instances holds"
    )]
    TooBig {
        /// The component.
        digest: String,
        /// The memories of one instance.
        memories: u32,
        /// The tables of one instance.
        tables: u32,
        /// The configured size of the pool.
        instances_max: u32,
    },
}

impl Sandbox {
    /// Sets the sandbox up: the engine with its pool (address space, hardly memory), the host functions and the cache directory. No request
    /// of a step leaves it.
    ///
    /// # Errors
    /// A limit that makes no sense, or a system that does not give what is needed.
    pub fn new(config: SandboxConfig) -> Result<Sandbox, SandboxError> {
        Sandbox::build(config, None)
    }

    /// A sandbox whose steps may send requests, as far as the terms of their deployments go.
    ///
    /// # Errors
    /// As for [`Sandbox::new`].
    pub fn with_outbound(
        config: SandboxConfig,
        outbound: Outbound,
    ) -> Result<Sandbox, SandboxError> {
        Sandbox::build(config, Some(outbound))
    }

    fn build(config: SandboxConfig, outbound: Option<Outbound>) -> Result<Sandbox, SandboxError> {
        check(&config)?;
        let in_engine = |source| SandboxError::Engine {
            instances_max: config.instances_max,
            source,
        };
        let engine = engine::engine(&config).map_err(in_engine)?;
        let linker = host::linker(&engine).map_err(in_engine)?;
        let cache = config.cache_dir.as_ref().and_then(|path| {
            let opened = Cache::open(path, &engine);
            if let Err(error) = &opened {
                tracing::warn!(
                    path = %path.display(), %error,
                    "compiled code cannot be kept here; this process compiles every component itself"
                );
            }
            opened.ok()
        });
        let ticker = Ticker::start(&engine, Duration::from_millis(config.tick_ms))
            .map_err(SandboxError::Thread)?;
        Ok(Sandbox {
            inner: Arc::new(Inner {
                outbound,
                engine,
                linker,
                cache,
                compiling: Slots::new(config.compile_concurrency),
                compilers: Compilers::default(),
                reading_lines: Turn::default(),
                ticker,
                places: Semaphore::new(config.instances_max as usize),
                turns: Arc::new(Semaphore::new(config.computing_max as usize)),
                instantiation: histogram!(INSTANTIATION_SECONDS),
                config: Arc::new(config),
            }),
        })
    }

    /// What a manifest means here. To be kept for as long as its deployment is.
    pub fn terms(&self, manifest: &Manifest) -> Arc<Terms> {
        Arc::new(Terms::new(&self.inner.config, manifest))
    }

    /// The limits that the sandbox was set up with.
    pub fn config(&self) -> &SandboxConfig {
        &self.inner.config
    }

    /// Makes a component ready, from the cache or by compiling it. Blocks, for seconds when an interpreter is compiled.
    ///
    /// # Errors
    /// The component is at fault; see [`PrepareError`].
    pub fn prepare(&self, digest: &str, bytes: &[u8]) -> Result<Prepared, PrepareError> {
        if let Some(prepared) = self.prepare_cached(digest)? {
            return Ok(prepared);
        }
        let actual = sha256_hex(bytes);
        if actual != digest {
            return Err(PrepareError::Damaged {
                digest: digest.to_owned(),
                actual,
            });
        }
        let _slot = self.inner.compiling.take();
        let cache = self.inner.cache.as_ref();
        let _turn = cache.and_then(|cache| cache.turn(digest, cache::PATIENCE));
        // Somebody else may have compiled it while this waited for its turn.
        if let Some(prepared) = self.prepare_cached(digest)? {
            return Ok(prepared);
        }
        let with_lines = lines::has_lines(bytes).then_some(bytes);
        let compiled = self.inner.compilers.run(|| {
            let component = Component::from_binary(&self.inner.engine, bytes)?;
            if let Some(cache) = cache {
                cache.store(digest, &component, with_lines);
            }
            wasmtime::Result::Ok(component)
        });
        let component = compiled.map_err(|source| PrepareError::Compile {
            digest: digest.to_owned(),
            source,
        })?;
        let source = match (cache, with_lines) {
            (Some(cache), _) => cache.source(digest),
            (None, Some(bytes)) => Source::Bytes(bytes.into()),
            (None, None) => Source::Nowhere,
        };
        self.link(digest, &component, true, source)
    }

    /// The same as [`describe()`], on the threads that compile and in their turn. Blocks.
    ///
    /// # Errors
    /// As for [`describe()`].
    pub fn describe(&self, bytes: &[u8]) -> Result<Described, DescribeError> {
        let _slot = self.inner.compiling.take();
        self.inner.compilers.run(|| describe(bytes))
    }

    /// Makes a component ready if its compiled code is in the cache, so that its bytes need not be fetched. Blocks for a moment.
    ///
    /// # Errors
    /// The component is at fault; see [`PrepareError`].
    pub fn prepare_cached(&self, digest: &str) -> Result<Option<Prepared>, PrepareError> {
        let Some(cache) = &self.inner.cache else {
            return Ok(None);
        };
        cache
            .load(&self.inner.engine, digest)
            .map(|component| self.link(digest, &component, false, cache.source(digest)))
            .transpose()
    }

    fn link(
        &self,
        digest: &str,
        component: &Component,
        compiled: bool,
        source: Source,
    ) -> Result<Prepared, PrepareError> {
        let unlinked = |source| PrepareError::Link {
            digest: digest.to_owned(),
            source,
        };
        let (engine, linker) = (&self.inner.engine, &self.inner.linker);
        let own = host::typed_children::linker_for(engine, linker, component).map_err(unlinked)?;
        let pre = own
            .as_ref()
            .unwrap_or(linker)
            .instantiate_pre(component)
            .map_err(|source| match lack_of_component(engine, component) {
                Some(lack) => PrepareError::OtherContract {
                    digest: digest.to_owned(),
                    lack: Box::new(lack),
                },
                None => unlinked(source),
            })?;
        let (memories, tables) = component
            .resources_required()
            .map_or((1, 1), |needs| (needs.num_memories, needs.num_tables));
        let places = memories
            .max(tables.div_ceil(engine::TABLES_PER_PLACE))
            .max(1);
        let instances_max = self.inner.config.instances_max;
        if places > instances_max {
            return Err(PrepareError::TooBig {
                digest: digest.to_owned(),
                memories,
                tables,
                instances_max,
            });
        }
        let workflows = workflows(&self.inner.engine, component);
        let ty = component.component_type();
        let forks = ty
            .imports(&self.inner.engine)
            .any(|(import, _)| import.starts_with("dacapo:workflow/forks"));
        Ok(Prepared {
            inner: Arc::new(PreparedInner {
                digest: digest.to_owned(),
                compiled,
                pre,
                workflows,
                places,
                forks,
                lines: Arc::new(Lines::new(source, Arc::clone(&self.inner.reading_lines))),
            }),
        })
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}

impl Prepared {
    /// The SHA-256 of the component's bytes, in hex.
    pub fn digest(&self) -> &str {
        &self.inner.digest
    }

    /// Whether it was compiled for this, and not found in the cache.
    pub fn was_compiled(&self) -> bool {
        self.inner.compiled
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared")
            .field("digest", &self.inner.digest)
            .finish_non_exhaustive()
    }
}

/// Finds every exported function once, so that a run looks its own up by one hash.
fn workflows(engine: &Engine, component: &Component) -> HashMap<String, ComponentExportIndex> {
    let mut workflows = HashMap::new();
    for (interface, item) in component.component_type().exports(engine) {
        let ComponentItem::ComponentInstance(instance) = item.ty else {
            continue;
        };
        let Some(interface_index) = component.get_export_index(None, interface) else {
            continue;
        };
        let unversioned = interface.split('@').next().unwrap_or(interface);
        for (function, item) in instance.exports(engine) {
            if !matches!(item.ty, ComponentItem::ComponentFunc(_)) {
                continue;
            }
            if let Some(index) = component.get_export_index(Some(&interface_index), function) {
                workflows.insert(format!("{unversioned}.{function}"), index);
            }
        }
    }
    workflows
}

fn check(config: &SandboxConfig) -> Result<(), SandboxError> {
    let at_least = |name: &str, value: u64, min: u64| {
        if value >= min {
            return Ok(());
        }
        Err(SandboxError::Config(format!(
            "{name} is {value}, it must be at least {min}"
        )))
    };
    at_least("memory-max-bytes", config.memory_max_bytes as u64, 1 << 20)?;
    at_least("stack-max-bytes", config.stack_max_bytes as u64, 64 << 10)?;
    at_least("tick-ms", config.tick_ms, 1)?;
    at_least(
        "cpu-between-calls-max-ms",
        config.cpu_between_calls_max_ms,
        1,
    )?;
    at_least("attempt-time-max-ms", config.attempt_time_max_ms, 1)?;
    at_least("computing-max", u64::from(config.computing_max), 1)?;
    at_least("handles-max", u64::from(config.handles_max), 16)?;
    at_least("instances-max", u64::from(config.instances_max), 1)?;
    at_least("log-line-max-bytes", config.log_line_max_bytes as u64, 64)?;
    at_least(
        "compile-concurrency",
        u64::from(config.compile_concurrency),
        1,
    )?;
    at_least("branches-max", u64::from(config.branches_max), 1)?;
    at_least("steps-max", u64::from(config.steps_max), 1)?;
    at_least("journal-max-bytes", config.journal_max_bytes as u64, 1)?;
    config
        .retry
        .check()
        .map_err(|error| SandboxError::Config(error.to_string()))
}

/// A digest in the form in which components are known.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// A semaphore for blocking threads.
#[derive(Debug)]
struct Slots {
    free: Mutex<u32>,
    freed: Condvar,
}

struct Slot<'a>(&'a Slots);

impl Slots {
    fn new(count: u32) -> Slots {
        Slots {
            free: Mutex::new(count),
            freed: Condvar::new(),
        }
    }

    fn take(&self) -> Slot<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self
            .freed
            .wait_while(free, |free| *free == 0)
            .unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Slot(self)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}
