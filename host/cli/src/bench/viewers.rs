//! The row `viewers`: how much of a busy worker's throughput is left while people look at the dashboard and programs ask the API.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use dacapo_client::RunId;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;

use super::Bench;
use super::program::Program;
use super::report::{Measure, Target};
use super::rows::run_lanes;
use super::samples::{Samples, middle};
use super::worker::processor_time;

/// Stands for a run that waits.
const RUN: &str = "{run}";

/// Pages that are open in somebody's browser, and ask for what has changed as browsers do. Each is left for the next one after a while.
const PAGES: [&str; 10] = [
    "/runs",
    "/runs/{run}",
    "/runs?status=completed",
    "/runs?status=suspended",
    "/",
    "/",
    "/queues",
    "/runs/{run}/logs",
    "/workers",
    "/deployments",
];

/// How often a page asks for what has changed before its visitor goes to another one.
const LOOKS_PER_PAGE: u32 = 5;

/// Between two looks at a page that does not ask by itself.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What programs follow.
const STREAMS: [&str; 5] = [
    "/api/v1/runs/stream",
    "/api/v1/runs/stream",
    "/api/v1/runs/stream?status=completed",
    "/api/v1/runs/{run}/stream",
    "/api/v1/runs/{run}/logs/stream",
];

/// What programs ask for in turn, once a second each.
const QUESTIONS: [&str; 5] = [
    "/api/v1/runs?limit=50",
    "/api/v1/stats",
    "/api/v1/queues",
    "/api/v1/workflows",
    "/api/v1/runs?status=completed",
];

const ASK_EVERY: Duration = Duration::from_secs(1);

/// Runs in flight, more than the worker can play at once on a small machine.
const IN_FLIGHT: usize = 256;

