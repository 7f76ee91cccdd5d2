//! Finding runs.

use std::collections::BTreeMap;

use dacapo_client::{Client, ListFilter, RunId, StartOptions, Status};

use crate::database::{GREET, PING, client, code};

async fn start(client: &Client, workflow: &str, input: &str, labels: &[(&str, &str)]) -> RunId {
    let options = labels
        .iter()
        .fold(StartOptions::default(), |options, (name, value)| {
            options.label(*name, *value)
        });
    client
        .start_by_name(workflow, input, options)
        .await
        .unwrap()
        .id
}

async fn found(client: &Client, filter: ListFilter) -> Vec<RunId> {
    client
        .list(filter)
        .await
        .unwrap()
        .items
        .into_iter()
        .map(|run| run.id)
        .collect()
}

#[tokio::test]
async fn pages_together_are_the_whole_list_newest_first() {
    let client = client().await;
    let mut expected = Vec::new();
    for _ in 0..7 {
        expected.insert(0, start(&client, PING, "", &[]).await);
    }
    let mut filter = ListFilter {
        limit: 3,
        ..ListFilter::default()
    };
    let mut pages = Vec::new();
    loop {
        let page = client.list(filter.clone()).await.unwrap();
        pages.push(page.items.iter().map(|run| run.id).collect::<Vec<_>>());
        // What a program keeps is the text of the cursor.
        filter.after = page.next.map(|cursor| cursor.to_string().parse().unwrap());
        if filter.after.is_none() {
            break;
        }
    }
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 1]);
    assert_eq!(pages.concat(), expected);
}

#[tokio::test]
async fn a_page_that_is_just_full_has_no_next() {
    let client = client().await;
    for _ in 0..2 {
        start(&client, PING, "", &[]).await;
    }
    let page = client
        .list(ListFilter {
            limit: 2,
            ..ListFilter::default()
        })
        .await
        .unwrap();
    assert_eq!((page.items.len(), page.next), (2, None));
}

#[tokio::test]
async fn filters_hold_together() {
    let client = client().await;
    let ping = start(&client, PING, "", &[("team", "core"), ("env", "test")]).await;
    let greet = start(&client, GREET, r#"{"name":"Ada"}"#, &[("team", "core")]).await;
    let cancelled = start(&client, PING, "", &[("team", "web")]).await;
    client.cancel(cancelled).await.unwrap();

    let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    };
    let all = ListFilter::default();
    assert_eq!(found(&client, all.clone()).await, [cancelled, greet, ping]);
    let status = ListFilter {
        status: Some(Status::Cancelled),
        ..all.clone()
    };
    assert_eq!(found(&client, status).await, [cancelled]);
    for name in [GREET, "greet"] {
        let workflow = ListFilter {
            workflow: Some(name.to_owned()),
            ..all.clone()
        };
        assert_eq!(found(&client, workflow).await, [greet]);
    }
    let team = ListFilter {
        labels: labels(&[("team", "core")]),
        ..all.clone()
    };
    assert_eq!(found(&client, team).await, [greet, ping]);
    let both = ListFilter {
        labels: labels(&[("team", "core"), ("env", "test")]),
        ..all.clone()
    };
    assert_eq!(found(&client, both).await, [ping]);
    let none = ListFilter {
        labels: labels(&[("team", "core")]),
        status: Some(Status::Cancelled),
        ..all.clone()
    };
    assert!(found(&client, none).await.is_empty());
    assert!(
        found(&client.clone().with_namespace("other"), all)
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn a_workflow_that_is_not_deployed_any_more_can_be_named_in_full() {
    let client = client().await;
    let gone = |name: &str| ListFilter {
        workflow: Some(name.to_owned()),
        ..ListFilter::default()
    };
    assert!(
        found(&client, gone("old:package/interface.function"))
            .await
            .is_empty()
    );
    assert_eq!(
        code(client.list(gone("function")).await),
        "unknown-workflow"
    );
}

#[tokio::test]
async fn a_page_of_no_runs_or_too_many_is_refused() {
    let client = client().await;
    for limit in [0, 1_001, u32::MAX] {
        assert_eq!(
            code(
                client
                    .list(ListFilter {
                        limit,
                        ..ListFilter::default()
                    })
                    .await
            ),
            "bad-argument"
        );
    }
}
