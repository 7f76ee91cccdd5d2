//! Guests that mean harm: each ends its own run within its limits, and whoever works beside them goes on.

mod components;
mod service;

use std::time::{Duration, Instant};

use dacapo_client::Run;
use dacapo_model::{HttpGrant, HttpSettings, Manifest, RunId, Status};
use dacapo_tests::{Dacapo, Database, database, guest};
use nix::sys::signal::Signal;

use crate::check::sound;
use service::Service;

/// What a worker may hold at its worst, whatever its guests do: 64 of them may have 32 MiB each, and few of these attacks take so much.
const RESIDENT_MAX_BYTES: u64 = 1 << 30;

/// How often each attack is tried at the same time.
const COPIES: usize = 2;

/// The worker's limits: small ones, so that reaching them is quick.
const LIMITS: &[&str] = &[
    "--guest-threads=2",
    "--memory-max=32",
    "--cpu-between-calls-max=500ms",
    "--attempt-time-max=2s",
    "--http-timeout-max=500ms",
    "--http-response-max=1",
    "--steps-max=400",
    "--journal-max=2",
    "--log-max=1",
];
const LOG_MAX_BYTES: i64 = 1 << 20;

/// One attack, and what comes of it.
struct Attack {
    workflow: String,
    input: String,
    end: End,
}

/// How the run of an attack ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// With this output: it got nowhere.
    Completes(&'static str),
    /// With a code that begins like this, and words in its message.
    Fails(&'static str, &'static str),
    /// It is blocked with this code, and words in its reason: a person may know what to do about it.
    Blocks(&'static str, &'static str),
    /// It waits, and takes up no room meanwhile.
    Waits,
}

use End::{Blocks, Completes, Fails, Waits};

fn attack(workflow: &str, end: End) -> Attack {
    on(workflow, "null", end)
}

fn on(workflow: &str, input: &str, end: End) -> Attack {
    Attack {
        workflow: format!("test:{workflow}"),
        input: input.to_owned(),
        end,
    }
}

fn computing() -> Vec<Attack> {
    let too_long = Fails(
        "timeout",
        "computed for more than 500 ms without a step or a wait",
    );
    let names = "\"".to_owned() + &"x".repeat(1_000) + "\"";
    vec![
        attack("probe/limits.spin", too_long),
        attack("probe/limits.spin-in-step", Fails("error", "timeout")),
        attack(
            "hostile/greed.spins-in-branches",
            Fails("timeout", "in branch `spin#1/"),
        ),
        attack("starts/core.loops", too_long),
        on("forged/core.allocator-loops", &names, too_long),
        attack("forged/core.cleanup-loops", too_long),
        attack(
            "probe/limits.overflow",
            Fails("stack-overflow", "stack overflow"),
        ),
        attack(
            "forged/core.descends",
            Fails("stack-overflow", "the limit is 1048576 bytes"),
        ),
    ]
}

fn breeding() -> Vec<Attack> {
    let full = Blocks("journal-limit", "400 rows");
    vec![
        attack("hostile/greed.forks-wide", full),
        attack(
            "hostile/greed.forks-deep",
            Fails("misuse", "forks nest too deep"),
        ),
        attack(
            "hostile/greed.forks-too-many",
            Fails("misuse", "expected 1 to 10000"),
        ),
        on("hostile/greed.breeds", "0", Fails("error", "child-depth")),
        attack("hostile/greed.litters", full),
    ]
}

fn memory() -> Vec<Attack> {
    let limit = "memory limit of 33554432 bytes reached";
    let handles = Fails("memory-limit", "10000 resources of the host");
    vec![
        attack("probe/limits.hog", Fails("memory-limit", limit)),
        attack("hostile/greed.hoards-crumbs", Fails("memory-limit", limit)),
        attack(
            "hostile/greed.hoards-in-step",
            Fails("error", "memory-limit"),
        ),
        attack("forged/core.grows-memory", Fails("memory-limit", limit)),
        attack(
            "forged/core.grows-table",
            Fails("memory-limit", "table limit of 100000 elements"),
        ),
        attack("hostile/forged.hoards-options", handles),
        attack("hostile/forged.hoards-timers", handles),
        attack("hostile/forged.hoards-requests", handles),
        attack(
            "hostile/forged.hoards-labels",
            Fails("misuse", "labels of children"),
        ),
        attack(
            "hostile/forged.aliased-texts",
            Fails("payload-limit", "far more at once"),
        ),
    ]
}

