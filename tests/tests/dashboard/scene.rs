//! A database, its dashboard, and a worker.

use std::sync::Arc;

use dacapo_client::{RunId, StartOptions, Status};
use dacapo_server::{AccessConfig, App, Gate, Limits, Readiness, Server};
use dacapo_tests::{Dacapo, Database, Worker, database};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::browser::{Browser, browser};

/// All of it. Dropped, the server ends and the worker is killed.
pub struct Scene {
    pub database: Database,
    /// Where the dashboard is.
    pub site: String,
    _worker: Option<Worker>,
    _stop: oneshot::Sender<()>,
}

impl Scene {
    /// With these guests, and a worker that plays them.
    pub async fn with(guests: &[&str]) -> Self {
        let mut scene = Self::without_worker(guests).await;
        scene._worker = Some(Dacapo::on(&scene.database).worker().await);
        scene
    }

    pub async fn without_worker(guests: &[&str]) -> Self {
        let database = database().await;
        for guest in guests {
            database.deploy(guest).await;
        }
        let server = Server::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let site = format!("http://{}", server.address());
        let (stop, stopped) = oneshot::channel::<()>();
        let client = database.client.clone();
        let gate = Gate::new(client.clone(), AccessConfig::new(server.address()));
        let gate = gate.await.unwrap();
        let limits = Limits {
            requests_per_second: 0,
            ..Limits::default()
        };
        let probe = Arc::new(|| Readiness::Ready);
        let app = App::new(client, probe, limits, CancellationToken::new());
        tokio::spawn(server.serve(dacapo_server::everything(app, gate), async {
            let _ = stopped.await;
        }));
        Self {
            database,
            site,
            _worker: None,
            _stop: stop,
        }
    }

    pub async fn browser(&self) -> Option<Browser> {
        browser(&self.site).await
    }

    pub async fn start(&self, workflow: &str, input: &str) -> RunId {
        self.database.start(workflow, input).await
    }

    pub async fn start_with(&self, workflow: &str, input: &str, options: StartOptions) -> RunId {
        let started = self
            .database
            .client
            .start_by_name(workflow, input, options)
            .await;
        started.unwrap().id
    }

    /// Waits until a run stands so.
    pub async fn is(&self, run: RunId, status: Status) {
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            let now = self
                .database
                .client
                .check_progress(run)
                .await
                .unwrap()
                .status;
            if now == status {
                return;
            }
            assert!(
                tokio::time::Instant::now() < deadline && !now.is_terminal(),
                "run {run} is {now}, not {status}"
            );
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    /// The answer to a plain request, without a browser.
    pub async fn answer(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> (u16, String) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let address = self.site.strip_prefix("http://").unwrap();
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        (status.expect("a status line"), answer)
    }
}
