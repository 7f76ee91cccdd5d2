//! Replay proof: what other code would do to runs in flight, and runs that are moved to it.

mod moves;
mod repairs;

use std::collections::BTreeMap;
use std::path::PathBuf;

use dacapo_client::RunFilter;
use dacapo_model::{Case, LimitSettings, Manifest, Param, RunId, Status, Type};
use dacapo_sandbox::{Sandbox, SandboxConfig, describe};
use dacapo_store::look_whole;
use dacapo_tests::{Dacapo, Database, database, guest, guest_path};
use dacapo_worker::{Candidate, Verdict};
use serde_json::Value;

use crate::check::{sound, worker};
use crate::command::{fails, run as dacapo, text};

/// Starts runs of `changes.*` with the old code, and waits until all of them wait.
async fn start(database: &Database, workflow: &str, number: usize) -> Vec<RunId> {
    let starts = vec![("null".to_owned(), Default::default()); number];
    let name = format!("changes.{workflow}");
    let started = database.client.start_many_by_name(&name, &starts).await;
    started.unwrap().into_iter().map(|run| run.id).collect()
}

/// A directory with the new code and a manifest that says this of it.
fn with_manifest(name: &str, manifest: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("proof-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("probe2.wasm");
    std::fs::copy(guest_path("probe2"), &file).unwrap();
    std::fs::write(dir.join("dacapo.toml"), manifest).unwrap();
    file
}

/// How many runs of each workflow and verdict a proof found.
fn found(proof: &Value) -> BTreeMap<(String, String), u64> {
    let findings = proof["findings"].as_array().unwrap().iter();
    let mut found = BTreeMap::new();
    for finding in findings {
        let workflow = finding["workflow"].as_str().unwrap();
        let (_, workflow) = workflow.rsplit_once('.').unwrap();
        let verdict = finding["verdict"].as_str().unwrap();
        let key = (workflow.to_owned(), verdict.to_owned());
        *found.entry(key).or_default() += finding["runs"].as_u64().unwrap();
    }
    found
}

fn expected(of: &[(&str, &str, u64)]) -> BTreeMap<(String, String), u64> {
    let of = of.iter();
    of.map(|(workflow, verdict, runs)| ((workflow.to_string(), verdict.to_string()), *runs))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_runs_go_on_with_the_code_that_was_proven_for_them_and_none_does_anything_twice()
{
    let database = database().await;
    database.deploy("probe").await;
    let worker = Dacapo::on(&database).worker().await;
    let mut runs = BTreeMap::new();
    for (workflow, number) in [
        ("same", 400),
        ("appended", 200),
        ("renamed", 200),
        ("inserted", 200),
    ] {
        runs.insert(workflow, start(&database, workflow, number).await);
    }
    database
        .until(
            "all of them wait in the middle",
            "select count(*) = 1000 from dacapo.task_suspended where reason = 'event'",
        )
        .await;

    // The second version appends a step in one workflow, and has renamed and inserted one in others.
    let v2 = guest_path("probe2").display().to_string();
    let arguments = ["deploy", &v2, "--check", "--output", "json"];
    let checked = dacapo(&database, &arguments).await;
    assert_eq!(checked.status.code(), Some(1), "{}", text(&checked.stderr));
    let proof: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(
        found(&proof[0]["proof"]),
        expected(&[
            ("same", "goes-on", 400),
            ("appended", "goes-on", 200),
            ("renamed", "diverges", 200),
            ("inserted", "diverges", 200),
        ])
    );
    let shown = text(&dacapo(&database, &["deploy", &v2, "--check"]).await.stdout);
    for words in [
        "600 of 1000 runs in flight would go on",
        "the code asks for a step `book#1`, but the journal still has `reserve#1`, `go#1`",
    ] {
        assert!(shown.contains(words), "{words} is missing: {shown}");
    }
    let sampled = dacapo(
        &database,
        &[
            "deploy", &v2, "--check", "--sample", "50", "--output", "json",
        ],
    )
    .await;
    let sampled: Value = serde_json::from_slice(&sampled.stdout).unwrap();
    let tried = |what: &str| sampled[0]["proof"][what].as_u64().unwrap();
    assert_eq!(
        (tried("proven") + tried("notProven"), tried("sampledOf")),
        (50, 1000)
    );

    // Nothing was deployed by all that, nor is it if all are to go on.
    let refused = ["deploy", &v2, "--require-all", "--allow-breaking"];
    fails(
        &dacapo(&database, &refused).await,
        1,
        &["was not deployed", "dacapo.toml"],
    );
    assert_eq!(
        database
            .count("select count(*) from dacapo.deployment")
            .await,
        1
    );

    let upgrade = [
        "deploy",
        &v2,
        "--upgrade",
        "proven",
        "--allow-breaking",
        "--output",
        "json",
    ];
    let upgraded = dacapo(&database, &upgrade).await;
    assert!(upgraded.status.success(), "{}", text(&upgraded.stderr));
    let upgraded: Value = serde_json::from_slice(&upgraded.stdout).unwrap();
    assert_eq!(upgraded[0]["upgrade"]["moved"], 600);
    let on = |number: i32| RunFilter {
        deployment: Some(number),
        ..RunFilter::default()
    };
    let count = async |number| {
        let counts = database.client.count(on(number)).await.unwrap();
        counts.values().sum::<u64>()
    };
    assert_eq!((count(1).await, count(2).await), (400, 600));

    // The third version says what was renamed and inserted: now all go on.
    let v3 = with_manifest(
        "demo",
        "[workflows.\"changes.renamed\".changes]\nrenamed = { reserve = \"book\" }\n[workflows.\"changes.inserted\".changes]\ninserted = [\"check\"]\n",
    );
    let v3 = v3.display().to_string();
    // Those that were moved have looked again at what they wait for.
    database
        .until(
            "all of them wait again",
            "select count(*) = 1000 from dacapo.task_suspended where reason = 'event'",
        )
        .await;
    // What follows the inserted step is not known before it has come out.
    let checked = dacapo(&database, &["deploy", &v3, "--check", "--output", "json"]).await;
    assert_eq!(checked.status.code(), Some(1), "{}", text(&checked.stderr));
    let proof: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(
        found(&proof[0]["proof"]),
        expected(&[
            ("same", "goes-on", 400),
            ("appended", "goes-on", 200),
            ("renamed", "goes-on", 200),
            ("inserted", "goes-on-to", 200),
        ])
    );
    let all = [
        "deploy",
        &v3,
        "--upgrade",
        "proven",
        "--require-all",
        "--accept-inserted",
    ];
    let upgraded = dacapo(&database, &all).await;
    let said = text(&upgraded.stdout);
    assert!(
        upgraded.status.success(),
        "{said}{}",
        text(&upgraded.stderr)
    );
    assert!(said.contains("1000 of them go on with it now"), "{said}");
    assert_eq!(count(3).await, 1000);

    let sent = database
        .client
        .send_event_to_many(RunFilter::default(), "go", "1", None)
        .await
        .unwrap();
    assert_eq!(sent.sent, 1000);
    database
        .until(
            "all of them have completed",
            "select count(*) = 1000 from dacapo.run where status = 'completed'",
        )
        .await;
    for (workflow, output, keys) in [
        ("same", "\"old reserve\"", vec!["reserve#1", "go#1"]),
        (
            "appended",
            "\"old reserve, new late\"",
            vec!["reserve#1", "go#1", "late#1"],
        ),
        ("renamed", "\"old reserve\"", vec!["reserve#1", "go#1"]),
        (
            "inserted",
            "\"old reserve\"",
            vec!["reserve#1", "go#1", "check#1"],
        ),
    ] {
        for run in &runs[workflow] {
            let done = database.client.get(*run).await.unwrap();
            assert_eq!(done.output.unwrap().as_str(), output, "{workflow}");
            let steps: Vec<&str> = done.steps.iter().map(|step| step.key.as_str()).collect();
            assert_eq!(steps, keys, "{workflow}");
        }
    }
    let moved = &database
        .client
        .get(runs["same"][0])
        .await
        .unwrap()
        .interventions;
    let moves: Vec<&str> = moved.iter().map(|one| one.details.as_str()).collect();
    assert_eq!(
        moves,
        [r#"{"from" : 1, "to" : 2}"#, r#"{"from" : 2, "to" : 3}"#]
    );
    worker.kill().await;
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_and_events_that_do_not_fit_new_types_are_found() {
    let database = database().await;
    database.deploy("probe").await;
    let run = database.start("events", r#"["one", "two"]"#).await;
    database
        .client
        .send_event(run, "one", "1", None)
        .await
        .unwrap();
    let described = describe(&guest("probe")).unwrap();
    let sandbox = Sandbox::new(SandboxConfig::default()).unwrap();
    let judged = async |change: fn(&mut dacapo_model::Workflow)| {
        let mut descriptor = described.descriptor.clone();
        descriptor.workflows.iter_mut().for_each(change);
        let (digest, component) = (&described.digest, &described.component);
        let manifest = Manifest::default();
        let candidate = Candidate::new(sandbox.clone(), digest, component, &descriptor, &manifest);
        let whole = look_whole(&database.store, &[run]).await.unwrap().remove(0);
        candidate.unwrap().judge(whole, None).await
    };
    assert_eq!(judged(|_| {}).await, Verdict::GoesOn);
    let number = judged(|workflow| {
        workflow.param = Some(Param {
            name: "number".to_owned(),
            ty: Type::U32,
        });
    });
    let Verdict::Input(reason) = number.await else {
        panic!("the input fits")
    };
    assert!(reason.contains("expected u32"), "{reason}");
    let other = judged(|workflow| {
        workflow.events = vec![Case {
            name: "one".to_owned(),
            ty: Some(Type::String),
            docs: None,
        }];
    });
    let Verdict::Event(reason) = other.await else {
        panic!("the event fits")
    };
    assert_eq!(reason, "event one: payload: expected string, got 1");
    let nothing = judged(|workflow| workflow.param = None).await;
    let Verdict::Input(reason) = nothing else {
        panic!("an input that is not taken any more fits: {nothing:?}")
    };
    assert!(reason.contains("takes no input, got"), "{reason}");
    let none = judged(|workflow| workflow.name.push('x')).await;
    assert_eq!(none, Verdict::NoWorkflow);
}

#[tokio::test(flavor = "multi_thread")]
async fn exported_runs_are_replayed_without_a_database() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let mut files = Vec::new();
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    for workflow in ["same", "renamed"] {
        let run = start(&database, workflow, 1).await[0];
        let until = "select not exists (select from dacapo.task_ready) and not exists (select from dacapo.task_leased)";
        database.until("it waits", until).await;
        let file = dir.join(format!("proof-{workflow}-{run}.history"));
        let file = file.display().to_string();
        let exported = dacapo(
            &database,
            &["runs", "export", &run.to_string(), "--file", &file],
        )
        .await;
        assert!(exported.status.success(), "{}", text(&exported.stderr));
        files.push(file);
    }
    worker.drain().await.unwrap();
    let replay = |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(dacapo_tests::dacapo_binary());
        command
            .env_remove("DATABASE_URL")
            .arg("replay")
            .args(arguments);
        async move { command.output().await.unwrap() }
    };
    let old = guest_path("probe").display().to_string();
    let new = guest_path("probe2").display().to_string();
    let both = replay(&[&files[0], &files[1], "--component", &new]).await;
    let said = text(&both.stdout);
    assert_eq!(both.status.code(), Some(1), "{said}{}", text(&both.stderr));
    for words in [
        "changes.same",
        "goes-on",
        "changes.renamed",
        "diverges",
        "`book#1`",
    ] {
        assert!(said.contains(words), "{words} is missing: {said}");
    }
    let diverges = replay(&[&files[1], "--component", &new]).await;
    let said = text(&diverges.stdout);
    assert!(
        said.contains("\n  at ") && said.contains("changes"),
        "{said}"
    );
    let one = replay(&[&files[1], "--component", &old]).await;
    let said = text(&one.stdout);
    assert!(one.status.success(), "{said}{}", text(&one.stderr));
    for words in [
        "reserve#1",
        "\"old reserve\"",
        "go#1",
        "open",
        "it stands at go#1, and would go on from there",
    ] {
        assert!(said.contains(words), "{words} is missing: {said}");
    }
    let until = replay(&[&files[1], "--component", &old, "--until", "reserve#1"]).await;
    let said = text(&until.stdout);
    assert!(said.contains("it stands at reserve#1"), "{said}");
    let unknown = replay(&[&files[1], "--component", &old, "--until", "book#1"]).await;
    fails(&unknown, 2, &["\"book#1\"", "reserve#1, go#1"]);
    let no_run = replay(&[&new, "--component", &old]).await;
    assert_eq!(no_run.status.code(), Some(2), "{}", text(&no_run.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_of_all_fails_if_a_run_is_left_behind() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = start(&database, "same", 1).await[0];
    database
        .until("it waits", "select count(*) = 1 from dacapo.task_suspended")
        .await;
    let mut held = database.store.pool().begin().await.unwrap();
    sqlx::query("select from dacapo.task_suspended for update")
        .execute(&mut *held)
        .await
        .unwrap();
    let file = guest_path("probe2").display().to_string();
    let upgrade = [
        "deploy",
        &file,
        "--upgrade",
        "proven",
        "--require-all",
        "--allow-breaking",
    ];
    let left = dacapo(&database, &upgrade).await;
    let said = text(&left.stdout);
    assert_eq!(left.status.code(), Some(1), "{said}{}", text(&left.stderr));
    for words in ["deployment 2", "0 of them go on with it now; 1 were busy"] {
        assert!(said.contains(words), "{words} is missing: {said}");
    }
    held.rollback().await.unwrap();
    let upgraded = dacapo(&database, &upgrade).await;
    assert!(upgraded.status.success(), "{}", text(&upgraded.stdout));
    let moved = database.client.get(run).await.unwrap();
    assert_eq!(moved.deployment.number, 2);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_is_too_long_for_the_new_manifest_is_found() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = start(&database, "same", 1).await[0];
    database
        .until("it waits", "select count(*) = 1 from dacapo.task_suspended")
        .await;
    database
        .client
        .send_event(run, "go", "1", None)
        .await
        .unwrap();
    database.done(run).await;
    worker.drain().await.unwrap();
    let described = describe(&guest("probe2")).unwrap();
    let sandbox = Sandbox::new(SandboxConfig::default()).unwrap();
    // A run of code that has a step more.
    let mut whole = look_whole(&database.store, &[run]).await.unwrap().remove(0);
    whole.workflow = whole.workflow.replace("same", "appended");
    for (steps, fits) in [(2, false), (3, true)] {
        let manifest = Manifest {
            limits: Some(LimitSettings {
                steps: Some(steps),
                ..LimitSettings::default()
            }),
            ..Manifest::default()
        };
        let candidate = Candidate::new(
            sandbox.clone(),
            &described.digest,
            &described.component,
            &described.descriptor,
            &manifest,
        );
        let verdict = candidate.unwrap().judge(whole.clone(), None).await;
        match fits {
            true => assert_eq!(verdict, Verdict::GoesOn),
            false => assert_eq!(verdict.word(), "journal-limit", "{verdict:?}"),
        }
        assert_eq!(verdict.is_proven(), fits);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_up_to_a_step_of_a_branch_finds_its_fork_open_and_one_that_fails_as_it_did_is_fine()
 {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let export = async |run: RunId| {
        let file = dir
            .join(format!("proof-{run}.history"))
            .display()
            .to_string();
        let run = run.to_string();
        let exported = dacapo(&database, &["runs", "export", &run, "--file", &file]).await;
        assert!(exported.status.success(), "{}", text(&exported.stderr));
        file
    };
    let replay = async |file: &str, guest: &str, more: &[&str]| {
        let component = guest_path(guest).display().to_string();
        let mut arguments = vec![
            "replay",
            file,
            "--component",
            &component,
            "--output",
            "json",
        ];
        arguments.extend(more);
        let replayed = dacapo(&database, &arguments).await;
        let shown: Value = serde_json::from_slice(&replayed.stdout).unwrap();
        (replayed.status.code(), shown[0].clone())
    };

    let forked = start(&database, "branch-renamed", 1).await[0];
    for _ in 0..2 {
        let sent = database.client.send_event(forked, "go", "1", None).await;
        sent.unwrap();
    }
    assert_eq!(database.done(forked).await.status, Status::Completed);
    let forked = export(forked).await;
    let (code, shown) = replay(&forked, "probe", &["--until", "pair#1/1/go#1"]).await;
    assert_eq!(code, Some(0), "{shown}");
    let calls: Vec<(&str, &str)> = shown["calls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|call| {
            (
                call["key"].as_str().unwrap_or(""),
                call["state"].as_str().unwrap(),
            )
        })
        .collect();
    assert!(calls.contains(&("pair#1", "open")), "{calls:?}");
    assert!(calls.contains(&("pair#1/1/go#1", "new")), "{calls:?}");

    let failed = start(&database, "mended", 1).await[0];
    assert_eq!(database.done(failed).await.status, Status::Failed);
    let failed = export(failed).await;
    let (code, shown) = replay(&failed, "probe", &[]).await;
    assert_eq!(
        (code, shown["verdict"].as_str()),
        (Some(0), Some("fails-as-before"))
    );
    let (code, shown) = replay(&failed, "probe2", &[]).await;
    assert_eq!(
        (code, shown["verdict"].as_str()),
        (Some(0), Some("completes"))
    );
    worker.drain().await.unwrap();
}
