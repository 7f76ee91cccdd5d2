//! The contract with guests, `wit/`: what was built for a release of it runs for ever, and what was built for a later one says so.

use std::path::{Path, PathBuf};

use axum::Router;
use axum::http::HeaderMap;
use dacapo_client::{RunId, StartOptions};
use dacapo_model::{
    Descriptor, HttpGrant, HttpSettings, Manifest, SecretGrant, SecretName, SqlGrant, Status,
};
use dacapo_tests::{Database, database};
use dacapo_worker::{Secrets, SqlUrl, Worker, WorkerConfig};

use crate::check::{journal, sound, worker};
use crate::command::{fails, run, text};

fn released(version: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("fixtures/contract").join(version)
}

/// Answers what it is sent, on the loopback; and its port.
async fn service() -> u16 {
    let answer = |headers: HeaderMap, body: String| async move {
        let header = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
        format!("{} {} {body}", header("x-note"), header("x-key"))
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    port
}

/// Deploys what was built for a release, grants it all that there is, and starts a worker that has it.
async fn granted(database: &Database, version: &str, port: u16, secrets: &Path) -> Worker {
    let name = database.url.split('?').next().unwrap();
    let role = format!("contract_{}", name.rsplit('/').next().unwrap());
    let statements = format!(
        "create role {role} login;
        create table note (number bigint not null, text text not null);
        grant select, insert on note to {role};
        select dacapo.allow_sql_steps('{role}')"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements))
        .execute(database.store.pool())
        .await
        .unwrap();
    let service = HttpGrant::parse(&format!("127.0.0.1:{port}")).unwrap();
    let secret = SecretGrant {
        hosts: vec![service.host.clone()],
        reveal: true,
    };
    let manifest = Manifest {
        http: Some(HttpSettings {
            allow: vec![service],
            ..HttpSettings::default()
        }),
        secrets: [(SecretName::parse("key").unwrap(), secret)].into(),
        sql: Some(SqlGrant::new("notes")),
        ..Manifest::default()
    };
    let bytes = std::fs::read(released(version).join("guest.wasm")).unwrap();
    let described = dacapo_sandbox::describe(&bytes).unwrap();
    let deployed = database.client.deploy_with(
        &described.descriptor,
        &described.digest,
        &described.component,
        &manifest,
    );
    deployed.await.unwrap();

    std::fs::write(secrets.join("key"), "a secret of ours").unwrap();
    let url = database.url.replacen("postgres@", &format!("{role}@"), 1);
    let mut config = WorkerConfig {
        secrets: Secrets::new([], Some(secrets.to_owned())),
        sql: [("notes".to_owned(), SqlUrl(url))].into(),
        ..WorkerConfig::default()
    };
    // One after the other, so that the journal is the same each time.
    config.sandbox.branches_max = 1;
    Worker::start(database.store.clone(), config).await.unwrap()
}

/// The same text for each run: without ids.
fn without_ids(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(char) = rest.chars().next() {
        let is_id = |word: &&str| uuid::Uuid::try_parse(word).is_ok();
        match rest.get(..36).filter(is_id) {
            Some(_) => {
                out += "ID";
                rest = &rest[36..];
            }
            None => {
                out.push(char);
                rest = &rest[char.len_utf8()..];
            }
        }
    }
    out
}

/// All that a run has left behind and that does not depend on when it ran.
async fn shown(database: &Database, run: RunId) -> String {
    let one = database.client.get(run).await.unwrap();
    let mut lines = vec![format!("{} {}", one.workflow, one.status)];
    if let Some(output) = &one.output {
        let output: serde_json::Value = serde_json::from_str(output.as_str()).unwrap();
        lines.extend(
            output
                .as_str()
                .unwrap()
                .lines()
                .map(|line| format!("output {line}")),
        );
    }
    lines.extend(
        one.failure
            .map(|failure| format!("failure {}", failure.to_json())),
    );
    if let Some(blocked) = &one.blocked {
        let why: serde_json::Value = serde_json::from_str(blocked.as_str()).unwrap();
        lines.push(format!("blocked {}: {}", why["code"], why["message"]));
    }
    let rows = journal(database, run).await;
    lines.extend(rows.iter().map(|row| format!("journal {row}")));
    for query in [
        "select 'progress ' || done || '/' || total || ' ' || note from dacapo.progress where run_id = $1",
        "select concat_ws(' ', 'attempt', key, number, failure::jsonb ->> 'code') from dacapo.attempt where run_id = $1 order by key, number",
        "select concat_ws(' ', 'log', level, step, source, message, fields) from dacapo.log where run_id = $1 order by id",
        "select concat_ws(' ', 'child', child.workflow, child.input, child.status, child.labels::text)
            from dacapo.run as child join dacapo.child as link on link.run_id = child.id where link.parent = $1 order by child.input desc",
    ] {
        let found: Vec<String> = sqlx::query_scalar(query)
            .bind(run.0)
            .fetch_all(database.store.pool())
            .await
            .unwrap();
        lines.extend(found);
    }
    without_ids(&(lines.join("\n") + "\n\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_built_for_the_first_release_runs_and_records_what_it_did_then() {
    const VERSION: &str = "0.1.0";
    let (database, port) = (database().await, service().await);
    let secrets = tempfile::tempdir().unwrap();
    let worker = granted(&database, VERSION, port, secrets.path()).await;
    let client = &database.client;

    let options = StartOptions::default().label("tenant", "ada");
    let input = format!("\"http://127.0.0.1:{port}/\"");
    let everything = client
        .start_by_name("everything", &input, options)
        .await
        .unwrap()
        .id;
    for (event, payload) in [("go", "5"), ("right", "\"x\"")] {
        client
            .send_event(everything, event, payload, None)
            .await
            .unwrap();
    }
    database
        .until(
            "it pauses",
            "select count(*) = 1 from dacapo.task_suspended where reason = 'pause'",
        )
        .await;
    client.resume(everything).await.unwrap();
    database.done(everything).await;

    let failing = database.start("contract.fails", "null").await;
    database.done(failing).await;

    let rejecting = database.start("contract.rejects", "null").await;
    client.send_event(rejecting, "go", "1", None).await.unwrap();
    database
        .until(
            "it is blocked",
            "select count(*) = 1 from dacapo.task_suspended where reason = 'blocked'",
        )
        .await;

    let mut all = String::new();
    for run in [everything, failing, rejecting] {
        all += &shown(&database, run).await;
    }
    let was = std::fs::read_to_string(released(VERSION).join("run.txt")).unwrap_or_default();
    if all != was {
        let now = Path::new(env!("CARGO_TARGET_TMPDIR")).join("contract-run.txt");
        std::fs::write(&now, &all).unwrap();
        panic!(
            "a component that was built for {VERSION} does something else today: compare {} with\n{all}\nwhich is in {}, too",
            released(VERSION).join("run.txt").display(),
            now.display()
        );
    }
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[test]
fn what_was_built_for_a_release_imports_all_of_it() {
    for version in std::fs::read_dir(released("")).unwrap() {
        let at = version.unwrap().path();
        let bytes = std::fs::read(at.join("guest.wasm")).unwrap();
        assert!(bytes.len() < 200_000, "{} bytes", bytes.len());
        let (component, world) = dacapo_sandbox::wit_of(&bytes).unwrap();
        let imported: Vec<String> = component.worlds[world]
            .imports
            .iter()
            .filter_map(|(key, item)| {
                let wit_parser::WorldItem::Interface { id, .. } = item else {
                    return None;
                };
                let name = component.name_world_key(key);
                let functions = component.interfaces[*id].functions.keys();
                Some(functions.map(move |function| format!("{name}.{function}")))
            })
            .flatten()
            .collect();
        let mut contract = wit_parser::Resolve::default();
        let (package, _) = contract.push_dir(at.join("wit")).unwrap();
        for (name, id) in &contract.packages[package].interfaces {
            let full = contract.id_of_name(package, name);
            for function in contract.interfaces[*id].functions.keys() {
                let function = format!("{full}.{function}");
                assert!(imported.contains(&function), "{function} is not used");
            }
        }
    }
}

/// A component from its text: what it imports, and how it exports the function `$run`.
fn component(imports: &str, exports: &str) -> Vec<u8> {
    let text = format!(
        r#"(component {imports}
            (core module $module (func (export "run")))
            (core instance $core (instantiate $module))
            (func $run (canon lift (core func $core "run")))
            {exports})"#
    );
    wat::parse_str(text).unwrap()
}

/// Exports `run` in an interface of this name.
fn exporting(interface: &str) -> String {
    format!(r#"(instance $own (export "run" (func $run))) (export "{interface}" (instance $own))"#)
}

/// A component whose one import is this, with what it has.
fn importing(import: &str, items: &str) -> Vec<u8> {
    let import = format!(r#"(import "dacapo:workflow/{import}" (instance {items}))"#);
    component(&import, &exporting("test:later/work@1.0.0"))
}

const BATCH: &str = r#"(export "step-batch" (func (param "n" u32)))"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_component_for_a_newer_contract_is_refused_with_both_versions_and_what_is_missing() {
    let database = database().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("later.wasm");
    let path = file.to_str().unwrap();
    let newer = "use a newer dacapo for it, or build it with this one, whose WIT `dacapo build` brings along";
    let cases: [(Vec<u8>, &[&str]); 4] = [
        (
            importing("steps@0.1.9", BATCH),
            &[
                "later.wasm: the component was built for dacapo:workflow 0.1.9, and this dacapo offers 0.1.0, without `steps.step-batch`",
                newer,
            ],
        ),
        (
            importing("agents@0.1.9", r#"(export "ask" (func))"#),
            &[
                "dacapo:workflow 0.1.9",
                "offers 0.1.0, without `agents`",
                newer,
            ],
        ),
        (
            importing("log@0.2.0", r#"(export "log" (func))"#),
            &[
                "built for dacapo:workflow 0.2.0, and this dacapo offers 0.1.0; use",
                newer,
            ],
        ),
        (
            importing(
                "context@0.1.0",
                r#"(export "created-at" (func (result u32)))"#,
            ),
            &[
                "where `context.created-at` has another type",
                "build it again with this dacapo",
            ],
        ),
    ];
    for (bytes, says) in cases {
        std::fs::write(&file, bytes).unwrap();
        for command in [
            &["deploy", path][..],
            &["describe", path],
            &["test", path, "--workflow", "run"],
        ] {
            fails(&run(&database, command).await, 2, says);
        }
    }
    let stored = database
        .count("select count(*) from dacapo.component")
        .await;
    assert_eq!(stored, 0);

    // A later release of which it wants nothing that is not here.
    let fits = importing(
        "context@0.1.9",
        r#"(export "created-at" (func (result u64)))"#,
    );
    std::fs::write(&file, fits).unwrap();
    let deployed = run(&database, &["deploy", path]).await;
    assert!(deployed.status.success(), "{}", text(&deployed.stderr));
    let worker = worker(&database).await;
    let run = database.start("run", "null").await;
    assert_eq!(database.done(run).await.status, Status::Completed);
    worker.drain().await.unwrap();
}

/// Deploys as a newer dacapo would that knows what this component imports.
async fn deploy_as_newer(database: &Database, bytes: &[u8], import: &str) {
    let twin = component("", &exporting("test:later/work@1.0.0"));
    let descriptor = Descriptor {
        imports: vec![import.to_owned()],
        ..dacapo_sandbox::describe(&twin).unwrap().descriptor
    };
    let digest: String = sqlx::query_scalar("select encode(sha256($1), 'hex')")
        .bind(bytes)
        .fetch_one(database.store.pool())
        .await
        .unwrap();
    let deployed = database.client.deploy(&descriptor, &digest, bytes);
    deployed.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_a_component_for_a_newer_contract_is_blocked_until_a_worker_comes_that_has_it() {
    const BLOCKED: &str = "select count(*) = 1 from dacapo.task_suspended where reason = 'blocked'";
    let database = database().await;
    let bytes = importing("steps@0.1.9", BATCH);
    deploy_as_newer(&database, &bytes, "dacapo:workflow/steps@0.1.9").await;
    let run = database.start("run", "null").await;
    // As it was deployed, and after a newer worker has checked it against its descriptor.
    for statement in ["select", "update dacapo.deployment set verified = true"] {
        sqlx::query(statement)
            .execute(database.store.pool())
            .await
            .unwrap();
        let worker = worker(&database).await;
        database.client.resume(run).await.ok();
        database.until("it is blocked", BLOCKED).await;
        let one = database.client.get(run).await.unwrap();
        assert_eq!(one.status, Status::Blocked);
        let why: serde_json::Value = serde_json::from_str(one.blocked.unwrap().as_str()).unwrap();
        assert_eq!(why["code"], "newer-component", "{why:#}");
        let message = why["message"].as_str().unwrap();
        for words in [
            "built for dacapo:workflow 0.1.9, and this dacapo offers 0.1.0, without `steps.step-batch`",
            "it goes on by itself when a newer worker comes",
        ] {
            assert!(message.contains(words), "{message}");
        }
        worker.drain().await.unwrap();
    }

    // Those that are no newer than it wants leave it alone, and so does one that has blocked it itself.
    for (contract, woken) in [("0.1.0", 0), ("0.1.8", 0), ("0.0.12", 0), ("0.1.10", 1)] {
        let unblocked = dacapo_store::unblock_newer(&database.store, contract).await;
        assert_eq!(unblocked.unwrap(), woken, "{contract}");
    }

    // To a worker that starts this is what a worker of an older release has left, and a component that it can play.
    let worker_now = worker(&database).await;
    database.until("it is blocked again", BLOCKED).await;
    worker_now.drain().await.unwrap();
    let fits = importing(
        "context@0.1.0",
        r#"(export "created-at" (func (result u64)))"#,
    );
    deploy_as_newer(&database, &fits, "dacapo:workflow/context@0.1.0").await;
    sqlx::raw_sql(
        r#"update dacapo.run set deployment_id = (select id from dacapo.deployment where number = 2);
        update dacapo.task_suspended
        set blocked = jsonb_set(blocked::jsonb, '{details}', '{"wants": "0.1.0", "offered": "0.0.9"}')::text"#,
    )
    .execute(database.store.pool())
    .await
    .unwrap();
    let worker = worker(&database).await;
    assert_eq!(database.done(run).await.status, Status::Completed);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_that_are_no_workflows_are_named_with_what_to_write() {
    let database = database().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("wrong.wasm");
    let path = file.to_str().unwrap();
    let program = exporting("wasi:cli/run@0.2.0");
    let cases: [(&str, &[&str]); 4] = [
        (
            "",
            &["exports nothing", "expected an interface with functions"],
        ),
        (
            &program,
            &[
                "exports only `wasi:cli/run@0.2.0`",
                "build a library instead of a program",
            ],
        ),
        (
            r#"(export "run" (func $run))"#,
            &[
                "function `run` is exported by the world itself",
                "put it into an interface",
            ],
        ),
        (
            &exporting("work"),
            &[
                "interface `work` is written inside the world",
                "export that",
            ],
        ),
    ];
    for (exports, says) in cases {
        std::fs::write(&file, component("", exports)).unwrap();
        for command in [
            &["deploy", path][..],
            &["describe", path],
            &["test", path, "--workflow", "run"],
        ] {
            fails(&run(&database, command).await, 2, says);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_that_is_not_there_is_answered_with_the_nearest_name() {
    let database = database().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("work.wasm");
    let path = file.to_str().unwrap();
    std::fs::write(&file, component("", &exporting("test:later/work@1.0.0"))).unwrap();
    let deployed = run(&database, &["deploy", path]).await;
    assert!(deployed.status.success(), "{}", text(&deployed.stderr));
    for name in [
        "rum",
        "work.rnu",
        "test:later/wrok.run",
        "test:late/work.run",
    ] {
        for (command, code) in [
            (&["test", path, "--workflow", name][..], 2),
            (&["start", name], 1),
        ] {
            let says = [name, "test:later/work.run"];
            fails(&run(&database, command).await, code, &says);
        }
    }
}
