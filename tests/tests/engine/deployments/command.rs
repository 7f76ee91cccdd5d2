//! `dacapo deployments`, `dacapo deploy` and `dacapo describe`, as typed.

use dacapo_tests::{Database, database, guest, guest_path};
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};

use super::{put, share, standing, version};
use crate::command::{fails, run, text};

fn path(name: &str) -> String {
    guest_path(name).to_string_lossy().into_owned()
}

/// The JSON that a command prints.
async fn json_of(database: &Database, arguments: &[&str]) -> Value {
    let output = run(database, &[arguments, &["--output", "json"]].concat()).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn said(database: &Database, arguments: &[&str]) -> String {
    let output = run(database, arguments).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[tokio::test(flavor = "multi_thread")]
async fn deployments_are_listed_shown_compared_and_steered() {
    let database = database().await;
    let empty = said(&database, &["deployments", "list"]).await;
    assert!(empty.contains("nothing is deployed"), "{empty}");
    said(&database, &["deploy", &path("probe2"), "--by", "ada"]).await;
    database.start("changes.same", "null").await;
    let deployed = json_of(
        &database,
        &[
            "deploy",
            &path("probe"),
            "--percent",
            "10",
            "--label",
            "ring=early",
            "--by",
            "grace",
        ],
    )
    .await;
    assert_eq!(deployed[0]["number"], 2);
    assert_eq!(
        deployed[0]["rollout"],
        json!({ "percent": 10, "labels": { "ring": "early" } })
    );
    assert!(
        deployed[0]["changes"]
            .as_array()
            .unwrap()
            .iter()
            .any(|change| change["what"] == "it is new" && change["breaking"] == false)
    );

    let listed = json_of(&database, &["deployments", "list", "probe"]).await;
    let brief: Vec<Value> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            json!([
                one["number"],
                one["status"],
                one["runsInFlight"],
                one["lastChange"]["who"]
            ])
        })
        .collect();
    assert_eq!(
        brief,
        [
            json!([2, "rolling-out", 0, "grace"]),
            json!([1, "active", 1, "ada"])
        ]
    );
    let table = said(&database, &["deployments", "list"]).await;
    assert!(
        table.contains("rolling out: 10 % and ring=early"),
        "{table}"
    );

    let shown = json_of(&database, &["deployments", "show", "probe@2"]).await;
    assert_eq!(shown["version"], "1.0.0");
    assert!(
        shown["workflows"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["name"] == "test:probe/children.square" && one["input"]["type"] == "u32")
    );
    assert_eq!(shown["changes"][0]["what"], "deployed");
    let shown = said(&database, &["deployments", "show", "test:probe"]).await;
    assert!(
        shown.starts_with("deployment 1 of test:probe, version 1.0.0\nstatus     active"),
        "{shown}"
    );
    assert!(shown.contains("activated by ada"), "{shown}");

    let diff = said(&database, &["deployments", "diff", "probe", "1", "2"]).await;
    assert!(
        diff.contains("changes: test:probe/children.square: it is new"),
        "{diff}"
    );
    let same = json_of(&database, &["deployments", "diff", "probe", "1", "1"]).await;
    assert_eq!(same["sameComponent"], true);
    assert_eq!(same["changes"], json!([]));

    let activated = said(&database, &["deployments", "activate", "probe", "2"]).await;
    assert!(
        activated.contains("deployment 2 of test:probe is active for new runs (before: 1)"),
        "{activated}"
    );
    let again = said(&database, &["deployments", "activate", "probe", "2"]).await;
    assert!(again.contains("nothing changed"), "{again}");
    said(&database, &["deployments", "retire", "probe", "1"]).await;
    let output = run(&database, &["deployments", "activate", "probe", "1"]).await;
    fails(
        &output,
        1,
        &["deployment 1 of test:probe is retired", "hint:", "--undo"],
    );
    let output = run(&database, &["deployments", "retire", "probe", "2"]).await;
    fails(&output, 1, &["is active: new runs go there"]);
    let output = run(&database, &["deployments", "show", "probe@7"]).await;
    fails(&output, 1, &["there is no deployment 7 of test:probe"]);
    let output = run(&database, &["deployments", "show", "probe@seven"]).await;
    fails(&output, 2, &["expected PACKAGE@N"]);
    let output = run(
        &database,
        &["deployments", "activate", "probe", "1", "--percent", "0"],
    )
    .await;
    assert_eq!(output.status.code(), Some(2));
    let kept = said(&database, &["deployments", "gc", "--dry-run"]).await;
    assert!(kept.contains("everything is needed"), "{kept}");
    sqlx::raw_sql("delete from dacapo.task_ready; delete from dacapo.run")
        .execute(database.store.pool())
        .await
        .unwrap();
    let gone = said(&database, &["deployments", "gc"]).await;
    assert!(
        gone.contains("deployment 1 of test:probe in namespace default is gone, with "),
        "{gone}"
    );
    assert_eq!(standing(&database).await, [(2, true, None)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_that_breaks_something_exits_with_1_and_says_what_to_do() {
    let database = database().await;
    said(&database, &["deploy", &path("probe")]).await;
    database.start("children.square", "7").await;
    let output = run(&database, &["deploy", &path("probe2")]).await;
    fails(
        &output,
        1,
        &[
            "test:probe would break who deals with its workflows",
            "test:probe/children.square: it is gone: 1 of its runs are in flight",
            "--allow-breaking",
        ],
    );
    assert_eq!(standing(&database).await, [(1, true, None)]);
    let allowed = said(&database, &["deploy", &path("probe2"), "--allow-breaking"]).await;
    assert!(
        allowed.contains("deployment 2 of test:probe is active")
            && allowed.contains("breaks: test:probe/children.square: it is gone"),
        "{allowed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activation_that_breaks_somebody_is_refused_unless_that_is_allowed() {
    let database = database().await;
    said(&database, &["deploy", &path("probe2")]).await;
    said(&database, &["deploy", &path("probe")]).await;
    database.start("children.square", "7").await;
    for more in [["--by", "ada"], ["--percent", "10"]] {
        let back = ["deployments", "activate", "probe", "1"];
        let output = run(&database, &[&back[..], &more].concat()).await;
        fails(
            &output,
            1,
            &[
                "test:probe would break who deals with its workflows",
                "test:probe/children.square: it is gone: 1 of its runs are in flight",
                "--allow-breaking",
            ],
        );
        assert_eq!(
            standing(&database).await,
            [(1, false, None), (2, true, None)]
        );
    }
    let back = ["deployments", "activate", "probe", "1", "--allow-breaking"];
    let allowed = said(&database, &back).await;
    assert!(
        allowed.contains("deployment 1 of test:probe is active")
            && allowed.contains("breaks: test:probe/children.square: it is gone"),
        "{allowed}"
    );
    let forward = json_of(&database, &["deployments", "activate", "probe", "2"]).await;
    assert_eq!(forward["number"], 2);
    assert!(
        forward["changes"]
            .as_array()
            .unwrap()
            .iter()
            .any(|change| change["what"] == "it is new" && change["breaking"] == false),
        "{forward:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_says_whom_a_deploy_would_break_and_deploys_nothing() {
    let database = database().await;
    said(&database, &["deploy", &path("probe")]).await;
    let schedule = [
        "schedule",
        "create",
        "nightly",
        "children.square",
        "--input",
        "7",
        "--every",
        "1h",
    ];
    said(&database, &schedule).await;
    let check = ["deploy", &path("probe2"), "--check"];
    let output = run(&database, &check).await;
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(
        printed.contains("no runs of test:probe are in flight")
            && printed.contains("breaks: test:probe/children.square: it is gone"),
        "{printed}"
    );
    let allowed = json_of(&database, &[&check[..], &["--allow-breaking"]].concat()).await;
    assert!(
        allowed[0]["changes"]
            .as_array()
            .unwrap()
            .iter()
            .any(|change| change["breaking"] == true),
        "{allowed:#}"
    );
    assert_eq!(standing(&database).await, [(1, true, None)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_describe_prints_is_what_the_database_deploys() {
    let database = database().await;
    let directory = tempfile::tempdir().unwrap();
    let manifest = directory.path().join("dacapo.toml");
    std::fs::write(&manifest, "[retry]\nmax-attempts = 7\n").unwrap();
    let printed = said(
        &database,
        &[
            "describe",
            &path("probe"),
            "--manifest",
            &manifest.to_string_lossy(),
        ],
    )
    .await;
    let answer: String = sqlx::query_scalar("select dacapo.deploy($1, $2::text::jsonb)::text")
        .bind(guest("probe"))
        .bind(printed)
        .fetch_one(database.store.pool())
        .await
        .unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["number"], 1);
    let shown = json_of(&database, &["deployments", "show", "probe"]).await;
    assert_eq!(shown["manifest"]["retry"]["maxAttempts"], 7, "{shown:#}");
    let again = said(
        &database,
        &[
            "deploy",
            &path("probe"),
            "--manifest",
            &manifest.to_string_lossy(),
        ],
    )
    .await;
    assert!(again.contains("nothing changed"), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_files_all_are_deployed_or_none() {
    let database = database().await;
    said(&database, &["deploy", &path("probe")]).await;
    database.start("children.square", "7").await;
    // The second one breaks somebody, or not all runs go on with it: the first one is not deployed either.
    let output = run(&database, &["deploy", &path("caller"), &path("probe2")]).await;
    fails(
        &output,
        1,
        &["test:probe would break who deals with its workflows"],
    );
    let output = run(
        &database,
        &[
            "deploy",
            &path("caller"),
            &path("probe2"),
            "--require-all",
            "--allow-breaking",
        ],
    )
    .await;
    fails(&output, 1, &["test:probe was not deployed"]);
    assert_eq!(standing(&database).await, [(1, true, None)]);
    said(
        &database,
        &[
            "deploy",
            &path("caller"),
            &path("probe2"),
            "--allow-breaking",
        ],
    )
    .await;
    assert_eq!(standing(&database).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_the_new_runs_and_all_runs_in_flight_are_not_asked_for_together() {
    let database = database().await;
    said(&database, &["deploy", &path("probe")]).await;
    for part in [["--percent", "10"], ["--label", "ring=early"]] {
        let output = run(
            &database,
            &[
                "deploy",
                &path("probe2"),
                part[0],
                part[1],
                "--upgrade",
                "proven",
            ],
        )
        .await;
        fails(
            &output,
            2,
            &["expected --upgrade proven without --percent and --label"],
        );
    }
    assert_eq!(standing(&database).await, [(1, true, None)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_says_which_roll_out_goes_on_and_which_deployment_stays() {
    let database = database().await;
    put(&database.client, &version("probe", 1), None)
        .await
        .unwrap();
    said(&database, &["deploy", &path("probe")]).await;
    put(&database.client, &version("probe", 3), Some(share(10)))
        .await
        .unwrap();
    let again = said(&database, &["deploy", &path("probe")]).await;
    assert!(
        again.contains("nothing changed")
            && again.contains("deployment 3 is being rolled out beside it, and goes on"),
        "{again}"
    );
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let mut open = connection.begin().await.unwrap();
    open.execute("select 1").await.unwrap();
    said(&database, &["deployments", "retire", "probe", "1"]).await;
    let output = run(&database, &["deployments", "gc"]).await;
    assert!(output.status.success());
    assert!(
        text(&output.stderr).contains("deployment 1 of test:probe stays: transactions are open"),
        "{}",
        text(&output.stderr)
    );
    open.rollback().await.unwrap();
    let gone = said(&database, &["deployments", "gc"]).await;
    assert!(gone.contains("deployment 1 of test:probe"), "{gone}");
}
