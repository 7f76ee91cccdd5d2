//! The times at which a schedule is due: those of a cron expression in a time zone, or the multiples of an interval.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::Timestamp;

/// The longest cron expression, in bytes.
const CRON_BYTES_MAX: usize = 200;

/// The shortest interval.
pub const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// The longest interval: 366 days.
pub const INTERVAL_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

const MICROS_PER_SECOND: i64 = 1_000_000;

/// How far [`Ticks::newest`] looks back at first, in microseconds.
const FIRST_LOOK_BACK: i64 = 60 * MICROS_PER_SECOND;

/// The times at which a schedule is due. All of them are whole seconds.
#[derive(Debug, Clone)]
pub struct Ticks(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Cron {
        expression: String,
        cron: Box<Cron>,
        zone: TimeZone,
    },
    Every {
        seconds: i64,
    },
}

/// What is no description of times.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicksError {
    /// The text is no cron expression.
    #[error(
        "{expression:?}: {problem}: expected minute, hour, day of month, month and day of week, such as \"30 2 * * MON-FRI\"; \
         of six fields the first is the second, and of seven the last is the year"
    )]
    Cron {
        /// The text, shortened.
        expression: String,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no such time zone.
    #[error("unknown time zone {0:?}: expected an IANA name such as Europe/Paris or UTC")]
    TimeZone(String),
    /// The interval is too short, too long, or finer than a second.
    #[error("{} is not an interval: expected whole seconds, from 1 s to 366 days", Seconded(*.0))]
    Interval(Duration),
}

impl TicksError {
    /// What the description was to be, in the words of an argument.
    #[must_use]
    pub fn what(&self) -> &'static str {
        match self {
            Self::Cron { .. } => "cron expression",
            Self::TimeZone(_) => "time zone",
            Self::Interval(_) => "interval",
        }
    }
}

struct Seconded(Duration);

impl fmt::Display for Seconded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0.as_secs_f64())
    }
}

impl Ticks {
    /// The times of a cron expression in a time zone: five fields (minute, hour, day of month, month, day of week), six with the second
    /// in front, or seven with the year behind; or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.
    ///
    /// The zone is looked up in the database that is compiled in, so that every worker of one version has the same rules.
    ///
    /// # Errors
    /// [`TicksError::Cron`] and [`TicksError::TimeZone`].
    pub fn cron(expression: &str, time_zone: &str) -> Result<Self, TicksError> {
        let bad = |problem: String| TicksError::Cron {
            expression: shortened(expression),
            problem,
        };
        if expression.len() > CRON_BYTES_MAX {
            return Err(bad(format!(
                "it is {} bytes long, the limit is {CRON_BYTES_MAX} bytes",
                expression.len()
            )));
        }
        if !expression.is_ascii() {
            return Err(bad("it holds characters that are not ASCII".to_owned()));
        }
        let cron = parse(expression).map_err(|error| {
            let problem = match expression.split_whitespace().count() {
                0 | 5..=7 => problem(&error),
                1 => "it has 1 field".to_owned(),
                fields => format!("it has {fields} fields"),
            };
            bad(match wrong_field(expression) {
                Some((name, field)) => format!("{name} {field:?}: {problem}"),
                None => problem,
            })
        })?;
        let zone = TimeZoneDatabase::bundled()
            .get(time_zone)
            .map_err(|_| TicksError::TimeZone(shortened(time_zone)))?;
        Ok(Self(Kind::Cron {
            expression: expression.trim().to_owned(),
            cron: Box::new(cron),
            zone,
        }))
    }

    /// The whole multiples of an interval since 1970-01-01T00:00:00Z: every hour is on the hour, in UTC.
    ///
    /// # Errors
    /// [`TicksError::Interval`].
    pub fn every(interval: Duration) -> Result<Self, TicksError> {
        let fits = (INTERVAL_MIN..=INTERVAL_MAX).contains(&interval);
        match i64::try_from(interval.as_secs()) {
            Ok(seconds) if fits && interval.subsec_nanos() == 0 => {
                Ok(Self(Kind::Every { seconds }))
            }
            _ => Err(TicksError::Interval(interval)),
        }
    }

    /// The cron expression and the name of its time zone; none for an interval.
    #[must_use]
    pub fn as_cron(&self) -> Option<(&str, &str)> {
        match &self.0 {
            Kind::Cron {
                expression, zone, ..
            } => Some((expression, zone.iana_name().unwrap_or("UTC"))),
            Kind::Every { .. } => None,
        }
    }

