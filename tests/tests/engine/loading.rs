//! Workers load what their runs need, whichever version that is: what it takes of the database, and of others.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dacapo_client::{RunId, Status};
use dacapo_sandbox::Described;
use dacapo_tests::{Dacapo, Database, database, guest};
use dacapo_worker::{Store, Worker, WorkerConfig};

use crate::check::sound;
use crate::deployments::version;

/// A guest with a section of this many bytes that mean nothing and cannot be compressed.
fn bulky(name: &str, kilobytes: usize) -> Described {
    let mut section = vec![5];
    section.extend(b"bulky");
    let mut number = 1_u64;
    section.extend((0..kilobytes << 10).map(|_| {
        number = number
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (number >> 56) as u8
    }));
    let mut bytes = guest(name);
    bytes.push(0);
    let mut length = section.len();
    while length >= 0x80 {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(u8::try_from(length).unwrap());
    bytes.extend(section);
    dacapo_sandbox::describe(&bytes).unwrap()
}

async fn put(database: &Database, described: &Described) {
    let (descriptor, digest) = (&described.descriptor, &described.digest);
    let deployed = database
        .client
        .deploy(descriptor, digest, &described.component);
    deployed.await.unwrap();
}

/// A worker with connections of its own.
struct Own {
    store: Store,
    worker: Worker,
}

impl Own {
    async fn start(database: &Database, config: WorkerConfig) -> Own {
        // Whichever test is the first one makes the role, which is the server's.
        let role = "create role worker superuser login";
        let _ = sqlx::raw_sql(role).execute(database.store.pool()).await;
        let url = database.url.replacen("postgres@", "worker@", 1);
        let store = Store::new(&url, 4).unwrap();
        let worker = Worker::start(store.clone(), config).await.unwrap();
        Own { store, worker }
    }

    /// Ends it, and its connections: the server counts what they did at their end at the latest.
    async fn end(self) {
        self.worker.drain().await.unwrap();
        self.store.pool().close().await;
    }
}

/// How many pieces of components were read from the table that holds them, by workers whose connections have ended.
async fn pieces_read(database: &Database) -> i64 {
    database
        .until(
            "the workers' connections have ended",
            "select not exists (select from pg_stat_activity where datname = current_database() and usename = 'worker')",
        )
        .await;
    database
        .count(
            "select coalesce(idx_tup_fetch, 0) from pg_stat_all_tables
            where relid = (select reltoastrelid from pg_class where oid = 'dacapo.component'::regclass)",
        )
        .await
}

/// How many pieces all components have; those of a server are 1,996 bytes long.
async fn pieces(database: &Database) -> i64 {
    database
        .count("select sum(ceil(pg_column_size(bytes) / 1996.0))::bigint from dacapo.component")
        .await
}

/// Holds the turn to compile a component in a cache directory that a worker has opened, as another process would.
fn hold_turn(cache: &Path, digest: &str) -> File {
    let mut kinds = std::fs::read_dir(cache).unwrap();
    let kind: PathBuf = kinds.next().unwrap().unwrap().path();
    let file = File::create(kind.join(format!("{digest}.lock"))).unwrap();
    file.try_lock().unwrap();
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_need_a_component_at_once_read_it_once_each_and_hold_nothing_while_they_compile()
 {
    const WORKERS: i64 = 16;
    let database = database().await;
    let described = bulky("bench_guest", 4 << 10);
    let directory = tempfile::tempdir().unwrap();
    let (mut workers, mut turns) = (Vec::new(), Vec::new());
    for number in 0..WORKERS {
        let cache = directory.path().join(number.to_string());
        let mut config = WorkerConfig {
            runs_max: 4,
            claim_max: 4,
            guest_threads: 1,
            ..WorkerConfig::default()
        };
        config.sandbox.cache_dir = Some(cache.clone());
        workers.push(Own::start(&database, config).await);
        turns.push(hold_turn(&cache, &described.digest));
    }
    put(&database, &described).await;
    let mut runs = Vec::new();
    for _ in 0..4 * WORKERS {
        runs.push(database.start("bench:noop/noop.three-steps", "null").await);
    }
    // All of them wait for the code: four runs on each worker.
    database
        .until(
            "all runs are leased",
            "select count(*) = 64 from dacapo.task_leased",
        )
        .await;
    database
        .until(
            "all workers have read the component",
            "select idx_tup_fetch >= 16 * ceil(pg_column_size(bytes) / 1996.0) from pg_stat_all_tables, dacapo.component
            where relid = (select reltoastrelid from pg_class where oid = 'dacapo.component'::regclass)",
        )
        .await;
    database
        .until(
            "there is a moment without any transaction or lock",
            "select not exists (select from pg_stat_activity where datname = current_database()
                and pid <> pg_backend_pid() and (xact_start is not null or wait_event_type = 'Lock'))
            and not exists (select from pg_locks join pg_database on pg_database.oid = database
                where datname = current_database() and pid <> pg_backend_pid())",
        )
        .await;
    let busy = database
        .count("select count(*) from pg_stat_activity where datname = current_database() and usename = 'worker'")
        .await;
    drop(turns);
    for run in runs {
        assert_eq!(database.done(run).await.status, Status::Completed);
    }
    sound(&database).await;
    for own in workers {
        own.end().await;
    }
    let read = pieces_read(&database).await;
    assert_eq!(read, WORKERS * pieces(&database).await);
    // What a worker has at any time: writers, listener, heartbeats, and a few for whatever comes.
    assert!(busy <= WORKERS * 8, "{busy} connections");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_come_and_go_in_a_worker_that_keeps_three_and_its_runs_stay_on_theirs() {
    const VERSIONS: u8 = 30;
    let database = database().await;
    // Three runs on each version while that is the active one.
    let mut runs: Vec<[RunId; 3]> = Vec::new();
    for number in 0..VERSIONS {
        put(&database, &version("bench_guest", number)).await;
        let mut three = [RunId::new(); 3];
        for run in &mut three {
            *run = database.start("bench:noop/noop.wait-event", "null").await;
        }
        runs.push(three);
    }
    let pinned = "select string_agg(deployment_id::text, ',' order by run.id) from dacapo.run";
    let before: String = sqlx::query_scalar(pinned)
        .fetch_one(database.store.pool())
        .await
        .unwrap();
    let config = |kept_max: u32, cache: Option<&Path>| {
        let mut config = WorkerConfig {
            deployments_max: kept_max,
            ..WorkerConfig::default()
        };
        config.sandbox.cache_dir = cache.map(Path::to_owned);
        config
    };
    let directory = tempfile::tempdir().unwrap();
    let first = Own::start(&database, config(3, Some(directory.path()))).await;
    database
        .until_within(
            Duration::from_secs(120),
            "all runs wait",
            "select count(*) = 90 from dacapo.task_suspended",
        )
        .await;
    first.end().await;
    let go = async |which: usize| {
        for three in &runs {
            let run = three[which];
            database
                .client
                .send_event(run, "go", "null", None)
                .await
                .unwrap();
            assert_eq!(database.done(run).await.status, Status::Completed);
        }
    };

    // One that keeps three, and has no directory: it has forgotten each when its second run comes.
    let all = pieces(&database).await;
    let mut read = pieces_read(&database).await;
    let mut since = async || {
        let now = pieces_read(&database).await;
        now - std::mem::replace(&mut read, now)
    };
    let few = Own::start(&database, config(3, None)).await;
    go(0).await;
    go(1).await;
    few.end().await;
    assert_eq!(since().await, 2 * all);

    // One that begins with an empty directory: from the database.
    let empty = tempfile::tempdir().unwrap();
    let anew = Own::start(&database, config(3, Some(empty.path()))).await;
    go(2).await;
    anew.end().await;
    assert_eq!(since().await, all);
    let after: String = sqlx::query_scalar(pinned)
        .fetch_one(database.store.pool())
        .await
        .unwrap();
    assert_eq!(after, before, "every run stays on its version");
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_says_that_it_waits_for_another_one_what_it_compiles_and_how_long_that_took() {
    let database = database().await;
    let described = version("bench_guest", 1);
    let cache = tempfile::tempdir().unwrap();
    let mut worker = Dacapo::on(&database)
        .arg("--cache-dir")
        .arg(cache.path().to_str().unwrap())
        .worker()
        .await;
    let turn = hold_turn(cache.path(), &described.digest);
    put(&database, &described).await;
    let run = database.start("bench:noop/noop.three-steps", "null").await;
    worker.says("another process compiles this component").await;
    let line = worker.says("compiling").await;
    for part in ["bench:noop", &described.digest, "kilobytes"] {
        assert!(line.contains(part), "no {part}: {line}");
    }
    let line = worker.says("still compiling").await;
    assert!(line.contains("seconds="), "{line}");
    drop(turn);
    let line = worker.says("compiled").await;
    assert!(line.contains("milliseconds"), "{line}");
    assert_eq!(database.done(run).await.status, Status::Completed);
    worker.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_share_a_directory_compile_a_component_once_in_all() {
    let database = database().await;
    let cache = tempfile::tempdir().unwrap();
    let mut workers = Vec::new();
    for _ in 0..3 {
        let worker = Dacapo::on(&database)
            .arg("--runs-max")
            .arg("2")
            .arg("--claim-max")
            .arg("2")
            .arg("--cache-dir")
            .arg(cache.path().to_str().unwrap());
        workers.push(worker.worker().await);
    }
    let described = version("bench_guest", 1);
    let turn = hold_turn(cache.path(), &described.digest);
    put(&database, &described).await;
    let mut runs = Vec::new();
    for _ in 0..6 {
        runs.push(database.start("bench:noop/noop.three-steps", "null").await);
    }
    for worker in &mut workers {
        worker.says("another process compiles this component").await;
    }
    // It dies without having compiled anything: one of those that wait does it, and the others find its code.
    drop(turn);
    for run in runs {
        assert_eq!(database.done(run).await.status, Status::Completed);
    }
    let mut compiled = 0;
    for worker in &mut workers {
        let line = worker.says("deployment is ready").await;
        compiled += u32::from(line.contains("compiled=true"));
    }
    assert_eq!(compiled, 1);
    for worker in workers {
        worker.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_directory_for_code_cannot_be_used_or_goes_away_works_all_the_same() {
    let database = database().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "no directory").unwrap();
    let gone = directory.path().join("gone");
    for (number, cache) in [file.join("below"), gone.clone()].into_iter().enumerate() {
        let mut config = WorkerConfig::default();
        config.sandbox.cache_dir = Some(cache);
        let worker = Worker::start(database.store.clone(), config).await.unwrap();
        if number == 1 {
            // Nothing can be read or written there any more, whoever this is.
            std::fs::remove_dir_all(&gone).unwrap();
            std::fs::write(&gone, "no directory").unwrap();
        }
        put(
            &database,
            &version("bench_guest", u8::try_from(number).unwrap()),
        )
        .await;
        let run = database.start("bench:noop/noop.three-steps", "null").await;
        assert_eq!(database.done(run).await.status, Status::Completed);
        worker.drain().await.unwrap();
    }
}
