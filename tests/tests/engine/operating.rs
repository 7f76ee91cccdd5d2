//! What `deploy/` brings for those who run workers is so, and so is what `docs/operating.md` says of it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use dacapo_client::StartOptions;
use dacapo_tests::{Dacapo, Database, dacapo_binary, database, database_with, guest_path};
use dacapo_worker::WorkerConfig;
use sqlx::{AssertSqlSafe, Executor};
use tokio::process::Command;

use crate::check::sound;
use crate::command::{dacapo, fails, run, text};

const PAYMENT: &str = r#"{"orderId": 7, "amountCents": 1250, "currency": "eur", "items": [{"sku": "tea", "price": 1250}]}"#;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}

async fn sql(database: &Database, statements: &str) {
    database
        .store
        .pool()
        .execute(AssertSqlSafe(statements.to_owned()))
        .await
        .unwrap();
}

/// The same database as a new user with this role sees it.
async fn as_one_with(database: &Database, role: &str) -> Database {
    let user = format!("one_with_{role}");
    sql(
        database,
        &format!("create role {user} login; grant {role} to {user}"),
    )
    .await;
    let url = database.url.replace("//postgres@", &format!("//{user}@"));
    assert_ne!(url, database.url);
    database_with(&url)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_may_do_what_it_is_for_and_no_more() {
    let owner = database().await;
    let roles = read("deploy/roles.sql");
    // As often as one likes.
    sql(&owner, &roles).await;
    sql(&owner, &roles).await;
    let worker = as_one_with(&owner, "dacapo_worker").await;
    let client = as_one_with(&owner, "dacapo_client").await;
    let reader = as_one_with(&owner, "dacapo_reader").await;
    let does = async |who: &Database, arguments: &[&str]| {
        let output = run(who, arguments).await;
        let said = text(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        text(&output.stdout).trim().to_owned()
    };
    let payments = guest_path("process_payment").display().to_string();
    let start = ["start", "process", "--input", PAYMENT];
    let started = async |more: &[&str]| does(&client, &[&start, more].concat()).await;
    let suspended = async || {
        owner
            .until(
                "it waits for the bank",
                "select exists (select from dacapo.task_suspended where events = '{settled}' and not paused)",
            )
            .await;
    };

    let process = Dacapo::on(&worker).worker().await;
    does(&worker, &["deploy", &payments]).await;
    does(&worker, &["queue", "set", "line", "--concurrency", "1"]).await;
    let every_day = ["schedule", "create", "daily", "process", "--every", "1d"];
    does(&worker, &[&every_day[..], &start[2..]].concat()).await;

    let placed = [
        "--queue",
        "line",
        "--concurrency-key",
        "a",
        "--priority",
        "5",
        "--deadline",
        "1h",
    ];
    let one = started(&placed).await;
    suspended().await;
    for does_so in ["pause", "resume"] {
        does(&client, &[does_so, &one]).await;
    }
    does(&client, &["runs", "note", &one, "the bank is slow"]).await;
    let settled = r#"{"reference": "bank-1"}"#;
    does(&client, &["event", &one, "settled", settled]).await;
    let watched = does(&client, &["runs", "watch", &one]).await;
    assert!(watched.contains("bank-1"), "{watched}");
    let another = started(&[]).await;
    suspended().await;
    does(&client, &["cancel", "--force", &another]).await;
    let delayed = started(&["--delay", "1h"]).await;
    does(&client, &["cancel", &delayed]).await;
    let singleton = ["--singleton", "a", "--on-conflict", "queue"];
    for _ in 0..2 {
        started(&singleton).await;
    }
    for _ in 0..2 {
        started(&["--debounce", "a", "--for", "1h"]).await;
    }
    does(&worker, &["rerun", &another]).await;
    for arguments in [
        &["runs", "show", &one][..],
        &["runs", "list"],
        &["runs", "logs", &one],
        &["doctor"],
    ] {
        does(&reader, arguments).await;
    }
    let age: Result<i32, _> = sqlx::query_scalar(AssertSqlSafe(age_query()))
        .fetch_one(reader.store.pool())
        .await;
    assert!(age.is_ok(), "{age:?}");

    for arguments in [
        &["deploy", &payments, "--set", "limits.memory=\"64MiB\""][..],
        &["queue", "pause", "line"],
        &["schedule", "delete", "daily"],
        &["rerun", &one],
        &["retention", "set", "1d"],
    ] {
        fails(&run(&client, arguments).await, 1, &["permission denied"]);
    }
    for arguments in [&start[..], &["pause", &one], &["runs", "note", &one, "a"]] {
        fails(&run(&reader, arguments).await, 1, &["permission denied"]);
    }
    // The schema is the owner's.
    for statement in [
        "update dacapo.compatibility set breaking = 1",
        "delete from dacapo._sqlx_migrations",
        "alter table dacapo.run add column a integer",
        "create table dacapo.a ()",
    ] {
        let refused = worker.store.pool().execute(statement).await;
        assert!(refused.is_err(), "{statement}");
    }
    // What later migrations add is theirs, too.
    sql(&owner, "create table dacapo.later (a integer)").await;
    let looked = reader.store.pool().execute("select from dacapo.later");
    looked.await.unwrap();
    let wrote = worker
        .store
        .pool()
        .execute("insert into dacapo.later values (1)");
    wrote.await.unwrap();
    process.kill().await;
    sound(&owner).await;
}

/// The query by which KEDA scales workers.
fn age_query() -> String {
    let manifest = read("deploy/kubernetes/autoscaling/keda-postgresql.yaml");
    let (_, block) = manifest.split_once("query: |\n").unwrap();
    let indent = block.len() - block.trim_start().len();
    block
        .lines()
        .take_while(|line| line.len() > indent && line[..indent].trim().is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_age_that_workers_are_scaled_by_is_that_of_the_run_that_waits_longest_for_one() {
    let database = database().await;
    database.deploy("process_payment").await;
    let query = age_query();
    let age = async || -> i32 {
        sqlx::query_scalar(AssertSqlSafe(query.clone()))
            .fetch_one(database.store.pool())
            .await
            .unwrap()
    };
    // The time goes on while this looks.
    let about = |age: i32, seconds: i32| (seconds..seconds + 60).contains(&age);
    let start = async |options: StartOptions| {
        let started = database
            .client
            .start_by_name("process", PAYMENT, options)
            .await;
        started.unwrap().id
    };
    assert_eq!(age().await, 0, "nothing waits");
    let first = start(StartOptions::default()).await;
    sql(
        &database,
        &format!("update dacapo.task_ready set ready_at = ready_at - interval '200 s' where run_id = '{first}'"),
    )
    .await;
    assert!(about(age().await, 200), "{}", age().await);
    // What is said to be urgent has not waited for that long.
    start(StartOptions::default().priority(100)).await;
    assert!(about(age().await, 200), "{}", age().await);
    // What waits for its own time, or for its turn in a queue, does not wait for a worker.
    start(StartOptions::default().delay(Duration::from_secs(3600))).await;
    sql(
        &database,
        "insert into dacapo.queue (namespace, name) values ('default', 'slow')",
    )
    .await;
    let other = start(StartOptions::default().queue("slow")).await;
    sql(
        &database,
        &format!("update dacapo.task_ready set ready_at = ready_at - interval '900 s' where run_id = '{other}'"),
    )
    .await;
    assert!(about(age().await, 900), "{}", age().await);
    sql(&database, "update dacapo.queue set paused = true").await;
    assert!(about(age().await, 200), "{}", age().await);
    let stopped = run(&database, &["queue", "pause", "--all"]).await;
    assert!(stopped.status.success(), "{}", text(&stopped.stderr));
    assert_eq!(age().await, 0, "no worker may take anything");
}

/// What a file of `deploy/` has the binary do: each list of arguments in it.
fn commands_in(file: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    for line in read(file).lines() {
        let line = line.trim();
        let list = ["args: ", "CMD "]
            .iter()
            .find_map(|begin| line.strip_prefix(begin));
        if let Some(list) = list {
            commands.push(serde_json::from_str(list).unwrap());
        }
        if let Some(command) = line.strip_prefix("ExecStart=") {
            let words = command.split_whitespace().skip(1);
            let words = words.filter(|word| !word.starts_with('$'));
            commands.push(words.map(str::to_owned).collect());
        }
    }
    commands
}

#[tokio::test(flavor = "multi_thread")]
async fn what_images_units_and_manifests_have_the_binary_do_it_knows() {
    for (file, count) in [
        ("deploy/image/Dockerfile", 1),
        ("deploy/systemd/dacapo-worker.service", 1),
        ("deploy/systemd/dacapo-server.service", 1),
        ("deploy/kubernetes/worker.yaml", 1),
        ("deploy/kubernetes/server.yaml", 1),
        ("deploy/kubernetes/migrate.yaml", 1),
    ] {
        let commands = commands_in(file);
        assert_eq!(commands.len(), count, "{file}");
        for arguments in commands {
            let output = Command::new(dacapo_binary())
                .args(&arguments)
                .arg("--help")
                .stdin(Stdio::null())
                .output()
                .await
                .unwrap();
            let said = text(&output.stderr);
            assert!(output.status.success(), "{file}: {arguments:?}: {said}");
        }
    }
}

#[test]
fn the_image_is_built_of_all_that_the_workspace_has() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let ignored = read(".dockerignore");
    let sent: Vec<&str> = ignored
        .lines()
        .filter_map(|line| line.strip_prefix('!'))
        .collect();
    let metadata = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--offline", "--no-deps"])
        .current_dir(root)
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    for package in metadata["packages"].as_array().unwrap() {
        let manifest = Path::new(package["manifest_path"].as_str().unwrap());
        let directory = manifest.parent().unwrap().strip_prefix(root).unwrap();
        assert!(
            sent.iter().any(|sent| directory.starts_with(sent)),
            ".dockerignore keeps {} from the image's build",
            directory.display()
        );
    }
}

#[test]
fn units_and_manifests_leave_a_worker_the_time_that_it_takes_to_drain() {
    let seconds = |file: &str, name: &str| -> u64 {
        let file = read(file);
        let line = file
            .lines()
            .find_map(|line| line.trim().strip_prefix(name))
            .unwrap();
        line.trim().parse().unwrap()
    };
    let drain = WorkerConfig::default().drain_grace.as_secs();
    let unit = seconds("deploy/systemd/dacapo-worker.service", "TimeoutStopSec=");
    let pod = seconds(
        "deploy/kubernetes/worker.yaml",
        "terminationGracePeriodSeconds:",
    );
    assert!(unit >= drain + 5, "{unit}");
    assert!(pod >= drain + 5, "{pod}");
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_of_databases_may_be_in_files() {
    let database = database().await;
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| -> PathBuf {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let from = async |url: &Path, direct: Option<&Path>| {
        let mut command = dacapo(&database, &["doctor"]);
        command
            .env_remove("DATABASE_URL")
            .env("DATABASE_URL_FILE", url);
        if let Some(direct) = direct {
            command.env("DACAPO_DIRECT_URL_FILE", direct);
        }
        command.output().await.unwrap()
    };
    let url = file("url", &format!("{}\n", database.url));
    let found = from(&url, Some(&url)).await;
    assert!(found.status.success(), "{}", text(&found.stderr));
    let missing = directory.path().join("missing");
    let nothing = from(&missing, None).await;
    fails(&nothing, 2, &["DATABASE_URL_FILE: cannot read", "missing"]);
    let empty = file("empty", "\n");
    let nothing = from(&empty, None).await;
    fails(
        &nothing,
        2,
        &[
            "DATABASE_URL_FILE: expected the URL of a database in",
            "which is empty",
        ],
    );
    let nothing = from(&url, Some(&empty)).await;
    fails(&nothing, 2, &["DACAPO_DIRECT_URL_FILE: expected"]);
    let other = file("other", "mysql://localhost/app");
    let refused = from(&other, None).await;
    fails(&refused, 2, &["not a database URL"]);
    // One that was given is the one that is meant.
    let given = dacapo(&database, &["doctor"])
        .env("DATABASE_URL_FILE", &missing)
        .output()
        .await
        .unwrap();
    assert!(given.status.success(), "{}", text(&given.stderr));
}