impl Bench {
    /// Runs of three steps, as many as can be: with nobody at the server, and with twenty, in turn.
    pub(super) async fn viewers_row(&mut self) -> Result<()> {
        let row = "viewers";
        let (rounds, each) = if self.quick { (3, 40) } else { (5, 160) };
        let mut server = Program::spawn(
            "server",
            &["serve", "--listen", "127.0.0.1:0"],
            self.server.url(),
            &[],
        )?;
        let said = server.says("listening on ").await?;
        let site = said.split(';').next().unwrap_or_default().to_owned();
        let pid = server.pid().to_string();
        let run = self.start("wait-event", "null").await?;
        let (mut alone, mut watched, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        let (mut times, mut processors, mut seconds) = (Vec::new(), Duration::ZERO, 0.0);
        for round in 0..rounds {
            // In turn, and each first in its turn, so that both see the same machine.
            for with_viewers in [round % 2 == 1, round % 2 == 0] {
                let viewers = with_viewers.then(|| Viewers::come(&site, run));
                let used = processor_time(&pid);
                let elapsed =
                    run_lanes(&self.client, IN_FLIGHT, each, "three-steps", "null").await?;
                let rate = f64::from(each) * IN_FLIGHT as f64 / elapsed.as_secs_f64();
                let Some(viewers) = viewers else {
                    alone.push(rate);
                    continue;
                };
                watched.push(rate);
                seconds += elapsed.as_secs_f64();
                if let (Some(before), Some(after)) = (used, processor_time(&pid)) {
                    processors += after.saturating_sub(before);
                }
                times.extend(viewers.leave().await?);
            }
            if let (Some(alone), Some(watched)) = (alone.last(), watched.last()) {
                ratios.push(watched / alone);
            }
            server.check()?;
        }
        server.kill().await?;
        self.client.cancel(run).await?;
        let looks = times.len() as f64;
        let share = processors.as_secs_f64() / seconds;
        let samples: Samples = times.into_iter().collect();
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        for (name, figures) in [("nobody", &alone), ("twenty viewers", &watched)] {
            let name = format!("3-step runs, {IN_FLIGHT} in flight, with {name} at the server");
            self.add(Measure::new(row, name, middle(figures), "runs/s"));
        }
        let note = format!(
            "the middle of {}, from {:.2} to {:.2}",
            ratios.len(),
            ratios.iter().copied().fold(f64::INFINITY, f64::min),
            ratios.iter().copied().fold(0.0, f64::max)
        );
        self.add(
            Measure::new(row, "with twenty over with nobody", middle(&ratios), "")
                .target(Target::AtLeast(0.95))
                .note(note),
        );
        let note = format!(
            "p99 {:.1} ms, {:.1} looks/s, the server used {share:.2} of a processor",
            millis(samples.p99()),
            looks / seconds
        );
        self.add(Measure::new(row, "a look, p50", millis(samples.p50()), "ms").note(note));
        Ok(())
    }
}

/// Twenty of them, at work until they leave.
struct Viewers {
    at_work: JoinSet<Result<()>>,
    seen: Arc<Seen>,
}

/// What they have seen.
#[derive(Default)]
struct Seen {
    looks: Mutex<Vec<Duration>>,
    /// Bytes that came in streams.
    streamed: AtomicU64,
}

impl Viewers {
    fn come(site: &str, run: RunId) -> Self {
        let run = run.to_string();
        let of_run = |paths: &[&str]| -> Vec<String> {
            paths.iter().map(|path| path.replace(RUN, &run)).collect()
        };
        let seen = Arc::new(Seen::default());
        let viewer = || Viewer {
            site: site.to_owned(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            seen: Arc::clone(&seen),
        };
        let mut at_work = JoinSet::new();
        for first in 0..PAGES.len() {
            at_work.spawn(viewer().browse(of_run(&PAGES), first));
        }
        for path in of_run(&STREAMS) {
            at_work.spawn(viewer().listen(path));
        }
        for first in 0..QUESTIONS.len() {
            at_work.spawn(viewer().ask(first));
        }
        Self { at_work, seen }
    }

    /// Sends them away, and answers with how long each of their looks took.
    ///
    /// # Errors
    ///
    /// If one of them was refused something, or if a stream said nothing.
    async fn leave(mut self) -> Result<Vec<Duration>> {
        if let Some(ended) = self.at_work.try_join_next() {
            ended.context("a viewer panicked")??;
            bail!("a viewer left");
        }
        self.at_work.shutdown().await;
        let streamed = self.seen.streamed.load(Ordering::Relaxed);
        ensure!(streamed > 0, "the streams said nothing");
        let looks = &self.seen.looks;
        Ok(std::mem::take(
            &mut *looks.lock().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

struct Viewer {
    site: String,
    client: Client<HttpConnector, Empty<Bytes>>,
    seen: Arc<Seen>,
}

impl Viewer {
    /// Goes from page to page, and stays on each for some looks.
    async fn browse(self, pages: Vec<String>, first: usize) -> Result<()> {
        // Not all at the same moment.
        tokio::time::sleep(LOOK_EVERY.mul_f64(first as f64 / pages.len() as f64)).await;
        for page in pages.iter().cycle().skip(first) {
            let mut poll = poll(&self.look(page).await?);
            for _ in 0..LOOKS_PER_PAGE {
                let every = poll.as_ref().map_or(LOOK_EVERY, |poll| poll.every);
                tokio::time::sleep(every).await;
                if let Some(asked) = &poll {
                    poll = self::poll(&self.look(&asked.path).await?).or(poll);
                }
            }
        }
        Ok(())
    }

    async fn ask(self, first: usize) -> Result<()> {
        tokio::time::sleep(ASK_EVERY.mul_f64(first as f64 / QUESTIONS.len() as f64)).await;
        for question in QUESTIONS.iter().cycle().skip(first) {
            self.look(question).await?;
            tokio::time::sleep(ASK_EVERY).await;
        }
        Ok(())
    }

    async fn listen(self, path: String) -> Result<()> {
        let response = self.get(&path).await?;
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.context("a stream broke off")?;
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            self.seen
                .streamed
                .fetch_add(bytes as u64, Ordering::Relaxed);
        }
        bail!("a stream ended")
    }

    /// What is there; how long that took is kept.
    async fn look(&self, path: &str) -> Result<String> {
        let begin = Instant::now();
        let body = self.get(path).await?.into_body().collect().await;
        let body = body.with_context(|| format!("GET {path}"))?.to_bytes();
        let mut looks = self
            .seen
            .looks
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        looks.push(begin.elapsed());
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    async fn get(
        &self,
        path: &str,
    ) -> Result<
        http::Response<
            impl BodyExt<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin + use<>,
        >,
    > {
        let address = format!("{}{path}", self.site);
        let address = address.parse().with_context(|| format!("GET {address}"))?;
        let response = self.client.get(address).await;
        let response = response.with_context(|| format!("GET {path}"))?;
        ensure!(
            response.status().is_success(),
            "GET {path}: {}",
            response.status()
        );
        Ok(response)
    }
}

/// How a page asks for what has changed.
#[derive(Debug, PartialEq)]
struct Poll {
    path: String,
    every: Duration,
}

/// Reads it from the element that does it.
fn poll(page: &str) -> Option<Poll> {
    let (_, element) = page.split_once("id=\"poll\"")?;
    let (element, _) = element.split_once('>')?;
    let value = |name: &str| Some(element.split_once(name)?.1.split_once('"')?.0);
    let path = value("hx-get=\"")?.replace("&amp;", "&");
    let every = value("hx-trigger=\"every ")?.trim_end_matches('s');
    Some(Poll {
        path,
        every: Duration::from_secs(every.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_how_it_asks_for_what_has_changed() {
        let page = "<p></p><div id=\"poll\" hx-get=\"/runs/live?a=1&amp;seen=x\" hx-trigger=\"every 2s\" hx-swap=\"outerHTML\"></div>";
        let expected = Poll {
            path: "/runs/live?a=1&seen=x".to_owned(),
            every: Duration::from_secs(2),
        };
        assert_eq!(poll(page), Some(expected));
        assert_eq!(poll("<p id=\"other\"></p>"), None);
    }
}
