//! A guest in a language without a kit, against the bare WIT: what `docs/guests.md` says.

use std::process::Stdio;
use std::time::Duration;

use dacapo_testkit::{Component, json};
use tokio::process::Command;

use crate::projects::{ZIG, copy, directory, root};

/// As they stand in the document, but for the place of Dacapo's repository.
const COMMANDS: [&str; 3] = [
    "mkdir -p wit/deps && cp -r $DACAPO/wit wit/deps/dacapo-workflow",
    "python-zig build-exe guest.zig -target wasm32-freestanding -fno-entry -rdynamic -O ReleaseSmall",
    "wasm-tools component embed wit guest.wasm -o till.wasm",
];

#[test]
fn what_docs_guests_shows_is_what_is_tested() {
    let shown = std::fs::read_to_string(root().join("docs/guests.md")).unwrap();
    for file in ["guest.zig", "wit/world.wit"] {
        let text = std::fs::read_to_string(root().join("tests/guests-zig").join(file)).unwrap();
        assert!(
            shown.contains(text.trim()),
            "docs/guests.md shows another {file}"
        );
    }
    for command in COMMANDS {
        assert!(shown.contains(command), "docs/guests.md lacks {command}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_without_a_kit_is_built_and_survives_crashes_everywhere() {
    if !ZIG.is_here() {
        return;
    }
    let project = directory("bare-zig");
    copy(&root().join("tests/guests-zig"), &project);
    for command in COMMANDS {
        let output = Command::new("sh")
            .args(["-c", command])
            .env("DACAPO", root())
            .current_dir(&project)
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {said}");
    }

    let component = Component::load(project.join("till.wasm")).unwrap();
    let mut run = component.run("total", json!([1, 2, 4_000])).unwrap();
    let outcome = run.run_to_completion().await.unwrap();
    assert_eq!(outcome.output::<u32>().unwrap(), 4_003);
    assert_eq!(run.elapsed(), Duration::from_secs(60));
    run.assert_journal(
        r#"
        add-up#1 step ok 4003
        a-minute#1 sleep ok null
        "#,
    );
    run.crash_everywhere().await.unwrap();

    // A run that is cancelled while it sleeps ends with what the workflow answers then.
    let mut run = component.run("total", json!([1])).unwrap();
    run.cancel_at(Duration::from_secs(1));
    let outcome = run.run_to_completion().await.unwrap();
    assert!(outcome.to_string().contains("cancelled"), "{outcome}");
}
