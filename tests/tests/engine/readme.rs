//! What the README shows is so.

use std::path::Path;

use tokio::process::Command;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}

#[test]
fn the_workflow_in_the_readme_is_the_example() {
    let readme = read("README.md");
    for file in ["src/lib.rs", "wit/world.wit"] {
        let file = format!("examples-guests/onboard-user/{file}");
        assert!(
            readme.contains(read(&file).trim()),
            "README.md shows another {file}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_a_run_that_survives_the_kill_of_its_worker() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let output = Command::new("bash")
        .arg("scripts/demo.sh")
        .current_dir(root)
        .output()
        .await
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{shown}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for word in [
        "is suspended",
        "killed worker",
        "completed: 400 of 400 steps",
        "nothing is wrong",
    ] {
        assert!(shown.contains(word), "expected {word:?} in:\n{shown}");
    }
}
