//! What the process tells of itself to those who watch it.

mod metrics;
mod traces;

pub(crate) use metrics::count;
pub(crate) use traces::{Otlp, OtlpArgs, Sending};
