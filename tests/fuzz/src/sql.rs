//! Arguments of the SQL functions that callers may use.

use dacapo_tests::Database;
use serde_json::{Value, json};
use sqlx::postgres::PgDatabaseError;
use sqlx::{Connection, Executor, PgConnection};

use crate::check::healthy;
use crate::{Random, Target};

/// How many calls there are between two looks at the whole.
const LOOK_EVERY: u64 = 200;

/// Calls with any arguments that Postgres lets through: each answers, or is refused by the function itself, with a code and words, and not by
/// something that it runs into.
#[derive(Debug)]
pub struct Sql {
    database: Database,
    connection: PgConnection,
    count: u64,
}

impl Sql {
    /// Against this database, in which there are a deployment and a queue.
    pub async fn new(database: Database) -> Self {
        database.deploy("kept").await;
        for workflow in ["waits", "leaf", "retries"] {
            database
                .start(&format!("test:kept/kept.{workflow}"), "1")
                .await;
        }
        let queue = dacapo_client::QueueChange {
            concurrency: dacapo_client::LimitChange::Set(2),
            ..dacapo_client::QueueChange::default()
        };
        database.client.set_queue("narrow", queue).await.unwrap();
        let connection = PgConnection::connect(&database.url).await.unwrap();
        Self {
            database,
            connection,
            count: 0,
        }
    }
}

/// A text as SQL.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn text(random: &mut Random) -> String {
    match random.one_in(12) {
        true => "null::text".to_owned(),
        false => format!("{}::text", quoted(&random.text())),
    }
}

fn jsonb(value: &Value) -> String {
    format!("{}::jsonb", quoted(&value.to_string()))
}

fn run(random: &mut Random) -> String {
    match random.below(8) {
        0 => "null::uuid".to_owned(),
        1 => "'00000000-0000-0000-0000-000000000000'::uuid".to_owned(),
        _ => format!(
            "(select id from dacapo.run order by id offset {} limit 1)",
            random.below(12)
        ),
    }
}

fn integer(random: &mut Random) -> String {
    let number = *random.pick(&["0", "1", "2", "-1", "2147483647", "-2147483648", "null"]);
    format!("({number})::integer")
}

/// Options, most of which are known somewhere.
fn options(random: &mut Random) -> String {
    const NAMES: &[&str] = &[
        "namespace",
        "labels",
        "key",
        "deadline",
        "queue",
        "priority",
        "concurrencyKey",
        "delay",
        "beginAt",
        "startAt",
        "singleton",
        "onConflict",
        "debounce",
        "quiet",
        "id",
        "by",
        "expects",
        "percent",
        "manifest",
        "undo",
        "reason",
        "maxPayloadBytes",
        "rollout",
        "activate",
        "force",
        "upgrade",
        "concurrency_key",
        "begin_at",
        "on_conflict",
        "delivery_id",
        "delivery-id",
        "priorities",
        "",
        "a",
    ];
    if random.one_in(15) {
        return match random.below(3) {
            0 => "null::jsonb".to_owned(),
            _ => jsonb(&random.json(2)),
        };
    }
    let count = random.below(4);
    let mut options = serde_json::Map::new();
    for _ in 0..count {
        let value = match random.below(4) {
            0 => random.json(2),
            1 => json!(random.text()),
            2 => json!({ "a": random.text() }),
            _ => json!(*random.pick(&[
                "narrow",
                "default",
                "1s",
                "5",
                "high",
                "2030-01-01T00:00:00Z",
                "reject",
                "replace",
                "queue"
            ])),
        };
        options.insert((*random.pick(NAMES)).to_owned(), value);
    }
    jsonb(&Value::Object(options))
}

fn workflow(random: &mut Random) -> String {
    match random.below(4) {
        0 => text(random),
        1 => "'leaf'::text".to_owned(),
        2 => "'test:kept/kept.work'::text".to_owned(),
        _ => "'test:kept/kept.sleeps'::text".to_owned(),
    }
}

