//! Clocks that are wrong, and jump.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use dacapo_tests::{Again, Worker};
use sqlx::PgConnection;

use crate::private::{private, private_with, steps_later};

/// A library that lies about the time to whoever it is loaded by; none if it is not installed.
fn liar() -> Option<PathBuf> {
    let libraries = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(Path::new);
    let found = libraries
        .into_iter()
        .flat_map(|directory| {
            let inner = std::fs::read_dir(directory).into_iter().flatten().flatten();
            inner
                .map(|entry| entry.path())
                .chain([directory.to_owned()])
        })
        .map(|directory| directory.join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.exists());
    if found.is_none() {
        println!("left out: libfaketime is not installed, so no clock can be made wrong");
    }
    found
}

/// A clock that can be set, and what makes a process go by it.
struct Clock {
    file: PathBuf,
    variables: Vec<(&'static str, String)>,
}

impl Clock {
    fn new(liar: &Path, directory: &Path, offset: &str) -> Self {
        let file = directory.join("clock");
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
        let clock = Self {
            variables: vec![
                ("LD_PRELOAD", liar.display().to_string()),
                ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
                ("FAKETIME_NO_CACHE", "1".to_owned()),
                // What measures how long something takes does not jump.
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
                ("DONT_FAKE_MONOTONIC", "1".to_owned()),
            ],
            file,
        };
        clock.set(offset);
        clock
    }

    /// So far from the truth.
    fn set(&self, offset: &str) {
        // It is never read half written.
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{offset}\n")).unwrap();
        std::fs::rename(new, &self.file).unwrap();
    }
}

/// How far in the future the id of a worker was made by its own clock, in days.
async fn days_ahead(admin: &mut PgConnection, worker: &Worker) -> i64 {
    let id: String =
        sqlx::query_scalar("select id::text from dacapo.worker where name like '%:' || $1")
            .bind(worker.id().to_string())
            .fetch_one(admin)
            .await
            .unwrap();
    let millis = i64::from_str_radix(&id.replace('-', "")[..12], 16).unwrap();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    (millis - i64::try_from(now.as_millis()).unwrap()) / 86_400_000
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_clock_is_wrong_and_jumps_does_what_others_do() {
    let Some(liar) = liar() else { return };
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::new(&liar, directory.path(), "+1000d");
    let private = private(&[]).await;
    let mut workload = private.workload().await;
    let mut admin = private.admin().await;
    let url = private.cluster.url("postgres");
    let mut wrong = workload.worker_with_lease("5s");
    for (name, value) in &clock.variables {
        wrong = wrong.env(name, value);
    }
    let wrong = wrong.worker().await;
    let right = workload.worker_with_lease("5s").worker().await;
    assert!(days_ahead(&mut admin, &wrong).await >= 999);
    assert_eq!(days_ahead(&mut admin, &right).await, 0);
    let workers = "select string_agg(id::text, ' ' order by id) from dacapo.worker";
    let before: String = sqlx::query_scalar(workers)
        .fetch_one(&mut admin)
        .await
        .unwrap();
    let jumps = async {
        for offset in ["-1000d", "+1000d", "-1h", "+1h", "+0"] {
            steps_later(&url, 30).await;
            clock.set(offset);
        }
        steps_later(&url, 30).await;
    };
    workload.start_during(jumps).await;
    workload.check(Again::Never).await;
    let after: String = sqlx::query_scalar(workers)
        .fetch_one(&mut admin)
        .await
        .unwrap();
    assert_eq!(before, after, "nobody has lost a lease");
    let database = &workload.database;
    let astray = database
        .count(
            "select count(*) from dacapo.step
            where greatest(abs(extract(epoch from started_at - now())), abs(extract(epoch from finished_at - now()))) > 600",
        )
        .await;
    assert_eq!(astray, 0, "the journal has the database's time");
    wrong.kill().await;
    right.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_survive_jumps_of_the_databases_clock() {
    let Some(liar) = liar() else { return };
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::new(&liar, directory.path(), "+0");
    // A server that goes by that clock.
    let honest = private(&[]).await;
    let programs = directory.path().join("programs");
    std::fs::create_dir(&programs).unwrap();
    let lies: String = clock
        .variables
        .iter()
        .map(|(name, value)| format!("{name}='{value}' "))
        .collect();
    for (name, lies) in [("postgres", lies.as_str()), ("initdb", "")] {
        let script = format!(
            "#!/bin/sh\nexec env {lies} '{}' \"$@\"\n",
            honest.program(name).display()
        );
        std::fs::write(programs.join(name), script).unwrap();
        let made = Command::new("chmod")
            .arg("755")
            .arg(programs.join(name))
            .status();
        assert!(made.unwrap().success());
    }
    drop(honest);
    let private = private_with(&[], Some(programs)).await;
    let mut workload = private.workload().await;
    let url = private.cluster.url("postgres");
    let mut admin = private.admin().await;
    let workers = [
        workload.worker_with_lease("1s").worker().await,
        workload.worker_with_lease("1s").worker().await,
    ];
    let jumps = async {
        steps_later(&url, 30).await;
        // All leases are over, and all sleeps.
        clock.set("+1h");
        steps_later(&url, 30).await;
        let ahead: bool =
            sqlx::query_scalar("select extract(epoch from clock_timestamp()) - $1::float8 > 3000")
                .bind(
                    std::time::SystemTime::now()
                        .duration_since(std::time::UNIX_EPOCH)
                        .unwrap()
                        .as_secs_f64(),
                )
                .fetch_one(&mut admin)
                .await
                .unwrap();
        assert!(ahead, "the server believes it");
        // What is due is an hour away; all else goes on.
        clock.set("+0");
        steps_later(&url, 30).await;
        clock.set("+2h");
        steps_later(&url, 30).await;
    };
    workload.start_during(jumps).await;
    workload.check(Again::TimesAndLate(2)).await;
    for worker in workers {
        worker.kill().await;
    }
}
