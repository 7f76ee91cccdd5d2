//! Dacapo itself is brought up to date: what a released version has left in its database is finished by this one, and a worker that is of
//! another version than its database goes on or says why it cannot.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dacapo_client::{
    LimitChange, NewSchedule, QueueChange, RetentionRule, RunId, StartOptions, When,
};
use dacapo_model::{HttpGrant, HttpSettings, Manifest, SecretGrant, SecretName, Status};
use dacapo_tests::{Dacapo, Database, database};
use nix::sys::signal::Signal;
use sqlx::{Connection, Executor, PgConnection};

use crate::check::sound;
use crate::command::{fails, run, text};

/// What has a directory for each release that has changed the schema: a database with runs in each state, the component that they are runs of,
/// and what becomes of them.
fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/schema")
}

/// Stands in a dump for the component's bytes, which are in a file beside it.
const COMPONENT: &str = "@guest.wasm@";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The cases with their children, which have their labels: each by what its label `case` says, and its workflow.
async fn cases(database: &Database) -> Vec<(String, RunId)> {
    let cases: Vec<(String, uuid::Uuid)> = sqlx::query_as(
        "select (labels ->> 'case') || ' ' || split_part(workflow, '.', 2), id from dacapo.run where labels ? 'case' order by 1",
    )
    .fetch_all(database.store.pool())
    .await
    .unwrap();
    cases
        .into_iter()
        .map(|(case, id)| (case, RunId(id)))
        .collect()
}

/// A line for each case with how it stands.
async fn shown(database: &Database) -> String {
    let mut lines = String::new();
    for (case, id) in cases(database).await {
        let one = database.client.get(id).await.unwrap();
        write!(lines, "{case}: {}", one.status).unwrap();
        if let Some(output) = &one.output {
            write!(lines, " {}", output.as_str()).unwrap();
        }
        if let Some(failure) = &one.failure {
            write!(lines, " {}: {}", failure.code, failure.message).unwrap();
        }
        if let Some(blocked) = &one.blocked {
            let why: serde_json::Value = serde_json::from_str(blocked.as_str()).unwrap();
            write!(lines, " {}", why["code"]).unwrap();
        }
        lines.push('\n');
    }
    lines
}

/// A database as a release has left it.
async fn loaded(release: &Path) -> Database {
    let database = database().await;
    let dump = std::fs::read_to_string(release.join("database.sql")).unwrap();
    let component = std::fs::read(release.join("guest.wasm")).unwrap();
    assert!(dump.contains(COMPONENT));
    let statements = dump.replace(COMPONENT, &hex(&component));
    // A connection of its own: the dump changes settings.
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    connection
        .execute("drop schema dacapo cascade")
        .await
        .unwrap();
    connection
        .execute(sqlx::AssertSqlSafe(statements))
        .await
        .unwrap();
    connection.close().await.unwrap();
    database
}

