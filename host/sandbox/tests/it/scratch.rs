//! The scratch directory of steps, as the standard library of a real guest finds it.

use std::sync::OnceLock;

use dacapo_model::{LimitSettings, Manifest, RecordedState};
use dacapo_sandbox::{Ending, Sandbox, SandboxConfig};
use serde_json::json;

use crate::memory_journal::START_MS;
use crate::support::{Guest, Run, config, failure, guest, output};

const KIB: u64 = 1 << 10;

/// What Rust's library calls errors that it has no name for on WASI: that a directory is not empty, and in some of its calls, but not in all
/// of them, that there is no space (`StorageFull`).
const NAMELESS: &str = "Uncategorized";

fn gate() -> &'static Guest {
    static GATE: OnceLock<Guest> = OnceLock::new();
    GATE.get_or_init(|| Guest::new(&guest("gate")))
}

fn run(function: &str, input: &serde_json::Value, scratch_bytes: Option<u64>) -> Run {
    let mut run = Run::new("", &input.to_string());
    run.workflow = format!("test:gate/files.{function}");
    run.manifest = Manifest {
        limits: Some(LimitSettings {
            scratch_bytes,
            ..LimitSettings::default()
        }),
        ..Manifest::default()
    };
    run
}

/// What commands said, each list in a step of its own.
async fn script(scratch_bytes: u64, steps: &[&[&str]]) -> Vec<Vec<String>> {
    let run = run("script", &json!(steps), Some(scratch_bytes));
    let said = output(run.go_on(gate()).await).replace("StorageFull", NAMELESS);
    serde_json::from_str(&said).unwrap()
}

/// Runs commands in one step, and compares what each said.
async fn check(scratch_bytes: u64, expected: &[(&str, &str)]) {
    let commands: Vec<&str> = expected.iter().map(|(command, _)| *command).collect();
    let said = script(scratch_bytes, &[&commands]).await.remove(0);
    for ((command, expected), said) in expected.iter().zip(&said) {
        assert_eq!(said, expected, "{command}: {said:?} of {commands:#?}");
    }
    assert_eq!(expected.len(), said.len());
}

