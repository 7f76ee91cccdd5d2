//! Finding runs among a million, by whatever a person would ask for: each search goes by an index, and is quick.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, StatusCode, header};
use dacapo_client::{ListFilter, RunFilter, Status};
use dacapo_server::{AccessConfig, App, Gate, Limits, Readiness, everything};
use dacapo_tests::{Database, database};
use sqlx::{Connection, Executor};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::command::{fails, run, text};

/// A thousand runs of each workflow of each deployment; of a hundred runs in a row 88 completed, 4 failed, 1 was cancelled, and 7 are
/// suspended; most of what is done was done long ago. Three runs are created in a second.
const MILLION: &str = "
    insert into dacapo.component (digest, bytes) values (repeat('0', 64), '');
    insert into dacapo.deployment (namespace, package, number, digest, descriptor, active)
        select 'default', 'shop:p' || package, number, repeat('0', 64), '{}', number = 10
        from generate_series(1, 5) as package, generate_series(1, 10) as number;
    insert into dacapo.workflow (deployment_id, name, function, schema)
        select id, package || '/api.w' || function, 'w' || function,
            json_build_object('name', package || '/api.w' || function, 'interface', package || '/api', 'function', 'w' || function)
        from dacapo.deployment, generate_series(1, 4) as function;
    insert into dacapo.run (
        id, namespace, workflow, deployment_id, status, input, output, failure, labels, cancel_requested_at, created_at, finished_at
    )
        select
            ('01930000-' || lpad(to_hex(i >> 16), 4, '0') || '-7000-8000-' || lpad(to_hex(i & 65535), 12, '0'))::uuid, 'default',
            'shop:p' || p || '/api.w' || 1 + i / 3 % 4, deployment.id, status, '{\"n\":1}',
            case status when 'completed' then '1' end,
            case status when 'failed'
                then '{\"code\":\"card-declined\",\"message\":\"the card of customer c' || i || ' was declined\",\"retryable\":false}' end,
            case when i % 21 = 0 then jsonb_build_object('customer', 'c' || i / 1000, 'env', 'prod') else '{}' end,
            case status when 'cancelled' then at end, at, case when status <> 'active' then at end
        from (
            select i, '2026-11-01Z'::timestamptz + i / 3 * interval '1 second' as at, 1 + i / 7 % 5 as p, 1 + i / 100001 as n,
                case when i % 100 < 88 then 'completed' when i % 100 < 92 then 'failed' when i % 100 < 93 then 'cancelled'
                    else 'active' end as status
            from generate_series(1, 1000000) as i
        ) as runs
        join dacapo.deployment on deployment.package = 'shop:p' || p and deployment.number = n;
    insert into dacapo.unsuccessful (run_id, namespace, status, workflow, deployment_id, labels, created_at, words)
        select id, namespace, status, workflow, deployment_id, labels, created_at, dacapo.failure_words(failure)
        from dacapo.run
        where status in ('failed', 'cancelled');
    insert into dacapo.task_suspended (run_id, reason, events, paused, blocked, inbox_seq)
        select id,
            case when i % 1000 = 1 then 'blocked' when i % 1000 = 2 then 'pause' else 'event' end,
            case when i % 1000 > 2 or i % 1000 = 0 then '{paid}'::text[] end,
            i % 1000 = 2, case when i % 1000 = 1 then '{}' end, 0
        from (select id, row_number() over () as i from dacapo.run where status = 'active') as active";