fn texts() -> Vec<Attack> {
    let cut = "(cut: ";
    vec![
        attack(
            "hostile/texts.in-step-name",
            Fails("misuse", "the name is 4194304 bytes long"),
        ),
        attack(
            "hostile/texts.in-fork-name",
            Fails("misuse", "the name is 4194304 bytes long"),
        ),
        attack(
            "hostile/texts.in-child-name",
            Blocks("unknown-workflow", "has 4194304 bytes"),
        ),
        attack("hostile/texts.in-child-id", Fails("misuse", cut)),
        attack("hostile/texts.in-rejection", Blocks("rejected", cut)),
        attack("hostile/texts.in-log", Completes("null")),
        attack(
            "hostile/texts.in-log-fields",
            Fails("timeout", "the workflow computed"),
        ),
        attack(
            "hostile/texts.in-result",
            Fails("payload-limit", "the workflow's result"),
        ),
        attack(
            "hostile/texts.in-failure",
            Fails("payload-limit", "the workflow's error"),
        ),
        attack("hostile/texts.in-failure-code", Fails("cccccccccc", cut)),
        attack(
            "hostile/texts.in-header-name",
            Fails("misuse", "name of a header"),
        ),
        attack("hostile/texts.in-panic", Fails("trap", "unreachable")),
        attack("forged/core.long-names", Fails("trap", "unreachable")),
    ]
}

fn forgeries() -> Vec<Attack> {
    let beyond = Fails("trap", "out of bounds");
    vec![
        attack("hostile/forged.malformed-text", Fails("trap", "utf-8")),
        attack("forged/core.malformed-text", Fails("trap", "utf-8")),
        attack("hostile/forged.wild-pointer", beyond),
        attack("hostile/forged.wild-length", beyond),
        attack("forged/core.four-g", beyond),
        attack("forged/core.text-beyond", beyond),
        attack("forged/core.answer-beyond", beyond),
        on(
            "forged/core.allocator-answers-beyond",
            "\"text\"",
            Fails("trap", "beyond end of memory"),
        ),
        attack(
            "hostile/forged.crooked-answer",
            Fails("trap", "not aligned"),
        ),
        attack("forged/core.no-such-char", Fails("trap", "char")),
        attack("hostile/forged.made-up-handle", Fails("trap", "handle")),
        attack(
            "hostile/forged.handle-of-another-kind",
            Fails("trap", "handle"),
        ),
        attack("hostile/forged.handle-after-drop", Fails("trap", "handle")),
        attack(
            "hostile/forged.handle-dropped-twice",
            Fails("trap", "handle"),
        ),
        attack(
            "hostile/forged.ended-attempt",
            Fails("misuse", "dropped without an outcome"),
        ),
        attack(
            "probe/protocol.nested-steps",
            Fails("misuse", "steps do not nest"),
        ),
        attack(
            "probe/protocol.dropped-attempt",
            Fails("misuse", "dropped without an outcome"),
        ),
    ]
}

fn nonsense() -> Vec<Attack> {
    vec![
        attack("hostile/nonsense.attempts", Fails("misuse", "1000")),
        attack("hostile/nonsense.factor", Fails("misuse", "factor")),
        attack("hostile/nonsense.back-off", Fails("misuse", "")),
        attack(
            "hostile/nonsense.no-time-out",
            Fails("misuse", "at least 1 ms"),
        ),
        attack("hostile/nonsense.long-time-out", Completes("null")),
        attack("hostile/nonsense.long-sleep", Waits),
        attack("hostile/nonsense.long-wait", Waits),
        attack("hostile/nonsense.long-retry-after", Waits),
        attack(
            "hostile/nonsense.nested-json",
            Fails("payload-limit", "nests deeper"),
        ),
        attack("hostile/nonsense.huge-number", Fails("misuse", "")),
        attack("hostile/nonsense.lone-surrogate", Fails("misuse", "")),
        attack("hostile/nonsense.nul", Completes("null")),
        attack(
            "hostile/nonsense.sleeps-in-step",
            Fails(
                "error",
                "took longer than the 2000 ms that an attempt may take",
            ),
        ),
        attack("hostile/nonsense.smuggles-timer", Completes("null")),
    ]
}

