//! Queues: what waits, for how long, and how that went lately.

use std::fmt::Write;

use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use dacapo_client::Rate;
use minijinja::{Value, context};
use serde::Serialize;

use super::Dashboard;
use super::error::{Oops, is_visitors, status_of};
use super::guard::{Posted, Visitor};
use super::page::{page, took};
use super::query::{Query, in_path};
use super::run::layout_of;
use super::runs::Problem;
use super::samples::{DEPTH_MAX, PERIOD, SAMPLES, Sample};

/// Size of a plot, in its own units.
const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 56.0;

/// A line over time.
#[derive(Debug, Serialize)]
struct Plot {
    /// The path of the line, and of the area below it.
    line: String,
    area: String,
    /// What its top stands for.
    top: String,
    /// What it says in words, for who does not see it.
    words: String,
}

impl Plot {
    fn of(values: &[f64], label: &str, text: impl Fn(f64) -> String) -> Self {
        let top = values.iter().copied().fold(0.0, f64::max);
        let last = values.last().copied().unwrap_or(0.0);
        let scale = if top > 0.0 { top } else { 1.0 };
        // The newest is at the right end; there is room for those that come.
        let first = SAMPLES.saturating_sub(values.len());
        let point = |index: usize, value: f64| {
            let x = (first + index) as f64 / (SAMPLES - 1) as f64 * WIDTH;
            let y = HEIGHT - 2.0 - value / scale * (HEIGHT - 4.0);
            (x, y)
        };
        let mut line = String::new();
        for (index, value) in values.iter().enumerate() {
            let (x, y) = point(index, *value);
            let command = if index == 0 { 'M' } else { 'L' };
            // Writing to a string cannot fail.
            let _ = write!(line, "{command}{x:.1} {y:.1}");
        }
        let (begin, _) = point(0, 0.0);
        let area = match line.is_empty() {
            true => String::new(),
            false => format!("{line}L{WIDTH} {HEIGHT}L{begin:.1} {HEIGHT}Z"),
        };
        let minutes = PERIOD.as_secs() * SAMPLES as u64 / 60;
        Self {
            line,
            area,
            words: format!(
                "{label} over the last {minutes} minutes: at most {}, now {}",
                text(top),
                text(last)
            ),
            top: text(top),
        }
    }
}

fn rate(rate: Option<Rate>) -> Option<String> {
    rate.map(|rate| {
        let millis = i64::try_from(rate.per.as_millis()).unwrap_or(i64::MAX);
        format!("{} in {}", rate.runs, took(millis))
    })
}

async fn values(dashboard: &Dashboard) -> Result<Value, Oops> {
    let client = dashboard.client();
    let (queues, standstill) = tokio::try_join!(client.queues(), client.standstill())?;
    let lines = dashboard.samples.of(client).await?;
    let shown: Vec<_> = lines
        .iter()
        .map(|(name, samples)| {
            let queue = queues.iter().find(|queue| queue.name == *name);
            let last = samples.last().copied().unwrap_or(Sample {
                waiting: 0,
                running: 0,
                age: 0,
            });
            let numbers = |of: fn(&Sample) -> f64| samples.iter().map(of).collect::<Vec<_>>();
            context! {
                name,
                is_named => queue.is_some(),
                is_paused => queue.is_some_and(|queue| queue.paused),
                concurrency => queue.and_then(|queue| queue.concurrency),
                concurrency_per_key => queue.and_then(|queue| queue.concurrency_per_key),
                rate => queue.and_then(|queue| rate(queue.rate)),
                rate_per_key => queue.and_then(|queue| rate(queue.rate_per_key)),
                suspended => queue.map(|queue| queue.suspended),
                waiting => last.waiting,
                is_more => last.waiting >= u64::from(DEPTH_MAX),
                running => last.running,
                age => last.age,
                depth => Plot::of(&numbers(|sample| sample.waiting as f64), "Runs that wait", |value| format!("{value:.0}")),
                latency => Plot::of(&numbers(|sample| sample.age as f64), "Age of the next in line", |value| took(value as i64)),
            }
        })
        .collect();
    let standstill = standstill.map(|standstill| {
        context! { since => standstill.since.to_string(), reason => standstill.reason }
    });
    Ok(
        context! { queues => shown, standstill, width => WIDTH, height => HEIGHT, every => PERIOD.as_secs() },
    )
}

/// The page.
pub(crate) async fn list(
    dashboard: Dashboard,
    visitor: Visitor,
    query: Query,
) -> Result<Response, Oops> {
    let said = match query.get("done") {
        Some("pause") => Some("The queue is paused."),
        Some("resume") => Some("The queue goes on."),
        _ => None,
    };
    let html = page(
        &visitor,
        "queues.html",
        context! { said, ..values(&dashboard).await? },
    )?;
    Ok(html.into_response())
}

/// What of it changes.
pub(crate) async fn live(dashboard: Dashboard, visitor: Visitor) -> Result<Response, Oops> {
    let html = page(&visitor, "queues_body.html", values(&dashboard).await?)?;
    Ok(html.into_response())
}

fn asked(name: &str, action: &str) -> Result<Value, Oops> {
    let (label, meaning) = match action {
        "pause" => (
            "Pause",
            "Workers take no more runs of it. Those that are played go back into it at their next step or wait.",
        ),
        "resume" => ("Resume", "Workers take runs of it again."),
        other => {
            return Err(Oops::missing(format!(
                "{other:?} is nothing that can be done to a queue"
            )));
        }
    };
    Ok(context! {
        subject => format!("queue {name}"),
        back => "/queues",
        address => format!("/queues/{}/do/{action}", in_path(name, false)),
        deed => action,
        label,
        meaning,
        is_dangerous => false,
        is_simple => true,
    })
}

pub(crate) async fn ask(
    Path((name, action)): Path<(String, String)>,
    visitor: Visitor,
    query: Query,
) -> Result<Response, Oops> {
    let html = page(
        &visitor,
        "confirm.html",
        context! { layout => layout_of(&query), problem => Option::<Problem>::None, ..asked(&name, &action)? },
    )?;
    Ok(html.into_response())
}

pub(crate) async fn act(
    dashboard: Dashboard,
    Path((name, action)): Path<(String, String)>,
    posted: Posted,
) -> Result<Response, Oops> {
    let client = dashboard.client();
    let values = asked(&name, &action)?;
    let done = match action.as_str() {
        "pause" => client.pause_queue(&name).await,
        _ => client.resume_queue(&name).await,
    };
    match done {
        Ok(_) => Ok(Redirect::to(&format!("/queues?done={action}")).into_response()),
        Err(error) if is_visitors(&error) => {
            let html = page(
                &posted.visitor,
                "confirm.html",
                context! { layout => "layout.html", problem => Problem::of(&error), ..values },
            )?;
            Ok((status_of(&error), html).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_fits_into_its_frame_and_says_in_words_what_it_shows() {
        let plot = Plot::of(&[0.0, 5.0, 10.0], "Runs", |value| format!("{value}"));
        assert!(plot.line.starts_with('M'));
        assert!(plot.line.ends_with("L360.0 2.0"), "{}", plot.line);
        assert_eq!(
            plot.words,
            "Runs over the last 30 minutes: at most 10, now 10"
        );
        assert_eq!(Plot::of(&[], "Runs", |value| format!("{value}")).area, "");
    }
}
