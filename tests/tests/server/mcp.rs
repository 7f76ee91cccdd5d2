//! MCP: a real `dacapo mcp` process, spoken to in lines as a client does, and a server's `/mcp`.

use std::collections::VecDeque;
use std::process::Stdio;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use dacapo_client::{Role, RunId, Scope, Status};
use dacapo_tests::{Dacapo, Database, dacapo_binary, database};
use dacapo_worker::{Worker, WorkerConfig};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::api::Api;
use crate::site::{Site, text};

const COUNTED: &str = "test_probe_durable_counted-steps";
const LOOPS: &str = "test_probe_progress_loops";
const FLAKY: &str = "test_probe_durable_flaky";

/// A `dacapo mcp` process, and what it has said that nobody has asked for yet. Dropped, it is killed.
struct Mcp {
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    heard: VecDeque<Value>,
    asked: u64,
}

impl Mcp {
    /// One that has said what it is.
    async fn on(database: &Database, arguments: &[&str]) -> Self {
        let mut command = Command::new(dacapo_binary());
        command
            .arg("mcp")
            .args(arguments)
            .env("DATABASE_URL", &database.url);
        Self::begun(command).await
    }

    /// The same, of a server.
    async fn of(api: &Api, arguments: &[&str]) -> Self {
        let mut command = Command::new(dacapo_binary());
        command
            .args(["mcp", "--server", &api.url()])
            .args(arguments)
            .env_remove("DATABASE_URL");
        Self::begun(command).await
    }

    async fn begun(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut mcp = Self {
            input: child.stdin.take().unwrap(),
            lines: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
            heard: VecDeque::new(),
            asked: 0,
        };
        let begun = mcp.ask("initialize", beginning()).await;
        assert_eq!(begun["result"]["serverInfo"]["name"], "dacapo", "{begun}");
        let capabilities = &begun["result"]["capabilities"];
        assert_eq!(capabilities["tools"]["listChanged"], true, "{begun}");
        mcp.say(json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))
            .await;
        mcp
    }

    async fn say(&mut self, message: Value) {
        let line = format!("{message}\n");
        self.input.write_all(line.as_bytes()).await.unwrap();
        self.input.flush().await.unwrap();
    }

    /// Sends a request, and answers its id.
    async fn send(&mut self, method: &str, params: Value) -> u64 {
        self.asked += 1;
        let id = self.asked;
        self.say(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
            .await;
        id
    }

    /// The first message like this, whatever comes before it.
    async fn hear(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        if let Some(place) = self.heard.iter().position(&is_it) {
            return self.heard.remove(place).unwrap();
        }
        let hear = async {
            loop {
                let line = self.lines.next_line().await.unwrap();
                let message: Value = serde_json::from_str(&line.expect("it ended")).unwrap();
                if is_it(&message) {
                    return message;
                }
                self.heard.push_back(message);
            }
        };
        let heard = tokio::time::timeout(Duration::from_secs(60), hear).await;
        heard.unwrap_or_else(|_| panic!("it does not say that, but {:?}", self.heard))
    }

    async fn answer(&mut self, id: u64) -> Value {
        self.hear(|message| message["id"] == id).await
    }

    async fn notified(&mut self, method: &str) -> Value {
        self.hear(|message| message["method"] == method).await
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params).await;
        self.answer(id).await
    }

    async fn tools(&mut self) -> Vec<Value> {
        let listed = self.ask("tools/list", json!({})).await;
        listed["result"]["tools"].as_array().unwrap().clone()
    }

    async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.call_with(tool, arguments, json!({})).await
    }

    async fn call_with(&mut self, tool: &str, arguments: Value, meta: Value) -> Value {
        let params = json!({ "name": tool, "arguments": arguments, "_meta": meta });
        let answer = self.ask("tools/call", params).await;
        answer["result"].clone()
    }
}

fn beginning() -> Value {
    json!({
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": { "name": "test", "version": "1" },
    })
}

fn names(tools: &[Value]) -> Vec<&str> {
    tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect()
}

/// What a call answered, once it went well.
#[track_caller]
fn fine(result: &Value) -> &Value {
    assert_eq!(result["isError"], false, "{result}");
    &result["structuredContent"]
}

