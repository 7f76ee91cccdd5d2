//! The same tour in each language: what the kits offer beside what an order needs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use dacapo_client::{QueueChange, StartOptions};
use dacapo_model::{
    HttpGrant, HttpSettings, Manifest, RunId, SecretGrant, SecretName, SqlGrant, Status,
};
use dacapo_sandbox::SandboxConfig;
use dacapo_testkit::{Child, Component, Failure, Run, RunOutcome, Value, json};
use dacapo_tests::{Database, database};
use dacapo_worker::{Secrets, SqlUrl, Worker, WorkerConfig};

use crate::projects::{C, FOREIGN, Language, RUST, SPIDERMONKEY, cache, tour};

/// All in which there is a tour.
fn everywhere() -> impl Iterator<Item = Language> {
    let others = FOREIGN.into_iter().chain([SPIDERMONKEY]);
    [RUST].into_iter().chain(others.filter(|it| it.is_here()))
}

/// The tour in this language, which is compiled once.
async fn loaded(language: Language) -> Component {
    static LOADED: Mutex<BTreeMap<&str, Component>> = Mutex::new(BTreeMap::new());
    let file = tour(language).await;
    let mut loaded = LOADED.lock().unwrap();
    let load = || Component::load_with(file, sandbox(Component::default_limits())).unwrap();
    loaded.entry(language.name).or_insert_with(load).clone()
}

fn sandbox(limits: SandboxConfig) -> SandboxConfig {
    SandboxConfig {
        cache_dir: Some(cache()),
        ..limits
    }
}