fn package(random: &mut Random) -> String {
    match random.below(3) {
        0 => text(random),
        _ => "'test:kept'::text".to_owned(),
    }
}

impl Target for Sql {
    const NAME: &'static str = "sql";

    fn generate(&self, random: &mut Random) -> Vec<u8> {
        let call = match random.below(13) {
            0..=2 => {
                let input = match random.below(3) {
                    0 => text(random),
                    1 => jsonb(&random.json(3)),
                    _ => format!("'{}'::text", random.below(9)),
                };
                format!("start({}, {input}, {})", workflow(random), options(random))
            }
            3 => format!(
                "send_event({}, {}, {}, {})",
                run(random),
                text(random),
                jsonb(&random.json(3)),
                options(random)
            ),
            4 => format!("pause({})", run(random)),
            5 => format!("resume({})", run(random)),
            6 => format!("cancel({})", run(random)),
            7 => format!("retry({}, {})", run(random), text(random)),
            8 => format!(
                "skip({}, {}, {}, {})",
                run(random),
                text(random),
                text(random),
                text(random)
            ),
            9 => format!(
                "activate({}, {}, {})",
                package(random),
                integer(random),
                options(random)
            ),
            10 => format!(
                "retire({}, {}, {})",
                package(random),
                integer(random),
                options(random)
            ),
            11 => {
                let component = match random.below(3) {
                    0 => "(select bytes from dacapo.component limit 1)".to_owned(),
                    1 => "null::bytea".to_owned(),
                    _ => format!("{}::bytea", quoted("\\x0061736d")),
                };
                let descriptor = match random.below(3) {
                    0 => "(select descriptor::jsonb from dacapo.deployment limit 1)".to_owned(),
                    1 => {
                        let name = random.text();
                        let put = jsonb(&random.json(2));
                        let at = *random.pick(&[
                            "package",
                            "workflows",
                            "version",
                            "imports",
                            "children",
                            "workflows,0",
                            "workflows,0,name",
                            "workflows,0,params",
                            "workflows,0,params,0,ty",
                        ]);
                        format!(
                            "(select jsonb_set(descriptor::jsonb || {}, '{{{at}}}', {put}) from dacapo.deployment limit 1)",
                            jsonb(&json!({ name: 1 }))
                        )
                    }
                    _ => jsonb(&random.json(4)),
                };
                format!("deploy({component}, {descriptor}, {})", options(random))
            }
            _ => format!("allow_sql_steps({}::name)", text(random)),
        };
        format!("select dacapo.{call}").into_bytes()
    }

    async fn check(&mut self, input: &[u8]) -> Result<(), String> {
        let statement = String::from_utf8_lossy(input).into_owned();
        let mut transaction = self.connection.begin().await.unwrap();
        let outcome = transaction
            .execute(sqlx::AssertSqlSafe(statement.clone()))
            .await;
        let outcome = match outcome {
            Ok(_) => transaction
                .commit()
                .await
                .map_err(|error| format!("at commit: {error}")),
            Err(error) => {
                let refused = refused(&error);
                transaction.rollback().await.unwrap();
                refused
            }
        };
        outcome.map_err(|what| format!("{what}: {statement}"))?;
        self.count += 1;
        if self.count.is_multiple_of(LOOK_EVERY) {
            healthy(&self.database).await?;
        }
        Ok(())
    }
}

/// Whether a function has refused a call itself, with words.
fn refused(error: &sqlx::Error) -> Result<(), String> {
    let Some(error) = error.as_database_error() else {
        return Err(format!("no answer: {error}"));
    };
    let error = error.downcast_ref::<PgDatabaseError>();
    // Where it was raised: by a function of ours, or by what that has run into.
    let by_us = error.routine() == Some("exec_stmt_raise");
    if by_us && error.code() != "P0001" && !error.message().is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} {} ({}): {}",
        error.code(),
        error.message(),
        error.routine().unwrap_or_default(),
        error
            .r#where()
            .unwrap_or_default()
            .lines()
            .next()
            .unwrap_or_default()
    ))
}
