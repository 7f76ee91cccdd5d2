//! What a deployment's manifest means for the instances that play its runs.

use std::sync::Arc;

use dacapo_model::Manifest;
use dacapo_outbound::Grants;

use crate::config::SandboxConfig;

/// What a deployment grants its guests, and how far they may go. It lasts as long as the deployment is loaded, since what was used of its
/// secrets has to be known for as long as it may come back.
#[derive(Debug)]
pub struct Terms {
    /// The sandbox's limits, or the deployment's where those are narrower.
    pub(crate) config: Arc<SandboxConfig>,
    /// How long a step's body may compute in one attempt, in milliseconds.
    pub(crate) step_cpu_max_ms: u64,
    /// How much a step's scratch directory may hold, in bytes; none: there is none. Whether there is one is seen outside of attempts too, so
    /// the deployment alone decides about that.
    pub(crate) scratch_max_bytes: Option<u64>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) grants: Arc<Grants>,
}

impl Terms {
    pub(crate) fn new(config: &Arc<SandboxConfig>, manifest: &Manifest) -> Terms {
        let cpu_max_ms = config.cpu_between_calls_max_ms;
        let limits = manifest.limits.unwrap_or_default();
        let bytes = |own: Option<u64>, max: usize| {
            own.map_or(max, |own| usize::try_from(own).unwrap_or(max).min(max))
        };
        let limited = || {
            let mut limited = SandboxConfig::clone(config);
            limited.memory_max_bytes = bytes(limits.memory_bytes, config.memory_max_bytes);
            limited.payload.max_bytes = bytes(limits.payload_bytes, config.payload.max_bytes);
            limited.cpu_between_calls_max_ms = limits.cpu_ms.unwrap_or(cpu_max_ms).min(cpu_max_ms);
            limited.steps_max = limits
                .steps
                .unwrap_or(config.steps_max)
                .min(config.steps_max);
            limited
        };
        let own = manifest.limits.is_some().then(|| Arc::new(limited()));
        let environment = manifest.environment.iter();
        Terms {
            config: own.unwrap_or_else(|| Arc::clone(config)),
            step_cpu_max_ms: limits.step_cpu_ms.unwrap_or(cpu_max_ms).min(cpu_max_ms),
            scratch_max_bytes: limits
                .scratch_bytes
                .map(|own| own.min(config.scratch_max_bytes)),
            environment: environment
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            grants: Arc::new(Grants::new(manifest)),
        }
    }
}
