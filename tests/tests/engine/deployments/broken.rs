//! Components, descriptors and manifests that cannot be used as they are stored: they block their own runs, and disturb nobody else.

use dacapo_client::{Breaking, RerunOptions, Status};
use dacapo_model::Type;
use dacapo_tests::{database, guest};
use serde_json::json;
use sqlx::{Connection, PgConnection};

use super::{descriptor, put, put_as, sql_deploy, version};
use crate::check::worker;

#[tokio::test(flavor = "multi_thread")]
async fn stored_bytes_that_were_damaged_block_runs_and_are_mended_by_deploying_them_again() {
    let database = database().await;
    let described = version("probe", 1);
    put(&database.client, &described, None).await.unwrap();
    for (code, damage) in [
        (
            "bad-component",
            "update dacapo.component set bytes = substr(bytes, 1, 1000)",
        ),
        // Which only somebody can do who takes constraints away.
        (
            "missing-component",
            "alter table dacapo.deployment drop constraint deployment_digest_fkey;
            delete from dacapo.component; update dacapo.deployment set verified = false",
        ),
    ] {
        sqlx::raw_sql(damage)
            .execute(database.store.pool())
            .await
            .unwrap();
        let worker = worker(&database).await;
        let run = database.start("children.square", "7").await;
        database
            .until(
                "the run is blocked",
                "select count(*) = 1 from dacapo.task_suspended where reason = 'blocked'",
            )
            .await;
        let blocked = database.client.get(run).await.unwrap().blocked.unwrap();
        assert!(blocked.to_string().contains(code), "{blocked:?}");
        // They go on by themselves.
        put(&database.client, &described, None).await.unwrap();
        assert_eq!(database.done(run).await.status, Status::Completed);
        worker.drain().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_descriptor_that_is_not_the_components_blocks_its_runs_with_the_reason() {
    let database = database().await;
    let described = version("probe", 1);
    let worker = worker(&database).await;
    let mut wrong = described.descriptor.clone();
    for workflow in &mut wrong.workflows {
        if workflow.function == "square" {
            workflow.result = Some(Type::String);
        }
    }
    put_as(&database.client, &described, &wrong, None, Breaking::Allow)
        .await
        .unwrap();
    let run = database.start("children.square", "7").await;
    database
        .until(
            "the run is blocked",
            "select count(*) = 1 from dacapo.task_suspended where reason = 'blocked'",
        )
        .await;
    let blocked = serde_json::to_value(database.client.get(run).await.unwrap()).unwrap();
    assert_eq!(blocked["blocked"]["code"], "bad-descriptor", "{blocked:#}");
    let reason = blocked["blocked"]["message"].as_str().unwrap();
    assert!(
        reason.contains("it has other types for test:probe/children.square"),
        "{reason}"
    );
    // With its own descriptor it is another deployment, where the run is started again.
    put_as(
        &database.client,
        &described,
        &described.descriptor,
        None,
        Breaking::Allow,
    )
    .await
    .unwrap();
    let again = database
        .client
        .rerun(run, &RerunOptions::default(), "ada")
        .await
        .unwrap();
    assert_eq!(database.done(again).await.output.unwrap().as_str(), "49");
    assert_eq!(
        database
            .count("select count(*) from dacapo.deployment where verified")
            .await,
        1
    );
    worker.drain().await.unwrap();
}

/// The component with sections of garbage in each of its modules that are named like those of debug information.
fn with_garbage(component: &[u8]) -> Vec<u8> {
    fn leb(mut value: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let low = u8::try_from(value & 0x7f).unwrap();
            value >>= 7;
            if value == 0 {
                bytes.push(low);
                return bytes;
            }
            bytes.push(low | 0x80);
        }
    }
    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        [&[id], leb(content.len()).as_slice(), content].concat()
    }
    let mut garbage = Vec::new();
    for name in [
        ".debug_info",
        ".debug_abbrev",
        ".debug_line",
        ".debug_str",
        "name",
    ] {
        let noise: Vec<u8> = (0..300u32).map(|at| (at * 31 % 251) as u8).collect();
        let content = [&leb(name.len())[..], name.as_bytes(), &noise].concat();
        garbage.extend(section(0, &content));
    }
    let (mut out, mut rest) = (component[..8].to_vec(), &component[8..]);
    while let Some((&id, after)) = rest.split_first() {
        let (mut length, mut shift, mut at) = (0usize, 0, 0);
        loop {
            let byte = after[at];
            length |= usize::from(byte & 0x7f) << shift;
            (shift, at) = (shift + 7, at + 1);
            if byte & 0x80 == 0 {
                break;
            }
        }
        let content = &after[at..at + length];
        // 1: a core module.
        let content = match id {
            1 => [content, &garbage].concat(),
            _ => content.to_vec(),
        };
        out.extend(section(id, &content));
        rest = &after[at + length..];
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn debug_sections_of_garbage_disturb_nobody() {
    let database = database().await;
    let described = dacapo_sandbox::describe(&with_garbage(&guest("probe"))).unwrap();
    put(&database.client, &described, None).await.unwrap();
    let worker = worker(&database).await;
    let run = database.start("children.square", "7").await;
    assert_eq!(database.done(run).await.output.unwrap().as_str(), "49");
    let traps = database.start("limits.trap", "null").await;
    let done = database.done(traps).await;
    assert_eq!(done.status, Status::Failed);
    assert_eq!(done.failure.unwrap().code, "trap");
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_cannot_be_meant_blocks_its_runs_with_the_reason() {
    let database = database().await;
    let described = version("probe", 1);
    let mut wrong = descriptor(&described);
    wrong["manifest"] = json!({ "retry": { "maxAttempts": 0 } });
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    sql_deploy(&mut connection, &described.component, &wrong, &json!({}))
        .await
        .unwrap();
    let worker = worker(&database).await;
    let run = database.start("children.square", "7").await;
    database
        .until(
            "the run is blocked",
            "select count(*) = 1 from dacapo.task_suspended where reason = 'blocked'",
        )
        .await;
    let blocked = serde_json::to_value(database.client.get(run).await.unwrap()).unwrap();
    assert_eq!(blocked["blocked"]["code"], "bad-manifest", "{blocked:#}");
    let reason = blocked["blocked"]["message"].as_str().unwrap();
    assert!(
        reason.contains("max-attempts: expected 1 to 1000, got 0"),
        "{reason}"
    );
    assert_eq!(
        database
            .count("select count(*) from dacapo.deployment where verified")
            .await,
        0
    );
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_cannot_be_read_hides_no_other_workflow() {
    let database = database().await;
    put(&database.client, &version("probe", 1), None)
        .await
        .unwrap();
    put(&database.client, &version("caller", 1), None)
        .await
        .unwrap();
    // As a newer version may have written it.
    sqlx::query(
        "update dacapo.deployment set manifest = '{\"later\": 1}' where package = 'test:caller'",
    )
    .execute(database.store.pool())
    .await
    .unwrap();
    let workflows = database.client.workflows().await.unwrap();
    let problem = |name: &str| {
        let found = workflows.iter().find(|one| one.name == name).unwrap();
        found.problem.clone()
    };
    assert_eq!(problem("test:probe/children.square"), None);
    let said = problem("test:caller/calls.check").unwrap();
    assert!(said.contains("unknown field `later`"), "{said}");
    // A part of a name is looked up among all.
    database.start("children.square", "7").await;
}
