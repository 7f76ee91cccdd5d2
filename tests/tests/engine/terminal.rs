//! The real binary on a real terminal: colours, live views and what becomes of the terminal afterwards, completions, manual pages.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dacapo_client::{RunId, Status};
use dacapo_tests::{Database, dacapo_binary, database};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, ttyname};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::command::{dacapo, fails, run, text};

/// How long something may take to come to the screen.
const PATIENCE: Duration = Duration::from_secs(60);

const DOWN: &str = "\x1b[B";
const F12: &str = "\x1b[24~";

/// What runs a command as a shell does, writes down its process, and says afterwards how it ended and how the terminal is set.
const SHELL: &str = r#"sh -c 'echo $$ >"$PID_FILE"; exec "$@"' sh "$@"; echo "left $?"; stty -a"#;

/// A terminal with a program in it.
struct Terminal {
    keys: File,
    device: PathBuf,
    emulator: Arc<Mutex<vt100::Parser>>,
    written: Arc<Mutex<Vec<u8>>>,
    changed: watch::Receiver<()>,
    child: Child,
    directory: tempfile::TempDir,
}

fn cells(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

impl Terminal {
    fn open(
        program: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
        (rows, columns): (u16, u16),
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(&size, None).unwrap();
        let device = ttyname(&pty.slave).unwrap();
        let side = || Stdio::from(pty.slave.try_clone().unwrap());
        // A session of its own, with this as its terminal.
        let child = Command::new("setsid")
            .args(["-c", program])
            .args(arguments)
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .env("PID_FILE", directory.path().join("pid"))
            .envs(variables.iter().copied())
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let keys = File::from(pty.master);
        let mut output = keys.try_clone().unwrap();
        let parser = vt100::Parser::new(cells(rows), cells(columns), 0);
        let emulator = Arc::new(Mutex::new(parser));
        let written = Arc::new(Mutex::new(Vec::new()));
        let (changes, changed) = watch::channel(());
        let (screen, all) = (Arc::clone(&emulator), Arc::clone(&written));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // It ends with an error when nobody has the other side any more.
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                screen.lock().unwrap().process(&bytes[..read]);
                all.lock().unwrap().extend_from_slice(&bytes[..read]);
                let _ = changes.send(());
            }
        });
        Self {
            keys,
            device,
            emulator,
            written,
            changed,
            child,
            directory,
        }
    }

    /// With the command in it, started by a shell.
    fn with(database: &Database, arguments: &[&str]) -> Self {
        let binary = dacapo_binary();
        let mut words = vec!["-c", SHELL, "sh", binary.to_str().unwrap()];
        words.extend(arguments);
        Self::open("sh", &words, &[("DATABASE_URL", &database.url)], (30, 120))
    }

    fn contents(&self) -> String {
        self.emulator.lock().unwrap().screen().contents()
    }

    /// All that was written, with what moves the cursor and makes colours.
    fn written(&self) -> String {
        text(&self.written.lock().unwrap())
    }

    /// Waits until the screen is so.
    async fn until(&mut self, what: &str, is_so: impl Fn(&vt100::Screen) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !is_so(self.emulator.lock().unwrap().screen()) {
                // It may have ended: what is there then is all.
                if self.changed.changed().await.is_err() {
                    return is_so(self.emulator.lock().unwrap().screen());
                }
            }
            true
        });
        let is_so = waited.await.unwrap_or(false);
        assert!(is_so, "{what} is not on the screen:\n{}", self.contents());
    }

    async fn shows(&mut self, words: &str) {
        self.until(words, |screen| screen.contents().contains(words))
            .await;
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    async fn resize(&mut self, rows: u16, columns: u16) {
        let (high, wide) = (rows.to_string(), columns.to_string());
        {
            let mut emulator = self.emulator.lock().unwrap();
            let screen = emulator.screen_mut();
            screen.set_size(cells(rows), cells(columns));
        }
        let stty = Command::new("stty")
            .arg("-F")
            .arg(&self.device)
            .args(["rows", &high, "cols", &wide])
            .status();
        assert!(stty.await.unwrap().success());
    }

    /// Sends a signal to the command, not to its shell.
    fn signal(&self, signal: Signal) {
        let id = std::fs::read_to_string(self.directory.path().join("pid")).unwrap();
        kill(Pid::from_raw(id.trim().parse().unwrap()), signal).unwrap();
    }

    /// Waits until the command has ended with this exit code and the shell has the terminal as it was before.
    async fn is_given_back(&mut self, code: i32) {
        self.shows(&format!("left {code}\n")).await;
        self.shows("-echoprt").await;
        self.child.wait().await.unwrap();
        let contents = self.contents();
        let settings: Vec<&str> = contents.split([' ', ';', '\n']).collect();
        for setting in ["icanon", "echo", "isig", "opost", "icrnl"] {
            assert!(settings.contains(&setting), "{setting}: {contents}");
        }
        let emulator = self.emulator.lock().unwrap();
        assert!(!emulator.screen().alternate_screen(), "{contents}");
        assert!(!emulator.screen().hide_cursor(), "{contents}");
    }
}