#[tokio::test]
async fn a_step_writes_reads_and_changes_files() {
    check(
        256 * KIB,
        &[
            ("list /tmp", ""),
            ("write /tmp/b hello", "done"),
            ("read /tmp/b", "hello"),
            ("append /tmp/b -world", "done"),
            ("read /tmp/b", "hello-world"),
            // From the end on, and then read from the second byte on.
            ("seek /tmp/b 5 there", "ello-there"),
            ("resize /tmp/b 4", "done"),
            ("read /tmp/b", "hell"),
            ("resize /tmp/b 6", "done"),
            ("read /tmp/b", "hell\0\0"),
            ("write /tmp/b short", "done"),
            ("stat /tmp/b", "file of 5"),
            ("stat /tmp", "directory"),
            ("create-new /tmp/b", "AlreadyExists"),
            ("create-new /tmp/c", "done"),
            ("fill /tmp/big 100000", "done"),
            ("stat /tmp/big", "file of 100000"),
            ("read /tmp/none", "NotFound"),
            ("rm /tmp/none", "NotFound"),
            ("rm /tmp/c", "done"),
            ("stat /tmp/c", "NotFound"),
            // What is open stays for whoever has it open.
            ("unlinked /tmp/d written", "written"),
            ("list /tmp", "b big"),
            ("touch /tmp/b 1000", "done"),
            ("modified /tmp/b", "1000000"),
            ("raw-read-unreadable b", "bad-descriptor"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_step_makes_moves_and_removes_directories_which_list_in_order() {
    check(
        256 * KIB,
        &[
            ("mkdir /tmp/z", "done"),
            ("mkdir /tmp/z", "AlreadyExists"),
            ("write /tmp/z/3 three", "done"),
            ("write /tmp/z/1 one", "done"),
            ("mkdir /tmp/z/2", "done"),
            ("write /tmp/a a", "done"),
            ("list /tmp", "a z"),
            ("list /tmp/z", "1 2 3"),
            ("read /tmp/z", "IsADirectory"),
            ("write /tmp/z no", "IsADirectory"),
            ("list /tmp/a", "NotADirectory"),
            ("read /tmp/a/b", "NotADirectory"),
            ("rmdir /tmp/z", NAMELESS),
            ("rm /tmp/z", "IsADirectory"),
            ("rmdir /tmp/a", "NotADirectory"),
            ("rename /tmp/a /tmp/z/4", "done"),
            ("rename /tmp/z/4 /tmp/z/1", "done"),
            ("read /tmp/z/1", "a"),
            ("rename /tmp/z /tmp/y", "done"),
            ("list /tmp", "y"),
            ("list /tmp/y", "1 2 3"),
            ("rename /tmp/y /tmp/y/2/inside", "InvalidInput"),
            ("rename /tmp/y/1 /tmp/y/2", "IsADirectory"),
            ("rename /tmp/y/2 /tmp/y/1", "NotADirectory"),
            ("rename /tmp/y/none /tmp/none", "NotFound"),
            ("mkdir /tmp/y/2/deep", "done"),
            ("rm-all /tmp/y", "done"),
            ("list /tmp", ""),
            ("rmdir /tmp", "ResourceBusy"),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_size_is_exact_and_what_goes_frees_its_space() {
    // One entry and 60 KiB.
    check(
        64 * KIB,
        &[
            ("fill /tmp/a 61440", "done"),
            ("append /tmp/a x", NAMELESS),
            ("resize /tmp/a 61441", NAMELESS),
            ("resize /tmp/a 4000000000", NAMELESS),
            ("write /tmp/b x", NAMELESS),
            ("mkdir /tmp/b", NAMELESS),
            ("list /tmp", "a"),
            ("stat /tmp/a", "file of 61440"),
            // In its place, and under another name, nothing is more than it was.
            ("seek /tmp/a 2 yy", &format!("{}yy", "x".repeat(61437))),
            ("rename /tmp/a /tmp/b", "done"),
            ("resize /tmp/b 0", "done"),
            ("fill /tmp/c 57344", "done"),
            ("append /tmp/b x", NAMELESS),
            ("rm /tmp/b", "done"),
            ("append /tmp/c x", "done"),
            ("rename /tmp/c /tmp/d", "done"),
            ("unlinked /tmp/e x", NAMELESS),
            ("rm /tmp/d", "done"),
            ("unlinked /tmp/e x", "x"),
            ("fill /tmp/a 61440", "done"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_file_that_is_too_large_is_refused_in_the_middle_of_being_written() {
    let said = script(64 * KIB, &[&["fill /tmp/a 1000000", "stat /tmp/a"]]).await;
    assert_eq!(said[0][0], NAMELESS);
    // The library writes piece by piece.
    let size = said[0][1].strip_prefix("file of ").unwrap();
    assert!(size.parse::<u64>().unwrap() <= 60 * KIB, "{said:?}");
}

#[tokio::test]
async fn entries_without_contents_are_limited_too() {
    check(
        64 * KIB,
        &[
            ("mkdirs /tmp 1000", "16: Uncategorized"),
            ("rmdir /tmp/7", "done"),
            ("mkdir /tmp/7", "done"),
            ("create-new /tmp/x", NAMELESS),
        ],
    )
    .await;
}

#[tokio::test]
async fn no_path_leads_out() {
    check(
        64 * KIB,
        &[
            ("mkdir /tmp/a", "done"),
            ("write /tmp/a/x inside", "done"),
            ("read /tmp/a/../a/./x", "inside"),
            ("read /etc/hostname", "NotFound"),
            ("list /", "NotFound"),
            ("write x outside", "NotFound"),
            ("read /tmp/../etc/hostname", "PermissionDenied"),
            ("list /tmp/..", "PermissionDenied"),
            ("list /tmp/a/../..", "PermissionDenied"),
            ("raw-open /etc/hostname", "not-permitted"),
            ("raw-open /tmp/a/x", "not-permitted"),
            ("raw-open ../etc/hostname", "not-permitted"),
            ("raw-open a/../../x", "not-permitted"),
            ("raw-open none/../x", "no-entry"),
            ("raw-symlink /etc/hostname out", "unsupported"),
            ("link /tmp/a/x /tmp/y", "Unsupported"),
            ("list /tmp", "a"),
        ],
    )
    .await;
}

#[tokio::test]
async fn each_attempt_begins_with_an_empty_directory() {
    let said = script(
        64 * KIB,
        &[
            &["fill /tmp/a 60000", "raw-hashes a ."],
            &["list /tmp", "fill /tmp/b 60000", "raw-hashes b ."],
        ],
    )
    .await;
    assert_eq!(said[1][..2], ["".to_owned(), "done".to_owned()]);
    // What is told apart by a number is so within the attempt alone.
    assert_eq!(said[0][1], said[1][2]);

    let commands = json!(["list /tmp", "write /tmp/a x"]);
    let run = run("script-twice", &commands, Some(64 * KIB));
    assert_eq!(run.go_on(gate()).await, Ending::Suspended);
    run.journal.advance(60_000);
    assert_eq!(output(run.go_on(gate()).await), r#"["","done"]"#);
}

#[tokio::test]
async fn times_of_files_are_those_of_the_step() {
    let said = script(64 * KIB, &[&["write /tmp/a x", "modified /tmp/a"]]).await;
    let modified: u64 = said[0][1].parse().unwrap();
    let begun = u64::try_from(START_MS).unwrap();
    assert!((begun..begun + 60_000).contains(&modified), "{modified}");
    check(
        64 * KIB,
        &[
            ("write /tmp/a x", "done"),
            ("touch /tmp/a 5", "done"),
            ("append /tmp/a x", "done"),
            ("raw-set-times a", "set"),
        ],
    )
    .await;
}

#[tokio::test]
async fn files_outside_of_steps_are_misuse_in_every_play() {
    for (command, call) in [
        ("read /tmp/a", "open-at"),
        ("write /tmp/a x", "open-at"),
        ("list /tmp", "open-at"),
        ("mkdir /tmp/a", "create-directory-at"),
        ("rm /tmp/a", "unlink-file-at"),
        ("rename /tmp/a /tmp/b", "rename-at"),
        ("stat /tmp/a", "metadata-hash-at"),
    ] {
        let run = run("script-outside", &json!([command]), Some(64 * KIB));
        let first = failure(run.go_on(gate()).await);
        assert_eq!(first.0, "misuse", "{command}: {}", first.1);
        let says =
            format!("`wasi:filesystem/types.descriptor.{call}` was called outside of a step");
        assert!(first.1.starts_with(&says), "{command}: {}", first.1);
        assert!(
            first.1.contains("move it into the body of a step"),
            "{}",
            first.1
        );
        assert_eq!(first, failure(run.go_on(gate()).await), "{command}");
    }
}

#[tokio::test]
async fn what_programs_look_at_when_they_start_is_the_same_everywhere() {
    let outside = run("script-outside", &json!(["preopens"]), Some(64 * KIB));
    let outside: Vec<String> = serde_json::from_str(&output(outside.go_on(gate()).await)).unwrap();
    let inside = script(64 * KIB, &[&["preopens", "write /tmp/a x", "preopens"]]).await;
    assert!(outside[0].starts_with("/tmp Ok("), "{outside:?}");
    assert_eq!(outside[0], inside[0][0]);
    assert_eq!(outside[0], inside[0][2]);
}

#[tokio::test]
async fn what_is_kept_open_beyond_its_attempt_is_of_no_use() {
    for what in ["descriptor", "flags", "stream"] {
        let keeps = |inside| {
            run(
                "keeps",
                &json!({ "what": what, "inside": inside }),
                Some(64 * KIB),
            )
        };
        let inside = output(keeps(true).go_on(gate()).await);
        assert!(inside.contains("bad-descriptor"), "{what}: {inside}");
        let outside = failure(keeps(false).go_on(gate()).await);
        assert_eq!(outside.0, "misuse", "{outside:?}");
    }
}

#[tokio::test]
async fn without_a_grant_there_are_no_files() {
    let run = run(
        "script",
        &json!([["preopens", "read /tmp/a", "write /tmp/a x", "list /tmp"]]),
        None,
    );
    let said = output(run.go_on(gate()).await);
    assert_eq!(said, r#"[["","NotFound","NotFound","NotFound"]]"#);
}

#[tokio::test]
async fn of_a_grant_and_the_workers_limit_the_smaller_one_holds() {
    let sandbox = Sandbox::new(SandboxConfig {
        scratch_max_bytes: 8 * KIB,
        ..config()
    })
    .unwrap();
    let prepared = sandbox
        .prepare(&gate().described.digest, &gate().described.component)
        .unwrap();
    let commands = json!([["fill /tmp/a 4096", "append /tmp/a x"]]);
    let run = run("script", &commands, Some(64 * KIB));
    let said = output(run.go_in(&sandbox, gate(), &prepared).await);
    assert_eq!(said, r#"[["done","Uncategorized"]]"#);
    let rows = run.journal.rows();
    assert!(matches!(rows[0].state, RecordedState::Done { .. }));
}
