//! Spans of runs, to an OpenTelemetry collector by OTLP over HTTP.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dacapo_model::Timestamp;
use dacapo_worker::{Span, Traces};
use hyper_rustls::HttpsConnectorBuilder;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use tokio::sync::mpsc;

use crate::error::{Failed, Result, chain};

/// Spans that wait to be sent, at most; those that come then are dropped, and counted.
const WAITING_MAX: usize = 16_384;
/// Spans that are sent at once, at most.
const BATCH_MAX: usize = 512;
/// Spans wait so long for company.
const BATCH_WITHIN: Duration = Duration::from_secs(1);
/// How long one request may take.
const SEND_MAX: Duration = Duration::from_secs(10);
/// How long the last ones may take when the process stops.
const FLUSH_MAX: Duration = Duration::from_secs(3);

const DROPPED: &str = "dacapo_spans_dropped_total";

/// Where spans go.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct OtlpArgs {
    /// Send spans of runs to the OpenTelemetry collector here, by OTLP over HTTP, such as http://localhost:4318; headers are taken from
    /// OTEL_EXPORTER_OTLP_HEADERS, names and values of resources from OTEL_RESOURCE_ATTRIBUTES
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<String>,
}

/// Sends spans, in batches, beside everything else.
#[derive(Debug, Clone)]
pub(crate) struct Otlp {
    queue: mpsc::Sender<Span>,
}

/// The task that sends, to be waited for at the end.
pub(crate) struct Sending(tokio::task::JoinHandle<()>);

impl Sending {
    /// Returns once everything is sent that was taken by senders that are gone, or after a while.
    pub(crate) async fn finish(self) {
        if tokio::time::timeout(FLUSH_MAX, self.0).await.is_err() {
            tracing::warn!("the last spans were not sent: the collector does not answer");
        }
    }
}

impl Otlp {
    /// Sends to where the arguments say; none: they say nothing.
    pub(crate) fn new(args: &OtlpArgs) -> Result<Option<(Self, Sending)>> {
        let Some(endpoint) = args.otlp_endpoint.as_deref().filter(|url| !url.is_empty()) else {
            return Ok(None);
        };
        if !(endpoint.starts_with("http://") || endpoint.starts_with("https://")) {
            let message = format!(
                "--otlp-endpoint: expected http://HOST:PORT or https://HOST:PORT, got {endpoint:?}"
            );
            return Err(Failed::usage(message));
        }
        let connector = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .build();
        let url = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(HyperClient::new(connector, SEND_MAX, None))
            .with_endpoint(url)
            .with_timeout(SEND_MAX)
            .build()
            .map_err(Failed::new)?;
        let mut resource = Resource::builder();
        if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name("dacapo");
        }
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        exporter.set_resource(&resource.with_attribute(version).build());
        ::metrics::describe_counter!(
            DROPPED,
            "Spans that were dropped because the collector did not take them in time."
        );
        // Shown from the beginning.
        ::metrics::counter!(DROPPED).increment(0);
        let (queue, spans) = mpsc::channel(WAITING_MAX);
        let sending = Sending(tokio::spawn(send(exporter, spans)));
        Ok(Some((Self { queue }, sending)))
    }

    /// As a worker takes it.
    pub(crate) fn shared(self) -> Arc<dyn Traces> {
        Arc::new(self)
    }
}

impl Traces for Otlp {
    fn take(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            ::metrics::counter!(DROPPED).increment(1);
        }
    }
}

/// Sends whatever comes until nobody can send any more.
async fn send(exporter: SpanExporter, mut spans: mpsc::Receiver<Span>) {
    let mut is_failing = false;
    loop {
        let mut batch = Vec::new();
        if spans.recv_many(&mut batch, BATCH_MAX).await == 0 {
            return;
        }
        let gathering = async {
            while batch.len() < BATCH_MAX {
                let room = BATCH_MAX - batch.len();
                if spans.recv_many(&mut batch, room).await == 0 {
                    break;
                }
            }
        };
        // What has come by then is in the batch.
        let _ = tokio::time::timeout(BATCH_WITHIN, gathering).await;
        let count = batch.len() as u64;
        match exporter.export(batch.into_iter().map(data).collect()).await {
            Ok(()) => is_failing = false,
            Err(error) => {
                ::metrics::counter!(DROPPED).increment(count);
                // Once for each time that it begins to fail.
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::warn!(
                        error = chain(&error),
                        "spans cannot be sent and are dropped"
                    );
                }
            }
        }
    }
}

/// A span as OpenTelemetry has it.
fn data(span: Span) -> SpanData {
    let context = |id: [u8; 8]| {
        SpanContext::new(
            TraceId::from_bytes(span.trace),
            SpanId::from_bytes(id),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        )
    };
    let mut attributes: Vec<KeyValue> = span
        .attributes
        .into_iter()
        .map(|(name, value)| KeyValue::new(name, value))
        .collect();
    let status = match span.failure {
        Some((code, message)) => {
            attributes.push(KeyValue::new("error.type", code));
            Status::error(message)
        }
        None => Status::Unset,
    };
    SpanData {
        span_context: context(span.id),
        parent_span_id: span.parent.map_or(SpanId::INVALID, SpanId::from_bytes),
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: span.name.into(),
        start_time: system_time(span.began),
        end_time: system_time(span.ended),
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status,
        instrumentation_scope: InstrumentationScope::builder("dacapo").build(),
    }
}

fn system_time(at: Timestamp) -> SystemTime {
    let micros = u64::try_from(at.as_micros()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_micros(micros)
}
