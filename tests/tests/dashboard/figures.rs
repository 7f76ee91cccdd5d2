//! The figures that pages show, beside what they are figures of.

use dacapo_client::{ListFilter, RunFilter, StartOptions, Status};

use crate::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn counts_of_few_rows_are_exact_where_there_are_few_and_say_so_where_there_are_more() {
    let scene = Scene::with(&["probe"]).await;
    let client = &scene.database.client;
    for n in 0..7 {
        let options = StartOptions::default().label("even", (n % 2 == 0).to_string());
        scene.start_with("counted-steps", "1", options).await;
    }
    for _ in 0..3 {
        scene.start("fail-with", "\"the card was declined\"").await;
    }
    let waits = scene.start("step-wait-step", "null").await;
    let paused = scene.start("pauses", "null").await;
    scene.is(waits, Status::Suspended).await;
    scene.is(paused, Status::Paused).await;
    scene
        .database
        .until(
            "the others have ended",
            "select count(*) = 2 from dacapo.run where status = 'active'",
        )
        .await;
    let filters = [
        RunFilter::default(),
        RunFilter {
            workflow: Some("counted-steps".to_owned()),
            ..RunFilter::default()
        },
        RunFilter {
            labels: [("even".to_owned(), "true".to_owned())].into(),
            ..RunFilter::default()
        },
        RunFilter {
            failure: Some("declined".to_owned()),
            ..RunFilter::default()
        },
        RunFilter {
            deployment: Some(2),
            ..RunFilter::default()
        },
    ];
    for filter in filters {
        let exact = client.count(filter.clone()).await.unwrap();
        let counted = client.count_up_to(filter.clone(), 1_000).await.unwrap();
        for status in Status::ALL {
            assert!(counted[&status].is_all, "{status} of {filter:?}");
            assert_eq!(
                counted[&status].runs, exact[&status],
                "{status} of {filter:?}"
            );
        }
    }
    let counted = client.count_up_to(RunFilter::default(), 2).await.unwrap();
    assert!(!counted[&Status::Failed].is_all && counted[&Status::Failed].runs == 2);
    assert!(!counted[&Status::Completed].is_all);
    assert!(counted[&Status::Running].is_all);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_and_what_waits_in_queues_are_told() {
    let scene = Scene::without_worker(&["probe"]).await;
    let client = &scene.database.client;
    assert!(client.workers().await.unwrap().is_empty());
    client.set_queue("mail", Default::default()).await.unwrap();
    for _ in 0..4 {
        scene
            .start_with("counted-steps", "1", StartOptions::default().queue("mail"))
            .await;
        scene.start("counted-steps", "1").await;
    }
    let depths = client.queue_depths(100).await.unwrap();
    let told: Vec<(&str, u64)> = depths
        .iter()
        .map(|depth| (depth.name.as_str(), depth.waiting))
        .collect();
    assert_eq!(told, [("mail", 4), ("default", 4)]);
    assert!(
        depths
            .iter()
            .all(|depth| depth.oldest.is_some_and(|oldest| oldest <= depth.now))
    );
    let depths = client.queue_depths(2).await.unwrap();
    assert!(depths.iter().all(|depth| depth.waiting == 2), "{depths:?}");

    let worker = dacapo_tests::Dacapo::on(&scene.database).worker().await;
    let told = client.workers().await.unwrap();
    assert_eq!(told.len(), 1);
    assert!(told[0].alive, "{told:?}");
    assert_eq!(told[0].version, env!("CARGO_PKG_VERSION"));
    let page = client.list(ListFilter::default()).await.unwrap();
    for run in page.items {
        scene.database.done(run.id).await;
    }
    worker.kill().await;
    // Its lease runs out in its own time; a clock that is ahead shows what that looks like.
    sqlx::query("update dacapo.worker set lease_until = clock_timestamp() - interval '1 second'")
        .execute(scene.database.store.pool())
        .await
        .unwrap();
    assert!(!client.workers().await.unwrap()[0].alive);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_tells_where_runs_are_in_flight_and_who_moved_some_of_them_there() {
    let scene = Scene::without_worker(&["probe", "probe2"]).await;
    let client = &scene.database.client;
    let database = &scene.database;
    let one = "select id from dacapo.deployment where number = 1";
    let one = database.count(one).await;
    let other = "select id from dacapo.deployment where number = 2";
    let other = database.count(other).await;
    let mut runs = Vec::new();
    for _ in 0..5 {
        runs.push(scene.start("changes.same", "null").await);
    }
    let page = async |number: u32| {
        let path = format!("/deployments/test:probe/{number}");
        let (status, page) = scene.answer("GET", &path, "", "").await;
        assert_eq!(status, 200, "{page}");
        page.replace("&#x2f;", "/")
    };
    assert!(!page(2).await.contains("Moved here"));
    // As the command does it, once it has proven that they go on there.
    for (run, who) in [(runs[0], "ann <b>"), (runs[1], "ann <b>"), (runs[2], "bob")] {
        let answer: String =
            sqlx::query_scalar("select dacapo.move_run($1, $2, 0, 0, null, 0, $3)")
                .bind(run.0)
                .bind(one)
                .bind(who)
                .fetch_one(scene.database.store.pool())
                .await
                .unwrap();
        assert_eq!(answer, "moved");
    }
    let moved = client.moved_to("test:probe", 1).await.unwrap();
    let told: Vec<(&str, i32, u64)> = moved
        .iter()
        .map(|moved| (moved.who.as_str(), moved.from, moved.runs))
        .collect();
    assert_eq!(told, [("bob", 2, 1), ("ann <b>", 2, 2)]);
    let shown = page(1).await;
    for words in [
        "<strong>ann &lt;b&gt;</strong> moved 2 runs from",
        "<strong>bob</strong> moved 1 run from",
        "test:probe #1, this one",
        "dacapo deploy --upgrade proven FILE.wasm",
    ] {
        assert!(shown.contains(words), "{words} is not in\n{shown}");
    }
    let shown = page(2).await;
    assert!(!shown.contains("Moved here"), "{shown}");
    assert!(shown.contains("<a href=\"/deployments/test:probe/1\">test:probe #1</a>"));
    // Those that are moved back are not there any more.
    sqlx::query("select dacapo.move_run($1, $2, 0, 0, null, 0, 'bob')")
        .bind(runs[2].0)
        .bind(other)
        .execute(scene.database.store.pool())
        .await
        .unwrap();
    assert_eq!(client.moved_to("test:probe", 1).await.unwrap().len(), 1);
}