fn floods() -> Vec<Attack> {
    let too_long = Fails("timeout", "the workflow computed");
    let full = Blocks("journal-limit", "400 rows");
    vec![
        attack("hostile/floods.clocks", too_long),
        attack("hostile/floods.contexts", too_long),
        attack("hostile/floods.randomness", too_long),
        attack("hostile/floods.too-random", Fails("trap", "random bytes")),
        attack("hostile/floods.progress", too_long),
        attack("hostile/floods.logs", too_long),
        attack("hostile/floods.empty-lines", too_long),
        attack("hostile/floods.empty-logs", too_long),
        on("hostile/floods.logs-in-branches", "16", Completes("16")),
        attack("hostile/floods.steps", full),
        attack("hostile/floods.sleeps", full),
        attack("hostile/floods.changes", full),
        attack(
            "hostile/floods.long-outcomes",
            Blocks("journal-limit", "journal-max"),
        ),
        attack("hostile/floods.sockets", Completes("0")),
    ]
}

fn requests(service: &Service) -> Vec<Attack> {
    let ask = |workflow: &str, path: &str, end| {
        let url = serde_json::to_string(&service.url(path)).unwrap();
        on(&format!("hostile/requests.{workflow}"), &url, end)
    };
    let to = |url: &str, end| {
        let url = serde_json::to_string(url).unwrap();
        on("hostile/requests.fetches", &url, end)
    };
    let slow = Fails("error", "http-timeout");
    let wasi_slow = Fails("error", "HttpResponseTimeout");
    let private = service.named("/");
    vec![
        to(
            "http://169.254.169.254/latest/meta-data/",
            Blocks("not-granted", "169.254.169.254 are not granted"),
        ),
        // Granted by its name, and private without being granted so: what a name that was rebound comes to.
        to(
            &private,
            Fails("error", "not-granted: localhost stands for"),
        ),
        ask(
            "fetches",
            "/metadata",
            Fails("error", "not-granted: 127.0.0.1 leads on"),
        ),
        ask("wasi-fetches", "/metadata", Completes("\"302 0\"")),
        ask(
            "fetches",
            "/loop",
            Fails("error", "led on more than 10 times"),
        ),
        // Nothing is unpacked, so it is as long as it came.
        ask("fetches", "/packed", Completes("\"200 127\"")),
        ask("wasi-fetches", "/packed", Completes("\"200 127\"")),
        ask("fetches", "/drip", slow),
        ask("wasi-fetches", "/drip", wasi_slow),
        ask("fetches", "/slow-head", slow),
        ask("wasi-fetches", "/slow-head", wasi_slow),
        ask("fetches", "/silent", slow),
        ask("fetches", "/endless", Fails("error", "http-too-large")),
        ask(
            "wasi-fetches",
            "/endless",
            Fails("error", "HttpResponseBodySize"),
        ),
        ask("fetches", "/announced", Fails("error", "http-too-large")),
        ask("fetches", "/long-head", Fails("error", "http-unreachable")),
        ask(
            "fetches",
            "/many-headers",
            Fails("error", "http-unreachable"),
        ),
        ask("floods", "/silent", Completes("64")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_guests_end_their_own_runs_and_those_beside_them_go_on() {
    let (database, service) = (database().await, Service::start().await);
    deploy(&database, &guest("hostile"), &granting(&service)).await;
    deploy(&database, &guest("probe"), &Manifest::default()).await;
    deploy(&database, &components::forged(), &Manifest::default()).await;
    deploy(&database, &components::starts(), &Manifest::default()).await;
    let mut worker = Dacapo::on(&database);
    for limit in LIMITS {
        worker = worker.arg(limit);
    }
    let worker = worker.worker().await;
    // Compiling is not what is measured.
    for (workflow, input) in [
        ("test:probe/durable.counted-steps", "1"),
        ("test:forged/core.harmless", "null"),
    ] {
        assert!(
            database
                .done(database.start(workflow, input).await)
                .await
                .failure
                .is_none()
        );
    }
    bystander(&database).await;
    let mut quiet = Vec::new();
    for _ in 0..30 {
        quiet.push(bystander(&database).await);
    }
    let kinds = [
        ("computing", computing()),
        ("forks and children", breeding()),
        ("memory and handles", memory()),
        ("long texts", texts()),
        ("forged calls", forgeries()),
        ("nonsense", nonsense()),
        ("floods", floods()),
        ("requests", requests(&service)),
    ];
    println!(
        "a run of three steps beside hostile ones, p50 and p95 in ms, and as multiples of the quiet worker's:"
    );
    say("nobody", 0, &mut quiet.clone(), &quiet);
    let (mut attacks, mut wrong) = (0, Vec::new());
    for (kind, kind_attacks) in kinds {
        attacks += kind_attacks.len();
        let mut beside = under_attack(&database, &kind_attacks, &mut wrong).await;
        say(kind, kind_attacks.len(), &mut beside, &quiet);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(attacks >= 25, "{attacks} attacks");

    let resident = worker.resident_max_bytes();
    println!(
        "{attacks} attacks, {COPIES} copies of each; the worker held {} MiB at its worst",
        resident >> 20
    );
    assert!(resident < RESIDENT_MAX_BYTES, "{resident} bytes");
    logs_are_bounded(&database).await;
    // It is the process that it was, and nothing holds it.
    worker.signal(Signal::SIGTERM);
    assert!(worker.ended().await.success());
    sound(&database).await;
}

fn granting(service: &Service) -> Manifest {
    let grant = |host: &str| HttpGrant::parse(&format!("{host}:{}", service.port())).unwrap();
    Manifest {
        http: Some(HttpSettings {
            allow: vec![grant("127.0.0.1"), grant("localhost")],
            ..HttpSettings::default()
        }),
        ..Manifest::default()
    }
}

async fn deploy(database: &Database, bytes: &[u8], manifest: &Manifest) {
    let described = dacapo_sandbox::describe(bytes).unwrap();
    let deployed = database.client.deploy_with(
        &described.descriptor,
        &described.digest,
        &described.component,
        manifest,
    );
    deployed.await.unwrap();
}

/// Carries all attacks out at once, while one bystander after the other works. Answers how long each of those took.
async fn under_attack(
    database: &Database,
    attacks: &[Attack],
    wrong: &mut Vec<String>,
) -> Vec<Duration> {
    let begun = Instant::now();
    let mut pending: Vec<(RunId, &Attack)> = Vec::new();
    for _ in 0..COPIES {
        for attack in attacks {
            let run = database.start(&attack.workflow, &attack.input).await;
            pending.push((run, attack));
        }
    }
    let mut beside = Vec::new();
    while !pending.is_empty() || beside.len() < 5 {
        beside.push(bystander(database).await);
        let mut left = Vec::new();
        for (run, attack) in pending {
            let stands = database.client.get(run).await.unwrap();
            if is_over(&stands, attack.end) {
                wrong.extend(check(&stands, attack).err());
            } else {
                assert!(
                    begun.elapsed() < Duration::from_secs(60),
                    "{} goes on: {stands:#?}",
                    attack.workflow
                );
                left.push((run, attack));
            }
        }
        pending = left;
    }
    // Children that a run has left behind.
    database
        .until(
            "nothing is under way",
            "select not exists (select from dacapo.task_ready) and not exists (select from dacapo.task_leased)",
        )
        .await;
    beside
}

/// How long a well-behaved run took, from its start until it was known to be done.
async fn bystander(database: &Database) -> Duration {
    let begun = Instant::now();
    let run = database.start("test:hostile/bystander.work", "4").await;
    let done = database.done(run).await;
    let took = begun.elapsed();
    assert_eq!(done.status, Status::Completed, "{:?}", done.failure);
    assert_eq!(done.output.unwrap().as_str(), "7");
    took
}

fn is_over(run: &Run, end: End) -> bool {
    match run.status {
        Status::Completed | Status::Failed | Status::Cancelled | Status::Blocked => true,
        Status::Suspended => matches!(end, Waits),
        _ => false,
    }
}

/// Says what is wrong with how a run has ended.
fn check(run: &Run, attack: &Attack) -> Result<(), String> {
    // Limits of what is kept of it, whatever the guest has said: the details of a workflow's own error are a payload.
    const KEPT_MAX_BYTES: usize = 20_000;
    const CODE_MAX_BYTES: usize = 300;
    const MESSAGE_MAX_BYTES: usize = 9_000;
    let failure = run.failure.as_ref();
    let blocked = run.blocked.as_ref().map(|reason| reason.as_str());
    let fits = match attack.end {
        Completes(output) => {
            let said = run.output.as_ref().map(|output| output.as_str());
            run.status == Status::Completed && said == Some(output)
        }
        Fails(code, words) => failure.is_some_and(|failure| {
            run.status == Status::Failed
                && failure.code.starts_with(code)
                && failure.message.contains(words)
                && failure.code.len() < CODE_MAX_BYTES
                && failure.message.len() < MESSAGE_MAX_BYTES
                && (code != "trap" || failure.bytes() < KEPT_MAX_BYTES)
        }),
        Blocks(code, words) => blocked.is_some_and(|reason| {
            let said: serde_json::Value = serde_json::from_str(reason).unwrap();
            run.status == Status::Blocked
                && said["code"] == code
                && said["message"].as_str().unwrap().contains(words)
                && reason.len() < KEPT_MAX_BYTES
        }),
        Waits => run.status == Status::Suspended,
    };
    if fits {
        return Ok(());
    }
    let mut shown = format!(
        "{}: expected {:?}, got {}: {:?} {blocked:?} {failure:?}",
        attack.workflow, attack.end, run.status, run.output
    );
    shown.truncate(shown.floor_char_boundary(1_000));
    Err(shown)
}

fn say(kind: &str, attacks: usize, beside: &mut [Duration], quiet: &[Duration]) {
    let mut quiet = quiet.to_vec();
    let ms = |at: Duration| at.as_secs_f64() * 1_000.0;
    let (p50, p95) = (quantile(beside, 50), quantile(beside, 95));
    println!(
        "{kind:20} {attacks:3} attacks {:4} runs: {:7.1} {:7.1}   x{:.1} x{:.1}",
        beside.len(),
        ms(p50),
        ms(p95),
        ms(p50) / ms(quantile(&mut quiet, 50)),
        ms(p95) / ms(quantile(&mut quiet, 95)),
    );
}

fn quantile(of: &mut [Duration], percent: usize) -> Duration {
    of.sort_unstable();
    of[(of.len() - 1) * percent / 100]
}

/// However a run logs, its log has its limit: so many bytes, and no more lines than that is divided by what an empty one counts for.
async fn logs_are_bounded(database: &Database) {
    let logs: Vec<(String, i64, i64)> = sqlx::query_as(
        "select run.workflow, count(*), sum(octet_length(message) + coalesce(octet_length(log.fields::text), 0))::bigint
        from dacapo.log join dacapo.run on run.id = run_id group by run.id, run.workflow",
    )
    .fetch_all(database.store.pool())
    .await
    .unwrap();
    assert!(
        logs.iter()
            .any(|(workflow, ..)| workflow.ends_with("logs-in-branches"))
    );
    for (workflow, lines, bytes) in logs {
        assert!(
            lines <= LOG_MAX_BYTES / 64 + 1 && bytes <= LOG_MAX_BYTES + 100_000,
            "{workflow} logged {lines} lines of {bytes} bytes"
        );
    }
}
