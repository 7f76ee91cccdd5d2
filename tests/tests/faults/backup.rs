//! The database is lost, and made again of what was kept of it.

use std::path::Path;

use dacapo_client::StartOptions;
use dacapo_postgres::{Cluster, ClusterOptions};
use dacapo_tests::{Again, Worker, Workload, database_with};
use sqlx::{Connection, PgConnection};

use crate::private::{LONG, Private, migrated, private, sql, steps_later, until, until_seen};
use crate::proxy::Proxy;

/// What a journal holds, a line for each outcome.
const OUTCOMES: &str =
    "select coalesce(array_agg(concat_ws(' ', run_id, key, outcome, payload)), '{}')
    from dacapo.step where outcome is not null";

async fn outcomes(connection: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar(OUTCOMES)
        .fetch_one(connection)
        .await
        .unwrap()
}

/// A copy of a server, as it was at this time.
async fn restored(copy: tempfile::TempDir, archive: &Path, point: &str, of: &Private) -> Private {
    let signal = copy.path().join("cluster/recovery.signal");
    std::fs::write(&signal, "").unwrap();
    of.hand_over(&signal);
    let settings = [
        (
            "restore_command",
            format!("cp {}/%f %p", archive.display()).as_str(),
        ),
        ("recovery_target_time", point),
        ("recovery_target_action", "promote"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let options = ClusterOptions {
        data_dir: copy.path().to_owned(),
        settings: settings.into(),
        binaries: None,
    };
    Private {
        cluster: Cluster::start(options).await.unwrap(),
        directory: copy,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_restored_to_a_point_in_time_has_all_until_then_and_goes_on_from_there()
{
    let archive = tempfile::tempdir().unwrap();
    let kept = archive.path().display();
    let keep =
        format!("test ! -f {kept}/%f && cp %p {kept}/%f.part && mv {kept}/%f.part {kept}/%f");
    let mut primary = private(&[("archive_mode", "on"), ("archive_command", &keep)]).await;
    primary.hand_over(archive.path());
    let proxy = Proxy::before(&primary.socket()).await;
    let url = proxy.url();
    let mut workload = Workload::on(migrated(&url).await).await;
    let workers: [Worker; 2] = [
        workload.worker_with_lease(LONG).worker().await,
        workload.worker_with_lease(LONG).worker().await,
    ];
    let copy = tempfile::tempdir().unwrap();
    let copying = async {
        steps_later(&url, 40).await;
        tokio::task::block_in_place(|| primary.copy_to(copy.path(), &[]));
        steps_later(&url, 40).await;
    };
    workload.start_during(copying).await;
    for _ in 0..30 {
        workload.start_one().await;
    }
    let mut admin = primary.admin().await;
    let until_then = outcomes(&mut admin).await;
    let point: String = sqlx::query_scalar("select clock_timestamp()::text")
        .fetch_one(&mut admin)
        .await
        .unwrap();

    // What comes after it is lost.
    let late = async || {
        let client = database_with(&url).client;
        let options = StartOptions::keyed("late");
        let run = client
            .start_by_name("mix.leaf", "5", options)
            .await
            .unwrap();
        (client, run.id)
    };
    let (client, run) = late().await;
    client.wait(run, None).await.unwrap();
    let at_the_end = outcomes(&mut admin).await;
    assert!(at_the_end.len() > until_then.len());
    let segment: String = sqlx::query_scalar("select pg_walfile_name(pg_switch_wal())")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    let segment = archive.path().join(segment);
    until_seen("the log is kept", || segment.exists()).await;
    admin.close().await.unwrap();
    primary.cluster.crash().await;

    let restored = restored(copy, archive.path(), &point, &primary).await;
    let mut admin = restored.admin().await;
    until(
        &mut admin,
        "it takes writes",
        "select not pg_is_in_recovery()",
    )
    .await;
    let left = outcomes(&mut admin).await;
    println!(
        "{} outcomes until the point, {} after it; {} are left",
        until_then.len(),
        at_the_end.len() - until_then.len(),
        left.len()
    );
    let lost: Vec<&String> = until_then
        .iter()
        .filter(|line| !left.contains(line))
        .collect();
    assert!(lost.is_empty(), "{lost:#?}");
    assert!(left.len() < at_the_end.len());
    let late_is_there: bool =
        sqlx::query_scalar("select exists (select from dacapo.run where id = $1)")
            .bind(run.0)
            .fetch_one(&mut admin)
            .await
            .unwrap();
    assert!(!late_is_there);

    // The workers of before find that another timeline is written, and begin anew with what is there.
    proxy.lead_to(&restored.socket());
    // Whoever starts by a key gets the same run, and so the same keys of its steps.
    let (_, again) = late().await;
    assert_eq!(again, run);
    workload.check(Again::Lost).await;
    for worker in workers {
        worker.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_dumped_while_runs_go_on_and_loaded_elsewhere_goes_on_from_there() {
    let private = private(&[]).await;
    let mut workload = private.workload().await;
    let url = private.cluster.url("postgres");
    for _ in 0..30 {
        workload.start_one().await;
    }
    let worker = workload.worker_with_lease("2s").worker().await;
    steps_later(&url, 40).await;
    let file = private.directory.path().join("dump");
    let carry_out = |program: &str, arguments: &[&str]| {
        let output = private
            .command(&private.program(program))
            .arg("-h")
            .arg(private.socket_directory())
            .args(["-p", "5432", "-U", "postgres"])
            .args(arguments)
            .arg(&file)
            .current_dir(private.directory.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    tokio::task::block_in_place(|| carry_out("pg_dump", &["-Fc", "-d", "postgres", "-f"]));
    steps_later(&url, 40).await;
    worker.kill().await;
    let mut admin = private.admin().await;
    sql(&mut admin, "create database elsewhere").await;
    tokio::task::block_in_place(|| {
        carry_out("pg_restore", &["--exit-on-error", "-d", "elsewhere"]);
    });
    workload.database = database_with(&private.cluster.url("elsewhere"));
    let worker = workload.worker_with_lease("2s").worker().await;
    workload.check(Again::Lost).await;
    worker.kill().await;
}
