//! Starting many runs from the command line.

use std::io::Write;
use std::process::Stdio;

use dacapo_tests::database;
use tokio::io::AsyncWriteExt;

use crate::command::{dacapo, fails, run, text};

const LINES: &str = "\"a\"\n\n  \"b\"\n\"c\"\n";

fn file(text: &str) -> (tempfile::NamedTempFile, String) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_string_lossy().into_owned();
    (file, path)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_of_a_file_or_of_standard_input_is_a_run() {
    let database = database().await;
    database.deploy("probe").await;
    let (_file, path) = file(LINES);
    let output = run(
        &database,
        &[
            "start",
            "fail-with",
            "--inputs",
            &path,
            "--label",
            "batch=1",
        ],
    )
    .await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let ids: Vec<String> = text(&output.stdout).lines().map(str::to_owned).collect();
    assert_eq!(ids.len(), 3);
    for (id, input) in ids.iter().zip(["\"a\"", "\"b\"", "\"c\""]) {
        let run = database.client.get(id.parse().unwrap()).await.unwrap();
        assert_eq!(run.input.as_str().trim(), input);
        assert_eq!(run.labels["batch"], "1");
    }

    let mut child = dacapo(
        &database,
        &["start", "fail-with", "--inputs", "-", "-o", "json"],
    )
    .stdin(Stdio::piped())
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(LINES.as_bytes()).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    let ids: Vec<String> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(ids.len(), 3);
    assert_eq!(database.count("select count(*) from dacapo.run").await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_wrong_is_named_and_nothing_is_started() {
    let database = database().await;
    database.deploy("probe").await;
    for (lines, says) in [
        (
            "\"a\"\n\n7\n",
            ["line 3 of", "input: expected string, got 7"],
        ),
        ("\"a\"\n\"b\n", ["line 2 of", "not JSON"]),
        (
            "\n\n",
            ["holds no input", "expected one as JSON on each line"],
        ),
    ] {
        let (_file, path) = file(lines);
        let output = run(&database, &["start", "fail-with", "--inputs", &path]).await;
        fails(&output, 2, &says);
    }
    let nowhere = run(
        &database,
        &["start", "fail-with", "--inputs", "/nowhere.jsonl"],
    )
    .await;
    fails(&nowhere, 2, &["cannot read /nowhere.jsonl"]);
    for other in [["--input", "1"], ["--key", "k"]] {
        let output = run(
            &database,
            &[
                ["start", "fail-with", "--inputs", "-"].as_slice(),
                other.as_slice(),
            ]
            .concat(),
        )
        .await;
        assert_eq!(output.status.code(), Some(2));
    }
    assert_eq!(database.count("select count(*) from dacapo.run").await, 0);
}
