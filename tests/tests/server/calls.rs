//! The calls of a client that asks a server in the place of a database: each goes there or is refused at once, and none goes to a database
//! that is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::Method;
use dacapo_client::{
    Access, AuditFilter, Breaking, By, Carried, Change, Client, ClientError, Deed, DeedOutcome,
    Deploy, ListFilter, LogLevel, Manifest, QueueChange, RemoteAnswer, RemoteRequest, RerunOptions,
    RetentionRule, RunFilter, RunId, SkipOptions, StartOptions, Status, Timestamp, Transport,
    Trigger, Via, WorkflowRef,
};
use dacapo_model::DeploymentId;
use dacapo_sandbox::describe;
use dacapo_tests::{Dacapo, Database, database, guest};
use serde::Serialize;
use uuid::{NoContext, Uuid};

use crate::api::Api;

/// Carries requests to a server, and notes their paths.
struct Carrier {
    api: Arc<Api>,
    paths: Arc<Mutex<Vec<String>>>,
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Carrier")
    }
}

impl Transport for Carrier {
    fn carry(&self, request: RemoteRequest) -> Carried<'_> {
        self.paths.lock().unwrap().push(request.path.clone());
        Box::pin(async move {
            let mut headers = Vec::new();
            if let Some(kind) = &request.content_type {
                headers.push(("content-type", kind.as_str()));
            }
            if let Some(by) = &request.by {
                headers.push(("dacapo-by", by.as_str()));
            }
            let method = Method::from_bytes(request.method.as_bytes()).unwrap();
            let answer = self.api.ask(method, &request.path, &headers, request.body);
            let answer = answer.await;
            Ok(RemoteAnswer {
                status: answer.status.as_u16(),
                retry_after: None,
                body: answer.body.to_vec(),
            })
        })
    }
}

/// A client of a server over this database, and the paths that it asks for.
async fn client(database: &Database) -> (Client, Arc<Mutex<Vec<String>>>) {
    let paths = Arc::default();
    let carrier = Carrier {
        api: Arc::new(Api::on(database).await),
        paths: Arc::clone(&paths),
    };
    (Client::over(Box::new(carrier)).unwrap(), paths)
}

/// What is in no table below: it makes a client, or asks nobody.
const NO_CALLS: &[&str] = &["connect", "connect_to"];

/// What only a database answers.
const OF_DATABASES: &[&str] = &[
    "backlog",
    "begin_session",
    "begin_session_of",
    "changes_beside",
    "changes_by",
    "count_up_to",
    "create_token",
    "deployment",
    "end_session",
    "has_tokens",
    "know_session",
    "know_token",
    "moved_to",
    "note_deed",
    "queue_depths",
    "repair",
    "repaired",
    "revoke_token",
    "send_event_in",
    "start_by_name_in",
    "start_in",
    "tokens",
    "watch",
    "watch_again",
];

/// The names of all calls that may ask somebody something, out of the source.
fn calls() -> BTreeSet<String> {
    let mut calls = BTreeSet::new();
    let mut places = vec![PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../client/src"
    ))];
    while let Some(place) = places.pop() {
        for entry in std::fs::read_dir(&place).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                places.push(path);
            } else {
                calls.extend(calls_in(&path));
            }
        }
    }
    calls
}

fn calls_in(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut is_ours = false;
    let mut calls = Vec::new();
    for line in text.lines() {
        if line.starts_with("impl") {
            is_ours = ["impl Client {", "impl LogTail {"].contains(&line);
        }
        if let (true, Some(rest)) = (is_ours, line.trim().strip_prefix("pub async fn ")) {
            let end = rest.find(['(', '<']).unwrap();
            calls.push(rest[..end].to_owned());
        }
    }
    calls
}

/// What became of a call.
#[derive(Debug, PartialEq, Eq)]
enum Went {
    /// To the server, which said yes or no.
    There,
    /// Nowhere: it was refused.
    Nowhere,
}

