//! Ways out of the sandbox.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener, ToSocketAddrs, UdpSocket};

use dacapo_sandbox::{Ending, Level, LogSource};

use crate::support::{Run, output};

#[tokio::test]
async fn prints_become_log_lines_and_are_silent_in_a_replay() {
    let run = Run::new("outside.print", "null");
    assert_eq!(run.go().await, Ending::Suspended);
    let before = ["out before", "err before", "out inside", "err inside"];
    assert_eq!(run.journal.messages(), before);
    assert_eq!(run.go().await, Ending::Suspended);
    assert_eq!(run.journal.messages(), before);
    run.journal.send("go", "null");
    output(run.go().await);
    assert_eq!(run.journal.messages()[4..], ["out after", "err after"]);

    let logs = run.journal.logs();
    let step = |at: usize| logs[at].step.as_ref().map(ToString::to_string);
    assert_eq!(
        (step(0), step(2), step(4)),
        (None, Some("print#1".to_owned()), None)
    );
    assert_eq!(
        (logs[0].source, logs[1].source),
        (LogSource::Stdout, LogSource::Stderr)
    );
}

#[tokio::test]
async fn log_lines_have_levels_and_fields_and_are_silent_in_a_replay() {
    let run = Run::new("outside.logs", "null");
    assert_eq!(run.go().await, Ending::Suspended);
    run.journal.send("go", "null");
    output(run.go().await);
    let logs = run.journal.logs();
    assert_eq!(logs.len(), 15);
    let levels: Vec<Level> = logs[..5].iter().map(|line| line.level).collect();
    assert_eq!(
        levels,
        [
            Level::Trace,
            Level::Debug,
            Level::Info,
            Level::Warn,
            Level::Error
        ]
    );
    let first = &logs[0];
    assert_eq!(first.message, "trace before");
    assert_eq!(first.source, LogSource::Log);
    let field =
        |name: &str, value: &str| first.fields.contains(&(name.to_owned(), value.to_owned()));
    assert!(
        field("n", "7") && field("who", "probe"),
        "{:?}",
        first.fields
    );
}

#[tokio::test]
async fn the_network_is_closed_inside_and_outside_of_steps() {
    // Somebody listens and the name is known, so that a guest would get through if it were let.
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    assert!(("localhost", 0).to_socket_addrs().is_ok());
    let ports = serde_json::json!({
        "tcp": tcp.local_addr().unwrap().port(),
        "udp": udp.local_addr().unwrap().port(),
    });
    for workflow in ["outside.network", "outside.network-in-step"] {
        let output = output(Run::new(workflow, &ports.to_string()).go().await);
        let seen: Vec<String> = serde_json::from_str(&output).unwrap();
        let refused: Vec<&str> = seen
            .iter()
            .filter_map(|line| Some(line.split_once(": error: ")?.0))
            .collect();
        assert_eq!(refused, ["tcp", "udp", "name"], "{workflow}: {seen:?}");
    }
    // Whatever the guests were told: nothing has come here.
    tcp.set_nonblocking(true).unwrap();
    udp.set_nonblocking(true).unwrap();
    let came = [
        tcp.accept().map(|_| ()),
        udp.recv_from(&mut [0; 16]).map(|_| ()),
    ];
    for nothing in came {
        assert_eq!(nothing.unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}

#[tokio::test]
async fn there_are_no_files() {
    for workflow in ["outside.files", "outside.files-in-step"] {
        let seen: Vec<String> =
            serde_json::from_str(&output(Run::new(workflow, "null").go().await)).unwrap();
        assert!(
            seen.iter().all(|line| line.contains(": error: ")),
            "{workflow}: {seen:?}"
        );
    }
}