    /// The interval in seconds; none for a cron expression.
    #[must_use]
    pub fn as_every(&self) -> Option<i64> {
        match self.0 {
            Kind::Cron { .. } => None,
            Kind::Every { seconds } => Some(seconds),
        }
    }

    /// The first tick later than this time; none if there is no more.
    ///
    /// Where clocks are put forward, a time of day that is left out comes when the clock has jumped, once; an expression that names many
    /// times (a list, a range or `*` in its second, minute or hour) leaves out those that do not exist. Where clocks are put back, a
    /// time of day comes when it is first reached, and not again; an expression that names many times goes on through both.
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        // Ticks are whole seconds: what is later than the second is later than the time within it.
        let second = after.as_micros().div_euclid(MICROS_PER_SECOND);
        let next = match &self.0 {
            Kind::Cron { cron, zone, .. } => {
                let start = jiff::Timestamp::from_second(second).ok()?;
                let next = cron
                    .find_next_occurrence(&start.to_zoned(zone.clone()), false)
                    .ok()?;
                next.timestamp().as_second()
            }
            Kind::Every { seconds } => (second.div_euclid(*seconds) + 1).checked_mul(*seconds)?,
        };
        let next = Timestamp::from_micros(next.checked_mul(MICROS_PER_SECOND)?);
        // At the end of all times there is nothing later.
        (next > after).then_some(next)
    }

    /// The first tick that is not earlier than this time; none if there is no more.
    #[must_use]
    pub fn next_from(&self, from: Timestamp) -> Option<Timestamp> {
        self.next_after(Timestamp::from_micros(from.as_micros() - 1))
    }

    /// The ticks from one time on, without an end of their own.
    pub fn iter_from(&self, from: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
        std::iter::successors(self.next_from(from), |&tick| self.next_after(tick))
    }

    /// The newest ticks, at most `max` of them, that are not earlier than `from` and not later than `to`; the oldest first.
    #[must_use]
    pub fn newest(&self, from: Timestamp, to: Timestamp, max: usize) -> Vec<Timestamp> {
        // Always forwards, each time from twice as far back: whoever asks `next_after` again and again finds the same ticks.
        let mut look_back = FIRST_LOOK_BACK;
        loop {
            let begin = Timestamp::from_micros(to.as_micros().saturating_sub(look_back)).max(from);
            let mut newest = VecDeque::with_capacity(max.min(1_000) + 1);
            for tick in self.iter_from(begin).take_while(|&tick| tick <= to) {
                if newest.len() == max {
                    newest.pop_front();
                }
                newest.push_back(tick);
            }
            if newest.len() >= max || begin == from {
                return newest.into();
            }
            look_back = look_back.saturating_mul(2);
        }
    }
}

fn parse(expression: &str) -> Result<Cron, CronError> {
    CronParser::builder()
        .seconds(Seconds::Optional)
        .year(Year::Optional)
        .build()
        .parse(expression)
}

/// The first field of an expression that is wrong by itself, which the parser does not tell.
fn wrong_field(expression: &str) -> Option<(&'static str, &str)> {
    const NAMES: [&str; 7] = [
        "second",
        "minute",
        "hour",
        "day of month",
        "month",
        "day of week",
        "year",
    ];
    let fields: Vec<&str> = expression.split_whitespace().collect();
    let names = match fields.len() {
        5 => &NAMES[1..6],
        6 => &NAMES[..6],
        7 => &NAMES[..],
        _ => return None,
    };
    let wrong = (0..fields.len()).find(|&place| {
        let mut alone = vec!["*"; fields.len()];
        alone[place] = fields[place];
        parse(&alone.join(" ")).is_err()
    })?;
    Some((names[wrong], fields[wrong]))
}

/// What the parser has against an expression, without the name of its own parts.
fn problem(error: &CronError) -> String {
    let text = match error {
        CronError::EmptyPattern => "it is empty",
        CronError::InvalidPattern(text)
        | CronError::IllegalCharacters(text)
        | CronError::ComponentError(text) => text,
        other => return other.to_string(),
    };
    let text = text.trim_end_matches('.').replace("CronPattern ", "it ");
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => "it cannot be read".to_owned(),
    }
}

fn shortened(text: &str) -> String {
    const SHOWN_MAX: usize = 60;
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
#[path = "ticks_tests.rs"]
mod tests;
