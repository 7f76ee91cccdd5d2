//! Real `dacapo` processes.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

/// The `dacapo` binary that was built with the tests, with failpoints.
pub fn dacapo_binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let directory = test.parent().and_then(std::path::Path::parent).unwrap();
    let binary = directory.join("dacapo");
    assert!(
        binary.exists(),
        "{} is missing: run `cargo build -p dacapo-cli --features failpoints`",
        binary.display()
    );
    binary
}

/// How to start a `dacapo worker` process.
#[derive(Debug, Clone)]
pub struct Dacapo {
    url: String,
    failpoint: Option<String>,
    arguments: Vec<String>,
    effects: Option<PathBuf>,
    variables: Vec<(String, String)>,
}

impl Dacapo {
    /// On this database.
    pub fn on(database: &crate::Database) -> Self {
        Self {
            url: database.url.clone(),
            failpoint: None,
            arguments: Vec::new(),
            effects: None,
            variables: Vec::new(),
        }
    }

    /// Reaches it by another URL.
    pub fn by(mut self, url: &str) -> Self {
        self.url = url.to_owned();
        self
    }

    /// With one more variable in its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Effects of steps go to this file.
    pub fn effects(mut self, file: PathBuf) -> Self {
        self.effects = Some(file);
        self
    }

    /// The process is to die at this failpoint (`name` or `name:3`).
    pub fn dying_at(mut self, failpoint: &str) -> Self {
        self.failpoint = Some(failpoint.to_owned());
        self
    }

    /// With one more argument.
    pub fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Starts it, and waits until it is ready to work (or has died at its failpoint).
    pub async fn worker(self) -> Worker {
        let mut command = Command::new(dacapo_binary());
        command
            .args(["worker", "--no-migrate"])
            .args(&self.arguments)
            .env("DATABASE_URL", &self.url)
            .env("DACAPO_LOG", "info")
            .envs(self.variables.clone());
        if let Some(effects) = &self.effects {
            command.env("DACAPO_TEST_EFFECTS", effects);
        }
        if let Some(failpoint) = &self.failpoint {
            command.env("DACAPO_FAILPOINT", failpoint);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        loop {
            match lines.next_line().await.unwrap() {
                Some(line) if line.contains("worker is ready") => break,
                Some(line) => said = said + &line + "\n",
                None => {
                    let status = child.wait().await.unwrap();
                    assert!(
                        self.failpoint.is_some(),
                        "worker ended with {status}:\n{said}"
                    );
                    break;
                }
            }
        }
        // Whatever it says must be read, or it would stop at a full pipe.
        let (saying, says) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let _ = saying.send(line);
            }
        });
        Worker { child, says }
    }
}

/// A `dacapo worker` process. Dropped, it is killed.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    says: mpsc::UnboundedReceiver<String>,
}

impl Worker {
    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id().expect("the worker runs")
    }

    fn pid(&self) -> Option<Pid> {
        Some(Pid::from_raw(i32::try_from(self.child.id()?).ok()?))
    }

    /// Waits for a line of its log with this text, and answers it. What it says before that is lost.
    pub async fn says(&mut self, text: &str) -> String {
        let line = async {
            loop {
                let line = self.says.recv().await.expect("the worker ended");
                if line.contains(text) {
                    return line;
                }
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), line).await;
        waited.unwrap_or_else(|_| panic!("the worker does not say {text:?}"))
    }

    /// The most memory that it has held so far, in bytes.
    pub fn resident_max_bytes(&self) -> u64 {
        let pid = self.pid().expect("the worker runs");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.unwrap().trim().strip_suffix("kB").unwrap().trim();
        kib.parse::<u64>().unwrap() << 10
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            kill(pid, signal).unwrap();
        }
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits until it has ended by itself.
    pub async fn ended(mut self) -> ExitStatus {
        self.child.wait().await.unwrap()
    }
}