#[track_caller]
fn went<T>(name: &str, result: Result<T, ClientError>) -> Went {
    match result {
        Ok(_) | Err(ClientError::Remote(_) | ClientError::RunNotFound(_)) => Went::There,
        Err(ClientError::NeedsDatabase(_)) => Went::Nowhere,
        Err(error) => panic!("{name} went to no server: {}: {error}", error.code()),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case", tag = "tag", content = "val")]
enum Go {
    Go(u32),
}

impl dacapo_client::Event for Go {}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_of_a_client_goes_to_its_server_or_is_refused() {
    let database = database().await;
    database.deploy("probe").await;
    let _worker = Dacapo::on(&database).worker().await;
    let (client, paths) = client(&database).await;
    let probe = describe(&guest("probe")).unwrap();
    let manifest = Manifest::default();
    let deploy = Deploy {
        descriptor: &probe.descriptor,
        digest: &probe.digest,
        component: &probe.component,
        manifest: &manifest,
        rollout: None,
        breaking: Breaking::Refuse,
        who: Some("ada"),
    };
    let run = database.start("step-wait-step", "null").await;
    let ended = database.start("counted-steps", "1").await;
    database.done(ended).await;
    let export = database.client.export(ended, false).await.unwrap();
    let started = database
        .client
        .start_by_name("counted-steps", "1", StartOptions::default())
        .await
        .unwrap();
    let mut transaction = database.store.pool().begin().await.unwrap();
    let counted: WorkflowRef<u32, u64> = WorkflowRef::new("test:probe/durable.counted-steps");
    let (package, who) = ("test:probe", "ada");
    let all = RunFilter::default;
    let waiting = || RunFilter {
        status: Some(Status::Suspended),
        ..RunFilter::default()
    };
    let by = By { who, reason: None };
    let options = StartOptions::default;
    let starts = [(1, options())];
    let named = [("1".to_owned(), options())];
    let every = dacapo_client::When::Every(Duration::from_secs(3_600));
    let schedule = dacapo_client::NewSchedule::new("n", "step-wait-step", every);
    let (from, until) = (Timestamp::from_micros(0), Timestamp::from_micros(1));
    let rule = RetentionRule {
        workflow: None,
        status: Some(Status::Failed),
        keep: Some(Duration::from_secs(86_400)),
    };
    let deed = Deed {
        who: None,
        via: Via::Nobody,
        role: None,
        action: "startRun".to_owned(),
        target: None,
        outcome: DeedOutcome::Done,
        status: 200,
        address: None,
    };
    let (hour, day) = (Duration::from_secs(3_600), Duration::from_secs(86_400));
    let cookie = "x".repeat(43);
    let watched = Client::new(database.store.clone())
        .watch(ended)
        .await
        .unwrap();
    let mut tail = client.log_tail(ended, LogLevel::Trace).await.unwrap();

    let mut asked = BTreeMap::new();
    macro_rules! ask {
        ($of:ident: $($call:ident($($argument:expr),* $(,)?);)*) => {
            $({
                let name = stringify!($call);
                paths.lock().unwrap().clear();
                let result = $of.$call($($argument),*).await;
                let went = went(name, result);
                let is_asked = !paths.lock().unwrap().is_empty();
                // Whoever follows a log asks nothing before they want lines.
                assert!(is_asked == (went == Went::There) || name == "log_tail", "{name}: {went:?}");
                asked.insert(name.to_owned(), went);
            })*
        };
    }
    ask! { client:
        // Of runs.
        start(counted, &1);
        start_with(counted, &1, options());
        start_by_name("counted-steps", "1", options());
        start_in(&mut transaction, counted, &1, options());
        start_by_name_in(&mut transaction, "counted-steps", "1", options());
        start_many(counted, &starts);
        start_many_by_name("counted-steps", &named);
        get(run);
        check_progress(run);
        wait(ended, None);
        wait_output(&started);
        list(ListFilter::default());
        last_run("counted-steps");
        count(all());
        count_up_to(all(), 10);
        logs(ended);
        log_page(ended, LogLevel::Trace, None, 10);
        log_tail(ended, LogLevel::Trace);
        export(ended, true);
        import(&export, who);
        // Steering them.
        send(run, &Go::Go(1), Some("id"));
        send_event(run, "go", "1", Some("id"));
        send_event_value(run, "go", &1, Some("id"));
        send_event_in(&mut transaction, run, "go", "1", None);
        send_event_to_many(waiting(), "go", "1", Some("id"));
        send_event_to_many_telling(waiting(), "go", "1", Some("id"), |_| ());
        count_receivers(waiting());
        pause(run);
        resume(run);
        pause_by(run, by);
        resume_by(run, by);
        cancel(run);
        cancel_by(run, by);
        kill(run);
        kill_by(run, by);
        note(run, "soon", who);
        watch(ended);
        watch_again(watched);
        rerun(ended, &RerunOptions::default(), who);
        repair(ended, DeploymentId(1), who);
        repaired(&[ended], DeploymentId(1));
        retry(run, who);
        plan_retry(run);
        skip(run, &SkipOptions::default(), who);
        change_many(all(), &Change::Retry, who);
        change_many_telling(all(), &Change::Retry, who, |_| ());
        count_changes(all(), &Change::Retry);
        // Deployments and workflows.
        deploy(&probe.descriptor, &probe.digest, &probe.component);
        deploy_with(&probe.descriptor, &probe.digest, &probe.component, &manifest);
        put_into_service(&deploy);
        changes_by(&probe.descriptor);
        changes_beside(&probe.descriptor, &[]);
        deployments(Some(package));
        deployment(package, None);
        activate_deployment(package, 1, None, Breaking::Refuse, who);
        retire_deployment(package, 2, false, who);
        diff_deployments(package, 1, 1);
        moved_to(package, 1);
        collect_deployments(true);
        workflows();
        workflow("counted-steps");
        pause_workflow("counted-steps");
        resume_workflow("counted-steps");
        paused_workflows();
        // Queues and workers.
        set_queue("mail", QueueChange::default());
        queues();
        queue("mail");
        queue_depths(10);
        pause_queue("mail");
        resume_queue("mail");
        delete_queue("mail");
        begin_standstill(None);
        standstill();
        end_standstill();
        backlog();
        workers();
        retention();
        set_retention(rule.clone());
        reset_retention(None, rule.status);
        // Schedules.
        create_schedule(schedule.clone());
        schedules();
        schedule("n");
        pause_schedule("n");
        resume_schedule("n");
        trigger_schedule("n", Trigger::UnlessActive);
        ticks_between("n", from, until);
        backfill_schedule("n", from, until);
        delete_schedule("n");
        // Access.
        create_token("t", &Access::all(), None, who);
        revoke_token("t", who);
        tokens(true);
        has_tokens();
        know_token("t");
        begin_session("t", hour);
        begin_session_of(who, &Access::all(), day);
        know_session(&cookie);
        end_session(&cookie);
        note_deed(deed.clone());
        audit(&AuditFilter::default());
    }
    ask! { tail:
        next_lines();
        next_lines_with_ids();
    }

    let mut there = calls();
    for name in NO_CALLS {
        assert!(there.remove(*name), "there is no {name}");
    }
    let forgotten: Vec<_> = there
        .iter()
        .filter(|name| !asked.contains_key(*name))
        .collect();
    assert!(forgotten.is_empty(), "what becomes of {forgotten:?}?");
    let refused: Vec<&str> = asked
        .iter()
        .filter(|(_, went)| **went == Went::Nowhere)
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(refused, OF_DATABASES);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_says_of_workflows_workers_and_the_audit_is_what_a_database_says() {
    let database = database().await;
    database.deploy("probe").await;
    database.deploy("process_payment").await;
    let _worker = Dacapo::on(&database).worker().await;
    let there = "select count(*) = 1 from dacapo.worker";
    database.until("the worker is there", there).await;
    let (client, _) = client(&database).await;
    let direct = &database.client;
    assert_eq!(
        client.workflows().await.unwrap(),
        direct.workflows().await.unwrap()
    );
    assert_eq!(
        client.workflow("process").await.unwrap(),
        direct.workflow("process").await.unwrap()
    );
    let workers = client.workers().await.unwrap();
    assert_eq!(workers.len(), 1);
    assert_eq!(workers[0].name, direct.workers().await.unwrap()[0].name);
    for _ in 0..3 {
        client
            .start_by_name("counted-steps", "1", StartOptions::default())
            .await
            .unwrap();
    }
    let filter = AuditFilter {
        action: Some("startRun".to_owned()),
        limit: 2,
        ..AuditFilter::default()
    };
    let page = client.audit(&filter).await.unwrap();
    assert_eq!(page, direct.audit(&filter).await.unwrap());
    let rest = AuditFilter {
        after: page.next,
        ..filter
    };
    assert_eq!(page.items.len(), 2);
    assert_eq!(client.audit(&rest).await.unwrap().items.len(), 1);
}

/// Writes `count` lines, whose clocks begin at these seconds.
async fn log(database: &Database, run: RunId, seconds: u64, count: u64) {
    let ids: Vec<Uuid> = (0..count)
        .map(|n| {
            let time = uuid::Timestamp::from_unix(NoContext, 1_795_420_800 + seconds + n, 0);
            Uuid::new_v7(time)
        })
        .collect();
    let messages: Vec<String> = (0..count).map(|n| format!("{}", seconds + n)).collect();
    sqlx::query(
        "insert into dacapo.log (run_id, id, at, level, source, message)
        select $1, id, now(), 'info', 'log', message from unnest($2::uuid[], $3::text[]) as line (id, message)",
    )
    .bind(run.0)
    .bind(&ids)
    .bind(&messages)
    .execute(database.store.pool())
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_followed_from_its_last_lines_through_a_server() {
    let database = database().await;
    database.deploy("probe").await;
    let run = database.start("step-wait-step", "null").await;
    let (client, paths) = client(&database).await;
    log(&database, run, 1_000, 2_500).await;
    let mut tail = client.log_tail(run, LogLevel::Info).await.unwrap();
    let lines = tail.next_lines_with_ids().await.unwrap();
    assert_eq!(lines.len(), 2_500);
    assert_eq!(lines[2_499].1.message, "3499");
    assert_eq!(paths.lock().unwrap().len(), 3, "{paths:?}");

    // Another look begins a minute of clocks before the last line, and not at the first.
    paths.lock().unwrap().clear();
    assert!(tail.next_lines().await.unwrap().is_empty());
    {
        let paths = paths.lock().unwrap();
        let after = paths[0].split("after=").nth(1).expect("it goes on");
        assert_eq!(paths.len(), 1, "{paths:?}");
        assert!(after.parse::<Uuid>().unwrap() > lines[2_400].0, "{after}");
    }
    // A worker whose clock is slower has taken the run over.
    log(&database, run, 3_460, 1).await;
    log(&database, run, 4_000, 2).await;
    let new = tail.next_lines().await.unwrap();
    let messages: Vec<&str> = new.iter().map(|line| line.message.as_str()).collect();
    assert_eq!(messages, ["3460", "4000", "4001"]);
    assert!(tail.next_lines().await.unwrap().is_empty());

    let page = client.log_page(run, LogLevel::Info, Some(lines[0].0), 2);
    let page = page.await.unwrap();
    assert_eq!((page[0].0, page[1].0), (lines[1].0, lines[2].0));
    for limit in [0, 1_001] {
        let refused = client.log_page(run, LogLevel::Info, None, limit).await;
        assert_eq!(refused.unwrap_err().code(), "bad-request");
    }
    let nobody = client.log_page(RunId::new(), LogLevel::Info, None, 1).await;
    assert!(matches!(nobody, Err(ClientError::RunNotFound(_))));
    let api = Api::on(&database).await;
    let behind = lines[2_497].0;
    let path = format!("/runs/{run}/logs?after={behind}");
    assert_eq!(
        api.get(&path).await.is(200).as_array().unwrap().len(),
        4,
        "without a limit it is all of them"
    );
    api.get(&format!("/runs/{run}/logs?after=x"))
        .await
        .is_problem(400, "bad-request");
}
