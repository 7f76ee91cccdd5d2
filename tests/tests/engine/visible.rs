//! What a guest can see outside of steps is the same in every replay.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use dacapo_model::Status;
use dacapo_tests::database;

use crate::check::{sound, worker};

#[tokio::test(flavor = "multi_thread")]
async fn clocks_and_randomness_outside_of_steps_survive_a_replay() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("clock", "null").await;
    let done = database.done(run).await;
    assert_eq!(done.status, Status::Completed, "{:?}", done.failure);
    let seen: serde_json::Value = serde_json::from_str(done.output.unwrap().as_str()).unwrap();
    // The guest remembers in a step what it saw before a sleep, and compares with what the replay shows.
    assert_eq!(seen["first"], seen["again"], "{seen:#}");
    // But for the hasher's keys, which are the guest's own memory: the body of `inside` drew from them, and was not repeated.
    let but_for_hash = |seen: &serde_json::Value| {
        let lines = seen
            .as_array()
            .unwrap()
            .iter()
            .filter(|line| !line.as_str().unwrap().starts_with("hash="));
        lines.cloned().collect::<Vec<_>>()
    };
    assert_eq!(
        but_for_hash(&seen["afterFirst"]),
        but_for_hash(&seen["afterAgain"]),
        "{seen:#}"
    );
    assert_ne!(
        seen["inside"], seen["again"],
        "inside of a step all of it is real: {seen:#}"
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_written_once_however_often_the_run_is_replayed() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    for workflow in ["print", "logs"] {
        let run = database.start(workflow, "null").await;
        database
            .until(
                "the run waits",
                "select count(*) = 1 from dacapo.task_suspended",
            )
            .await;
        database
            .client
            .send_event(run, "go", "1", None)
            .await
            .unwrap();
        assert_eq!(database.done(run).await.status, Status::Completed);
    }
    let twice = "select count(*) from (select run_id, source, message from dacapo.log where message <> '' \
                 group by run_id, source, message having count(*) > 1) as twins";
    assert_eq!(database.count(twice).await, 0);
    assert!(
        database
            .count("select count(*) from dacapo.log where source = 'stdout'")
            .await
            > 0
    );
    assert!(
        database
            .count("select count(*) from dacapo.log where source = 'stderr'")
            .await
            > 0
    );
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_network_and_files_are_closed() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    // Somebody listens, so that a guest would get through if it were let.
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let ports = serde_json::json!({
        "tcp": tcp.local_addr().unwrap().port(),
        "udp": udp.local_addr().unwrap().port(),
    });
    let ports = ports.to_string();
    for (workflow, input, tried) in [
        ("network", ports.as_str(), ["tcp", "udp", "name"]),
        ("network-in-step", ports.as_str(), ["tcp", "udp", "name"]),
        ("files", "null", ["read", "write", "list"]),
        ("files-in-step", "null", ["read", "write", "list"]),
    ] {
        let run = database.start(workflow, input).await;
        let done = database.done(run).await;
        assert_eq!(done.status, Status::Completed, "{:?}", done.failure);
        let seen: Vec<String> = serde_json::from_str(done.output.unwrap().as_str()).unwrap();
        let refused: Vec<&str> = seen
            .iter()
            .filter_map(|line| Some(line.split_once(": error: ")?.0))
            .collect();
        assert_eq!(refused, tried, "{workflow}: {seen:?}");
    }
    worker.drain().await.unwrap();
    sound(&database).await;
}
