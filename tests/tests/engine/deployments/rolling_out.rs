//! New runs go where a roll-out sends them, whoever starts them.

use std::collections::BTreeMap;
use std::time::Duration;

use dacapo_client::{
    Breaking, Client, NewSchedule, OnConflict, Overlap, Rollout, RunId, Singleton, StartOptions,
    Status, Steered, Timestamp, Trigger, When,
};
use dacapo_tests::{Database, database};
use sqlx::{Connection, Executor, PgConnection};

use super::{number_of, put, refusal, share, standing, version};
use crate::check::{sound, worker};

const SAME: &str = "test:probe/changes.same";

/// A database where deployment 1 of the probe is active, and 2 is rolled out beside it.
async fn rolling_out(rollout: Rollout) -> Database {
    let database = database().await;
    put(&database.client, &version("probe", 1), None)
        .await
        .unwrap();
    put(&database.client, &version("probe", 2), Some(rollout))
        .await
        .unwrap();
    database
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// These runs are where the roll-out sends them, some here and some there.
async fn all_as(database: &Database, rollout: &Rollout, runs: &[RunId]) {
    let mut taken = 0;
    for run in runs {
        let run_labels = database.client.get(*run).await.unwrap().labels;
        let expected = if rollout.takes(*run, &run_labels) {
            2
        } else {
            1
        };
        taken += expected - 1;
        assert_eq!(number_of(database, *run).await, expected, "{run}");
    }
    assert!(
        (1..i32::try_from(runs.len()).unwrap()).contains(&taken),
        "{taken} of {} runs went to the new deployment",
        runs.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_the_new_runs_goes_to_a_roll_out_however_they_are_started() {
    let rollout = share(40);
    let database = rolling_out(rollout.clone()).await;
    let client = &database.client;
    let mut runs = Vec::new();
    for at in 0..40 {
        let options = StartOptions::keyed(format!("one-{at}"));
        runs.push(
            client
                .start_by_name(SAME, "null", options)
                .await
                .unwrap()
                .id,
        );
    }
    let many: Vec<(String, StartOptions)> = (0..40)
        .map(|at| ("null".to_owned(), StartOptions::keyed(format!("many-{at}"))))
        .collect();
    let started = client.start_many_by_name("same", &many).await.unwrap();
    for one in &started {
        assert_eq!(number_of(&database, one.id).await, one.deployment.number);
    }
    runs.extend(started.iter().map(|one| one.id));
    for at in 0..20 {
        let options = StartOptions {
            priority: Some(5),
            ..StartOptions::keyed(format!("placed-{at}"))
        };
        runs.push(
            client
                .start_by_name("same", "null", options)
                .await
                .unwrap()
                .id,
        );
        let options = StartOptions {
            singleton: Some(Singleton {
                key: format!("single-{at}"),
                on_conflict: OnConflict::Reject,
            }),
            ..StartOptions::default()
        };
        runs.push(
            client
                .start_by_name("same", "null", options)
                .await
                .unwrap()
                .id,
        );
    }
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    for at in 0..40 {
        let run: uuid::Uuid = sqlx::query_scalar(
            "select dacapo.start('same', 'null', jsonb_build_object('key', $1::text))",
        )
        .bind(format!("sql-{at}"))
        .fetch_one(&mut connection)
        .await
        .unwrap();
        runs.push(RunId(run));
        let special: uuid::Uuid = sqlx::query_scalar(
            "select dacapo.start('changes.same', 'null', jsonb_build_object('singleton', $1::text))",
        )
        .bind(format!("sql-single-{at}"))
        .fetch_one(&mut connection)
        .await
        .unwrap();
        runs.push(RunId(special));
    }
    all_as(&database, &rollout, &runs).await;

    // The same key goes the same way, to the run that is there.
    let again = client
        .start_by_name(SAME, "null", StartOptions::keyed("sql-7"))
        .await
        .unwrap();
    assert!(!again.created && runs.contains(&again.id));
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ticks_and_children_go_where_a_roll_out_sends_them() {
    let rollout = share(50);
    let database = rolling_out(rollout.clone()).await;
    let client = &database.client;
    let worker = worker(&database).await;
    let schedule = NewSchedule {
        overlap: Overlap::Allow,
        ..NewSchedule::new(
            "often",
            "test:probe/children.square",
            When::Every(Duration::from_secs(1)),
        )
    };
    client
        .create_schedule(NewSchedule {
            input: "3".to_owned(),
            ..schedule
        })
        .await
        .unwrap();
    for _ in 0..12 {
        client
            .trigger_schedule("often", Trigger::Anyway)
            .await
            .unwrap();
    }
    let now: i64 = sqlx::query_scalar("select (extract(epoch from now()) * 1000000)::bigint")
        .fetch_one(database.store.pool())
        .await
        .unwrap();
    let until = Timestamp::from_micros(now);
    let from = Timestamp::from_micros(until.as_micros() - 12_000_000);
    client
        .backfill_schedule("often", from, until)
        .await
        .unwrap();
    database
        .until(
            "ticks have come",
            "select count(*) >= 27 from dacapo.run where workflow = 'test:probe/children.square'",
        )
        .await;
    client.delete_schedule("often").await.unwrap();
    let parent = database.start("children.runs-many", "20").await;
    assert_eq!(database.done(parent).await.status, Status::Completed);
    let ids: Vec<uuid::Uuid> =
        sqlx::query_scalar("select id from dacapo.run where parent is null and id <> $1")
            .bind(parent.0)
            .fetch_all(database.store.pool())
            .await
            .unwrap();
    let ticks: Vec<RunId> = ids.into_iter().map(RunId).collect();
    all_as(&database, &rollout, &ticks).await;
    let ids: Vec<uuid::Uuid> =
        sqlx::query_scalar("select id from dacapo.run where parent is not null")
            .fetch_all(database.store.pool())
            .await
            .unwrap();
    assert_eq!(ids.len(), 20);
    let children: Vec<RunId> = ids.into_iter().map(RunId).collect();
    all_as(&database, &rollout, &children).await;
    for run in ticks.iter().chain(&children) {
        assert_eq!(database.done(*run).await.status, Status::Completed);
    }
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_with_the_labels_of_a_roll_out_go_there_and_so_do_their_children() {
    let rollout = Rollout {
        percent: 0,
        labels: labels(&[("ring", "early")]),
    };
    let database = rolling_out(rollout).await;
    let worker = worker(&database).await;
    let start = |options: StartOptions| {
        let client = database.client.clone();
        async move {
            client
                .start_by_name("children.runs-many", "3", options)
                .await
                .unwrap()
                .id
        }
    };
    let early = start(StartOptions::default().label("ring", "early")).await;
    let late = start(StartOptions::default().label("ring", "late")).await;
    for (parent, number) in [(early, 2), (late, 1)] {
        assert_eq!(database.done(parent).await.status, Status::Completed);
        assert_eq!(number_of(&database, parent).await, number);
        let on: Vec<i32> = sqlx::query_scalar(
            "select number from dacapo.run join dacapo.deployment on deployment.id = deployment_id where parent = $1",
        )
        .bind(parent.0)
        .fetch_all(database.store.pool())
        .await
        .unwrap();
        assert_eq!(on, [number; 3]);
    }
    let sql: uuid::Uuid = sqlx::query_scalar(
        "select dacapo.start('same', 'null', '{\"labels\": {\"ring\": \"early\"}}')",
    )
    .fetch_one(database.store.pool())
    .await
    .unwrap();
    assert_eq!(number_of(&database, RunId(sql)).await, 2);
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roll_out_grows_ends_and_is_taken_back_and_clients_follow_at_once() {
    let database = rolling_out(share(30)).await;
    let client = &database.client;
    // Another one, which has looked before anything changes.
    let other = Client::new(database.store.clone());
    let numbers = |client: Client| {
        let database = &database;
        async move {
            let mut numbers = Vec::new();
            for _ in 0..40 {
                let run = client
                    .start_by_name(SAME, "null", StartOptions::default())
                    .await
                    .unwrap();
                let number = number_of(database, run.id).await;
                assert_eq!(run.deployment.number, number);
                numbers.push(number);
            }
            numbers.iter().filter(|number| **number == 2).count()
        }
    };
    assert!((1..30).contains(&numbers(other.clone()).await));
    client
        .activate_deployment("test:probe", 2, Some(&share(99)), Breaking::Refuse, "ada")
        .await
        .unwrap();
    assert!(numbers(other.clone()).await > 25);
    assert_eq!(
        standing(&database).await,
        [(1, true, None), (2, false, Some(99))]
    );
    // Back.
    client
        .activate_deployment("probe", 1, None, Breaking::Refuse, "ada")
        .await
        .unwrap();
    assert_eq!(numbers(other.clone()).await, 0);
    client
        .activate_deployment("probe", 2, Some(&share(50)), Breaking::Refuse, "ada")
        .await
        .unwrap();
    // Finished.
    client
        .activate_deployment("probe", 2, None, Breaking::Refuse, "ada")
        .await
        .unwrap();
    assert_eq!(numbers(other.clone()).await, 40);
    assert_eq!(
        standing(&database).await,
        [(1, false, None), (2, true, None)]
    );
    // And back to an older one, which is all that a rollback is.
    client
        .activate_deployment("probe", 1, None, Breaking::Refuse, "ada")
        .await
        .unwrap();
    assert_eq!(numbers(other).await, 0);
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_one_of_the_deployments_has_goes_there_whatever_the_share() {
    let database = database().await;
    put(&database.client, &version("probe2", 1), None)
        .await
        .unwrap();
    put(&database.client, &version("probe", 1), Some(share(1)))
        .await
        .unwrap();
    for _ in 0..5 {
        let only_there = database.start("children.square", "3").await;
        assert_eq!(number_of(&database, only_there).await, 2);
    }
    let listed = database.client.workflows().await.unwrap();
    assert!(
        listed
            .iter()
            .any(|one| one.name == "test:probe/children.square")
    );
    assert_eq!(
        listed.iter().filter(|one| one.name == SAME).count(),
        1,
        "the active one is listed"
    );
    // The other way round; the runs that are in flight need not mind.
    database
        .client
        .activate_deployment("probe", 2, None, Breaking::Refuse, "ada")
        .await
        .unwrap();
    database
        .client
        .activate_deployment("probe", 1, Some(&share(99)), Breaking::Allow, "ada")
        .await
        .unwrap();
    for _ in 0..5 {
        let only_there = database.start("children.square", "3").await;
        assert_eq!(number_of(&database, only_there).await, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roll_out_that_cannot_be_is_refused_with_what_to_do() {
    let database = database().await;
    let client = &database.client;
    let said = refusal(put(client, &version("probe", 1), Some(share(10))).await);
    assert!(said.contains("nothing of test:probe is active"), "{said}");
    assert_eq!(standing(&database).await, []);
    put(client, &version("probe", 1), None).await.unwrap();
    put(client, &version("probe", 2), Some(share(10)))
        .await
        .unwrap();
    let said = refusal(put(client, &version("probe", 3), Some(share(10))).await);
    assert!(
        said.contains("deployment 2 of test:probe is being rolled out")
            && said.contains("dacapo deployments activate test:probe 2"),
        "{said}"
    );
    let said = refusal(put(client, &version("probe", 1), Some(share(10))).await);
    assert!(said.contains("active"), "{said}");
    let said = refusal(
        client
            .activate_deployment("probe", 1, Some(&share(10)), Breaking::Refuse, "ada")
            .await,
    );
    assert!(
        said.contains("deployment 1 of test:probe is active"),
        "{said}"
    );
    assert_eq!(
        standing(&database).await,
        [(1, true, None), (2, false, Some(10))]
    );
    // The very bytes that are being rolled out, for all: that ends it.
    let outcome = put(client, &version("probe", 2), None).await.unwrap();
    assert!(!outcome.created && outcome.number == 2, "{outcome:?}");
    assert_eq!(
        standing(&database).await,
        [(1, false, None), (2, true, None)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_asks_nothing_more_where_nothing_is_rolled_out() {
    let database = database().await;
    put(&database.client, &version("probe", 1), None)
        .await
        .unwrap();
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    connection
        .execute("set track_functions = 'all'")
        .await
        .unwrap();
    let calls = "select coalesce(sum(calls), 0)::bigint from pg_stat_xact_user_functions where funcname = 'takes'";
    let mut counted = Vec::new();
    for rollout in [None, Some(share(50))] {
        if let Some(rollout) = rollout {
            put(&database.client, &version("probe", 2), Some(rollout))
                .await
                .unwrap();
        }
        let mut transaction = connection.begin().await.unwrap();
        for priority in [None, Some(5)] {
            let options = StartOptions {
                priority,
                ..StartOptions::default()
            };
            database
                .client
                .start_by_name_in(&mut transaction, SAME, "null", options)
                .await
                .unwrap();
        }
        transaction
            .execute("select dacapo.start('same')")
            .await
            .unwrap();
        let count: i64 = sqlx::query_scalar(calls)
            .fetch_one(&mut *transaction)
            .await
            .unwrap();
        counted.push(count);
        transaction.commit().await.unwrap();
    }
    assert_eq!(counted[0], 0);
    assert!(counted[1] >= 3, "{counted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_active_bytes_deployed_again_leave_a_roll_out_alone_and_new_ones_say_that_they_end_it()
{
    let database = rolling_out(share(30)).await;
    let client = &database.client;
    let again = put(client, &version("probe", 1), None).await.unwrap();
    assert_eq!(
        (again.outcome, again.beside, again.ended),
        (Steered::Same, Some(2), None)
    );
    assert_eq!(
        standing(&database).await,
        [(1, true, None), (2, false, Some(30))]
    );
    let new = put(client, &version("probe", 3), None).await.unwrap();
    assert_eq!(
        (new.outcome, new.beside, new.ended),
        (Steered::Created, None, Some(2))
    );
    assert_eq!(
        standing(&database).await,
        [(1, false, None), (2, false, None), (3, true, None)]
    );
    let alone = put(client, &version("probe", 3), None).await.unwrap();
    assert_eq!((alone.beside, alone.ended), (None, None));
}
