//! Sends events of the `tracing` crate to the run's log.

use std::fmt::{Debug, Write};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

use crate::raw::log;

/// Makes the run's log the place where events go, unless the guest has already chosen another. Calls after the first do
/// nothing.
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
pub(crate) fn connect() {
    // Refused only when a subscriber is already there: this one, or one of the guest's own, which then stands.
    let _ = tracing::dispatcher::set_global_default(Dispatch::new(RunLog));
}

/// Every level passes, since the host decides what it keeps. Spans are accepted and forgotten: a run's steps are its spans.
struct RunLog;

impl Subscriber for RunLog {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.is_event() {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        log::log(level(event.metadata().level()), &line.message, &line.fields);
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        // Ids must not be zero; which one it is does not matter as nothing is kept under it.
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}
    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
    fn enter(&self, _span: &Id) {}
    fn exit(&self, _span: &Id) {}
}

fn level(level: &Level) -> log::Level {
    match *level {
        Level::TRACE => log::Level::Trace,
        Level::DEBUG => log::Level::Debug,
        Level::INFO => log::Level::Info,
        Level::WARN => log::Level::Warn,
        Level::ERROR => log::Level::Error,
    }
}

/// An event's message and its other fields, as text.
#[derive(Default)]
struct Line {
    message: String,
    fields: Vec<(String, String)>,
}

impl Line {
    fn put(&mut self, field: &Field, value: std::fmt::Arguments<'_>) {
        let mut text = String::new();
        // Writing to a string fails only if a value's own formatting does; the line is then worth having without it.
        let _ = text.write_fmt(value);
        if field.name() == "message" {
            self.message = text;
        } else {
            self.fields.push((field.name().to_owned(), text));
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format_args!("{value:?}"));
    }
}
