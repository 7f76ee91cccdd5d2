//! The worker's limits, each with its unit and default.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dacapo_outbound::{OutboundConfig, Secrets};
use dacapo_sandbox::SandboxConfig;
use thiserror::Error;

use crate::traces::Traces;

/// How a worker works. [`WorkerConfig::default`] suits a small machine; [`WorkerConfig::check`] says what does not fit together.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Runs that advance at the same time, at most. Default 256.
    pub runs_max: u32,
    /// Runs leased by one claim, at most. Default 64.
    pub claim_max: u32,
    /// How long after its last sign of life a worker's runs may be taken over. Default 5 s.
    pub lease: Duration,
    /// Time between two heartbeats, which are also the safety net under lost notifications. Default 700 ms; less than a third of
    /// the lease.
    pub heartbeat: Duration,
    /// After a request to drain, how long open steps may take to finish. Default 20 s.
    pub drain_grace: Duration,
    /// Connections that write journals. Default 2: one flush is on its way while the next one gathers.
    pub writers: u16,
    /// Runs whose writes go into one flush, at most. Default 512.
    pub flush_max: u32,
    /// How often in a row a run may be taken over from a dead worker without anything new in its journal; then it is blocked.
    /// Default 3.
    pub takeovers_max: u16,
    /// Guests that compute at the same time; there is a thread for each of them, and one for those that have something short to do. Default: one
    /// for each core.
    pub guest_threads: usize,
    /// Deployments whose machine code is kept in memory, at most; what was used longest ago is loaded again when a run wants it. Default 100.
    pub deployments_max: u32,
    /// Names of the queues to take runs from, `default` for runs that are in no named one; none: all queues. Default: none.
    pub queues: Option<Vec<String>>,
    /// URLs of the databases that deployments may be granted for SQL steps, by the names that their manifests use. Default: none.
    pub sql: BTreeMap<String, SqlUrl>,
    /// Connections to each of them, at most: so many SQL steps can be under way. Default 8.
    pub sql_connections_max: u32,
    /// Rows that one statement of a SQL step may answer, whatever is granted. Default 100,000.
    pub sql_rows_max: u32,
    /// What the values that one such statement answers may hold together, in bytes, whatever is granted. Default 16 MiB.
    pub sql_bytes_max: u32,
    /// How long the session of a SQL step may wait for the step's body before it is ended. Default 60 s.
    pub sql_idle_max: Duration,
    /// Limits of the sandbox.
    pub sandbox: SandboxConfig,
    /// Limits of the requests that steps send.
    pub outbound: OutboundConfig,
    /// Where the secrets are that deployments are granted. Default: nowhere.
    pub secrets: Secrets,
    /// Where spans of runs go. Default: nowhere.
    pub traces: Option<Arc<dyn Traces>>,
    /// How long it is kept who did what through the server. Default: 400 days.
    pub audit_kept: Duration,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            runs_max: 256,
            claim_max: 64,
            lease: Duration::from_secs(5),
            heartbeat: Duration::from_millis(700),
            drain_grace: Duration::from_secs(20),
            writers: 2,
            flush_max: 512,
            takeovers_max: 3,
            guest_threads: std::thread::available_parallelism().map_or(2, usize::from),
            deployments_max: 100,
            queues: None,
            sql: BTreeMap::new(),
            sql_connections_max: 8,
            sql_rows_max: 100_000,
            sql_bytes_max: 16 << 20,
            sql_idle_max: Duration::from_secs(60),
            sandbox: SandboxConfig::default(),
            outbound: OutboundConfig::default(),
            secrets: Secrets::default(),
            traces: None,
            audit_kept: Duration::from_secs(400 * 86_400),
        }
    }
}

/// Where a database is, and how to log in: `postgres://ROLE:PASSWORD@HOST/DATABASE`. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SqlUrl(pub String);

impl fmt::Debug for SqlUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SqlUrl(…)")
    }
}

/// A configuration that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{name}: expected {expected}, got {got}")]
pub struct ConfigError {
    name: &'static str,
    expected: String,
    got: String,
}

impl ConfigError {
    pub(crate) fn new(
        name: &'static str,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) -> Self {
        Self {
            name,
            expected: expected.into(),
            got: got.into(),
        }
    }
}

impl WorkerConfig {
    /// Refuses a configuration that cannot work, naming the setting.
    pub fn check(&self) -> Result<(), ConfigError> {
        let at_least_one = [
            ("runs-max", u64::from(self.runs_max)),
            ("claim-max", u64::from(self.claim_max)),
            ("writers", u64::from(self.writers)),
            ("flush-max", u64::from(self.flush_max)),
            ("takeovers-max", u64::from(self.takeovers_max)),
            ("guest-threads", self.guest_threads as u64),
            ("sql-connections-max", u64::from(self.sql_connections_max)),
            ("sql-rows-max", u64::from(self.sql_rows_max)),
            ("sql-bytes-max", u64::from(self.sql_bytes_max)),
            ("deployments-max", u64::from(self.deployments_max)),
            ("http-timeout-max", self.outbound.timeout_max_ms),
            ("http-response-max", self.outbound.response_max_bytes),
            ("http-requests-max", u64::from(self.outbound.requests_max)),
        ];
        for (name, got) in at_least_one {
            if got == 0 {
                return Err(ConfigError {
                    name,
                    expected: "at least 1".to_owned(),
                    got: got.to_string(),
                });
            }
        }
        let idle_max = Duration::from_millis(1)..=Duration::from_secs(24 * 3_600);
        if !idle_max.contains(&self.sql_idle_max) {
            let got = format!("{:?}", self.sql_idle_max);
            return Err(ConfigError::new("sql-idle-max", "1 ms to 24 hours", got));
        }
        if self.audit_kept < Duration::from_secs(3_600) {
            let got = format!("{} s", self.audit_kept.as_secs());
            return Err(ConfigError::new("audit-keep", "at least an hour", got));
        }
        if self.lease < Duration::from_millis(200) {
            return Err(ConfigError {
                name: "lease",
                expected: "at least 200 ms".to_owned(),
                got: format!("{} ms", self.lease.as_millis()),
            });
        }
        if self.heartbeat.is_zero() || self.heartbeat * 3 > self.lease {
            return Err(ConfigError {
                name: "heartbeat",
                expected: format!(
                    "more than 0 and at most a third of the lease ({} ms)",
                    self.lease.as_millis() / 3
                ),
                got: format!("{} ms", self.heartbeat.as_millis()),
            });
        }
        if self.runs_max > self.sandbox.instances_max {
            return Err(ConfigError {
                name: "runs-max",
                expected: format!("at most instances-max ({})", self.sandbox.instances_max),
                got: self.runs_max.to_string(),
            });
        }
        let odd = |name: &&String| !dacapo_model::is_sql_database_name(name);
        if let Some(name) = self.sql.keys().find(odd) {
            let expected = format!("a name of {}", dacapo_model::SQL_DATABASE_NAME);
            return Err(ConfigError::new("sql", expected, format!("{name:?}")));
        }
        if self.queues.as_ref().is_some_and(Vec::is_empty) {
            return Err(ConfigError {
                name: "queue",
                expected: "at least one queue, or none for all".to_owned(),
                got: "an empty list".to_owned(),
            });
        }
        Ok(())
    }
}