/// What a call answered, once it was refused or its run had failed.
#[track_caller]
fn wrong<'a>(result: &'a Value, code: &str) -> &'a Value {
    assert_eq!(result["isError"], true, "{result}");
    let content = &result["structuredContent"];
    assert_eq!(content["error"]["code"], code, "{result}");
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(text.contains(code), "{text}");
    content
}

fn run_of(content: &Value) -> RunId {
    content["run"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_is_a_tool_and_calling_it_answers_its_output() {
    let database = database().await;
    database.deploy("probe").await;
    let _worker = Dacapo::on(&database).worker().await;
    let mut mcp = Mcp::on(&database, &[]).await;
    let tools = mcp.tools().await;
    let tool = |name: &str| {
        let found = tools.iter().find(|tool| tool["name"] == name);
        found.unwrap_or_else(|| panic!("{:?}", names(&tools)))
    };
    let counted = tool(COUNTED);
    let docs = counted["description"].as_str().unwrap();
    assert!(docs.contains("Its output is u64."), "{docs}");
    assert_eq!(counted["title"], "test:probe/durable.counted-steps");
    assert_eq!(counted["inputSchema"]["required"], json!(["input"]));
    assert_eq!(
        counted["inputSchema"]["properties"]["input"]["type"],
        "integer"
    );
    assert_eq!(counted["outputSchema"]["type"], "object");
    let output = &counted["outputSchema"]["properties"]["output"];
    assert_eq!(output["anyOf"][0]["type"], "integer");
    // The members of a record are arguments themselves.
    let flaky = tool(FLAKY);
    assert_eq!(flaky["inputSchema"]["properties"]["how"]["enum"][0], "fail");
    assert_eq!(
        tool("dacapo_cancel_run")["annotations"]["destructiveHint"],
        true
    );
    assert_eq!(tool("dacapo_get_run")["annotations"]["readOnlyHint"], true);

    let key = json!({ "idempotencyKey": "k" });
    let called = mcp
        .call_with(COUNTED, json!({ "input": 3 }), key.clone())
        .await;
    let content = fine(&called);
    assert_eq!(
        (&content["status"], &content["output"]),
        (&json!("completed"), &json!(6))
    );
    let said = called["content"][0]["text"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(said).unwrap(), *content);
    // The same key is the same run.
    let again = mcp
        .call_with(COUNTED, json!({ "input": 3 }), key.clone())
        .await;
    assert_eq!(run_of(fine(&again)), run_of(content));
    let other = mcp.call_with(COUNTED, json!({ "input": 4 }), key).await;
    assert_eq!(run_of(wrong(&other, "key-conflict")), run_of(content));

    // A workflow that takes nothing, and one that is not there.
    let nothing = mcp.call("test_probe_durable_step-fails", json!({})).await;
    assert_eq!(fine(&nothing)["status"], "completed");
    let params = json!({ "name": "test_probe_nothing" });
    let unknown = mcp.ask("tools/call", params).await;
    assert_eq!(unknown["error"]["code"], -32602, "{unknown}");

    // It ends when its client goes away.
    let Mcp {
        mut child, input, ..
    } = mcp;
    drop(input);
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_input_is_answered_with_its_place_and_a_failed_run_with_why() {
    let database = database().await;
    database.deploy("probe").await;
    let _worker = Dacapo::on(&database).worker().await;
    let mut mcp = Mcp::on(&database, &["--by", "the assistant"]).await;
    let plan = json!({ "bad": 1, "attempts": "many", "backoffMs": 0, "how": "fatal" });
    let refused = mcp.call(FLAKY, plan).await;
    let error = &wrong(&refused, "bad-input")["error"];
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("attempts"), "{error}");
    let surplus = mcp.call(COUNTED, json!({ "n": 3 })).await;
    wrong(&surplus, "bad-argument");
    assert_eq!(database.count("select count(*) from dacapo.run").await, 0);

    let plan = json!({ "bad": 1, "attempts": 1, "backoffMs": 0, "how": "fatal" });
    let failed = mcp.call(FLAKY, plan).await;
    assert_eq!(failed["isError"], true, "{failed}");
    let content = &failed["structuredContent"];
    assert_eq!(content["status"], "failed");
    let run = run_of(content);
    let failure = database.client.get(run).await.unwrap().failure.unwrap();
    assert_eq!(content["error"]["code"], failure.code);
    assert_eq!(content["error"]["message"], failure.message);

    // Looking why, and trying again.
    let id = json!({ "run": run });
    let shown = mcp.call("dacapo_get_run", id.clone()).await;
    assert_eq!(fine(&shown)["steps"][0]["status"], "failed");
    let last = mcp
        .call("dacapo_get_run", json!({ "run": run, "steps": 0 }))
        .await;
    assert_eq!(fine(&last)["steps"], json!([]));
    assert_eq!(last["structuredContent"]["stepsLeftOut"], 2);
    let logged = mcp.call("dacapo_run_logs", id.clone()).await;
    let line = &fine(&logged)["lines"][0]["message"];
    assert!(line.as_str().unwrap().contains("effect attempt"), "{line}");
    let listed = mcp
        .call("dacapo_list_runs", json!({ "status": "failed" }))
        .await;
    assert_eq!(fine(&listed)["runs"][0]["id"], run.to_string());
    assert_eq!(listed["structuredContent"]["runs"][0].get("input"), None);
    fine(&mcp.call("dacapo_retry_run", id.clone()).await);
    let ended = mcp.call("dacapo_wait_run", id).await;
    assert_eq!(fine(&ended)["status"], "completed");
    let run = database.client.get(run).await.unwrap();
    assert_eq!(run.interventions[0].who, "the assistant");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_tells_how_far_its_run_is_and_ends_with_what_it_waits_for() {
    let database = database().await;
    database.deploy("probe").await;
    let _worker = Dacapo::on(&database).worker().await;
    let mut mcp = Mcp::on(&database, &[]).await;
    let call = mcp
        .send(
            "tools/call",
            json!({ "name": LOOPS, "arguments": { "input": 3 }, "_meta": { "progressToken": "t" } }),
        )
        .await;
    let told = mcp.notified("notifications/progress").await;
    let told = &told["params"];
    assert_eq!(told["progressToken"], "t");
    assert_eq!(
        (told["progress"].as_f64(), told["total"].as_f64()),
        (Some(3.0), Some(3.0))
    );
    // Others are served while the call waits.
    let runs = mcp.call("dacapo_list_runs", json!({})).await;
    let run = fine(&runs)["runs"][0]["id"].clone();
    for event in ["go", "more"] {
        let sent = json!({ "run": run, "event": event, "payload": "now", "id": event });
        let sent = mcp.call("dacapo_send_event", sent).await;
        assert_eq!(fine(&sent)["duplicate"], false);
    }
    let called = mcp.answer(call).await;
    let content = fine(&called["result"]);
    assert_eq!(
        (&content["run"], &content["status"], &content["output"]),
        (&run, &json!("completed"), &Value::Null)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_takes_longer_than_the_call_goes_on_and_so_does_one_whose_call_is_cancelled() {
    let database = database().await;
    database.deploy("probe").await;
    let _worker = Dacapo::on(&database).worker().await;
    let mut mcp = Mcp::on(&database, &["--wait", "0s", "--label", "from=mcp"]).await;
    let called = mcp.call(LOOPS, json!({ "input": 3 })).await;
    let run = run_of(fine(&called));
    let text = called["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("dacapo_wait_run"), "{text}");
    let waiting = "select count(*) = 1 from dacapo.task_suspended where events = '{go}'";
    database.until("the run waits", waiting).await;
    let waited = mcp.call("dacapo_wait_run", json!({ "run": run })).await;
    assert_eq!(fine(&waited)["waitingFor"]["events"], json!(["go"]));
    assert_eq!(
        database.client.get(run).await.unwrap().labels["from"],
        "mcp"
    );

    let why = json!({ "run": run, "reason": "enough" });
    assert_eq!(
        fine(&mcp.call("dacapo_pause_run", why.clone()).await)["status"],
        "paused"
    );
    fine(&mcp.call("dacapo_resume_run", why.clone()).await);
    fine(&mcp.call("dacapo_cancel_run", why).await);
    database.done(run).await;
    let ended = mcp.call("dacapo_wait_run", json!({ "run": run })).await;
    assert_eq!(ended["isError"], true, "{ended}");
    let run = json!({ "run": run, "seconds": "ten" });
    wrong(&mcp.call("dacapo_wait_run", run).await, "bad-argument");

    let mut patient = Mcp::on(&database, &[]).await;
    let call = patient
        .send(
            "tools/call",
            json!({ "name": LOOPS, "arguments": { "input": 2 } }),
        )
        .await;
    database.until("the run waits", waiting).await;
    patient
        .say(json!({
            "jsonrpc": "2.0",
            "method": "notifications/cancelled",
            "params": { "requestId": call },
        }))
        .await;
    // What comes after it is answered, and the run is as it was.
    let runs = patient
        .call("dacapo_list_runs", json!({ "limit": 1 }))
        .await;
    assert_eq!(fine(&runs)["runs"][0]["status"], "suspended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_may_only_read_has_no_other_tools_and_a_scope_holds() {
    let database = database().await;
    database.deploy("probe").await;
    database.deploy("process_payment").await;
    let run = database.start("counted-steps", "3").await;
    let mut mcp = Mcp::on(&database, &["--role", "read"]).await;
    let tools = mcp.tools().await;
    assert_eq!(
        names(&tools),
        [
            "dacapo_list_runs",
            "dacapo_get_run",
            "dacapo_wait_run",
            "dacapo_run_logs"
        ]
    );
    wrong(&mcp.call(COUNTED, json!({ "input": 3 })).await, "forbidden");
    let cancel = json!({ "run": run });
    wrong(
        &mcp.call("dacapo_cancel_run", cancel.clone()).await,
        "forbidden",
    );
    fine(&mcp.call("dacapo_get_run", cancel.clone()).await);
    assert_eq!(database.count("select count(*) from dacapo.run").await, 1);

    let mut mcp = Mcp::on(&database, &["--workflow", "payments:*"]).await;
    let tools = mcp.tools().await;
    let workflows = names(&tools);
    let workflows = workflows.iter().filter(|name| !name.starts_with("dacapo_"));
    assert_eq!(
        workflows.collect::<Vec<_>>(),
        [&"payments_processing_payments_process"]
    );
    wrong(
        &mcp.call("dacapo_cancel_run", cancel).await,
        "run-not-found",
    );
    let mut mcp = Mcp::on(&database, &["--no-payloads"]).await;
    let shown = mcp.call("dacapo_get_run", json!({ "run": run })).await;
    assert_ne!(fine(&shown)["input"], 3);
    wrong(
        &mcp.call("dacapo_run_logs", json!({ "run": run })).await,
        "withheld",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_told_when_something_else_is_deployed() {
    let database = database().await;
    let mut mcp = Mcp::on(&database, &[]).await;
    assert_eq!(mcp.tools().await.len(), 9);
    database.deploy("process_payment").await;
    mcp.notified("notifications/tools/list_changed").await;
    assert_eq!(mcp.tools().await.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_speaks_for_a_server_as_it_does_for_a_database() {
    let database = database().await;
    database.deploy("probe").await;
    let _worker = Dacapo::on(&database).worker().await;
    let api = Api::on(&database).await;
    let mut mcp = Mcp::of(&api, &["--by", "the assistant"]).await;
    let mut direct = Mcp::on(&database, &[]).await;
    assert_eq!(mcp.tools().await, direct.tools().await);
    let called = mcp.call(COUNTED, json!({ "input": 3 })).await;
    assert_eq!(fine(&called)["output"], 6);
    let surplus = mcp.call(COUNTED, json!({ "n": 3 })).await;
    wrong(&surplus, "bad-argument");
    let refused = mcp.call(COUNTED, json!({ "input": "three" })).await;
    wrong(&refused, "bad-input");

    let call = mcp
        .send(
            "tools/call",
            json!({ "name": LOOPS, "arguments": { "input": 3 }, "_meta": { "progressToken": "t" } }),
        )
        .await;
    let told = mcp.notified("notifications/progress").await;
    assert_eq!(told["params"]["total"].as_f64(), Some(3.0));
    let runs = mcp.call("dacapo_list_runs", json!({ "limit": 1 })).await;
    let run = fine(&runs)["runs"][0]["id"].clone();
    let why = json!({ "run": run, "reason": "enough" });
    fine(&mcp.call("dacapo_cancel_run", why).await);
    let called = mcp.answer(call).await;
    assert_eq!(called["result"]["structuredContent"]["status"], "cancelled");
    let shown = mcp.call("dacapo_get_run", json!({ "run": run })).await;
    assert_eq!(fine(&shown)["interventions"][0]["who"], "the assistant");

    let plan = json!({ "bad": 1, "attempts": 2, "backoffMs": 0, "how": "fail" });
    let called = mcp.call(FLAKY, plan).await;
    let run = run_of(fine(&called));
    let page = mcp
        .call("dacapo_run_logs", json!({ "run": run, "limit": 1 }))
        .await;
    let next = &fine(&page)["next"];
    let rest = mcp
        .call("dacapo_run_logs", json!({ "run": run, "after": next }))
        .await;
    let whole = direct.call("dacapo_run_logs", json!({ "run": run })).await;
    let lines = |content: &Value| content["lines"].as_array().unwrap().clone();
    assert_eq!(
        [lines(fine(&page)), lines(fine(&rest))].concat(),
        lines(fine(&whole))
    );
    let nobody = json!({ "run": RunId::new() });
    wrong(&mcp.call("dacapo_run_logs", nobody).await, "run-not-found");

    let mut mcp = Mcp::of(&api, &["--role", "read"]).await;
    assert_eq!(mcp.tools().await.len(), 4);
    wrong(&mcp.call(COUNTED, json!({ "input": 3 })).await, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_says_of_workflows_whether_something_is_kept_from_who_asks() {
    let site = Site::new().await;
    site.database.deploy("probe").await;
    for (payloads, hidden) in [(true, false), (false, true)] {
        let token = site.token(Role::Operate, Scope::default(), payloads).await;
        let request = Request::get("/api/v1/workflows?definition=true")
            .header(header::AUTHORIZATION, format!("Bearer {token}"));
        let response = site.ask(request.body(Body::empty()).unwrap()).await;
        let workflows: Value = serde_json::from_str(&text(response).await).unwrap();
        assert_eq!(workflows[0]["hasSecrets"], hidden, "{}", workflows[0]);
        assert_eq!(workflows[0]["definition"]["name"], workflows[0]["name"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_a_call_waits_as_long_as_the_server_says() {
    let database = database().await;
    database.deploy("probe").await;
    // No worker: nobody ends the run.
    let api = Api::with(&database, &["--mcp-wait", "0s"]).await;
    let called = api.call_tool(COUNTED, json!({ "input": 3 })).await;
    let content = fine(&called);
    assert_eq!(content["status"], "queued");
    let arguments = json!({ "run": content["run"], "seconds": 3_600 });
    let waited = api.call_tool("dacapo_wait_run", arguments).await;
    assert_eq!(fine(&waited)["status"], "queued");
}

/// Asks a server, and answers with the status, the type of the answer, and each message of it.
async fn post(
    site: &Site,
    token: Option<&str>,
    message: Value,
) -> (StatusCode, String, Vec<Value>) {
    let mut request = Request::post("/mcp")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json, text/event-stream")
        .header("mcp-protocol-version", "2025-06-18");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Body::from(message.to_string())).unwrap();
    let response = site.ask(request).await;
    let (status, kind) = (
        response.status(),
        response.headers().get(header::CONTENT_TYPE),
    );
    let kind = kind.map_or("", |kind| kind.to_str().unwrap()).to_owned();
    let body = text(response).await;
    let messages = match kind.starts_with("text/event-stream") {
        true => body
            .lines()
            .filter_map(|line| serde_json::from_str(line.strip_prefix("data:")?.trim()).ok())
            .collect(),
        false => serde_json::from_str(&body).into_iter().collect(),
    };
    (status, kind, messages)
}

async fn result(site: &Site, token: &str, method: &str, params: Value) -> Value {
    let message = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
    let (status, _, messages) = post(site, Some(token), message).await;
    assert_eq!(status, StatusCode::OK, "{messages:?}");
    messages.last().unwrap()["result"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_the_token_of_each_request_decides() {
    let site = Site::new().await;
    site.database.deploy("probe").await;
    let worker = Worker::start(site.database.store.clone(), WorkerConfig::default());
    let worker = worker.await.unwrap();
    let operate = site.token(Role::Operate, Scope::default(), true).await;
    let read = site.token(Role::Read, Scope::default(), true).await;
    let blind = site.token(Role::Operate, Scope::default(), false).await;

    let begin = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": beginning() });
    let (status, _, messages) = post(&site, None, begin.clone()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(messages[0]["code"], "unauthenticated");
    let (status, kind, messages) = post(&site, Some(&read), begin).await;
    assert_eq!(
        (status, kind.as_str()),
        (StatusCode::OK, "application/json")
    );
    assert_eq!(messages[0]["result"]["serverInfo"]["name"], "dacapo");

    let looks = result(&site, &read, "tools/list", json!({})).await;
    assert_eq!(looks["tools"].as_array().unwrap().len(), 4);
    let call = json!({ "name": COUNTED, "arguments": { "input": 3 } });
    let refused = result(&site, &read, "tools/call", call.clone()).await;
    wrong(&refused, "forbidden");
    let called = result(&site, &operate, "tools/call", call.clone()).await;
    let content = fine(&called);
    assert_eq!(content["output"], 6);
    let run = run_of(content);
    let hidden = result(&site, &blind, "tools/call", call).await;
    assert_ne!(fine(&hidden)["output"], 6);

    // With news on the way the answer is a stream.
    let meta = json!({ "progressToken": 1 });
    let call = json!({ "name": COUNTED, "arguments": { "input": 5 }, "_meta": meta });
    let message = json!({ "jsonrpc": "2.0", "id": 8, "method": "tools/call", "params": call });
    let (_, kind, messages) = post(&site, Some(&operate), message).await;
    assert!(kind.starts_with("text/event-stream"), "{kind}");
    let (last, news) = messages.split_last().unwrap();
    assert_eq!(fine(&last["result"])["output"], 15);
    let news: Vec<f64> = news
        .iter()
        .map(|one| one["params"]["progress"].as_f64().unwrap())
        .collect();
    assert!(news.windows(2).all(|two| two[0] < two[1]), "{news:?}");
    assert_eq!(news.last(), Some(&5.0));

    // The audit knows what was done, and by whom, and nothing of what was only looked at.
    let audit = site.audit().await;
    let starts: Vec<_> = audit
        .iter()
        .filter(|entry| entry.action == "startRun")
        .map(|entry| (entry.outcome == "done", entry.target.clone()))
        .collect();
    let called = audit.iter().filter(|entry| entry.action == "callTool");
    assert!(
        called.map(|entry| &entry.who).all(Option::is_none),
        "{audit:?}"
    );
    assert_eq!(starts.len(), 4, "{starts:?}");
    assert!(
        starts.contains(&(true, Some(run.to_string()))),
        "{starts:?}"
    );
    let refused = (false, Some("test:probe/durable.counted-steps".to_owned()));
    assert!(starts.contains(&refused), "{starts:?}");
    assert_eq!(
        site.database.client.get(run).await.unwrap().status,
        Status::Completed
    );

    // What cannot be read is answered in the words of the protocol.
    for (body, code) in [("{\"jsonrpc\": ", -32700), ("{\"hello\": 1}", -32600)] {
        let broken = Request::post("/mcp")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, text/event-stream")
            .header(header::AUTHORIZATION, format!("Bearer {operate}"))
            .body(Body::from(body));
        let broken = site.ask(broken.unwrap()).await;
        assert_eq!(broken.status(), StatusCode::BAD_REQUEST);
        let answer: Value = serde_json::from_str(&text(broken).await).unwrap();
        assert_eq!(answer["error"]["code"], code, "{answer}");
        assert_eq!(answer["id"], Value::Null);
    }

    // A page of another site makes a browser send nothing.
    let foreign = Request::post("/mcp")
        .header(header::ORIGIN, "http://evil.example")
        .header(header::AUTHORIZATION, format!("Bearer {operate}"));
    let foreign = site.ask(foreign.body(Body::empty()).unwrap()).await;
    assert_eq!(foreign.status(), StatusCode::FORBIDDEN);
    worker.drain().await.unwrap();
}
