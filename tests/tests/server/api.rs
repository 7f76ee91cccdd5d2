//! A server, and asking it.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, Method, Request, StatusCode};
use bytes::Bytes;
use dacapo_model::RunId;
use dacapo_tests::{Database, dacapo_binary};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::document::Document;

/// A `dacapo serve` process. Dropped, it is killed.
pub struct Api {
    child: Child,
    address: String,
    client: Client<HttpConnector, Full<Bytes>>,
    document: Arc<Document>,
}

/// What it answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The body as JSON, once the status is this.
    #[track_caller]
    pub fn is(&self, status: u16) -> Value {
        assert_eq!(
            self.status.as_u16(),
            status,
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        self.json()
    }

    /// The problem, once its status and its code are these.
    #[track_caller]
    pub fn is_problem(&self, status: u16, code: &str) -> Value {
        let json = self.is(status);
        assert_eq!(json["code"], code, "{json}");
        assert_eq!(json["status"], status, "{json}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
        json
    }
}

impl Api {
    /// A server over this database.
    pub async fn on(database: &Database) -> Self {
        Self::with(database, &[]).await
    }

    /// A server with more arguments.
    pub async fn with(database: &Database, arguments: &[&str]) -> Self {
        let mut command = Command::new(dacapo_binary());
        command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .env("DATABASE_URL", &database.url)
            .env("NO_COLOR", "1");
        let mut child = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let address = loop {
            let line = lines.next_line().await.unwrap();
            let line = line.unwrap_or_else(|| panic!("the server ended:\n{said}"));
            if let Some((_, rest)) = line.split_once("listening on http://") {
                break rest.split(';').next().unwrap().to_owned();
            }
            said = said + &line + "\n";
        };
        // Whatever it says must be read, or it would stop at a full pipe.
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                eprintln!("server: {line}");
            }
        });
        let client = Client::builder(TokioExecutor::new()).build_http();
        let mut api = Self {
            child,
            address,
            client,
            document: Arc::new(Document::none()),
        };
        let document = api.get("/openapi.json").await.is(200);
        api.document = Arc::new(Document::new(document));
        api
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn document(&self) -> &Document {
        &self.document
    }

    /// Asks it something. What it answers fits its document.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let answer = self.ask_anything(method.clone(), path, headers, body).await;
        self.document.check(&method, path, &answer);
        answer
    }

    /// The same for what no document knows.
    pub async fn ask_anything(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let response = self.send(method, path, headers, body.into()).await;
        let (head, body) = response.into_parts();
        Answer {
            status: head.status,
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> axum::http::Response<axum::body::Body> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}/api/v1{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).unwrap();
        let answer = self.client.request(request);
        let answer = tokio::time::timeout(Duration::from_secs(60), answer).await;
        let answer = answer.expect("it answers").unwrap();
        answer.map(axum::body::Body::new)
    }

    /// Calls a tool over MCP, and answers what that says.
    pub async fn call_tool(&self, name: &str, arguments: Value) -> Value {
        let message = serde_json::json!({
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": { "name": name, "arguments": arguments },
        });
        let request = Request::post(format!("http://{}/mcp", self.address))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-06-18")
            .body(Full::new(Bytes::from(message.to_string())))
            .unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(30), self.client.request(request));
        let answer = answer.await.expect("it answers").unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let answer: Value = serde_json::from_slice(&body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&body)));
        answer["result"].clone()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[], "").await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.ask(Method::DELETE, path, &[], "").await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.json(Method::POST, path, &[], body).await
    }

    /// A POST without a body.
    pub async fn tell(&self, path: &str) -> Answer {
        self.ask(Method::POST, path, &[], "").await
    }

    pub async fn json(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Answer {
        let mut all = vec![("content-type", "application/json")];
        all.extend(headers);
        self.ask(method, path, &all, body.to_string()).await
    }

    /// Opens a stream.
    pub async fn stream(&self, path: &str, headers: &[(&str, &str)]) -> Events {
        let response = self.send(Method::GET, path, headers, Bytes::new()).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Events {
            body: response.into_body(),
            text: String::new(),
        }
    }

    /// Starts a run and answers its id.
    pub async fn start(&self, workflow: &str, input: Value) -> RunId {
        let body = serde_json::json!({ "workflow": workflow, "input": input });
        let started = self.post("/runs", &body).await.is(201);
        started["run"].as_str().unwrap().parse().unwrap()
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        assert!(self.child.wait().await.unwrap().success());
    }
}

/// The events of a stream.
pub struct Events {
    body: axum::body::Body,
    text: String,
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub name: String,
    pub id: Option<String>,
    pub data: Value,
}

impl Events {
    /// The next one; none if the stream has ended.
    pub async fn next(&mut self) -> Option<Event> {
        let next = async {
            loop {
                while let Some((event, rest)) = self.text.split_once("\n\n") {
                    let (event, rest) = (event.to_owned(), rest.to_owned());
                    self.text = rest;
                    if let Some(event) = parse(&event) {
                        return Some(event);
                    }
                }
                let frame = self.body.frame().await?.ok()?;
                let Ok(data) = frame.into_data() else {
                    continue;
                };
                self.text += std::str::from_utf8(&data).unwrap();
            }
        };
        let next = tokio::time::timeout(Duration::from_secs(30), next).await;
        next.expect("an event comes")
    }

    /// All events up to one of this name, which is the last of them.
    pub async fn up_to(&mut self, name: &str) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            let is_it = event.name == name;
            events.push(event);
            if is_it {
                return events;
            }
        }
        panic!("the stream ended without {name}: {events:?}");
    }
}

fn parse(text: &str) -> Option<Event> {
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .map(|value| value.trim_start().to_owned())
    };
    let data = field("data:")?;
    Some(Event {
        name: field("event:").unwrap_or_default(),
        id: field("id:"),
        data: serde_json::from_str(&data).unwrap(),
    })
}
