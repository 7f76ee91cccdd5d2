//! Metrics, for Prometheus.

use std::sync::Arc;
use std::time::Duration;

use ::metrics::gauge;
use dacapo_server::Render;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

use crate::error::{Failed, Result};

/// Measurements that gather are put into their buckets so often, whether somebody scrapes or not.
const UPKEEP: Duration = Duration::from_secs(5);

/// Bounds of buckets, in seconds: from an instance out of the pool to a component that takes minutes to compile.
const SECONDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0, 300.0,
];
/// Bounds of buckets for how many runs share a commit.
const RUNS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Counts from now on, once for each process. Whoever has what is answered can write down what was counted.
pub(crate) fn count() -> Result<Render> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Full("dacapo_commit_runs".to_owned()), RUNS)
        })
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(Failed::new)?;
    dacapo_worker::describe_metrics();
    let process = metrics_process::Collector::default();
    process.describe();
    ::metrics::describe_gauge!(
        "dacapo_build_info",
        "What this process is; its value is always 1."
    );
    gauge!("dacapo_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1);
    let upkeep = recorder.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            upkeep.run_upkeep();
        }
    });
    Ok(Arc::new(move || {
        process.collect();
        recorder.render()
    }))
}
