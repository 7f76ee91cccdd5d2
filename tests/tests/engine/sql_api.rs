//! Runs and events from SQL alone: dacapo.start and dacapo.send_event.

use std::cell::RefCell;

use dacapo_client::{RunFilter, StartOptions, Status};
use dacapo_model::{InputError, Param, Payload, PayloadLimits, RunId, Type, Workflow, to_json};
use dacapo_tests::{Database, database};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use sqlx::{Connection, Executor, PgConnection};
use uuid::Uuid;

use crate::check::{sound, worker};
use crate::random::{any_json, any_type, count, replace, respelled, typed_value};

const PROCESS: &str = "payments:processing/payments.process";
const PAYMENT: &str = r#"{"orderId": 7, "amountCents": 1250, "currency": "eur", "items": [{"sku": "tea", "price": 1250}]}"#;

/// The message of the error with which a statement ends, and its hint.
async fn refused(connection: &mut PgConnection, statement: &str) -> (String, String) {
    let error = connection
        .execute(sqlx::AssertSqlSafe(statement.to_owned()))
        .await
        .expect_err(statement);
    let error = error.as_database_error().unwrap();
    let error = error.downcast_ref::<sqlx::postgres::PgDatabaseError>();
    (
        error.message().to_owned(),
        error.hint().unwrap_or_default().to_owned(),
    )
}

