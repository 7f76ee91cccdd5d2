//! `dacapo dev`: one command, a private Postgres, redeploys, and the data again the next time.

use std::path::Path;
use std::process::{Output, Stdio};

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
    /// On a port of its own, unless the arguments say where it listens: other tests want the usual one.
    fn start(data: &Path, arguments: &[&str]) -> Self {
        if arguments.contains(&"--listen") {
            return Self::start_as_usual(data, arguments);
        }
        Self::start_as_usual(data, &[arguments, &["--listen", "127.0.0.1:0"]].concat())
    }

    fn start_as_usual(data: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(dacapo_binary());
        command.arg("dev").arg("--data-dir").arg(data);
        Self::spawn(command, arguments)
    }

    /// With its data where the environment says.
    fn start_by_environment(data: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(dacapo_binary());
        command.arg("dev").env("DACAPO_DATA_DIR", data);
        Self::spawn(command, &[arguments, &["--listen", "localhost:0"]].concat())
    }

    fn spawn(mut command: Command, arguments: &[&str]) -> Self {
        command
            .args(arguments)
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

async fn output_of(data: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(dacapo_binary());
    command
        .args(arguments)
        .env_remove("DATABASE_URL")
        .env("DACAPO_DATA_DIR", data)
        .stdin(Stdio::null());
    command.output().await.unwrap()
}

async fn dacapo(data: &Path, arguments: &[&str]) -> String {
    let output = output_of(data, arguments).await;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A directory that the server, which runs as another user when we are root, can get to.
pub fn reachable_directory() -> tempfile::TempDir {
    let directory = tempfile::Builder::new()
        .prefix("dacapo-dev-")
        .tempdir()
        .unwrap();
    if nix::unistd::Uid::effective().is_root() {
        std::fs::set_permissions(
            directory.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
    }
    directory
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_does_all_of_it_redeploys_on_change_and_finds_its_data_again() {
    let directory = reachable_directory();
    let (data, files) = (directory.path().join("data"), directory.path().join("wasm"));
    std::fs::create_dir_all(&files).unwrap();
    let file = files.join("flow.wasm");
    std::fs::write(&file, guest("bench_guest")).unwrap();

    let files = files.to_str().unwrap();
    let mut dev = Dev::start(&data, &[files]);
    let said = dev.says("runs list").await;
    assert!(
        said.contains("deployment 1 of bench:noop is active"),
        "{said}"
    );
    assert!(
        said.contains("start bench:noop/noop.noop-steps --input 1 --wait"),
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
    let manifest = Path::new(files).join("dacapo.toml");
    std::fs::write(&manifest, "queue = \"slow\"\n[retry]\nmax-attempts = 9\n").unwrap();
    dev.says("deployment 2 of users:onboarding is active").await;
    dev.says("steps that say nothing: 9 attempts").await;
    dev.says("made the queue slow, without limits").await;
    std::fs::write(&manifest, "[retry]\nmax-attempts = nine\n").unwrap();
    dev.says("dacapo.toml:2:16: ").await;
    std::fs::remove_file(&manifest).unwrap();
    dev.says("deployment 3 of users:onboarding is active").await;
    dev.stop().await;

    let tests = Path::new(files).join("tests");
    std::fs::create_dir(&tests).unwrap();
    for (name, test) in [
        ("a-bad-one", "[expect]\nfails = \"trap\"\n"),
        ("an-old-one", "input = { name = \"Old\" }\n"),
        (
            "it",
            "workflow = \"onboard\"\ninput = { email = \"ada@example.org\", name = \"Ada\" }\n",
        ),
    ] {
        std::fs::write(tests.join(name).with_extension("toml"), test).unwrap();
    }
    let mut again = Dev::start_by_environment(&data, &[files]);
    again
        .says("nothing changed: deployment 3 of users:onboarding")
        .await;
    // Not the first workflow of the database, and with an input that the project's tests know.
    let said = again.says("runs list").await;
    let next = "start users:onboarding/accounts.onboard --input '{\"email\":\"ada@example.org\",\"name\":\"Ada\"}' --wait";
    assert!(said.contains(next), "{said}");
    assert!(
        said.contains("dacapo --database-url 'postgres://"),
        "{said}"
    );
    let listed: serde_json::Value =
        serde_json::from_str(&dacapo(&data, &["runs", "list", "-o", "json"]).await).unwrap();
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dev_that_was_killed_is_not_mistaken_for_one_that_runs() {
    let directory = reachable_directory();
    let data = directory.path().join("data");
    let mut dev = Dev::start(&data, &["--no-worker"]);
    dev.says("runs list").await;
    let pidfile = data.join("cluster/postmaster.pid");
    dev.child.kill().await.unwrap();
    // The server ends with the process that started it.
    let gone = async {
        while pidfile.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), gone)
        .await
        .expect("the server ends");

    let output = output_of(&data, &["runs", "list"]).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("cannot reach the database") && said.contains("start it again"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_listens_on_another_port_if_the_usual_one_is_taken_and_says_so() {
    let directory = reachable_directory();
    // Held by this test, or by somebody else.
    let _taken = std::net::TcpListener::bind("127.0.0.1:7007");
    let data = directory.path().join("data");
    let mut dev = Dev::start_as_usual(&data, &["--no-worker"]);
    let said = dev.says("listening on").await;
    assert!(said.contains("port 7007 is taken"), "{said}");
    assert!(!said.contains("http://127.0.0.1:7007"), "{said}");
    dev.says("ready").await;
    dev.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dev_that_cannot_start_leaves_nothing_behind() {
    let directory = reachable_directory();
    let data = directory.path().join("data");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut dev = Dev::start(&data, &["--listen", &address]);
    dev.says(&format!("error: cannot listen on {address}"))
        .await;
    assert_eq!(dev.child.wait().await.unwrap().code(), Some(1));
    assert!(
        !data.join("cluster/postmaster.pid").exists(),
        "the server is still there"
    );

    let output = output_of(&data, &["runs", "list"]).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("no `dacapo dev` is running"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_warns_of_what_a_changed_file_breaks_and_deploys_it() {
    let directory = reachable_directory();
    let data = directory.path().join("data");
    let file = directory.path().join("flow.wasm");
    std::fs::write(&file, guest("probe")).unwrap();
    let mut dev = Dev::start(&data, &[file.to_str().unwrap()]);
    dev.says("runs list").await;
    dacapo(&data, &["start", "step-wait-step"]).await;
    std::fs::write(&file, guest("probe2")).unwrap();
    dev.says("deployment 2 of test:probe is active").await;
    let said = dev.says("warning: ").await;
    assert!(
        said.contains("it is gone: 1 of its runs are in flight")
            && said.contains("--allow-breaking"),
        "{said}"
    );
    dev.stop().await;
}
