//! What a guest sees through each interface of WASI, and where it gets out.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::OnceLock;

use dacapo_model::Manifest;
use dacapo_sandbox::Ending;
use serde_json::{Value, json};

use crate::memory_journal::START_MS;
use crate::support::{Guest, Run, failure, guest, output};

fn gate() -> &'static Guest {
    static GATE: OnceLock<Guest> = OnceLock::new();
    GATE.get_or_init(|| Guest::new(&guest("gate")))
}

fn run(workflow: &str, input: &str) -> Run {
    let mut run = Run::new(workflow, input);
    run.workflow = format!("test:gate/{workflow}");
    run
}

/// The value of one line.
fn seen<'a>(sightings: &'a Value, place: &str, what: &str) -> &'a str {
    let mut lines = sightings[place].as_array().unwrap().iter();
    let found = lines.find_map(|line| line.as_str()?.strip_prefix(what)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("{place} has no {what}: {sightings:#}"))
}

#[tokio::test]
async fn everything_that_wasi_shows_outside_of_steps_is_the_same_in_every_play() {
    let mut run = run("sights.look", "null");
    run.manifest.environment = [("STAGE".to_owned(), "test".to_owned())].into();
    for _ in 0..2 {
        assert_eq!(run.go_on(gate()).await, Ending::Suspended);
        run.journal.advance(60_000);
        run.journal.send("go", "null");
    }
    let sightings: Value = serde_json::from_str(&output(run.go_on(gate()).await)).unwrap();
    assert_eq!(sightings["first"], sightings["again"]);
    assert_eq!(sightings["afterFirst"], sightings["afterAgain"]);

    let first = |what| seen(&sightings, "first", what);
    assert_eq!(
        first("wall-clock.now"),
        format!("{}.000000000", START_MS / 1_000)
    );
    assert_eq!(first("monotonic-clock.now"), "0");
    assert_eq!(first("environment"), r#"[("STAGE", "test")]"#);
    assert_eq!(first("arguments"), "[]");
    assert_eq!(first("initial-cwd"), "None");
    assert_eq!(first("stdin"), "StreamError::Closed");
    assert_eq!(first("terminals"), "false");
    assert_eq!(first("preopens"), "[]");
    // Time goes on from one place to the next, and random numbers are others there; what tells machines apart does not come in.
    for what in [
        "wall-clock.now",
        "monotonic-clock.now",
        "random.bytes",
        "random.u64",
        "insecure.bytes",
        "insecure.u64",
    ] {
        assert_ne!(first(what), seen(&sightings, "afterFirst", what), "{what}");
        assert_ne!(first(what), seen(&sightings, "inside", what), "{what}");
    }
    for what in [
        "wall-clock.resolution",
        "monotonic-clock.resolution",
        "insecure-seed",
        "environment",
        "arguments",
        "initial-cwd",
        "stdin",
        "terminals",
        "preopens",
    ] {
        assert_eq!(first(what), seen(&sightings, "afterFirst", what), "{what}");
        assert_eq!(first(what), seen(&sightings, "inside", what), "{what}");
    }
}

#[tokio::test]
async fn what_prints_a_lot_is_held_by_the_host_and_sees_nothing_of_it() {
    let run = run("sights.prints", "300");
    assert_eq!(run.go_on(gate()).await, Ending::Suspended);
    // Once within the prints, which are more than may be on their way, and once before the step's body.
    let trace = run.journal.trace();
    let begun = trace.iter().position(|what| what.starts_with("first#1"));
    assert_eq!(trace[..begun.unwrap()], ["settle", "settle"]);
    assert_eq!(run.journal.logs().len(), 300);
    run.journal.send("go", "null");
    let printed: Value = serde_json::from_str(&output(run.go_on(gate()).await)).unwrap();
    assert_eq!(printed["first"], printed["again"]);
    assert_eq!(printed["first"][299], "65536 true");
    assert_eq!(run.journal.logs().len(), 300);
}

#[tokio::test]
async fn random_numbers_outside_of_steps_are_of_the_run_and_those_inside_of_nobody() {
    let (one, other) = (run("sights.look", "null"), run("sights.look", "null"));
    let mut same = run("sights.look", "null");
    same.id = one.id;
    let mut recorded = Vec::new();
    for run in [&one, &other, &same] {
        assert_eq!(run.go_on(gate()).await, Ending::Suspended);
        let rows = run.journal.rows();
        recorded.push(
            rows.iter()
                .map(|row| format!("{:?}", row.state))
                .collect::<Vec<_>>(),
        );
    }
    let random = |play: usize, step: usize| {
        let text = &recorded[play][step];
        let from = text.find("random.bytes=").unwrap();
        text[from..from + 80].to_owned()
    };
    assert_ne!(random(0, 0), random(1, 0));
    assert_eq!(random(0, 0), random(2, 0));
    assert_ne!(random(0, 1), random(2, 1));
}

#[tokio::test]
async fn nothing_gets_out_through_sockets_and_files() {
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let ports =
        json!({ "tcp": tcp.local_addr().unwrap().port(), "udp": udp.local_addr().unwrap().port() });
    let tried = output(
        run("sights.break-out", &ports.to_string())
            .go_on(gate())
            .await,
    );
    let tried: Vec<String> = serde_json::from_str(&tried).unwrap();
    let refused: Vec<&str> = tried
        .iter()
        .filter_map(|line| Some(line.split_once(": ")?.0))
        .collect();
    let ways = [
        "tcp",
        "tcp-listen",
        "udp",
        "name",
        "read",
        "write",
        "list",
        "current",
    ];
    assert_eq!(refused, [ways, ways].concat(), "{tried:?}");
    // Whatever the guest was told: nothing has come here.
    tcp.set_nonblocking(true).unwrap();
    udp.set_nonblocking(true).unwrap();
    assert_eq!(tcp.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(
        udp.recv_from(&mut [0; 16]).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
}

#[tokio::test]
async fn reading_the_clock_a_thousand_times_leaves_nothing_in_the_journal() {
    let run = run("sights.read-clocks", "1000");
    assert_eq!(output(run.go_on(gate()).await), "1");
    assert!(run.journal.trace().is_empty(), "{:?}", run.journal.trace());
    assert!(run.journal.writes().is_empty() && run.journal.logs().is_empty());
}

#[tokio::test]
async fn effects_outside_of_steps_end_the_run_in_a_replay_as_well() {
    for (workflow, input) in [
        ("requests.fetch-outside", r#""http://127.0.0.1:1/""#),
        ("requests.wasi-fetch-outside", r#""http://127.0.0.1:1/""#),
        ("requests.reveals-outside", r#""key""#),
    ] {
        let run = run(workflow, input);
        let first = failure(run.go_on(gate()).await);
        assert_eq!(first.0, "misuse", "{workflow}: {}", first.1);
        assert!(
            first.1.contains("was called outside of a step"),
            "{}",
            first.1
        );
        assert_eq!(first, failure(run.go_on(gate()).await), "{workflow}");
    }
}

#[tokio::test]
async fn a_sandbox_without_a_way_out_tells_guests_so() {
    let ask =
        json!({ "url": "http://127.0.0.1:1/", "headers": [], "idempotent": false, "attempts": 1 })
            .to_string();
    let mut one = run("requests.fetch", &ask);
    one.manifest = Manifest::default();
    let said = output(one.go_on(gate()).await);
    assert!(
        said.contains("not-granted: nothing is reached from here"),
        "{said}"
    );
    let said = output(run("requests.wasi-fetch", &ask).go_on(gate()).await);
    assert!(said.contains("HttpRequestDenied"), "{said}");
    let said = output(run("requests.reveals", r#""key""#).go_on(gate()).await);
    assert!(said.contains("not-granted"), "{said}");
}
