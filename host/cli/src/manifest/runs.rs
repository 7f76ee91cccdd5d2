//! The part of a manifest that is about runs: their queue, their priority, and how long they are kept once they have ended.

use std::fmt;
use std::ops::Range;

use dacapo_model::{Keep, PRIORITY_MAX, RetentionSettings, parse_priority};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Unexpected, Visitor};
use toml::Spanned;

use crate::arguments::duration;

/// A priority: a number, or the name of a level.
#[derive(Debug)]
pub(super) struct Priority(pub(super) i16);

/// How long runs are kept: one time for all, or a table that says more.
#[derive(Debug)]
pub(super) struct Retention(pub(super) RetentionSettings);

/// The three of one table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Runs<'a> {
    pub(super) queue: Option<&'a Spanned<String>>,
    pub(super) priority: Option<&'a Spanned<Priority>>,
    pub(super) retention: Option<&'a Spanned<Retention>>,
}

impl Runs<'_> {
    /// Where a key stands.
    pub(super) fn place(self, key: &str) -> Option<Range<usize>> {
        match key {
            "queue" => self.queue.map(Spanned::span),
            "priority" => self.priority.map(Spanned::span),
            "retention" => self.retention.map(Spanned::span),
            _ => None,
        }
    }
}

/// What is said of runs, a line for each thing; `of` is empty, or names the workflow.
pub(super) fn describe(
    of: &str,
    queue: Option<&str>,
    priority: Option<i16>,
    retention: Option<RetentionSettings>,
) -> Vec<String> {
    let queue = queue.map(|queue| format!("runs{of} whose start names no queue: {queue}"));
    let priority =
        priority.map(|priority| format!("runs{of} whose start says no priority: {priority}"));
    let kept = retention
        .map(retention_text)
        .filter(|text| !text.is_empty())
        .map(|text| format!("runs{of} that have ended are kept: {text}"));
    [queue, priority, kept].into_iter().flatten().collect()
}

/// How long runs are kept, as people say it: `30d`, or `completed 7d, failed forever`.
pub(crate) fn retention_text(retention: RetentionSettings) -> String {
    if let Some(keep) = retention.completed
        && retention == RetentionSettings::all(keep)
    {
        return keep_text(keep);
    }
    let times = retention
        .times()
        .map(|(status, keep)| format!("{status} {}", keep_text(keep)));
    times.collect::<Vec<_>>().join(", ")
}

fn keep_text(keep: Keep) -> String {
    match keep {
        Keep::Seconds(seconds) => spelled(seconds),
        Keep::Forever => "forever".to_owned(),
    }
}

/// `30d`, `1d 12h`, `90s`: what [`duration`] reads.
pub(crate) fn spelled(mut seconds: u64) -> String {
    let mut parts = Vec::new();
    for (unit, length) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
        if seconds >= length {
            parts.push(format!("{}{unit}", seconds / length));
            seconds %= length;
        }
    }
    parts.join(" ")
}

impl<'de> Deserialize<'de> for Priority {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrLevel;
        impl Visitor<'_> for NumberOrLevel {
            type Value = Priority;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(
                    f,
                    "a whole number from -{PRIORITY_MAX} to {PRIORITY_MAX}, or \"lowest\", \"low\", \"normal\", \"high\" or \"highest\""
                )
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Priority, E> {
                i16::try_from(value)
                    .ok()
                    .filter(|value| (-PRIORITY_MAX..=PRIORITY_MAX).contains(value))
                    .map(Priority)
                    .ok_or_else(|| E::invalid_value(Unexpected::Signed(value), &self))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Priority, E> {
                // A number is none in quotes.
                let level = Some(text).filter(|text| text.starts_with(|c: char| c.is_alphabetic()));
                level
                    .and_then(|level| parse_priority(level).ok())
                    .map(Priority)
                    .ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(NumberOrLevel)
    }
}

impl<'de> Deserialize<'de> for Retention {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TimeOrTable;
        impl<'de> Visitor<'de> for TimeOrTable {
            type Value = Retention;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"a duration such as "30d", "forever", or a table such as { completed = "7d", failed = "90d" }"#)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Retention, E> {
                let keep =
                    keep(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))?;
                Ok(Retention(RetentionSettings::all(keep)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Retention, A::Error> {
                #[derive(serde::Deserialize)]
                #[serde(rename_all = "kebab-case", deny_unknown_fields)]
                struct Table {
                    completed: Option<Time>,
                    failed: Option<Time>,
                    cancelled: Option<Time>,
                }
                let table = Table::deserialize(MapAccessDeserializer::new(map))?;
                let keep = |time: Option<Time>| time.map(|time| time.0);
                Ok(Retention(RetentionSettings {
                    completed: keep(table.completed),
                    failed: keep(table.failed),
                    cancelled: keep(table.cancelled),
                }))
            }
        }
        deserializer.deserialize_any(TimeOrTable)
    }
}

struct Time(Keep);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneTime;
        impl Visitor<'_> for OneTime {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"a duration such as "30d", or "forever""#)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Time, E> {
                keep(text)
                    .map(Time)
                    .ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(OneTime)
    }
}

fn keep(text: &str) -> Option<Keep> {
    match text {
        "forever" => Some(Keep::Forever),
        text => duration(text).ok().map(|it| Keep::Seconds(it.as_secs())),
    }
}