async fn waiting(database: &Database, input: &str) -> RunId {
    database.start("test:kept/kept.waits", input).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_watched_live_steered_by_keys_and_left_when_it_ends() {
    let database = database().await;
    database.deploy("kept").await;
    let worker = dacapo_tests::Dacapo::on(&database).worker().await;
    let id = waiting(&database, "1").await;
    let mut terminal = Terminal::with(
        &database,
        &["runs", "watch", &id.to_string(), "--by", "ann"],
    );
    for words in [
        "test:kept/kept.waits",
        "before#1",
        "suspended",
        "waits for go",
        "q quit",
    ] {
        terminal.shows(words).await;
    }
    assert!(
        terminal
            .emulator
            .lock()
            .unwrap()
            .screen()
            .alternate_screen()
    );

    terminal.press("c");
    terminal.shows("cancel this run?").await;
    terminal.press("n");
    terminal.shows("q quit").await;
    assert!(!database.client.get(id).await.unwrap().status.is_terminal());
    terminal.press("p");
    terminal.shows("it is paused").await;
    terminal.shows("paused  waits").await;
    terminal.press("r");
    terminal.shows("it goes on").await;
    terminal.shows("suspended").await;
    // The next key takes away what was said.
    terminal.press("f");
    terminal.shows("q quit").await;

    for (rows, columns) in [(6, 30), (60, 200), (30, 120)] {
        terminal.resize(rows, columns).await;
        let narrow = format!("{columns} columns");
        terminal
            .until(&narrow, |screen| {
                let contents = screen.contents();
                let last = contents.lines().last().unwrap_or_default();
                last.contains("q quit") && contents.contains("suspended")
            })
            .await;
    }

    let sent = database.client.send_event(id, "go", "5", None).await;
    sent.unwrap();
    terminal.is_given_back(0).await;
    let contents = terminal.contents();
    assert!(contents.contains("completed, 3 steps"), "{contents}");
    assert!(contents.contains("1 5 6"), "{contents}");
    let run = database.client.get(id).await.unwrap();
    let did: Vec<(&str, &str)> = run
        .interventions
        .iter()
        .map(|one| (one.action.as_str(), one.who.as_str()))
        .collect();
    assert_eq!(did, [("pause", "ann"), ("resume", "ann")]);
    worker.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_cancelled_by_a_key_once_that_was_confirmed() {
    let database = database().await;
    database.deploy("kept").await;
    let id = waiting(&database, "1").await;
    let mut terminal = Terminal::with(&database, &["runs", "watch", &id.to_string()]);
    terminal.shows("queued").await;
    terminal.press("c");
    terminal.shows("cancel this run?").await;
    terminal.press("y");
    terminal.is_given_back(1).await;
    terminal.shows("was cancelled").await;
    let run = database.client.get(id).await.unwrap();
    assert_eq!(run.status, Status::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn however_a_live_view_ends_the_terminal_is_given_back() {
    let database = database().await;
    database.deploy("kept").await;
    let id = waiting(&database, "1").await.to_string();
    for arguments in [vec!["runs", "watch", &id], vec!["runs", "watch"]] {
        let ends = [
            ("q", None, 0),
            ("\x03", None, 130),
            ("", Some(Signal::SIGTERM), 143),
            ("", Some(Signal::SIGINT), 130),
            (F12, None, 101),
        ];
        for (keys, signal, code) in ends {
            let mut terminal = Terminal::with(&database, &arguments);
            terminal.shows("queued").await;
            terminal.press(keys);
            if let Some(signal) = signal {
                terminal.signal(signal);
            }
            terminal.is_given_back(code).await;
            if code == 101 {
                // What a panic says would be lost on the other screen.
                let written = terminal.written();
                let (_, after) = written.rsplit_once("\x1b[?1049l").unwrap();
                assert!(after.contains("asked to panic"), "{after:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_runs_are_watched_live_and_one_of_them_is_looked_at() {
    let database = database().await;
    database.deploy("kept").await;
    let (older, newer) = (
        waiting(&database, "1").await.to_string(),
        waiting(&database, "2").await.to_string(),
    );
    let mut terminal = Terminal::with(&database, &["runs", "watch", "--workflow", "waits"]);
    terminal.shows("2 runs  2 queued").await;
    terminal.shows(&older).await;
    terminal.shows(&newer).await;
    let worker = dacapo_tests::Dacapo::on(&database).worker().await;
    terminal.shows("2 suspended").await;
    // The newest one stands above.
    terminal.press(DOWN);
    terminal.press("\r");
    terminal.shows("q back").await;
    terminal.shows("before#1").await;
    terminal.shows(&older).await;
    assert!(!terminal.contents().contains(&newer));
    // It stays when its run has ended.
    let run: RunId = older.parse().unwrap();
    let sent = database.client.send_event(run, "go", "5", None).await;
    sent.unwrap();
    terminal.shows("after#1").await;
    terminal.shows("completed  ").await;
    terminal.press("q");
    terminal.shows("1 suspended  1 completed").await;
    terminal.press("q");
    terminal.is_given_back(0).await;
    worker.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_watched_without_a_terminal_or_plainly_comes_line_by_line() {
    let database = database().await;
    database.deploy("kept").await;
    let id = waiting(&database, "1").await.to_string();
    let mut terminal = Terminal::with(&database, &["runs", "watch", "--plain"]);
    terminal.shows(&id).await;
    terminal.shows("queued").await;
    assert!(!terminal.written().contains("\x1b[?1049h"));
    terminal.signal(Signal::SIGTERM);
    terminal.is_given_back(143).await;

    let mut process = dacapo(&database, &["runs", "watch", "-o", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = process.stdout.take().unwrap();
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(output));
    let line = lines.next_line().await.unwrap().unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["run"], id.as_str());
    assert_eq!(line["status"], "queued");
    process.kill().await.unwrap();

    let both = run(&database, &["runs", "watch", &id, "--workflow", "waits"]).await;
    fails(&both, 2, &["a run's id was given and a filter too"]);
}

/// A deployment with a run that has failed and one that is completed.
async fn failed_and_completed(database: &Database) {
    database.deploy("kept").await;
    let worker = dacapo_tests::Dacapo::on(database).worker().await;
    for workflow in ["fails", "leaf"] {
        let input = if workflow == "leaf" { "1" } else { "null" };
        let id = database
            .start(&format!("test:kept/kept.{workflow}"), input)
            .await;
        database.done(id).await;
    }
    worker.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_have_colours_on_a_terminal_and_nowhere_else() {
    let database = database().await;
    failed_and_completed(&database).await;
    let red = "\x1b[38;5;1m";
    let mut terminal = Terminal::with(&database, &["runs", "list"]);
    terminal.is_given_back(0).await;
    let written = terminal.written();
    assert!(written.contains(&format!("{red} failed")), "{written:?}");
    assert!(written.contains("\x1b[38;5;2m completed"), "{written:?}");
    assert!(written.contains("\x1b[2m RUN"), "{written:?}");
    let mut terminal = Terminal::with(&database, &["runs", "show", "--last", "fails"]);
    terminal.is_given_back(0).await;
    assert!(
        terminal.written().contains("\x1b[31mfailed\x1b[0m"),
        "{:?}",
        terminal.written()
    );
    let mut terminal = Terminal::with(&database, &["runs", "show", "7"]);
    terminal.is_given_back(2).await;
    assert!(terminal.written().contains("\x1b[31merror:\x1b[0m"));

    let mut terminal = Terminal::with(&database, &["runs", "list", "-o", "json"]);
    terminal.is_given_back(0).await;
    assert!(!terminal.written().contains('\x1b'));
    let binary = dacapo_binary();
    let words = ["-c", SHELL, "sh", binary.to_str().unwrap(), "runs", "list"];
    let variables = [("DATABASE_URL", database.url.as_str()), ("NO_COLOR", "1")];
    let mut terminal = Terminal::open("sh", &words, &variables, (30, 120));
    terminal.is_given_back(0).await;
    let written = terminal.written();
    assert!(
        written.contains("failed") && !written.contains('\x1b'),
        "{written:?}"
    );
    let mut piped = dacapo(&database, &["runs", "list"]);
    let piped = piped.env_remove("NO_COLOR").output().await.unwrap();
    assert!(text(&piped.stdout).contains("failed") && !text(&piped.stdout).contains('\x1b'));
}

#[tokio::test(flavor = "multi_thread")]
async fn long_work_shows_how_far_it_is_on_a_terminal_and_nowhere_else() {
    let database = database().await;
    failed_and_completed(&database).await;
    let piped = run(&database, &["retry", "--status", "failed", "--dry-run"]).await;
    assert!(piped.stderr.is_empty(), "{}", text(&piped.stderr));
    let json = ["rerun", "--status", "completed", "-o", "json"];
    let mut terminal = Terminal::with(&database, &json);
    terminal.is_given_back(0).await;
    assert!(!terminal.written().contains("starting again"));
    let piped = run(&database, &["rerun", "--status", "completed"]).await;
    assert!(piped.stderr.is_empty(), "{}", text(&piped.stderr));
    let mut terminal = Terminal::with(&database, &["retry", "--status", "failed"]);
    terminal.is_given_back(0).await;
    assert!(
        terminal.written().contains("retrying"),
        "{:?}",
        terminal.written()
    );
    // It is wiped away when the work is done.
    assert!(!terminal.contents().contains("retrying"));
    assert!(terminal.contents().contains("1 run was retried"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bash_completes_commands_and_options() {
    let binary = dacapo_binary();
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", binary.parent().unwrap().display());
    let variables = [("PATH", path.as_str()), ("PS1", "$ ")];
    let arguments = ["--norc", "--noprofile", "-i"];
    let mut terminal = Terminal::open("bash", &arguments, &variables, (30, 120));
    terminal.press("source <(dacapo completions bash); echo is rea''dy\r");
    terminal.shows("is ready").await;
    terminal.press("dacapo doct\t");
    terminal.shows("dacapo doctor ").await;
    terminal.press("\x15dacapo runs watch --pla\t");
    terminal.shows("dacapo runs watch --plain ").await;
    terminal.press("\x15dacapo help exit-c\x15exit\r");
    assert!(terminal.child.wait().await.unwrap().success());
    for shell in ["zsh", "fish", "powershell", "elvish"] {
        let output = plainly(&["completions", shell]).await;
        assert!(output.status.success(), "{shell}");
        assert!(text(&output.stdout).contains("doctor"), "{shell}");
    }
}

/// Without a database.
async fn plainly(arguments: &[&str]) -> std::process::Output {
    Command::new(dacapo_binary())
        .args(arguments)
        .env_clear()
        .output()
        .await
        .unwrap()
}

/// What `man` has to say against a page; none if there is no `groff` here.
async fn warnings(page: &Path) -> Option<String> {
    let output = Command::new("groff")
        .args(["-man", "-ww", "-Tutf8", "-z"])
        .arg(page)
        .output()
        .await;
    match output {
        Ok(output) => Some(text(&output.stderr)),
        Err(_) => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn manual_pages_are_there_for_each_command_and_can_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("man1");
    let output = plainly(&["man", "--to", to.to_str().unwrap()]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let mut pages = 0;
    for entry in std::fs::read_dir(&to).unwrap() {
        let page = entry.unwrap().path();
        pages += 1;
        match warnings(&page).await {
            Some(warnings) => assert!(warnings.is_empty(), "{}: {warnings}", page.display()),
            None => eprintln!("{} is not read: there is no groff here", page.display()),
        }
    }
    for name in [
        "dacapo.1",
        "dacapo-runs-watch.1",
        "dacapo-schedule-create.1",
    ] {
        assert!(to.join(name).exists(), "{name}");
    }
    assert!(pages > 60, "{pages}");
    let one = plainly(&["man", "runs", "watch"]).await;
    let file = std::fs::read(to.join("dacapo-runs-watch.1")).unwrap();
    assert_eq!(text(&one.stdout), text(&file));
}

#[tokio::test(flavor = "multi_thread")]
async fn help_is_there_for_commands_and_topics_and_names_what_was_meant() {
    let topic = plainly(&["help", "exit-codes"]).await;
    assert!(text(&topic.stdout).contains("143  stopped by SIGTERM"));
    let (asked, option) = (
        plainly(&["help", "runs", "list"]).await,
        plainly(&["runs", "list", "--help"]).await,
    );
    assert_eq!(text(&asked.stdout).trim(), text(&option.stdout).trim());
    let (asked, option) = (plainly(&["help"]).await, plainly(&["--help"]).await);
    assert_eq!(text(&asked.stdout).trim(), text(&option.stdout).trim());
    fails(
        &plainly(&["help", "depoly"]).await,
        2,
        &["there is no command depoly", "exit-codes"],
    );
    let mistyped = plainly(&["runs", "lsit"]).await;
    assert_eq!(mistyped.status.code(), Some(2));
    assert!(text(&mistyped.stderr).contains("'list'"));
}