/// Does what the cases wait for, with a worker that has all they need, and waits until each of them has ended.
async fn finish(database: &Database) {
    let secrets = tempfile::tempdir().unwrap();
    std::fs::write(secrets.path().join("key"), "a secret of ours").unwrap();
    let worker = Dacapo::on(database)
        .arg("--secrets-dir")
        .arg(secrets.path().to_str().unwrap())
        .worker()
        .await;
    let listening: Vec<uuid::Uuid> = sqlx::query_scalar(
        "select id from dacapo.run
        where status = 'active' and (labels ->> 'case' in ('waits', 'forks') or (parent is not null and workflow like '%.waits'))",
    )
    .fetch_all(database.store.pool())
    .await
    .unwrap();
    for id in listening {
        let sent = database.client.send_event(RunId(id), "go", "5", None);
        sent.await.unwrap();
    }
    for (case, id) in cases(database).await {
        if case == "pauses pauses" {
            database.client.resume(id).await.unwrap();
        }
        database.done(id).await;
    }
    // The schedule makes up for the tick that it has missed.
    let ticked = "select exists (select from dacapo.run where labels ->> 'dacapo.schedule' = 'hourly' and status = 'completed')";
    database
        .until("the schedule has started a run", ticked)
        .await;
    worker.signal(Signal::SIGTERM);
    assert!(worker.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_released_version_has_left_is_finished_by_this_one() {
    let mut releases = 0;
    for release in std::fs::read_dir(kept()).unwrap() {
        let release = release.unwrap().path();
        if !release.is_dir() {
            continue;
        }
        let database = loaded(&release).await;
        let expected = |file| std::fs::read_to_string(release.join(file)).unwrap();

        let migrated = run(&database, &["migrate"]).await;
        assert!(migrated.status.success(), "{}", text(&migrated.stderr));
        let doctor = run(&database, &["doctor", "--output", "json"]).await;
        assert!(
            matches!(doctor.status.code(), Some(0 | 1)),
            "{}",
            text(&doctor.stderr)
        );
        assert_eq!(
            shown(&database).await,
            expected("before.txt"),
            "{release:?}"
        );

        finish(&database).await;
        assert_eq!(shown(&database).await, expected("after.txt"), "{release:?}");
        sound(&database).await;
        releases += 1;
    }
    assert!(releases > 0);
}

/// Somebody waits for this table.
const WAITS: &str = "select exists (select from pg_locks where relation = 'dacapo.child_end'::regclass and not granted
    and database = (select oid from pg_database where datname = current_database()))";
const GAVE_UP: &str = "select not exists (select from pg_locks where relation = 'dacapo.child_end'::regclass and not granted
    and database = (select oid from pg_database where datname = current_database()))";

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_waits_for_a_table_gives_up_and_is_tried_again_until_it_has_it() {
    // There migration 32, which alters this table, is still to come. The lock keeps it out, and no worker.
    let database = loaded(&kept().join("before-0.1.0")).await;
    let mut other = PgConnection::connect(&database.url).await.unwrap();
    let lock = "begin; lock table dacapo.child_end in share update exclusive mode";
    other.execute(lock).await.unwrap();
    let migrates = tokio::spawn({
        let database = database.clone();
        async move { run(&database, &["migrate"]).await }
    });
    for _ in 0..2 {
        database.until("the migration waits", WAITS).await;
        database.until("it has given up", GAVE_UP).await;
    }
    other.execute("rollback").await.unwrap();
    let migrated = migrates.await.unwrap();
    let said = text(&migrated.stderr);
    assert!(migrated.status.success(), "{said}");
    assert!(said.contains("uses a table"), "{said}");
}

