//! Finding runs.

use std::collections::BTreeMap;

use dacapo_client::{Client, ListFilter, RunFilter, RunId, StartOptions, Status, Timestamp};

use crate::database::{GREET, PING, client, code, deploy, greeter};

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

async fn found(client: &Client, runs: RunFilter) -> Vec<RunId> {
    client
        .list(ListFilter {
            runs,
            ..ListFilter::default()
        })
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
    let all = RunFilter::default();
    assert_eq!(found(&client, all.clone()).await, [cancelled, greet, ping]);
    let status = RunFilter {
        status: Some(Status::Cancelled),
        ..all.clone()
    };
    assert_eq!(found(&client, status).await, [cancelled]);
    for name in [GREET, "greet"] {
        let workflow = RunFilter {
            workflow: Some(name.to_owned()),
            ..all.clone()
        };
        assert_eq!(found(&client, workflow).await, [greet]);
    }
    let team = RunFilter {
        labels: labels(&[("team", "core")]),
        ..all.clone()
    };
    assert_eq!(found(&client, team).await, [greet, ping]);
    let both = RunFilter {
        labels: labels(&[("team", "core"), ("env", "test")]),
        ..all.clone()
    };
    assert_eq!(found(&client, both).await, [ping]);
    let none = RunFilter {
        labels: labels(&[("team", "core")]),
        status: Some(Status::Cancelled),
        ..all.clone()
    };
    assert!(found(&client, none).await.is_empty());
    for (status, expected) in [
        (Status::Cancelled, vec![cancelled]),
        (Status::Queued, vec![ping]),
        (Status::Completed, vec![]),
    ] {
        let filter = RunFilter {
            status: Some(status),
            workflow: Some(PING.to_owned()),
            ..all.clone()
        };
        assert_eq!(found(&client, filter).await, expected, "{status}");
    }
    assert!(
        found(&client.clone().with_namespace("other"), all)
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn a_workflow_that_is_not_deployed_any_more_can_be_named_in_full() {
    let client = client().await;
    let gone = |name: &str| RunFilter {
        workflow: Some(name.to_owned()),
        ..RunFilter::default()
    };
    assert!(
        found(&client, gone("old:package/interface.function"))
            .await
            .is_empty()
    );
    assert_eq!(
        code(client.count(gone("function")).await),
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

/// Puts runs into the table that nobody started: ended as the rows say, all of them created at the same time.
async fn put(client: &Client, ended: &[(&str, Option<&str>)]) {
    for (status, failure) in ended {
        sqlx::query(
            "insert into dacapo.run (id, namespace, workflow, deployment_id, status, input, output, failure, cancel_requested_at, created_at, finished_at)
            select gen_random_uuid(), 'default', $3, max(id), $1, 'null', case when $1 = 'completed' then 'null' end, $2,
                case when $1 = 'cancelled' then now() end, '2026-11-01 08:00Z', '2026-11-01 08:01Z'
            from dacapo.deployment",
        )
        .bind(status)
        .bind(failure)
        .bind(PING)
        .execute(client.store().pool())
        .await
        .unwrap();
    }
}

/// All pages of a list of so many runs each, through the text of their cursors.
async fn paged(client: &Client, runs: RunFilter, limit: u32) -> Vec<RunId> {
    let mut filter = ListFilter {
        runs,
        limit,
        after: None,
        before: None,
    };
    let mut all = Vec::new();
    loop {
        let page = client.list(filter.clone()).await.unwrap();
        all.extend(page.items.iter().map(|run| run.id));
        filter.after = page.next.map(|cursor| cursor.to_string().parse().unwrap());
        if filter.after.is_none() {
            return all;
        }
    }
}

#[tokio::test]
async fn pages_lose_and_repeat_no_run_when_all_were_created_at_the_same_time() {
    let client = client().await;
    let declined = r#"{"code":"declined","message":"no money","retryable":false}"#;
    put(&client, &[("completed", None); 5]).await;
    put(&client, &[("failed", Some(declined)); 5]).await;
    for _ in 0..5 {
        start(&client, PING, "", &[("a", "b")]).await;
    }
    sqlx::query("update dacapo.run set created_at = '2026-11-01 08:00Z'")
        .execute(client.store().pool())
        .await
        .unwrap();
    let all = RunFilter::default();
    let filters = [
        (all.clone(), 15),
        (
            RunFilter {
                workflow: Some(PING.to_owned()),
                ..all.clone()
            },
            15,
        ),
        (
            RunFilter {
                created_before: Some("2026-11-01T08:00:00.000001Z".parse().unwrap()),
                ..all.clone()
            },
            15,
        ),
        (
            RunFilter {
                status: Some(Status::Completed),
                ..all.clone()
            },
            5,
        ),
        (
            RunFilter {
                status: Some(Status::Failed),
                ..all.clone()
            },
            5,
        ),
        (
            RunFilter {
                failure: Some("money".to_owned()),
                ..all.clone()
            },
            5,
        ),
        (
            RunFilter {
                status: Some(Status::Queued),
                ..all.clone()
            },
            5,
        ),
        (
            RunFilter {
                labels: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
                ..all
            },
            5,
        ),
    ];
    for (filter, expected) in filters {
        for limit in [1, 2, 7] {
            let mut found = paged(&client, filter.clone(), limit).await;
            assert_eq!(found.len(), expected, "{filter:?}, {limit} a page");
            found.sort_unstable();
            found.dedup();
            assert_eq!(found.len(), expected, "{filter:?}, {limit} a page");
        }
    }
}

#[tokio::test]
async fn pages_lead_back_as_they_led_on() {
    let client = client().await;
    let declined = r#"{"code":"declined","message":"no money","retryable":false}"#;
    put(&client, &[("completed", None); 3]).await;
    put(&client, &[("failed", Some(declined)); 4]).await;
    for _ in 0..5 {
        start(&client, PING, "", &[("a", "b")]).await;
    }
    start(&client, GREET, r#"{"name":"Ada"}"#, &[]).await;
    let all = RunFilter::default();
    let now: Timestamp = "2026-11-01T08:00:00Z".parse().unwrap();
    let filters = [
        (all.clone(), 13),
        (
            RunFilter {
                workflow: Some(PING.to_owned()),
                ..all.clone()
            },
            12,
        ),
        (
            RunFilter {
                status: Some(Status::Failed),
                ..all.clone()
            },
            4,
        ),
        (
            RunFilter {
                failure: Some("money".to_owned()),
                ..all.clone()
            },
            4,
        ),
        (
            RunFilter {
                status: Some(Status::Queued),
                ..all.clone()
            },
            6,
        ),
        (
            RunFilter {
                labels: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
                ..all.clone()
            },
            5,
        ),
        (
            RunFilter {
                created_since: Some(now),
                created_before: Some("2026-11-01T08:00:01Z".parse().unwrap()),
                ..all
            },
            7,
        ),
    ];
    for (runs, expected) in filters {
        for limit in [1, 2, 5] {
            let mut filter = ListFilter {
                runs: runs.clone(),
                limit,
                ..ListFilter::default()
            };
            let mut on = Vec::new();
            loop {
                let page = client.list(filter.clone()).await.unwrap();
                assert_eq!(page.previous.is_none(), on.is_empty());
                filter.after = page.next;
                on.push(page);
                if filter.after.is_none() {
                    break;
                }
            }
            let found: usize = on.iter().map(|page| page.items.len()).sum();
            assert_eq!(found, expected, "{runs:?}");
            // From the last page back: the same pages.
            filter.before = on.last().unwrap().previous;
            for page in on.iter().rev().skip(1) {
                let back = client.list(filter.clone()).await.unwrap();
                assert_eq!(&back, page, "{runs:?}, {limit} a page");
                filter.before = back
                    .previous
                    .map(|cursor| cursor.to_string().parse().unwrap());
            }
            assert_eq!(filter.before, None, "{runs:?}, {limit} a page");
        }
    }
}

#[tokio::test]
async fn a_page_is_asked_for_from_one_side() {
    let client = client().await;
    for _ in 0..2 {
        start(&client, PING, "", &[]).await;
    }
    let mut filter = ListFilter {
        limit: 1,
        ..ListFilter::default()
    };
    filter.after = client.list(filter.clone()).await.unwrap().next;
    filter.before = filter.after;
    assert_eq!(code(client.list(filter).await), "bad-argument");
}

#[tokio::test]
async fn the_last_run_of_a_workflow_is_found_whatever_became_of_it() {
    let client = client().await;
    assert_eq!(client.last_run("ping").await.unwrap(), None);
    start(&client, PING, "", &[]).await;
    let last = start(&client, PING, "", &[]).await;
    start(&client, GREET, r#"{"name":"Ada"}"#, &[]).await;
    client.cancel(last).await.unwrap();
    let found = client.last_run("ping").await.unwrap().unwrap();
    assert_eq!((found.id, found.status), (last, Status::Cancelled));
    assert_eq!(code(client.last_run("pong").await), "unknown-workflow");
}

#[tokio::test]
async fn runs_are_found_by_the_words_of_their_failures() {
    let client = client().await;
    put(
        &client,
        &[
            ("failed", Some(r#"{"code":"card-declined","message":"the card of \"Zoë\" (7/12) was\nrefused","retryable":false,"details":"\u0000 secret"}"#)),
            ("failed", Some(r#"{"code":"timeout","message":"the bank did not answer","retryable":true}"#)),
            ("cancelled", Some(r#"{"code":"refund-failed","message":"card gone","retryable":false}"#)),
            ("cancelled", None),
            ("completed", None),
        ],
    )
    .await;
    let count = async |text: &str| {
        let runs = RunFilter {
            failure: Some(text.to_owned()),
            ..RunFilter::default()
        };
        found(&client, runs).await.len()
    };
    for (text, expected) in [
        ("card", 2),
        ("CARD declined", 1),
        ("card-decl", 1),
        ("refused zoë", 1),
        ("refus", 1),
        ("7/12", 1),
        ("bank", 1),
        ("ank", 0),
        ("message", 0),
        ("secret", 0),
        ("it's (a) <b> & | !", 0),
    ] {
        assert_eq!(count(text).await, expected, "{text}");
    }
    for text in ["", " ", "-!", "a\0b"] {
        let runs = RunFilter {
            failure: Some(text.to_owned()),
            ..RunFilter::default()
        };
        assert_eq!(code(client.count(runs).await), "bad-argument", "{text:?}");
    }
}

#[tokio::test]
async fn runs_are_found_by_time_and_deployment() {
    let client = client().await;
    let first = start(&client, PING, "", &[]).await;
    deploy(&client, &greeter(dacapo_model::Type::String), "2").await;
    let second = start(&client, PING, "", &[]).await;
    let at: Timestamp = client.get(second).await.unwrap().created_at;
    let all = RunFilter::default();
    let since = RunFilter {
        created_since: Some(at),
        ..all.clone()
    };
    assert_eq!(found(&client, since).await, [second]);
    let before = RunFilter {
        created_before: Some(at),
        ..all.clone()
    };
    assert_eq!(found(&client, before).await, [first]);
    for (number, expected) in [(1, first), (2, second)] {
        let deployment = RunFilter {
            deployment: Some(number),
            ..all.clone()
        };
        assert_eq!(found(&client, deployment.clone()).await, [expected]);
        let both = RunFilter {
            workflow: Some(PING.to_owned()),
            status: Some(Status::Queued),
            ..deployment
        };
        assert_eq!(found(&client, both).await, [expected]);
    }
    for wrong in [
        RunFilter {
            deployment: Some(0),
            ..all.clone()
        },
        RunFilter {
            created_since: Some(at),
            created_before: Some(at),
            ..all
        },
    ] {
        assert_eq!(code(client.count(wrong).await), "bad-argument");
    }
}

/// Whatever is asked for, the counts are those of the runs that a list of the same shows.
#[tokio::test]
async fn counts_are_those_of_the_list() {
    let client = client().await;
    let declined = r#"{"code":"declined","message":"no money","retryable":false}"#;
    put(&client, &[("completed", None); 3]).await;
    put(&client, &[("failed", Some(declined)), ("cancelled", None)]).await;
    let mut runs = Vec::new();
    for index in 0..8 {
        let team = if index % 2 == 0 { "core" } else { "web" };
        runs.push(start(&client, PING, "", &[("team", team)]).await);
    }
    start(&client, GREET, r#"{"name":"Ada"}"#, &[("team", "core")]).await;
    client.pause(runs[0]).await.unwrap();
    client.cancel(runs[1]).await.unwrap();
    // A worker held these, as far as their rows say.
    sqlx::query(
        "with ready as (delete from dacapo.task_ready where run_id = any ($1) returning run_id),
        leased as (
            insert into dacapo.task_leased (run_id, worker_id, started_at, inbox_seq, takeovers)
            select run_id, gen_random_uuid(), now(), 0, 0 from ready where run_id = any ($1[1:2]) returning run_id
        )
        insert into dacapo.task_suspended (run_id, reason, events, blocked, inbox_seq)
        select run_id, case when run_id = $1[3] then 'blocked' else 'event' end, case when run_id <> $1[3] then '{paid}'::text[] end,
            case when run_id = $1[3] then '{\"code\":\"poison\",\"message\":\"\"}' end, 0
        from ready where run_id <> all ($1[1:2])",
    )
    .bind(runs[2..6].iter().map(|run| run.0).collect::<Vec<_>>())
    .execute(client.store().pool())
    .await
    .unwrap();
    client.cancel(runs[3]).await.unwrap();
    let all = RunFilter::default();
    let counts = client.count(all.clone()).await.unwrap();
    let statuses: Vec<u64> = Status::ALL.iter().map(|status| counts[status]).collect();
    // Queued, running, suspended, paused, cancelling, completed, failed, cancelled, blocked.
    assert_eq!(statuses, [3, 1, 1, 1, 1, 3, 1, 2, 1]);
    let now = client.get(runs[0]).await.unwrap().created_at;
    let filters = [
        all.clone(),
        RunFilter {
            workflow: Some("ping".to_owned()),
            ..all.clone()
        },
        RunFilter {
            deployment: Some(1),
            ..all.clone()
        },
        RunFilter {
            deployment: Some(2),
            ..all.clone()
        },
        RunFilter {
            labels: BTreeMap::from([("team".to_owned(), "core".to_owned())]),
            ..all.clone()
        },
        RunFilter {
            failure: Some("declined".to_owned()),
            ..all.clone()
        },
        RunFilter {
            created_since: Some(now),
            ..all.clone()
        },
        RunFilter {
            created_before: Some(now),
            ..all.clone()
        },
    ];
    for filter in filters {
        let listed = client
            .list(ListFilter {
                runs: filter.clone(),
                ..ListFilter::default()
            })
            .await
            .unwrap();
        let counts = client.count(filter.clone()).await.unwrap();
        for status in Status::ALL {
            let shown = listed
                .items
                .iter()
                .filter(|run| run.status == status)
                .count();
            assert_eq!(counts[&status], shown as u64, "{status} of {filter:?}");
            let one = RunFilter {
                status: Some(status),
                ..filter.clone()
            };
            assert_eq!(found(&client, one.clone()).await.len(), shown, "{one:?}");
            assert_eq!(
                client.count(one.clone()).await.unwrap(),
                BTreeMap::from([(status, shown as u64)]),
                "{one:?}"
            );
        }
    }
}
