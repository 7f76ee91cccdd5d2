//! `dacapo dev`: one command, a private Postgres, redeploys, and the data again the next time.

use std::path::Path;
use std::process::Stdio;

use dacapo_tests::{dacapo_binary, guest};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

struct Dev {
    child: Child,
    said: Lines<BufReader<ChildStderr>>,
}

impl Dev {
    fn start(data: &Path, files: &Path) -> Self {
        let mut command = Command::new(dacapo_binary());
        command
            .arg("dev")
            .arg("--data-dir")
            .arg(data)
            .arg(files)
            .env_remove("DATABASE_URL")
            .env("NO_COLOR", "1");
        let mut child = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, said }
    }

    /// Reads what it says up to a line with this in it.
    async fn says(&mut self, word: &str) -> String {
        let mut all = String::new();
        let wait = async {
            while let Some(line) = self.said.next_line().await.unwrap() {
                all = format!("{all}{line}\n");
                if line.contains(word) {
                    return;
                }
            }
            panic!("it ended without saying {word:?}");
        };
        let result = tokio::time::timeout(std::time::Duration::from_secs(60), wait).await;
        assert!(result.is_ok(), "it did not say {word:?} but:\n{all}");
        all
    }

    async fn stop(mut self) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGINT).unwrap();
        assert!(self.child.wait().await.unwrap().success());
    }
}

async fn dacapo(data: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(dacapo_binary());
    command
        .args(arguments)
        .env_remove("DATABASE_URL")
        .env("DACAPO_DATA_DIR", data)
        .stdin(Stdio::null());
    let output = command.output().await.unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_does_all_of_it_redeploys_on_change_and_finds_its_data_again() {
    let directory = tempfile::Builder::new()
        .prefix("dacapo-dev-")
        .tempdir()
        .unwrap();
    let (data, files) = (directory.path().join("data"), directory.path().join("wasm"));
    std::fs::create_dir_all(&files).unwrap();
    if nix::unistd::Uid::effective().is_root() {
        // The server runs as another user and must be able to get there.
        std::fs::set_permissions(
            directory.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
    }
    let file = files.join("flow.wasm");
    std::fs::write(&file, guest("bench_guest")).unwrap();

    let mut dev = Dev::start(&data, &files);
    let said = dev.says("runs list").await;
    assert!(
        said.contains("deployment 1 of bench:noop is active"),
        "{said}"
    );
    assert!(
        said.contains("start bench:noop/noop.noop-steps --input '1' --wait"),
        "{said}"
    );
    assert_eq!(
        dacapo(&data, &["start", "noop-steps", "--input", "2", "--wait"]).await,
        "2"
    );

    std::fs::write(&file, b"half a file").unwrap();
    dev.says("error: ").await;
    std::fs::write(&file, guest("onboard_user")).unwrap();
    dev.says("deployment 1 of users:onboarding is active").await;
    let user = r#"{"email": "a@example.org", "name": "A"}"#;
    assert!(
        dacapo(&data, &["start", "onboard", "--input", user, "--wait"])
            .await
            .contains("a@example.org")
    );
    dev.stop().await;

    let mut again = Dev::start(&data, &files);
    again
        .says("nothing changed: deployment 1 of users:onboarding")
        .await;
    again.says("runs list").await;
    let listed: serde_json::Value =
        serde_json::from_str(&dacapo(&data, &["runs", "list", "-o", "json"]).await).unwrap();
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    again.stop().await;
}