/// Fills the tables. The indexes are made afterwards, from their own definitions, what the triggers write is written at once, and nothing
/// of it is logged: that takes a third of the time.
async fn fill(database: &Database) {
    let mut connection = sqlx::PgConnection::connect(&database.url).await.unwrap();
    connection
        .execute(
            "set session_replication_role = replica; set synchronous_commit = off;
            set maintenance_work_mem = '256MB'; set work_mem = '64MB';
            alter table dacapo.run set unlogged;
            alter table dacapo.unsuccessful set unlogged;
            alter table dacapo.task_suspended set unlogged",
        )
        .await
        .unwrap();
    let indexes: Vec<(String, String)> = sqlx::query_as(
        "select indexname::text, indexdef from pg_indexes
        where schemaname = 'dacapo' and tablename in ('run', 'unsuccessful') and indexname not like '%_pkey'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    for (name, _) in &indexes {
        let drop = format!("drop index dacapo.{name}");
        connection.execute(sqlx::AssertSqlSafe(drop)).await.unwrap();
    }
    connection.execute(MILLION).await.unwrap();
    for (_, definition) in indexes {
        connection
            .execute(sqlx::AssertSqlSafe(definition))
            .await
            .unwrap();
    }
    connection.execute("vacuum analyze").await.unwrap();
}

/// The plan of a search as it was carried out, without the parts that were not.
async fn plan(connection: &mut sqlx::PgConnection, statement: &str, parameters: &str) -> String {
    let explain = format!(
        "explain (analyze, costs off, timing off, summary off) execute {statement} ('default', {parameters})"
    );
    let lines: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(explain))
        .fetch_all(connection)
        .await
        .unwrap();
    let carried_out: Vec<String> = lines
        .into_iter()
        .filter(|line| !line.contains("(never executed)"))
        .collect();
    carried_out.join("\n")
}

/// Plans from here on as for a search for the first of what indexes have in order, or as for any other.
async fn in_order(connection: &mut sqlx::PgConnection, is: bool) {
    let bitmaps = if is { "off" } else { "on" };
    let set = format!("set enable_bitmapscan = {bitmaps}");
    connection.execute(sqlx::AssertSqlSafe(set)).await.unwrap();
}

