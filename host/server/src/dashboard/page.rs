//! Making pages: the templates, and what they are written with.

use std::sync::LazyLock;

use axum::http::HeaderName;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use dacapo_model::Timestamp;
use minijinja::{Environment, UndefinedBehavior, Value, context};

use super::error::Oops;
use super::guard::Visitor;
use super::{assets, query};

macro_rules! templates {
    ($($name:literal),* $(,)?) => { [$(($name, include_str!(concat!("../../templates/", $name)))),*] };
}

const TEMPLATES: [(&str, &str); 35] = templates![
    "audit.html",
    "bare.html",
    "confirm.html",
    "deployment.html",
    "deployments.html",
    "diff.html",
    "error.html",
    "event.html",
    "failure.html",
    "field.html",
    "fields.html",
    "icons.html",
    "layout.html",
    "log_rows.html",
    "logs.html",
    "macros.html",
    "overview.html",
    "overview_body.html",
    "queues.html",
    "queues_body.html",
    "run.html",
    "run_body.html",
    "run_header.html",
    "run_live.html",
    "runs.html",
    "runs_body.html",
    "runs_live.html",
    "schedules.html",
    "sign_in.html",
    "start.html",
    "step.html",
    "timeline.html",
    "workers.html",
    "workflow.html",
    "workflows.html",
];

static ENVIRONMENT: LazyLock<Result<Environment<'static>, minijinja::Error>> =
    LazyLock::new(|| environment(|name, built_in| Some((name.to_owned(), built_in.to_owned()))));

/// An answer in HTML.
pub(crate) type Html = ([(HeaderName, &'static str); 2], String);

/// A page for a visitor.
pub(crate) fn page(visitor: &Visitor, name: &str, values: Value) -> Result<Html, Oops> {
    let values = context! {
        token => visitor.token,
        signed_in => visitor.signed_in(),
        may_operate => visitor.may_operate(),
        sees_payloads => visitor.sees_payloads(),
        sees_audit => visitor.sees_audit(),
        sees_all => visitor.sees_all(),
        ..values
    };
    Ok(render(name, values)?)
}

/// A template with these values.
pub(crate) fn render(name: &str, values: Value) -> Result<Html, minijinja::Error> {
    let html = text(name, values)?;
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, html))
}

fn text(name: &str, values: Value) -> Result<String, minijinja::Error> {
    #[cfg(debug_assertions)]
    if disk().is_some() {
        let fresh = environment(|name, _| {
            let bytes = from_disk(&format!("templates/{name}"))?;
            Some((name.to_owned(), String::from_utf8(bytes).ok()?))
        })?;
        return fresh.get_template(name)?.render(values);
    }
    match &*ENVIRONMENT {
        Ok(environment) => environment.get_template(name)?.render(values),
        Err(error) => Err(minijinja::Error::new(error.kind(), error.to_string())),
    }
}

/// Where whoever works on the dashboard has its templates and assets, to see each change at once. Not in a release.
#[cfg(debug_assertions)]
fn disk() -> Option<std::path::PathBuf> {
    std::env::var_os("DACAPO_DASHBOARD_FROM").map(Into::into)
}

/// A file from there.
#[cfg(debug_assertions)]
pub(crate) fn from_disk(name: &str) -> Option<Vec<u8>> {
    std::fs::read(disk()?.join(name)).ok()
}

fn environment(
    source: impl Fn(&'static str, &'static str) -> Option<(String, String)>,
) -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    // Made of our own names alone.
    environment.add_function("asset", |name: &str| {
        assets::address(name).map(Value::from_safe_string)
    });
    environment.add_function("own_version", || env!("CARGO_PKG_VERSION"));
    environment.add_filter("when", |time: &str| when(time));
    environment.add_filter("took", took);
    environment.add_filter("segment", |text: &str| query::in_path(text, false));
    environment.add_filter("segments", |text: &str| query::in_path(text, true));
    environment.add_filter("value", |text: &str| -> String {
        url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
    });
    environment.add_filter("short", |id: &str| short(id).to_owned());
    environment.add_filter("last", |name: &str| last_part(name).to_owned());
    environment.add_filter("thousands", thousands);
    for (name, built_in) in TEMPLATES {
        let Some((name, text)) = source(name, built_in) else {
            continue;
        };
        environment.add_template_owned(name, text)?;
    }
    Ok(environment)
}

/// What tells an id from others at a glance: its end, since the beginnings of ids that were made together are the same.
pub(crate) fn short(id: &str) -> &str {
    id.get(id.len().saturating_sub(8)..).unwrap_or(id)
}

/// `orders.place` of `shop:orders/orders.place`.
pub(crate) fn last_part(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(_, last)| last)
}

/// This process' time; the workers' own is the database's.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())
}

/// A time as people read it, with the whole of it to be looked at.
fn when(time: &str) -> Value {
    let Ok(at) = time.parse::<Timestamp>() else {
        return Value::from(time);
    };
    let absolute = absolute(at);
    let relative = relative(at, now());
    // Nothing of this comes from elsewhere: a time has been made from it.
    Value::from_safe_string(format!(
        r#"<time datetime="{at}" title="{absolute}">{relative}</time>"#
    ))
}

/// `2026-11-29 10:58:04 UTC`
fn absolute(at: Timestamp) -> String {
    let text = at.to_string();
    format!("{} {} UTC", &text[..10], &text[11..19])
}

fn relative(at: Timestamp, now: Timestamp) -> String {
    let millis = (now.as_micros() - at.as_micros()) / 1_000;
    // Clocks may be a moment apart.
    if millis.abs() < 1_000 {
        return "now".to_owned();
    }
    match millis > 0 {
        true => format!("{} ago", rough(millis)),
        false => format!("in {}", rough(-millis)),
    }
}

/// The largest unit alone.
fn rough(millis: i64) -> String {
    let seconds = millis / 1_000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// How long something took, in milliseconds, in at most two units.
pub(crate) fn took(millis: i64) -> String {
    let millis = millis.max(0);
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..10_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        10_000..60_000 => format!("{} s", millis / 1_000),
        60_000..3_600_000 => format!("{} min {} s", millis / 60_000, millis / 1_000 % 60),
        3_600_000..86_400_000 => format!("{} h {} min", millis / 3_600_000, millis / 60_000 % 60),
        _ => format!("{} d {} h", millis / 86_400_000, millis / 3_600_000 % 24),
    }
}

/// `12 345`, with a space that does not break.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// The beginning of a text, at most so many characters.
pub(crate) fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_can_be_read() {
        if let Err(error) = &*ENVIRONMENT {
            panic!("{error:?}");
        }
    }

    #[test]
    fn times_are_told_in_the_unit_that_matters() {
        let now = Timestamp::from_millis(1_795_420_800_000);
        let before =
            |millis: i64| relative(Timestamp::from_millis(1_795_420_800_000 - millis), now);
        assert_eq!(before(500), "now");
        assert_eq!(before(59_999), "59 s ago");
        assert_eq!(before(-90_000), "in 1 min");
        assert_eq!(before(7_200_000), "2 h ago");
        assert_eq!(before(172_800_000), "2 d ago");
        assert_eq!(took(999), "999 ms");
        assert_eq!(took(1_250), "1.2 s");
        assert_eq!(took(61_000), "1 min 1 s");
        assert_eq!(took(90_000_000), "1 d 1 h");
        assert_eq!(absolute(now), "2026-11-23 08:00:00 UTC");
    }

    #[test]
    fn large_numbers_can_be_read() {
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_234_567), "1\u{202f}234\u{202f}567");
    }
}