async fn payments() -> (Database, PgConnection) {
    let database = database().await;
    database.deploy("process_payment").await;
    let connection = PgConnection::connect(&database.url).await.unwrap();
    (database, connection)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_sql_starts_exists_if_and_when_the_callers_transaction_commits() {
    let (database, mut connection) = payments().await;
    let worker = worker(&database).await;
    connection
        .execute("create table orders (run uuid)")
        .await
        .unwrap();
    let start = "insert into orders select dacapo.start('process', $1, '{\"labels\": {\"shop\": \"x\"}}') returning run";
    let mut transaction = connection.begin().await.unwrap();
    let _: Uuid = sqlx::query_scalar(start)
        .bind(PAYMENT)
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(
        database
            .count("select (select count(*) from orders) + (select count(*) from dacapo.run)")
            .await,
        0
    );

    let mut transaction = connection.begin().await.unwrap();
    let run: Uuid = sqlx::query_scalar(start)
        .bind(PAYMENT)
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
    // An event may follow in the same transaction.
    let sent: String = sqlx::query_scalar(
        "select dacapo.send_event($1, 'settled', '{\"reference\": \"bank-1\"}'::jsonb, '{\"id\": \"d\"}'::jsonb)",
    )
    .bind(run)
    .fetch_one(&mut *transaction)
    .await
    .unwrap();
    assert_eq!(
        (
            sent.as_str(),
            database.count("select count(*) from dacapo.run").await
        ),
        ("sent", 0)
    );
    transaction.commit().await.unwrap();
    let done = database.done(RunId(run)).await;
    assert_eq!(
        (done.status, done.workflow.as_str()),
        (Status::Completed, PROCESS)
    );
    assert_eq!(done.input.as_str(), PAYMENT);
    assert_eq!(done.labels["shop"], "x");
    assert_eq!(run.get_version_num(), 7);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sql_is_given_is_checked_and_nothing_is_written_when_it_is_wrong() {
    let (database, mut connection) = payments().await;
    for (arguments, message, hint) in [
        (
            r#"'process', '{"orderId":1,"amountCents":1,"currency":"eur","items":[{"sku":"a","price":1},{"sku":"a","price":1},{"sku":"b","price":"4"}]}'"#,
            "input.items[2].price: expected u32, got \"4\"",
            "takes record",
        ),
        (
            r#"'process', '{"orderId":1}'"#,
            "input.amountCents: missing, expected",
            "takes record",
        ),
        (
            "'process', '{'",
            "input: not JSON: The input string ended unexpectedly",
            "",
        ),
        (
            r#"'process', '{"a":1,"a":2}'"#,
            "input: duplicate key \"a\" in an object",
            "",
        ),
        (
            "'process', repeat('[', 101) || repeat(']', 101)",
            "JSON nests deeper than 100 levels",
            "",
        ),
        (
            "'process', '\"' || repeat('x', 2000000) || '\"'",
            "payload is 2,000,002 bytes, the limit is 1,048,576 bytes",
            "",
        ),
        (
            "'process', null::text",
            "the input is null",
            "written 'null'",
        ),
        (
            "'proces', '1'",
            "there is no workflow \"proces\"",
            "dacapo workflows",
        ),
        (
            "'process', '1', '{\"namespace\": \"other\"}'",
            "there is no workflow",
            "",
        ),
        (
            "'process', '1', '{\"prio\": 1}'",
            "options.prio: unknown option; expected one of at, concurrencyKey, deadline, debounce, debounceFor, debounceMax, delay, key, labels, namespace, onConflict, priority, queue, singleton",
            "",
        ),
        (
            "'process', '1', '{\"key\": 1}'",
            "options.key: expected a string, got 1",
            "",
        ),
        (
            "'process', '1', '{\"key\": \"\"}'",
            "options.key: expected 1 to 1000 bytes, got 0",
            "",
        ),
        (
            "'process', '1', '[]'",
            "options: expected a JSON object, got []",
            "",
        ),
        (
            "'process', '1', '{\"labels\": {\"a\": 1}}'",
            "options.labels.a: expected a name and a string",
            "",
        ),
        (
            "'process', '1', '{\"labels\": 7}'",
            "options.labels: expected an object of strings, got 7",
            "",
        ),
    ] {
        let (said, hinted) = refused(
            &mut connection,
            &format!("select dacapo.start({arguments})"),
        )
        .await;
        assert!(said.contains(message), "expected {message:?} in {said:?}");
        assert!(hinted.contains(hint), "expected {hint:?} in {hinted:?}");
    }
    assert_eq!(database.count("select (select count(*) from dacapo.run) + (select count(*) from dacapo.task_ready)").await, 0);

    let run: Uuid = sqlx::query_scalar("select dacapo.start('process', $1::text::jsonb)")
        .bind(PAYMENT)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let nobody = Uuid::nil();
    for (arguments, message) in [
        (
            format!("'{nobody}', 'a', '1'::jsonb"),
            format!("there is no run {nobody}"),
        ),
        (
            format!("'{run}', 'a/b', '1'::jsonb"),
            "bad event name \"a/b\"".to_owned(),
        ),
        (
            format!("'{run}', '', '1'::jsonb"),
            "bad event name \"\"".to_owned(),
        ),
        (
            format!("'{run}', 'a', null::jsonb"),
            "the payload is null".to_owned(),
        ),
        (
            format!("'{run}', 'a', '1'::jsonb, '{{\"key\": \"x\"}}'"),
            "options.key: unknown option; expected id".to_owned(),
        ),
        // The older form, with the payload as text.
        (
            format!("'{run}', 'a', '{{'"),
            "invalid input syntax for type json".to_owned(),
        ),
    ] {
        let (said, _) = refused(
            &mut connection,
            &format!("select dacapo.send_event({arguments})"),
        )
        .await;
        assert!(said.contains(&message), "expected {message:?} in {said:?}");
    }
    database.client.cancel(RunId(run)).await.unwrap();
    let (said, hint) = refused(
        &mut connection,
        &format!("select dacapo.send_event('{run}', 'a', '1'::jsonb)"),
    )
    .await;
    assert_eq!(
        said,
        format!("cannot send an event to run {run}: it is cancelled")
    );
    assert_eq!(hint, "events can be sent to a run until it ends");
    assert_eq!(database.count("select count(*) from dacapo.event").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_and_the_client_mean_the_same_run_by_a_key() {
    let (database, mut connection) = payments().await;
    let by_client = database
        .client
        .start_by_name(PROCESS, PAYMENT, StartOptions::keyed("order-7"))
        .await
        .unwrap();
    let options = serde_json::json!({"key": "order-7"});
    // Written in another way, by another name, it is the same input of the same workflow.
    let respelled = r#"{"items":[{"price":1250,"sku":"\u0074ea"}],"currency":"eur","amountCents":1250,"orderId":7}"#;
    for (name, input) in [
        (PROCESS, PAYMENT),
        ("process", respelled),
        ("payments.process", PAYMENT),
    ] {
        let run: Uuid = sqlx::query_scalar("select dacapo.start($1, $2, $3::text::jsonb)")
            .bind(name)
            .bind(input)
            .bind(options.to_string())
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(run, by_client.id.0, "{name}");
    }
    let other = PAYMENT.replace("\"tea\"", "\"coffee\"");
    let (said, hint) = refused(
        &mut connection,
        &format!("select dacapo.start('process', '{other}', '{options}')"),
    )
    .await;
    assert!(
        said.contains(&by_client.id.to_string()) && said.contains("tea") && said.contains("coffee"),
        "{said}"
    );
    assert!(hint.contains("another key"), "{hint}");
    assert_eq!(
        database.client.count(RunFilter::default()).await.unwrap()[&Status::Queued],
        1
    );
    // And the other way round.
    let by_sql: Uuid =
        sqlx::query_scalar("select dacapo.start('process', $1, '{\"key\": \"ümläut\"}')")
            .bind(PAYMENT)
            .fetch_one(&mut connection)
            .await
            .unwrap();
    let again = database
        .client
        .start_by_name("process", PAYMENT, StartOptions::keyed("ümläut"))
        .await
        .unwrap();
    assert_eq!((again.id.0, again.created), (by_sql, false));
}

/// The texts of a value of the type that was not written as it was, and of JSON that is near to it or is nothing like it.
fn texts() -> impl Strategy<Value = (Type, String)> {
    let near =
        (typed_value(), any::<Index>(), any_json()).prop_map(|((ty, value), place, json)| {
            let mut tree: serde_json::Value =
                serde_json::from_str(&to_json(&value, &ty).unwrap()).unwrap();
            let place = place.index(count(&tree));
            replace(&mut tree, &mut { place }, &json);
            let text = tree.to_string();
            (ty, text)
        });
    let broken = (
        typed_value(),
        any::<Index>(),
        "[\\[\\]{}\",:0-9eE.\\\\u+a-f -]{0,3}",
    )
        .prop_map(|((ty, value), place, junk)| {
            let mut text = to_json(&value, &ty).unwrap();
            let mut place = place.index(text.len());
            while !text.is_char_boundary(place) {
                place -= 1;
            }
            text.insert_str(place, &junk);
            (ty, text)
        });
    let number = "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?";
    let leaf = prop_oneof![
        Just(Type::U8),
        Just(Type::S16),
        Just(Type::U64),
        Just(Type::S64),
        Just(Type::F32),
        Just(Type::F64),
    ];
    prop_oneof![
        1 => typed_value().prop_map(|(ty, value)| {
            let tree = serde_json::from_str(&to_json(&value, &ty).unwrap()).unwrap();
            (ty, respelled(&tree))
        }),
        2 => near,
        1 => broken,
        1 => (any_type(), any_json()).prop_map(|(ty, json)| (ty, json.to_string())),
        1 => (leaf.clone(), number).prop_map(|(ty, text)| (ty, text)),
        1 => (leaf, number).prop_map(|(ty, text)| (ty, format!("\"{text}\""))),
        // Where types end and numbers stop being finite.
        1 => "-?3\\.40282[34][0-9]{0,12}e38".prop_map(|text| (Type::F32, text)),
        1 => "-?1\\.797693134862[0-9]{0,8}e308".prop_map(|text| (Type::F64, text)),
        1 => (
            prop_oneof![Just(Type::U64), Just(Type::S64), Just(Type::S32), Just(Type::U8)],
            "-?(92233720368547758|184467440737095516|21474836|2)[0-9]{2}",
        ),
        1 => ends(),
        1 => "[A-Za-z0-9+/]{0,6}={0,3}".prop_map(|text| (Type::Bytes, format!("\"{text}\""))),
    ]
}

/// The ends of each type of whole numbers, and what lies beside them.
fn ends() -> impl Strategy<Value = (Type, String)> {
    let types = proptest::sample::select(vec![
        (Type::U8, 0, 8),
        (Type::S8, 7, 7),
        (Type::U16, 0, 16),
        (Type::S16, 15, 15),
        (Type::U32, 0, 32),
        (Type::S32, 31, 31),
        (Type::U64, 0, 64),
        (Type::S64, 63, 63),
    ]);
    (types, any::<bool>(), -1..=1_i128).prop_map(|((ty, below, above), is_least, beside)| {
        let end = match (is_least, below) {
            (true, 0) => 0,
            (true, bits) => -(1_i128 << bits),
            (false, _) => (1_i128 << above) - 1,
        };
        (ty, (end + beside).to_string())
    })
}

fn workflow(ty: &Type) -> Workflow {
    Workflow {
        name: "a:b/c.d".to_owned(),
        interface: "a:b/c".to_owned(),
        function: "d".to_owned(),
        param: Some(Param {
            name: "input".to_owned(),
            ty: ty.clone(),
        }),
        result: None,
        events: Vec::new(),
        docs: None,
    }
}

/// What a check found, without what came: that may be spelled in another way.
fn told(verdict: &Result<Payload, InputError>) -> Vec<String> {
    match verdict {
        Ok(_) => Vec::new(),
        Err(InputError::Malformed { .. }) => vec!["malformed".to_owned()],
        Err(InputError::Mismatch(mismatches)) => mismatches
            .iter()
            .map(|one| expectation(&one.to_string()))
            .collect(),
    }
}

fn told_by_sql(problem: Option<&str>) -> Vec<String> {
    let Some(problem) = problem else {
        return Vec::new();
    };
    let malformed = [
        "input: not JSON",
        "input: JSON nests",
        "input: duplicate key",
    ];
    if malformed.iter().any(|start| problem.starts_with(start)) {
        return vec!["malformed".to_owned()];
    }
    problem.lines().map(expectation).collect()
}

/// What comes before `got`, and what is said after it about the form of integers.
fn expectation(mismatch: &str) -> String {
    let form = if mismatch.ends_with("without fraction, exponent and negative zero") {
        " (form)"
    } else {
        ""
    };
    // An excerpt stands at the end, or after `flag`.
    let (before, _) = mismatch.split_once(" got ").unwrap_or((mismatch, ""));
    let before = match before.split_once(": flag ") {
        Some((path, _)) => format!("{path}: flag twice"),
        None => before.to_owned(),
    };
    format!("{before}{form}")
}

#[tokio::test(flavor = "multi_thread")]
async fn white_space_around_a_number_is_no_part_of_it() {
    let database = database().await;
    let schema = serde_json::to_string(&workflow(&Type::U8)).unwrap();
    for text in [" 0", "0\n", "\t7 "] {
        let problem: Option<String> =
            sqlx::query_scalar("select dacapo.input_problem($1, $2::text::jsonb)")
                .bind(text)
                .bind(&schema)
                .fetch_one(database.store.pool())
                .await
                .unwrap();
        assert_eq!(problem, None, "{text:?}");
    }
}

/// The two checkers are one: the same texts pass, and what does not is refused at the same places with the same expectation.
#[test]
fn the_checker_in_sql_and_the_one_in_rust_agree_on_random_types_and_texts() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let connection = runtime.block_on(async {
        let database = database().await;
        RefCell::new(PgConnection::connect(&database.url).await.unwrap())
    });
    let counts = RefCell::new([0; 3]);
    let mut runner = TestRunner::new(Config {
        cases: 3_000,
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(&texts(), |(ty, text)| {
        // No text of Postgres holds it, and no JSON does so as it is.
        prop_assume!(!text.contains('\0') && !text.contains('\u{fdd0}'));
        let workflow = workflow(&ty);
        let rust = workflow.check_input(&text, &PayloadLimits::default());
        let schema = serde_json::to_string(&workflow).unwrap();
        let (sql, same): (Option<String>, Option<bool>) = runtime
            .block_on(
                sqlx::query_as(
                    "select problem, case when problem is null then dacapo.is_same_input($1, ' ' || $1, $2::text::jsonb) end
                    from dacapo.input_problem($1, $2::text::jsonb) as problem",
                )
                .bind(&text)
                .bind(&schema)
                .fetch_one(&mut *connection.borrow_mut()),
            )
            .map_err(|error| TestCaseError::fail(format!("{error}: {text} as {schema}")))?;
        prop_assert_eq!(told_by_sql(sql.as_deref()), told(&rust), "{} as {}: {:?}", text, schema, sql);
        // What is valid has a canonical form in SQL, too.
        prop_assert_eq!(same, rust.is_ok().then_some(true), "{} as {}", text, schema);
        let kind = match rust {
            Ok(_) => 0,
            Err(InputError::Mismatch(_)) => 1,
            Err(InputError::Malformed { .. }) => 2,
        };
        counts.borrow_mut()[kind] += 1;
        Ok(())
    });
    let counts = counts.into_inner();
    println!("valid, of another type, no JSON: {counts:?}");
    if let Err(error) = result {
        panic!("{error}");
    }
    assert!(counts.iter().all(|count| *count > 100), "{counts:?}");
}

/// Whatever was written, SQL takes two spellings of a value for the same input, and two values for two.
#[test]
fn sql_knows_a_value_by_every_spelling() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let connection = runtime.block_on(async {
        let database = database().await;
        RefCell::new(PgConnection::connect(&database.url).await.unwrap())
    });
    let mut runner = TestRunner::new(Config {
        cases: 500,
        failure_persistence: None,
        ..Config::default()
    });
    let two = typed_value().prop_flat_map(|(ty, value)| {
        let other = crate::random::value_of(&ty);
        (Just(ty), Just(value), other)
    });
    let result = runner.run(&two, |(ty, value, other)| {
        let [text, other] = [&value, &other].map(|value| to_json(value, &ty).unwrap());
        let tree = serde_json::from_str(&text).unwrap();
        let schema = serde_json::to_string(&workflow(&ty)).unwrap();
        let (spelled, others): (bool, bool) = runtime
            .block_on(
                sqlx::query_as("select dacapo.is_same_input($1, $2, $4::text::jsonb), dacapo.is_same_input($1, $3, $4::text::jsonb)")
                    .bind(&text)
                    .bind(respelled(&tree))
                    .bind(&other)
                    .bind(&schema)
                    .fetch_one(&mut *connection.borrow_mut()),
            )
            .map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert!(spelled, "{text} in another spelling as {schema}");
        prop_assert_eq!(others, text == other, "{} and {} as {}", text, other, schema);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_starts_with_a_deadline() {
    let database = database().await;
    database.deploy("probe").await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let naps = r#"'{"ms": 3600000, "times": 1}'"#;
    for (options, message) in [
        (
            r#"{"deadline": "soon"}"#,
            "options.deadline: expected an interval such as 2 hours, got \"soon\"",
        ),
        (
            r#"{"deadline": "0 seconds"}"#,
            "options.deadline: expected 1 ms to 10 years, got \"0 seconds\"",
        ),
        (
            r#"{"deadline": "11 years"}"#,
            "options.deadline: expected 1 ms to 10 years, got \"11 years\"",
        ),
        (
            r#"{"deadline": 7}"#,
            "options.deadline: expected a string, got 7",
        ),
        (
            r#"{"deadline": "1 hour", "delay": "60 minutes"}"#,
            "options.delay: the run would fail by its deadline before it begins: expected less than the deadline",
        ),
    ] {
        let statement = format!("select dacapo.start('sleeps', {naps}, '{options}')");
        let (said, _) = refused(&mut connection, &statement).await;
        assert!(said.starts_with(message), "{options}: {said}");
    }
    assert_eq!(database.count("select count(*) from dacapo.run").await, 0);
    let worker = worker(&database).await;
    for options in [
        r#"{"deadline": "1 second"}"#,
        r#"{"deadline": "1 second", "singleton": "one"}"#,
        r#"{"deadline": "1 second", "priority": 3}"#,
    ] {
        let run: Uuid = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "select dacapo.start('sleeps', {naps}, '{options}')"
        )))
        .fetch_one(&mut connection)
        .await
        .unwrap();
        let ended = database.done(RunId(run)).await;
        assert_eq!(ended.status, Status::Failed, "{options}");
        assert_eq!(ended.failure.unwrap().code, "deadline");
        let allowed = ended.deadline.unwrap().as_micros() - ended.created_at.as_micros();
        assert!((900_000..1_100_000).contains(&allowed), "{allowed}");
    }
    // From the start on, and not from when the run begins.
    let delayed = r#"{"deadline": "2 hours", "delay": "1 hour"}"#;
    let run: Uuid = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
        "select dacapo.start('sleeps', {naps}, '{delayed}')"
    )))
    .fetch_one(&mut connection)
    .await
    .unwrap();
    let waits = database.client.get(RunId(run)).await.unwrap();
    let allowed = waits.deadline.unwrap().as_micros() - waits.created_at.as_micros();
    assert!(
        (7_199_900_000..7_200_100_000).contains(&allowed),
        "{allowed}"
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}
