//! Starting many runs at once.

use std::time::{Duration, Instant};

use dacapo_client::{Client, ClientError, StartOptions, WorkflowRef};
use dacapo_model::Type;

use crate::database::{GREET, PING, client, code, deploy, greeter, runs};

fn named(names: &[&str]) -> Vec<(String, StartOptions)> {
    names
        .iter()
        .map(|name| (format!(r#"{{"name":"{name}"}}"#), StartOptions::default()))
        .collect()
}

fn keyed(pairs: &[(&str, &str)]) -> Vec<(String, StartOptions)> {
    pairs
        .iter()
        .map(|(key, name)| (format!(r#"{{"name":"{name}"}}"#), StartOptions::keyed(*key)))
        .collect()
}

async fn start(
    client: &Client,
    starts: &[(String, StartOptions)],
) -> Result<Vec<(dacapo_client::RunId, bool)>, ClientError> {
    let started = client.start_many_by_name(GREET, starts).await?;
    Ok(started.iter().map(|run| (run.id, run.created)).collect())
}

#[tokio::test]
async fn the_answers_are_in_the_order_of_the_starts() {
    let client = client().await;
    let mut starts = named(&["Ada", "Bob", "Cyd"]);
    starts[1].1 = StartOptions::keyed("k").label("team", "core");
    let started = start(&client, &starts).await.unwrap();
    for ((id, created), name) in started.iter().zip(["Ada", "Bob", "Cyd"]) {
        assert!(created);
        let run = client.get(*id).await.unwrap();
        assert_eq!(run.input.as_str(), format!(r#"{{"name":"{name}"}}"#));
        assert_eq!(run.labels.len(), usize::from(name == "Bob"));
    }
    let tasks: i64 = sqlx::query_scalar("select count(*) from dacapo.task_ready")
        .fetch_one(client.store().pool())
        .await
        .unwrap();
    assert_eq!(tasks, 3);
    assert!(start(&client, &[]).await.unwrap().is_empty());
    let ping: WorkflowRef<(), ()> = WorkflowRef::new(PING);
    let typed = client
        .start_many(
            ping,
            &[((), StartOptions::default()), ((), StartOptions::default())],
        )
        .await
        .unwrap();
    assert_eq!((typed.len(), runs(&client).await), (2, 5));
}

#[tokio::test]
async fn one_that_is_wrong_is_named_and_nothing_is_started() {
    let client = client().await;
    let mut starts = named(&["Ada", "Bob", "Cyd"]);
    starts[2].0 = r#"{"name":7}"#.to_owned();
    let error = start(&client, &starts).await.unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        ("bad-input", "start 3: input.name: expected string, got 7")
    );
    assert!(error.hint().unwrap().contains("takes record"));
    starts[2] = ("{\"name\":\"Cyd\"}".to_owned(), StartOptions::keyed(""));
    assert_eq!(code(start(&client, &starts).await), "bad-argument");
    assert_eq!(runs(&client).await, 0);
}

#[tokio::test]
async fn keys_name_one_run_also_among_many() {
    let client = client().await;
    let first = start(&client, &keyed(&[("a", "Ada"), ("b", "Bob"), ("a", "Ada")]))
        .await
        .unwrap();
    assert_eq!(first[0].0, first[2].0);
    assert_eq!([first[0].1, first[1].1, first[2].1], [true, true, false]);
    let again = start(&client, &keyed(&[("c", "Cyd"), ("b", "Bob")]))
        .await
        .unwrap();
    assert_eq!((again[0].1, again[1]), (true, (first[1].0, false)));
    // Against one that is there, and against one of the same call: nothing of either call is started.
    for starts in [[("d", "Dan"), ("b", "Eve")], [("d", "Dan"), ("d", "Eve")]] {
        let error = start(&client, &keyed(&starts)).await.unwrap_err();
        let message = error.to_string();
        assert_eq!(error.code(), "key-conflict");
        assert!(
            message.starts_with("start 2: ") && message.contains("Eve"),
            "{message}"
        );
        let existing = if starts[1].0 == "b" { "Bob" } else { "Dan" };
        assert!(message.contains(existing), "{message}");
    }
    assert_eq!(runs(&client).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn rivals_with_the_same_keys_in_opposite_order_share_the_runs() {
    let client = client().await;
    let names: Vec<String> = (0..200).map(|number| format!("k{number}")).collect();
    let mut rivals = Vec::new();
    for turn in 0..8 {
        let client = client.clone();
        let mut pairs: Vec<(String, StartOptions)> = names
            .iter()
            .map(|name| (r#"{"name":"Ada"}"#.to_owned(), StartOptions::keyed(name)))
            .collect();
        if turn % 2 == 0 {
            pairs.reverse();
        }
        rivals.push(tokio::spawn(async move { start(&client, &pairs).await }));
    }
    let mut created = 0;
    for rival in rivals {
        created += rival
            .await
            .unwrap()
            .unwrap()
            .iter()
            .filter(|(_, created)| *created)
            .count();
    }
    assert_eq!((created, runs(&client).await), (200, 200));
}

#[tokio::test]
async fn a_new_deployment_is_found_by_a_client_that_knew_the_old_one() {
    let client = client().await;
    start(&client, &named(&["Ada"])).await.unwrap();
    deploy(&client, &greeter(Type::U32), "2").await;
    // Refused by what the client remembers, taken by what is deployed; and the other way round.
    let numbers = [(r#"{"name":1}"#.to_owned(), StartOptions::default())];
    let started = client.start_many_by_name(GREET, &numbers).await.unwrap();
    assert_eq!(started[0].deployment.number, 2);
    deploy(&client, &greeter(Type::String), "3").await;
    assert_eq!(code(start(&client, &numbers).await), "bad-input");
    assert_eq!(runs(&client).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_runs_start_in_seconds() {
    let client = client().await;
    let starts: Vec<(String, StartOptions)> = (0..100_000)
        .map(|number| {
            (
                format!(r#"{{"name":"Ada {number}"}}"#),
                StartOptions::default(),
            )
        })
        .collect();
    let begun = Instant::now();
    let started = start(&client, &starts).await.unwrap();
    let took = begun.elapsed();
    println!("starting 100,000 runs took {took:.1?}");
    assert_eq!((started.len(), runs(&client).await), (100_000, 100_000));
    assert!(took < Duration::from_secs(60), "{took:?}");
}