/// How long a server takes to answer where lists are asked for, the fastest of three: what it takes once connections and plans are there.
async fn answers(database: &Database) -> Vec<(&'static str, Duration)> {
    let client = database.client.clone();
    let config = AccessConfig::new(([127, 0, 0, 1], 7007).into());
    let gate = Gate::new(client.clone(), config).await.unwrap();
    let probe = Arc::new(|| Readiness::Ready);
    let app = App::new(client, probe, Limits::default(), CancellationToken::new());
    let routes = everything(app, gate);
    let mut all = Vec::new();
    for path in [
        "/",
        "/runs",
        "/runs?status=completed",
        "/runs?status=failed",
        "/runs?status=suspended",
        "/runs?status=blocked",
        "/runs?workflow=shop%3Ap1%2Fapi.w1",
        "/runs?labels=customer%3Dc7",
        "/runs?failure=customer+c88",
        "/api/v1/runs",
        "/api/v1/runs?status=suspended",
        "/api/v1/runs?label=customer%3Dc7",
    ] {
        let mut fastest = Duration::MAX;
        for _ in 0..3 {
            let mut request = Request::get(path).body(Body::empty()).unwrap();
            let from: SocketAddr = ([127, 0, 0, 1], 50_000).into();
            request.extensions_mut().insert(ConnectInfo(from));
            let host = HeaderValue::from_static("localhost:7007");
            request.headers_mut().insert(header::HOST, host);
            let started = Instant::now();
            let response = routes.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            to_bytes(response.into_body(), 16 << 20).await.unwrap();
            fastest = fastest.min(started.elapsed());
        }
        all.push((path, fastest));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_runs_are_found_in_their_order_by_a_planner_that_knows_nothing_of_the_table() {
    let database = database().await;
    let mut connection = sqlx::PgConnection::connect(&database.url).await.unwrap();
    let many = MILLION.replace("1, 1000000", "1, 30000");
    connection
        .execute(
            "alter table dacapo.run set (autovacuum_enabled = off);
            set session_replication_role = replica; set jit = off",
        )
        .await
        .unwrap();
    connection.execute(sqlx::AssertSqlSafe(many)).await.unwrap();
    let newest = include_str!("../../../store/sql/run/newest.sql");
    let set = "set plan_cache_mode = force_generic_plan; set enable_seqscan = off";
    connection.execute(set).await.unwrap();
    in_order(&mut connection, true).await;
    connection
        .execute(sqlx::AssertSqlSafe(format!("prepare newest as {newest}")))
        .await
        .unwrap();
    let kept = plan(&mut connection, "newest", "null, null, null, null, 51").await;
    assert!(
        kept.contains("run_by_creation on run (actual rows=51"),
        "{kept}"
    );
    assert!(!kept.contains("Bitmap"), "{kept}");

    // Of what is not the newest alone the plan is made anew.
    let list = include_str!("../../../store/sql/run/list.sql");
    let set = "set plan_cache_mode = force_custom_plan; set enable_seqscan = on";
    connection.execute(set).await.unwrap();
    connection
        .execute(sqlx::AssertSqlSafe(format!("prepare list as {list}")))
        .await
        .unwrap();
    let of_code = "null, 'shop:p1/api.w1', null, null, null, null, null, null, 51, 'code', null";
    let in_order = plan(&mut connection, "list", of_code).await;
    assert!(in_order.contains("run_by_code"), "{in_order}");
    assert!(!in_order.contains("Bitmap"), "{in_order}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_search_among_a_million_runs_goes_by_an_index() {
    let database = database().await;
    let started = Instant::now();
    fill(&database).await;
    println!("filling the tables took {:.1?}", started.elapsed());

    let mut connection = sqlx::PgConnection::connect(&database.url).await.unwrap();
    let sql = include_str!("../../../store/sql/run/list.sql");
    connection
        .execute("set plan_cache_mode = force_custom_plan; set jit = off")
        .await
        .unwrap();
    connection
        .execute(sqlx::AssertSqlSafe(format!("prepare list as {sql}")))
        .await
        .unwrap();
    for (name, sql) in [
        (
            "list_back",
            include_str!("../../../store/sql/run/list_back.sql"),
        ),
        ("newest", include_str!("../../../store/sql/run/newest.sql")),
        (
            "newest_back",
            include_str!("../../../store/sql/run/newest_back.sql"),
        ),
    ] {
        connection
            .execute(sqlx::AssertSqlSafe(format!("prepare {name} as {sql}")))
            .await
            .unwrap();
    }
    let nil = "'00000000-0000-0000-0000-000000000000'";
    let minute = format!("'2026-11-01 12:00Z', '2026-11-01 12:01Z', {nil}");
    let place = format!(
        "null, '2026-11-02Z', '{}'",
        "01930001-0000-7000-8000-000000000000"
    );
    // Status, workflow, deployment, labels, failure; since, below (time and id); limit and way are as the client gives them.
    let cases: &[(&str, &str, &str, &[&str])] = &[
        (
            "null, null, null, null, null",
            "null, null, null",
            "creation",
            &["run_by_creation"],
        ),
        (
            "null, null, null, null, null",
            &minute,
            "creation",
            &["run_by_creation"],
        ),
        (
            "null, null, null, null, null",
            &place,
            "creation",
            &["run_by_creation"],
        ),
        (
            "'completed', null, null, null, null",
            "null, null, null",
            "creation",
            &["run_by_creation"],
        ),
        (
            "'completed', null, null, null, null",
            &minute,
            "creation",
            &["run_by_creation"],
        ),
        (
            "null, 'shop:p1/api.w1', null, null, null",
            "null, null, null",
            "code",
            &["run_by_code"],
        ),
        (
            "null, 'shop:p1/api.w1', null, null, null",
            &minute,
            "code",
            &["run_by_code"],
        ),
        (
            "null, 'shop:p1/api.w1', null, null, null",
            &place,
            "code",
            &["run_by_code"],
        ),
        (
            "'completed', 'shop:p1/api.w1', null, null, null",
            "null, null, null",
            "code",
            &["run_by_code"],
        ),
        (
            "null, null, 3, null, null",
            "null, null, null",
            "code",
            &["run_by_code"],
        ),
        (
            "null, 'shop:p1/api.w1', 3, null, null",
            &place,
            "code",
            &["run_by_code"],
        ),
        (
            "null, null, null, '{\"customer\":\"c7\"}', null",
            "null, null, null",
            "label",
            &["run_by_creation", "run_by_label"],
        ),
        (
            "'completed', null, null, '{\"customer\":\"c7\",\"env\":\"prod\"}', null",
            "null, null, null",
            "label",
            &["run_by_label"],
        ),
        (
            "'suspended', null, null, '{\"customer\":\"c7\"}', null",
            "null, null, null",
            "label",
            &["run_by_label"],
        ),
        (
            "null, 'shop:p1/api.w1', null, '{\"customer\":\"c7\"}', null",
            &minute,
            "label",
            &["run_by_creation"],
        ),
        (
            "null, null, null, '{\"env\":\"prod\"}', null",
            "null, null, null",
            "label",
            &["run_by_creation"],
        ),
        (
            "'suspended', null, null, null, null",
            "null, null, null",
            "task",
            &["run_by_creation"],
        ),
        (
            "'suspended', 'shop:p1/api.w1', null, null, null",
            "null, null, null",
            "task",
            &["run_by_creation"],
        ),
        (
            "'suspended', 'shop:p1/api.none', null, null, null",
            "null, null, null",
            "task",
            &["run_by_creation", "run_pkey"],
        ),
        (
            "'queued', null, null, null, null",
            "null, null, null",
            "task",
            &["run_by_creation"],
        ),
        (
            "'running', null, null, null, null",
            "null, null, null",
            "task",
            &["task_leased"],
        ),
        (
            "'paused', null, null, null, null",
            "null, null, null",
            "task",
            &["task_suspended_by_person", "run_pkey"],
        ),
        (
            "'blocked', null, null, null, null",
            "null, null, null",
            "task",
            &["task_suspended_by_person", "run_pkey"],
        ),
        (
            "'blocked', null, null, '{\"env\":\"prod\"}', null",
            "null, null, null",
            "task",
            &["task_suspended_by_person", "run_pkey"],
        ),
        (
            "'cancelling', null, null, null, null",
            "null, null, null",
            "cancel",
            &["run_by_cancel"],
        ),
        (
            "'failed', null, null, null, null",
            "null, null, null",
            "unsuccessful",
            &["unsuccessful_by_status"],
        ),
        (
            "'cancelled', null, null, null, null",
            &place,
            "unsuccessful",
            &["unsuccessful_by_status"],
        ),
        (
            "'failed', 'shop:p1/api.w2', null, null, null",
            "null, null, null",
            "unsuccessful",
            &["unsuccessful_by_workflow"],
        ),
        (
            "'failed', null, null, '{\"customer\":\"c980\"}', null",
            "null, null, null",
            "unsuccessful",
            &["unsuccessful_by_words_and_labels"],
        ),
        (
            "null, null, null, null, 'customer c88'",
            "null, null, null",
            "unsuccessful",
            &["unsuccessful_by_words_and_labels"],
        ),
        (
            "'failed', null, null, null, 'declin'",
            "null, null, null",
            "unsuccessful",
            &["unsuccessful_by_status"],
        ),
        (
            "'failed', 'shop:p1/api.w1', null, null, 'c8800 card'",
            &place,
            "unsuccessful",
            &["unsuccessful_by_words_and_labels"],
        ),
    ];
    // Both ways; the one back is given the other end of a time first.
    let minute_back = format!("'2026-11-01 12:01Z', '2026-11-01 12:00Z', {nil}");
    let both = cases.iter().flat_map(|(filter, times, way, indexes)| {
        let back = if *times == minute {
            &minute_back
        } else {
            *times
        };
        [
            ("list", filter, *times, way, indexes),
            ("list_back", filter, back, way, indexes),
        ]
    });
    for (statement, filter, times, way, indexes) in both {
        let (statement, parameters) = match (*way, statement) {
            ("creation", statement) => {
                let status = filter.split(", ").next().unwrap();
                let newest = statement.replace("list", "newest");
                (newest, format!("{status}, {times}, 51"))
            }
            (way, statement) => {
                let all = format!("{filter}, {times}, 51, '{way}', null");
                (statement.to_owned(), all)
            }
        };
        // As a client has it planned; the last two are labels and words.
        in_order(&mut connection, filter.ends_with("null, null")).await;
        let kept = match *way {
            "creation" => "set plan_cache_mode = force_generic_plan; set enable_seqscan = off",
            _ => "set plan_cache_mode = force_custom_plan; set enable_seqscan = on",
        };
        connection.execute(kept).await.unwrap();
        let plan = plan(&mut connection, &statement, &parameters).await;
        for index in *indexes {
            assert!(
                plan.contains(index),
                "{filter}, {times}: {index} is not used:\n{plan}"
            );
        }
        // Where few tasks tell, the newest runs are not looked through.
        let are_few = ["'running'", "'paused'", "'blocked'"]
            .iter()
            .any(|status| filter.starts_with(status));
        assert!(
            !are_few || !plan.contains("run_by_creation"),
            "{filter}, {times}:\n{plan}"
        );
        for table in ["run", "step", "task_suspended", "unsuccessful"] {
            // The few tasks there are may be read as a whole to find those of a status.
            let may_scan = table == "task_suspended" && *way == "task" || table == "step";
            assert!(
                may_scan
                    || !plan
                        .lines()
                        .any(|line| line.contains("Seq Scan")
                            && line.contains(&format!(" on {table} "))),
                "{filter}, {times}: {table} is read as a whole:\n{plan}"
            );
        }
    }
    // Whoever is limited to some workflows finds them as if they had asked for one.
    for statement in ["list", "list_back"] {
        let nothing = "null, null, null, null, null, null, null, null";
        let parameters = format!("{nothing}, 51, 'code', '{{shop:p1/%}}'");
        in_order(&mut connection, true).await;
        let plan = plan(&mut connection, statement, &parameters).await;
        assert!(plan.contains("run_by_code"), "{plan}");
        assert!(!plan.contains("Seq Scan on run "), "{plan}");
    }
    // Counts of a part of the runs read no more than that part.
    in_order(&mut connection, false).await;
    let sql = include_str!("../../../store/sql/run/count.sql");
    connection
        .execute(sqlx::AssertSqlSafe(format!("prepare count as {sql}")))
        .await
        .unwrap();
    for (filter, index) in [
        (
            "null, 'shop:p1/api.w1', null, null, null, null, null",
            "run_by_code",
        ),
        (
            "'completed', null, 3, null, null, null, null",
            "run_by_code",
        ),
        (
            "null, null, null, '{\"customer\":\"c7\"}', null, null, null",
            "run_by_label",
        ),
        (
            "null, null, null, null, 'customer c88', null, null",
            "unsuccessful_by_words_and_labels",
        ),
        (
            "null, null, null, null, null, '2026-11-01 12:00Z', '2026-11-01 12:01Z'",
            "run_by_creation",
        ),
    ] {
        let parameters = format!("{filter}, null");
        let plan = plan(&mut connection, "count", &parameters).await;
        assert!(
            plan.contains(index),
            "{filter}: {index} is not used:\n{plan}"
        );
        assert!(
            !plan
                .lines()
                .any(|line| line.contains("Seq Scan") && line.contains(" on run ")),
            "{filter}: all runs are read:\n{plan}"
        );
    }
    drop(connection);

    // The same as a client asks, with the time it takes. What reads all runs takes much longer on a machine
    // with so little memory.
    let all = RunFilter::default();
    let mut slowest = Duration::ZERO;
    let filters = [
        all.clone(),
        RunFilter {
            status: Some(Status::Suspended),
            ..all.clone()
        },
        RunFilter {
            status: Some(Status::Blocked),
            ..all.clone()
        },
        RunFilter {
            status: Some(Status::Failed),
            workflow: Some("shop:p1/api.w2".to_owned()),
            ..all.clone()
        },
        RunFilter {
            labels: [("customer".to_owned(), "c7".to_owned())].into(),
            ..all.clone()
        },
        RunFilter {
            failure: Some("customer c88".to_owned()),
            ..all.clone()
        },
        RunFilter {
            workflow: Some("shop:p1/api.w1".to_owned()),
            deployment: Some(3),
            ..all.clone()
        },
    ];
    for runs in filters {
        let started = Instant::now();
        let page = database
            .client
            .list(ListFilter {
                runs: runs.clone(),
                ..ListFilter::default()
            })
            .await
            .unwrap();
        let took = started.elapsed();
        println!("{took:>8.1?} for {} runs of {runs:?}", page.items.len());
        assert!(!page.items.is_empty(), "{runs:?}");
        slowest = slowest.max(took);
    }
    assert!(
        slowest < Duration::from_secs(2),
        "the slowest search took {slowest:?}"
    );
    // Where the newest runs do not fill a page the rest is collected: no run is lost or added there.
    let customer = RunFilter {
        labels: [("customer".to_owned(), "c7".to_owned())].into(),
        ..all.clone()
    };
    let of_customer = "labels @> '{\"customer\":\"c7\"}'";
    let is_suspended =
        "id in (select run_id from dacapo.task_suspended where not paused and reason <> 'blocked')";
    let filters = [
        (customer.clone(), of_customer.to_owned()),
        (
            RunFilter {
                status: Some(Status::Suspended),
                ..customer.clone()
            },
            format!("{of_customer} and {is_suspended}"),
        ),
        (
            RunFilter {
                status: Some(Status::Failed),
                ..customer
            },
            format!("{of_customer} and status = 'failed'"),
        ),
        (
            RunFilter {
                failure: Some("customer c8800".to_owned()),
                ..all.clone()
            },
            "status = 'failed' and failure like '%customer c8800%'".to_owned(),
        ),
        (
            RunFilter {
                status: Some(Status::Suspended),
                workflow: Some("shop:p1/api.w1".to_owned()),
                deployment: Some(3),
                ..all.clone()
            },
            format!(
                "{is_suspended} and workflow = 'shop:p1/api.w1' and deployment_id in (select id from dacapo.deployment where number = 3)"
            ),
        ),
        // So few that the newest are not looked through first.
        (
            RunFilter {
                status: Some(Status::Blocked),
                ..all.clone()
            },
            "id in (select run_id from dacapo.task_suspended where reason = 'blocked')".to_owned(),
        ),
    ];
    for (runs, truth) in filters {
        let truth =
            format!("select id from dacapo.run where {truth} order by created_at desc, id desc");
        let truth: Vec<uuid::Uuid> = sqlx::query_scalar(sqlx::AssertSqlSafe(truth))
            .fetch_all(database.store.pool())
            .await
            .unwrap();
        assert!(!truth.is_empty(), "{runs:?}");
        let mut filter = ListFilter {
            runs,
            limit: 100,
            after: None,
            before: None,
        };
        let mut found = Vec::new();
        loop {
            let page = database.client.list(filter.clone()).await.unwrap();
            found.extend(page.items.iter().map(|run| run.id.0));
            filter.after = page.next;
            if filter.after.is_none() {
                break;
            }
        }
        assert_eq!(found, truth, "{filter:?}");
    }
    // And as people and programs look: whole answers of a server.
    for (path, took) in answers(&database).await {
        println!("{took:>8.1?} for {path}");
        assert!(took < Duration::from_secs(2), "{path} took {took:?}");
    }
    let started = Instant::now();
    let counts = database.client.count(all).await.unwrap();
    println!(
        "{:>8.1?} to count a million runs: {counts:?}",
        started.elapsed()
    );
    assert_eq!(counts[&Status::Completed], 880_000);
    assert_eq!(counts.values().sum::<u64>(), 1_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_finds_and_counts_runs() {
    let database = database().await;
    database.deploy("bench_guest").await;
    for label in ["tenant=a", "tenant=b"] {
        let output = run(
            &database,
            &[
                "start",
                "wait-event",
                "--label",
                label,
                "--label",
                "env=test",
            ],
        )
        .await;
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let list = async |arguments: &[&str]| -> usize {
        let arguments = [["runs", "list", "-o", "json"].as_slice(), arguments].concat();
        let output = run(&database, &arguments).await;
        assert!(output.status.success(), "{}", text(&output.stderr));
        let page: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        page["items"].as_array().unwrap().len()
    };
    assert_eq!(
        list(&[
            "--workflow",
            "wait-event",
            "--status",
            "queued",
            "--since",
            "2h"
        ])
        .await,
        2
    );
    assert_eq!(
        list(&["--label", "tenant=a", "--label", "env=test"]).await,
        1
    );
    assert_eq!(
        list(&["--deployment", "1", "--before", "2020-01-01"]).await,
        0
    );
    assert_eq!(
        list(&["--since", "2020-01-01T00:00:00Z", "--deployment", "2"]).await,
        0
    );
    assert_eq!(list(&["--failure", "card declined"]).await, 0);
    let counted = run(&database, &["runs", "count", "--label", "env=test"]).await;
    let lines: Vec<String> = text(&counted.stdout)
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(lines, ["STATUS RUNS", "queued 2", "all 2"]);
    let counted = run(&database, &["runs", "count", "-o", "json"]).await;
    let counts: serde_json::Value = serde_json::from_slice(&counted.stdout).unwrap();
    assert_eq!(
        (&counts["queued"], &counts["failed"]),
        (&2.into(), &0.into())
    );

    let since = run(&database, &["runs", "list", "--since", "yesterday"]).await;
    assert!(
        text(&since.stderr).contains("expected a time such as"),
        "{}",
        text(&since.stderr)
    );
    // Pages lead back, too, and the newest run of a workflow needs no id.
    let page = async |arguments: &[&str]| -> serde_json::Value {
        let one = ["runs", "list", "-o", "json", "--limit", "1"];
        let output = run(&database, &[one.as_slice(), arguments].concat()).await;
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let first = page(&[]).await;
    let second = page(&["--after", first["next"].as_str().unwrap()]).await;
    let previous = second["previous"].as_str().unwrap();
    assert_eq!(page(&["--back-from", previous]).await, first);
    let back = run(
        &database,
        &[
            "runs",
            "list",
            "--limit",
            "1",
            "--after",
            first["next"].as_str().unwrap(),
        ],
    )
    .await;
    assert!(
        text(&back.stderr).contains(&format!("newer: --back-from {previous}")),
        "{}",
        text(&back.stderr)
    );
    fails(
        &run(&database, &["runs", "list", "--back-from", "here"]).await,
        2,
        &["not a cursor"],
    );
    let last = run(
        &database,
        &["runs", "show", "--last", "wait-event", "-o", "json"],
    )
    .await;
    let last: serde_json::Value = serde_json::from_slice(&last.stdout).unwrap();
    assert_eq!(last["id"], first["items"][0]["id"]);
    fails(
        &run(&database, &["runs", "show", "--last", "noop-steps"]).await,
        1,
        &["there is no run of noop-steps"],
    );
    fails(
        &run(&database, &["runs", "count", "--failure", "?!"]).await,
        2,
        &["no word to look for"],
    );
    fails(
        &run(
            &database,
            &["runs", "list", "--since", "2h", "--before", "3h"],
        )
        .await,
        2,
        &["nothing is created since"],
    );
    assert_eq!(
        run(&database, &["runs", "list", "--deployment", "0"])
            .await
            .status
            .code(),
        Some(2)
    );
}