/// What a later version's migration records; `breaking` is what it says of older binaries.
async fn migrate_as_a_later_version(database: &Database, breaking: bool) {
    let mut statements = "begin;
        insert into dacapo._sqlx_migrations (version, description, success, checksum, execution_time)
        values (9000, 'from the future', true, '', 0);"
        .to_owned();
    if breaking {
        statements += "update dacapo.compatibility set breaking = 9000;
            update dacapo.fence set open = false where open;";
    }
    statements += "commit";
    database
        .store
        .pool()
        .execute(sqlx::AssertSqlSafe(statements))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_goes_on_while_a_later_version_migrates_in_a_way_that_it_can_live_with() {
    let database = database().await;
    database.deploy("kept").await;
    let worker = Dacapo::on(&database).worker().await;
    let before = database.start("test:kept/kept.waits", "1").await;
    database
        .until(
            "the run waits",
            "select exists (select from dacapo.task_suspended)",
        )
        .await;
    migrate_as_a_later_version(&database, false).await;
    let sent = database.client.send_event(before, "go", "2", None);
    sent.await.unwrap();
    assert_eq!(database.done(before).await.status, Status::Completed);
    // And one that is started now, as after a crash.
    worker.kill().await;
    let worker = Dacapo::on(&database).worker().await;
    let after = database.start("test:kept/kept.work", "1").await;
    assert_eq!(database.done(after).await.status, Status::Completed);
    worker.signal(Signal::SIGTERM);
    assert!(worker.ended().await.success());
    let doctor = run(&database, &["doctor"]).await;
    assert!(
        text(&doctor.stdout).contains("use a newer dacapo"),
        "{}",
        text(&doctor.stdout)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_stops_and_says_why_once_a_later_version_has_migrated_in_a_way_that_it_cannot_live_with()
 {
    let database = database().await;
    database.deploy("kept").await;
    let mut worker = Dacapo::on(&database).worker().await;
    let waits = database.start("test:kept/kept.waits", "1").await;
    database
        .until(
            "the run waits",
            "select exists (select from dacapo.task_suspended)",
        )
        .await;
    migrate_as_a_later_version(&database, true).await;
    // Nothing that it would have written from now on is written: not even what this asks of it.
    let sent = database.client.send_event(waits, "go", "2", None);
    sent.await.unwrap();
    worker.says("needs a binary that knows version 9000").await;
    assert!(!worker.ended().await.success());
    let outcomes = "select count(*) from dacapo.step where outcome is not null";
    assert_eq!(database.count(outcomes).await, 1);
    for arguments in [&["worker"][..], &["migrate"], &["runs", "list"]] {
        fails(
            &run(&database, arguments).await,
            1,
            &["newer dacapo", "9000"],
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_a_later_version_does_not_begin_before_the_database_is_migrated() {
    let database = database().await;
    // As an older version has left it.
    let older = "delete from dacapo._sqlx_migrations where version = (select max(version) from dacapo._sqlx_migrations)";
    database.store.pool().execute(older).await.unwrap();
    let output = run(&database, &["worker", "--no-migrate"]).await;
    fails(&output, 1, &["not migrated", "dacapo migrate"]);
}

#[test]
fn a_migration_that_older_workers_cannot_live_with_closes_their_fences() {
    // The last one before the first release.
    let first_release = 29;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for file in std::fs::read_dir(root.join("migrations")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let number: u32 = name.split('_').next().unwrap().parse().unwrap();
        let statements = std::fs::read_to_string(&path).unwrap();
        if number > first_release && statements.contains("compatibility set breaking") {
            assert!(
                statements.contains("update dacapo.fence set open = false"),
                "{name}: workers of older versions would go on writing"
            );
        }
    }
}

// ---- keeping one more release

/// Of this database, as statements alone.
async fn dumped(database: &Database) -> String {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter();
    let mut programs: Vec<PathBuf> = installed
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin/pg_dump"))
        .filter(|program| program.exists())
        .collect();
    programs.sort();
    let program = programs.pop().unwrap_or_else(|| "pg_dump".into());
    let output = tokio::process::Command::new(program)
        .args([
            "--schema=dacapo",
            "--no-owner",
            "--inserts",
            "--rows-per-insert=100",
            "--dbname",
        ])
        .arg(&database.url)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
        .lines()
        // What only psql knows, what only newer servers know, and remarks.
        .filter(|line| {
            !line.starts_with('\\')
                && !line.starts_with("SET transaction_timeout")
                && !line.starts_with("--")
        })
        .map(|line| format!("{line}\n"))
        .collect()
}

async fn begin(
    database: &Database,
    case: &str,
    workflow: &str,
    input: &str,
    options: StartOptions,
) -> RunId {
    let workflow = format!("test:kept/kept.{workflow}");
    let options = options.label("case", case);
    let started = database
        .client
        .start_by_name(&workflow, input, options)
        .await;
    started.unwrap().id
}

/// Fills a database with runs in each state.
async fn fill(database: &Database) {
    let plain = StartOptions::default;
    let host = HttpGrant::parse("example.com").unwrap();
    let secret = SecretGrant {
        hosts: vec![host.host.clone()],
        reveal: true,
    };
    let manifest = Manifest {
        http: Some(HttpSettings {
            allow: vec![host],
            ..HttpSettings::default()
        }),
        secrets: [(SecretName::parse("key").unwrap(), secret)].into(),
        ..Manifest::default()
    };
    let client = &database.client;
    // What was kept is not to go away with the years.
    client
        .set_retention(RetentionRule {
            workflow: None,
            status: None,
            keep: None,
        })
        .await
        .unwrap();
    for (queue, concurrency) in [("narrow", 1), ("own", 10)] {
        let change = QueueChange {
            concurrency: LimitChange::Set(concurrency),
            ..QueueChange::default()
        };
        client.set_queue(queue, change).await.unwrap();
    }
    // Pinned to the first deployment, which has no manifest.
    database.deploy("kept").await;
    let worker = Dacapo::on(database).worker().await;
    begin(database, "completed", "work", "2", plain()).await;
    begin(database, "waits", "waits", "3", plain()).await;
    let cancelled = begin(database, "cancelled", "waits", "4", plain()).await;
    let described = dacapo_sandbox::describe(&dacapo_tests::guest("kept")).unwrap();
    let second = client.deploy_with(
        &described.descriptor,
        &described.digest,
        &described.component,
        &manifest,
    );
    second.await.unwrap();
    // Long enough that they are at rest when the worker has gone.
    let ms = "20000";
    begin(database, "sleeps", "sleeps", ms, plain()).await;
    begin(database, "pauses", "pauses", "null", plain()).await;
    begin(database, "retries", "retries", ms, plain()).await;
    begin(database, "failed", "fails", "null", plain()).await;
    begin(database, "blocked", "needs", "null", plain()).await;
    begin(database, "forks", "forks", ms, plain()).await;
    begin(
        database,
        "narrow-first",
        "work",
        "1",
        plain().queue("narrow"),
    )
    .await;
    let at_rest = "select not exists (select from dacapo.task_ready) and not exists (select from dacapo.task_leased)
        and not exists (select from dacapo.child_end)
        and (select count(*) >= 4 from dacapo.run where status <> 'active')
        and not exists (select from dacapo.task_suspended where reason = 'queue')";
    database.until("all runs are at rest", at_rest).await;
    client.cancel(cancelled).await.unwrap();
    database.done(cancelled).await;
    worker.signal(Signal::SIGTERM);
    assert!(worker.ended().await.success());

    let mut hourly = NewSchedule::new(
        "hourly",
        "test:kept/kept.leaf",
        When::Every(Duration::from_secs(3_600)),
    );
    hourly.input = "3".to_owned();
    client.create_schedule(hourly).await.unwrap();
    // It has missed a tick.
    let earlier = "update dacapo.schedule set next_tick = next_tick - interval '1 hour', next_at = next_at - interval '1 hour'";
    database.store.pool().execute(earlier).await.unwrap();
    let when = When::Cron {
        expression: "30 2 * * MON-FRI".to_owned(),
        time_zone: "Europe/Paris".to_owned(),
    };
    let mut nightly = NewSchedule::new("nightly", "test:kept/kept.leaf", when);
    nightly.input = "4".to_owned();
    nightly.paused = true;
    client.create_schedule(nightly).await.unwrap();

    // A worker dies with a step that it has executed and not recorded.
    begin(database, "orphaned", "work", "5", plain().queue("own")).await;
    let dying = Dacapo::on(database)
        .arg("--queue")
        .arg("own")
        .dying_at("after-body")
        .worker()
        .await;
    assert!(!dying.ended().await.success());

    begin(database, "queued", "work", "6", plain()).await;
    let early = begin(database, "early", "waits", "7", plain()).await;
    client.send_event(early, "go", "8", None).await.unwrap();
    let later = plain().delay(Duration::from_millis(20_000));
    begin(database, "later", "leaf", "9", later).await;
    for (case, n) in [("narrow-second", "2"), ("narrow-third", "3")] {
        begin(database, case, "leaf", n, plain().queue("narrow")).await;
    }
    let keyed = plain()
        .queue("narrow")
        .concurrency_key("a customer")
        .priority(7);
    begin(database, "narrow-keyed", "leaf", "4", keyed).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes a fixture: ./x keep-schema VERSION"]
async fn keep_this_schema() {
    let directory = kept().join(std::env::var("DACAPO_KEEP").unwrap());
    std::fs::create_dir(&directory).expect("what was released is not changed");
    let database = database().await;
    fill(&database).await;
    let component: Vec<u8> = sqlx::query_scalar("select bytes from dacapo.component")
        .fetch_one(database.store.pool())
        .await
        .unwrap();
    let dump = dumped(&database).await;
    let before = shown(&database).await;
    finish(&database).await;
    sound(&database).await;
    let without_component = dump.replace(&hex(&component), COMPONENT);
    std::fs::write(directory.join("database.sql"), without_component).unwrap();
    std::fs::write(directory.join("guest.wasm"), component).unwrap();
    std::fs::write(directory.join("before.txt"), before).unwrap();
    std::fs::write(directory.join("after.txt"), shown(&database).await).unwrap();
}
