//! Disks that are full.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use dacapo_tests::{Again, Workload};
use sqlx::Connection;

use crate::private::{LONG, Private, migrated, private, sql, steps_later, until_seen};

/// A small disk that a test can fill. Unmounted when it is dropped.
struct Disk(PathBuf);

impl Disk {
    /// None where this user may not mount anything.
    fn mounted(at: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "dacapo-test"])
            .arg(at)
            .output();
        match mounted {
            Ok(mounted) if mounted.status.success() => Some(Self(at.to_owned())),
            _ => {
                println!("left out: a disk cannot be mounted here, so it cannot be filled");
                None
            }
        }
    }

    /// Fills it up.
    fn fill(&self) {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(self.ballast())
            .unwrap();
        for size in [1 << 20, 4_096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The server that uses it may still be going down.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

const FULL: &str = "No space left on device";

/// Fills the disk until the server has met that, and makes room again.
async fn full_for_a_while(private: &mut Private, workload: &mut Workload, disk: &Disk) {
    let url = workload.database.url.clone();
    let trouble = async {
        steps_later(&url, 30).await;
        let before = private.log().matches(FULL).count();
        disk.fill();
        until_seen("the disk is full", || {
            // What the server freed itself is not to be had.
            disk.fill();
            private.log().matches(FULL).count() > before + 3 || private.cluster.pid().is_none()
        })
        .await;
        disk.free();
        // One that could not even recover is started by whoever made room.
        if private.cluster.pid().is_none() {
            private.cluster.restart().await.unwrap();
        }
        steps_later(&url, 30).await;
    };
    workload.start_during(trouble).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_go_on_after_the_disk_of_the_tables_was_full() {
    let directory = tempfile::tempdir().unwrap();
    let mut private = private(&[]).await;
    let at = directory.path().join("tables");
    let Some(disk) = Disk::mounted(&at, "40m") else {
        return;
    };
    private.hand_over(directory.path());
    let tables = at.join("space");
    std::fs::create_dir(&tables).unwrap();
    private.hand_over(&tables);
    let mut admin = private.admin().await;
    let space = format!("create tablespace small location '{}'", tables.display());
    sql(&mut admin, &space).await;
    sql(&mut admin, "create database small tablespace small").await;
    admin.close().await.unwrap();
    let mut workload = Workload::on(migrated(&private.cluster.url("small")).await).await;
    let worker = workload.worker_with_lease(LONG).worker().await;
    full_for_a_while(&mut private, &mut workload, &disk).await;
    workload.check(Again::Never).await;
    worker.kill().await;
    private.cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_go_on_after_the_disk_of_the_log_was_full_and_the_server_went_down() {
    let directory = tempfile::tempdir().unwrap();
    // As little of it as can be.
    let mut private = private(&[("max_wal_size", "32MB"), ("min_wal_size", "32MB")]).await;
    let at = directory.path().join("log");
    let Some(disk) = Disk::mounted(&at, "160m") else {
        return;
    };
    private.hand_over(directory.path());
    let url = private.cluster.url("postgres");
    let mut workload = Workload::on(migrated(&url).await).await;
    workload.database.store.pool().close().await;
    // The log moves to the small disk.
    private.cluster.crash().await;
    let (log, place) = (
        private.directory.path().join("cluster/pg_wal"),
        at.join("pg_wal"),
    );
    let moved = Command::new("cp")
        .arg("-a")
        .args([&log, &place])
        .status()
        .unwrap();
    assert!(moved.success());
    std::fs::remove_dir_all(&log).unwrap();
    std::os::unix::fs::symlink(&place, &log).unwrap();
    private.cluster.restart().await.unwrap();
    workload.database = dacapo_tests::database_with(&url);
    let worker = workload.worker_with_lease(LONG).worker().await;
    let segments = async {
        // Each of them wants a new file of the log.
        loop {
            if let Ok(mut connection) = sqlx::PgConnection::connect(&url).await {
                let switched = sqlx::query("select pg_switch_wal()")
                    .execute(&mut connection)
                    .await;
                if switched.is_err() {
                    continue;
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = full_for_a_while(&mut private, &mut workload, &disk) => {}
        () = segments => {}
    }
    assert!(private.log().contains("PANIC"), "the server went down");
    workload.check(Again::Never).await;
    worker.kill().await;
    private.cluster.stop().await.unwrap();
}