/// A service on the loopback that remembers what it was asked.
struct Service {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Service {
    async fn start() -> Service {
        let asked = Arc::default();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&asked));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Service { url, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn answer(
    State(asked): State<Arc<Mutex<Vec<String>>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let shown = ["x-note", "authorization", "x-key", "content-type"]
        .map(|name| headers.get(name).map_or("-", |it| it.to_str().unwrap()));
    let body = serde_json::from_slice::<Value>(&body).unwrap_or_default();
    let came = format!("{method} {} {} {body}", uri.path(), shown.join(" "));
    asked.lock().unwrap().push(came);
    match uri.path() {
        "/away" => (StatusCode::FOUND, [(header::LOCATION, "/bytes")]).into_response(),
        "/bytes" => (0..=255).collect::<Vec<u8>>().into_response(),
        _ => (
            StatusCode::CREATED,
            [("x-told", "yes")],
            json!({ "said": "\"é\"" }).to_string(),
        )
            .into_response(),
    }
}

/// All that a tour leaves behind.
#[derive(Debug, PartialEq)]
struct Left {
    output: Value,
    journal: Vec<String>,
    failed_attempts: Vec<String>,
    logs: Vec<String>,
    children: Vec<String>,
    asked: Vec<String>,
    stops: Vec<String>,
}

async fn texts(database: &Database, query: &'static str, run: RunId) -> Vec<String> {
    sqlx::query_scalar(query)
        .bind(run.0)
        .fetch_all(database.store.pool())
        .await
        .unwrap()
}

/// A database with a table of stops, a role that may use it, and a queue.
async fn prepared() -> (Database, String) {
    let database = database().await;
    let path = database.url.split('?').next().unwrap();
    let role = format!("tour_{}", path.rsplit('/').next().unwrap());
    let statements = format!(
        "create role {role} login;
        create table stop (name text primary key, cents bigint, score double precision, is_open boolean, note jsonb, photo bytea,
            seen_at timestamptz, closed text);
        grant select, insert on stop to {role};
        select dacapo.allow_sql_steps('{role}')"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements))
        .execute(database.store.pool())
        .await
        .unwrap();
    let slow = QueueChange::default();
    database.client.set_queue("slow", slow).await.unwrap();
    let url = database.url.replacen("postgres@", &format!("{role}@"), 1);
    (database, url)
}

async fn deploy(database: &Database, component: &[u8], service: &Service) {
    let grant = HttpGrant::parse(service.url.strip_prefix("http://").unwrap()).unwrap();
    let secret = |name, hosts, reveal| {
        let name = SecretName::parse(name).unwrap();
        (name, SecretGrant { hosts, reveal })
    };
    let manifest = Manifest {
        secrets: [
            secret("key", vec![grant.host.clone()], false),
            secret("pass", Vec::new(), true),
        ]
        .into(),
        http: Some(HttpSettings {
            allow: vec![grant],
            ..HttpSettings::default()
        }),
        sql: Some(SqlGrant::new("stops")),
        ..Manifest::default()
    };
    let described = dacapo_sandbox::describe(component).unwrap();
    let deployed = database.client.deploy_with(
        &described.descriptor,
        &described.digest,
        &described.component,
        &manifest,
    );
    deployed.await.unwrap();
}

/// Waits until the run stands at this wait.
async fn reached(database: &Database, run: RunId, key: &str) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(120);
    loop {
        let open: bool = sqlx::query_scalar(
            "select exists (select from dacapo.step join dacapo.task_suspended using (run_id)
                where run_id = $1 and key = $2 and outcome is null)",
        )
        .bind(run.0)
        .bind(key)
        .fetch_one(database.store.pool())
        .await
        .unwrap();
        if open {
            return;
        }
        let found = database.client.get(run).await.unwrap();
        let is_on_its_way = !found.status.is_terminal() && found.status != Status::Blocked;
        let is_early = tokio::time::Instant::now() < deadline;
        assert!(
            is_on_its_way && is_early,
            "{key} was not reached: {found:#?}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Takes the tour, with a real worker and all that it asks for.
async fn taken(language: Language) -> Left {
    let component = std::fs::read(tour(language).await).unwrap();
    let (service, (database, url)) = (Service::start().await, prepared().await);
    deploy(&database, &component, &service).await;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("key"), "a key of eight bytes or more").unwrap();
    std::fs::write(directory.path().join("pass"), "a password").unwrap();
    let config = WorkerConfig {
        secrets: Secrets::new([], Some(directory.path().to_owned())),
        sql: [("stops".to_owned(), SqlUrl(url))].into(),
        sandbox: sandbox(SandboxConfig::default()),
        ..WorkerConfig::default()
    };
    let worker = Worker::start(database.store.clone(), config).await.unwrap();

    let client = &database.client;
    // With a key the ids of the run and of its children are the same in each database.
    let options = StartOptions::keyed("tour").label("colour", "red");
    let input = json!(service.url).to_string();
    let started = client.start_by_name("tour.see", &input, options);
    let run = started.await.unwrap().id;
    let send = async |event, payload| {
        client.send_event(run, event, payload, None).await.unwrap();
    };
    reached(&database, run, "first#1/1/nap#1").await;
    send("whistle", "null").await;
    reached(&database, run, "three#1/1/lunch#1").await;
    send("lunch", "\"soup\"").await;
    reached(&database, run, "turn#1").await;
    send("turn-right", "90").await;
    reached(&database, run, "look-around#1").await;
    let progress = client.get(run).await.unwrap().progress;
    let progress = (progress.done, progress.total, progress.note.as_deref());
    assert_eq!(progress, (2, Some(4), Some("half of it")));
    client.resume(run).await.unwrap();
    let done = database.done(run).await;
    assert_eq!(done.status, Status::Completed, "{:?}", done.failure);
    let progress = (done.progress.done, done.progress.total, done.progress.note);
    assert_eq!(progress, (4, Some(4), None));
    let far = "select status = 'cancelled' from dacapo.run where input = '\"far\"'";
    database
        .until("the child is cancelled that is left", far)
        .await;

    let too_soon = "select key from dacapo.step join dacapo.attempt using (run_id, key)
        where run_id = $1 and key = 'knock#1' and step.finished_at < attempt.finished_at + interval '40 ms'";
    assert!(texts(&database, too_soon, run).await.is_empty());
    let journal = "select concat_ws(' ', key, kind, outcome, case outcome when 'ok' then payload
            else payload::jsonb ->> 'code' end) from dacapo.step
        where run_id = $1 order by key collate \"C\"";
    let attempts = "select concat_ws(' ', key, number, failure::jsonb) from dacapo.attempt
        where run_id = $1 and key = 'knock#1' order by number";
    let logs = "select concat_ws(' ', level, step, message, fields::jsonb) from dacapo.log
        where run_id = $1 and source = 'log' order by id";
    let children = "select concat_ws(' ', run.workflow, run.input, run.status, run.queue, run.concurrency_key, run.priority, child.detached,
            round(extract(epoch from run.deadline - run.created_at) / 60), run.labels)
        from dacapo.child join dacapo.run on run.id = child.run_id where child.parent = $1 order by run.input";
    let stops = "select concat_ws(' ', stop) from stop where $1 is not null";
    let left = Left {
        output: serde_json::from_str(done.output.unwrap().as_str()).unwrap(),
        journal: texts(&database, journal, run).await,
        failed_attempts: texts(&database, attempts, run).await,
        logs: texts(&database, logs, run).await,
        children: texts(&database, children, run).await,
        asked: service.asked(),
        stops: texts(&database, stops, run).await,
    };
    worker.drain().await.unwrap();
    left
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tour_of_each_kit_leaves_the_same_behind() {
    let expected = taken(RUST).await;
    insta::assert_debug_snapshot!(expected);
    for language in everywhere().filter(|language| *language != RUST) {
        let left = taken(language).await;
        assert_eq!(left, expected, "{}", language.name);
    }
}

/// What happens on a tour without a database and a service.
fn scripted(run: &mut Run) {
    run.label("colour", "red");
    run.id(RunId(uuid::Uuid::from_u128(7)));
    for (step, outcome) in [
        (
            "ask",
            json!({ "status": 201, "told": "yes", "said": "it", "bytes": 0, "sum": 0 }),
        ),
        ("sign", json!(4)),
        (
            "book",
            json!({
                "touched": 1, "name": "tower", "cents": 1, "score": 0.5, "open": true, "stars": 5, "photo": [], "seen": 0,
                "closed": null,
            }),
        ),
    ] {
        run.script_step(step, Ok(outcome));
    }
    let mut refused = Failure::new("sql", "it is there");
    refused.details = Some(dacapo_model::Payload::from_trusted(
        r#"{"sqlState":"23505"}"#.to_owned(),
    ));
    run.script_step("book-again", Err(refused));
    for code in ["slow", "big"] {
        run.script_step(code, Err(Failure::new(code, "as said")));
    }
    // Far is near here.
    let visited = Child::answers(|place| match place.as_str() {
        Some("nowhere") => Err(Failure::new("error", "there is no such place")),
        place => Ok(json!(format!("seen {}", place.unwrap()))),
    });
    run.script_child("visit", visited);
    run.send_event_at(Duration::from_secs(60), "whistle", Value::Null);
    run.send_event_at(Duration::from_secs(120), "lunch", json!("soup"));
    run.send_event_at(Duration::from_secs(180), "turn-right", json!(90));
    run.resume_pause("look-around");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tour_survives_crashes_everywhere_in_each_language() {
    let mut expected = None;
    for language in everywhere() {
        let component = loaded(language).await;
        let mut run = component.run("tour.see", "http://nowhere").unwrap();
        scripted(&mut run);
        let end = run.run_to_completion().await.unwrap().to_string();
        let crashed = run.crash_everywhere().await;
        crashed.unwrap_or_else(|error| panic!("{}: {error}", language.name));
        let played = (end, run.journal());
        let expected = expected.get_or_insert_with(|| played.clone());
        assert_eq!(played, *expected, "{}", language.name);
    }
}

/// What `draw` has answered: what was said before a step, in it, behind it, and in two branches.
async fn drawn(
    language: Language,
    component: &Component,
    id: u128,
) -> Vec<BTreeMap<String, String>> {
    let mut run = component.run("tour.draw", Value::Null).unwrap();
    run.id(RunId(uuid::Uuid::from_u128(id)));
    let outcome = run.run_to_completion().await.unwrap();
    let text: String = outcome
        .output()
        .unwrap_or_else(|_| panic!("{}: {outcome}", language.name));
    serde_json::from_str(&text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_and_randomness_outside_of_steps_are_the_same_in_each_replay() {
    for language in everywhere() {
        let component = loaded(language).await;
        let name = language.name;
        // The workflow itself compares what is said in replays with what was said first.
        let (one, other) = (
            drawn(language, &component, 7).await,
            drawn(language, &component, 8).await,
        );
        let [before, inside, after, left, right] = one.as_slice() else {
            panic!("{name}: {one:?}");
        };
        let clock =
            |said: &BTreeMap<String, String>, name: &str| said[name].parse::<u64>().unwrap();
        for (what, first) in before {
            let Some(clocked) = what.strip_prefix("random: ") else {
                assert!(clock(after, what) >= clock(before, what), "{name} {what}");
                continue;
            };
            let mut seen = BTreeSet::from([first]);
            for elsewhere in [inside, after, left, right].into_iter().chain(&other) {
                let drawn = &elsewhere[what];
                assert!(
                    seen.insert(drawn),
                    "{name} {clocked}: {drawn} twice in {one:?} {other:?}"
                );
            }
        }
        let clocks: BTreeSet<u64> = after
            .iter()
            .filter(|(what, _)| what.starts_with("clock: "))
            .map(|(_, said)| said.parse::<u64>().unwrap() / 1_000)
            .collect();
        assert_eq!(clocks.len(), 1, "{name}: {after:?}");
        let random = before.keys().filter(|what| what.starts_with("random: "));
        assert!(random.count() > 0 || language == RUST, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_all_types_come_and_go_in_each_language() {
    let luggage = json!({
        "small": -5, "big": (1_u64 << 53) - 1, "negative": -((1_i64 << 53) - 1), "weight": 0.1, "initial": "é", "isPacked": true,
        "label": null, "when": "autumn", "kit": ["water-bottle"], "sky": { "tag": "rain", "val": 2.5 }, "at": [-7, "gate"],
        "came": { "err": "late" }, "papers": ["AP8=", ""],
    });
    let mut expected = None;
    for language in everywhere() {
        let component = loaded(language).await;
        let mut run = component
            .run("tour.carry", &luggage)
            .unwrap_or_else(|error| panic!("{error}"));
        let outcome = run.run_to_completion().await.unwrap();
        let carried: Value = outcome
            .output()
            .unwrap_or_else(|_| panic!("{}: {outcome}", language.name));
        let expected = expected.get_or_insert_with(|| carried.clone());
        assert_eq!(carried, *expected, "{}", language.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_the_code_cannot_read_blocks_the_run_in_each_language() {
    for language in everywhere() {
        let component = loaded(language).await;
        let mut run = component.run("tour.misread", Value::Null).unwrap();
        let outcome = run.run_to_completion().await.unwrap();
        let said = outcome.to_string();
        assert!(
            matches!(outcome, RunOutcome::Blocked(_)),
            "{}: {said}",
            language.name
        );
        assert!(said.contains("read"), "{}: {said}", language.name);
        assert_eq!(
            run.journal().trim(),
            r#"read#1 step ok "a text""#,
            "{}",
            language.name
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_have_packed_is_built_in() {
    // There are no packages of C.
    for language in everywhere().filter(|language| ![RUST, C].contains(language)) {
        let component = loaded(language).await;
        let mut run = component.run("tour.greet", "Ada").unwrap();
        let outcome = run.run_to_completion().await.unwrap();
        let greeting: String = outcome.output().unwrap();
        assert_eq!(greeting, "Good day, Ada!", "{}", language.name);
    }
}
