//! A real server on this machine, whoever runs the tests.

#![allow(
    clippy::unwrap_used,
    reason = "a test that panics has failed, as it should"
)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use dacapo_postgres::{Cluster, ClusterError, ClusterOptions};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

fn options(data_dir: &Path) -> ClusterOptions {
    ClusterOptions {
        data_dir: data_dir.to_owned(),
        settings: Vec::new(),
        binaries: None,
    }
}

async fn started(data_dir: &Path) -> Cluster {
    Cluster::start(options(data_dir))
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

async fn connect(cluster: &Cluster) -> PgConnection {
    PgConnection::connect(&cluster.url("postgres"))
        .await
        .unwrap()
}

async fn setting(connection: &mut PgConnection, name: &str) -> String {
    sqlx::query_scalar("select current_setting($1)")
        .bind(name)
        .fetch_one(connection)
        .await
        .unwrap()
}

async fn remember(cluster: &Cluster, word: &str) {
    let mut connection = connect(cluster).await;
    sqlx::query("create table if not exists words (word text)")
        .execute(&mut connection)
        .await
        .unwrap();
    sqlx::query("insert into words values ($1)")
        .bind(word)
        .execute(&mut connection)
        .await
        .unwrap();
}

async fn remembered(cluster: &Cluster) -> Vec<String> {
    sqlx::query_scalar("select word from words order by word")
        .fetch_all(&mut connect(cluster).await)
        .await
        .unwrap()
}

fn socket_dir(url: &str) -> String {
    let (_, rest) = url.split_once("?host=").unwrap();
    rest.split('&').next().unwrap().replace("%2F", "/")
}

#[tokio::test]
async fn the_second_start_finds_the_data_again() {
    let data_dir = TempDir::new().unwrap();
    let cluster = started(data_dir.path()).await;
    assert!(!cluster.reused());
    assert!(cluster.pid().is_some());
    remember(&cluster, "kept").await;
    let url = cluster.url("postgres");
    cluster.stop().await.unwrap();
    assert!(!Path::new(&socket_dir(&url)).exists());
    assert!(PgConnection::connect(&url).await.is_err());

    let cluster = started(data_dir.path()).await;
    assert_eq!(cluster.url("postgres"), url);
    assert_eq!(remembered(&cluster).await, ["kept"]);
}

#[tokio::test]
async fn a_crash_loses_nothing_that_was_acknowledged() {
    let data_dir = TempDir::new().unwrap();
    let mut cluster = started(data_dir.path()).await;
    for round in 0..3 {
        // An open connection: its process has to go too, or the next start would find the memory in use.
        let mut idle = connect(&cluster).await;
        remember(&cluster, &format!("round {round}")).await;
        cluster.crash().await;
        assert_eq!(cluster.pid(), None);
        assert!(idle.ping().await.is_err());
        cluster.restart().await.unwrap();
    }
    assert_eq!(
        remembered(&cluster).await,
        ["round 0", "round 1", "round 2"]
    );
}

#[tokio::test]
async fn a_restart_of_a_running_server_stops_it_first() {
    let data_dir = TempDir::new().unwrap();
    let mut cluster = started(data_dir.path()).await;
    remember(&cluster, "kept").await;
    let before = cluster.pid();
    cluster.restart().await.unwrap();
    assert_ne!(cluster.pid(), before);
    assert_eq!(remembered(&cluster).await, ["kept"]);
}

#[tokio::test]
async fn a_live_server_is_visited_and_left_alone() {
    let data_dir = TempDir::new().unwrap();
    let owner = started(data_dir.path()).await;
    let mut visitor = started(data_dir.path()).await;
    assert!(visitor.reused());
    assert_eq!(visitor.pid(), owner.pid());
    assert_eq!(visitor.url("postgres"), owner.url("postgres"));
    visitor.crash().await;
    visitor.stop().await.unwrap();
    drop(started(data_dir.path()).await);
    remember(&owner, "still here").await;
}

#[tokio::test]
async fn starts_at_the_same_time_share_one_server() {
    let data_dir = TempDir::new().unwrap();
    let starts: Vec<_> = (0..4)
        .map(|_| tokio::spawn(Cluster::start(options(data_dir.path()))))
        .collect();
    let mut clusters = Vec::new();
    for start in starts {
        clusters.push(start.await.unwrap().unwrap());
    }
    assert_eq!(clusters.iter().filter(|each| !each.reused()).count(), 1);
    assert!(clusters.iter().all(|each| each.pid() == clusters[0].pid()));
}

#[tokio::test]
async fn dropping_the_handle_ends_the_server() {
    let data_dir = TempDir::new().unwrap();
    let cluster = started(data_dir.path()).await;
    let mut connection = connect(&cluster).await;
    let url = cluster.url("postgres");
    drop(cluster);
    assert!(connection.ping().await.is_err());
    assert!(PgConnection::connect(&url).await.is_err());
    assert!(!Path::new(&socket_dir(&url)).exists());
}

#[tokio::test]
async fn the_server_is_safe_and_private() {
    let data_dir = TempDir::new().unwrap();
    let mut with_setting = options(data_dir.path());
    with_setting.settings = vec![("max_connections".to_owned(), "20".to_owned())];
    let cluster = Cluster::start(with_setting).await.unwrap();
    let mut connection = connect(&cluster).await;
    assert_eq!(setting(&mut connection, "fsync").await, "on");
    assert_eq!(setting(&mut connection, "synchronous_commit").await, "on");
    assert_eq!(setting(&mut connection, "listen_addresses").await, "");
    assert_eq!(setting(&mut connection, "server_encoding").await, "UTF8");
    assert_eq!(setting(&mut connection, "max_connections").await, "20");
}

#[tokio::test]
async fn a_data_directory_may_have_a_long_and_awkward_path() {
    let parent = TempDir::new().unwrap();
    // The server's user has to pass through a temporary directory that was made for us alone.
    set_mode(parent.path(), 0o755);
    let data_dir = parent.path().join(format!("a b'%,{}", "x".repeat(120)));
    let cluster = started(&data_dir).await;
    remember(&cluster, "kept").await;
}

#[tokio::test]
async fn an_interrupted_initialisation_is_begun_anew() {
    let data_dir = TempDir::new().unwrap();
    let unfinished = data_dir.path().join("cluster.new");
    std::fs::create_dir(&unfinished).unwrap();
    std::fs::write(unfinished.join("PG_VERSION"), "15").unwrap();
    set_mode(data_dir.path(), 0o755);
    let cluster = started(data_dir.path()).await;
    remember(&cluster, "kept").await;
    assert!(!unfinished.exists());
}

#[tokio::test]
async fn missing_binaries_are_an_error_with_the_line_to_type() {
    let data_dir = TempDir::new().unwrap();
    let nowhere = TempDir::new().unwrap();
    let mut without = options(data_dir.path());
    without.binaries = Some(nowhere.path().to_owned());
    let error = Cluster::start(without).await.unwrap_err();
    assert!(matches!(error, ClusterError::BinariesMissing { .. }));
    let message = error.to_string();
    assert!(message.contains(&nowhere.path().display().to_string()));
    assert!(message.contains("install postgresql"), "{message}");
}

#[tokio::test]
async fn data_of_another_major_version_is_an_error_that_names_it() {
    let data_dir = TempDir::new().unwrap();
    let inside = data_dir.path().join("cluster");
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(inside.join("PG_VERSION"), "9999\n").unwrap();
    let error = Cluster::start(options(data_dir.path())).await.unwrap_err();
    assert!(matches!(
        error,
        ClusterError::BinariesOfOtherMajor { major: 9999, .. }
    ));
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let data_dir = TempDir::new().unwrap();
    let mut wrong = options(data_dir.path());
    wrong.settings = vec![("no_such_setting".to_owned(), "1".to_owned())];
    let error = Cluster::start(wrong).await.unwrap_err();
    assert!(matches!(error, ClusterError::EndedEarly { .. }));
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}

#[tokio::test]
async fn a_place_closed_to_the_servers_user_is_named() {
    if !nix::unistd::geteuid().is_root() {
        return; // Only root runs the server as somebody else.
    }
    let private = TempDir::new().unwrap();
    set_mode(private.path(), 0o700);
    let data_dir = private.path().join("data");
    let error = Cluster::start(options(&data_dir)).await.unwrap_err();
    let ClusterError::Unreachable { closed, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(closed, private.path());
}

/// Not a test of its own: the process that the next test kills.
#[tokio::test]
#[ignore = "started by a_killed_process_takes_its_server_with_it"]
async fn hold_a_server_until_killed() {
    let Some(data_dir) = std::env::var_os("DACAPO_TEST_DATA_DIR") else {
        return;
    };
    let _cluster = started(Path::new(&data_dir)).await;
    println!("ready");
    std::future::pending::<()>().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_killed_process_takes_its_server_with_it() {
    use std::io::BufRead;

    let data_dir = TempDir::new().unwrap();
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture"])
        .arg("hold_a_server_until_killed")
        .env("DACAPO_TEST_DATA_DIR", data_dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufReader::new(holder.stdout.take().unwrap()).lines();
    assert!(
        lines
            .map_while(Result::ok)
            .any(|line| line.contains("ready"))
    );

    let visitor = started(data_dir.path()).await;
    assert!(visitor.reused());
    remember(&visitor, "kept").await;
    let mut connection = connect(&visitor).await;
    holder.kill().unwrap();
    holder.wait().unwrap();
    // The shutdown closes the connection: that is the signal that it came.
    let closed = sqlx::query("select pg_sleep(30)").execute(&mut connection);
    let closed = tokio::time::timeout(Duration::from_secs(20), closed).await;
    assert!(closed.expect("the server should have ended").is_err());

    let cluster = started(data_dir.path()).await;
    assert!(!cluster.reused());
    assert_eq!(remembered(&cluster).await, ["kept"]);
}

fn set_mode(directory: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(mode)).unwrap();
}
