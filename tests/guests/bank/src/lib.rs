//! Workflows that move money by SQL steps, and some that try what they must not. `wit/` says what each of them does.

use std::cell::Cell;
use std::time::{Duration, Instant};

use bindings::exports::test::bank::statements;
use bindings::exports::test::bank::transfers::{self, Transfer};
use dacapo_guest::sql::{JsonText, Micros, Transaction, Value};
use dacapo_guest::{Failure, Fatal, Retry, map, raw, step};

dacapo_guest::workflows!(Bank);

struct Bank;

/// Takes a cent off account 1.
fn take_a_cent(tx: &mut Transaction) -> Result<u64, Failure> {
    tx.execute("update account set cents = cents - 1 where id = 1", ())
}

fn put(tx: &mut Transaction, id: u32, cents: i64) -> Result<i64, dacapo_guest::StepError> {
    let rows = tx.query(
        "update account set cents = cents + $1 where id = $2 returning cents",
        (cents, id),
    )?;
    let row = rows.first().ok_or(Fatal("no such account"))?;
    tx.execute(
        "insert into entry (account, cents) values ($1, $2)",
        (id, cents),
    )?;
    Ok(row.get("cents")?)
}

impl transfers::Guest for Bank {
    fn move_money(transfer: Transfer) -> Result<String, String> {
        let cents = i64::from(transfer.cents);
        let left: i64 = step("debit").sql(|tx| put(tx, transfer.from, -cents))?;
        let there: i64 = step("credit").sql(|tx| put(tx, transfer.to, cents))?;
        step("after").run(|| Ok(()))?;
        Ok(format!("{left} {there}"))
    }

    fn move_many(times: u32) -> Result<u32, String> {
        let moved: Vec<u32> = (0..times).collect();
        let moved = map("move", &moved).run(|_| {
            step("debit").sql(|tx| put(tx, 1, -1))?;
            step("credit").sql(|tx| put(tx, 2, 1))
        })?;
        Ok(moved.len() as u32)
    }

    fn third_time() -> Result<u32, String> {
        Ok(step("debit")
            .attempts(3)
            .backoff(Duration::from_millis(1), 1.0, Duration::from_millis(1))
            .run_with(|attempt| {
                raw::sql::execute("update account set cents = cents - 1 where id = 1", &[])
                    .map_err(Failure::from)?;
                if attempt < 3 {
                    return Err(Retry("not yet").into());
                }
                Ok(attempt)
            })?)
    }

    fn fails_for_good() -> Result<String, String> {
        let failed = step("debit").sql(|tx| {
            take_a_cent(tx)?;
            Err::<(), _>(Failure::fatal("changed-my-mind", "no").into())
        });
        let Err(failure) = failed else {
            return Err("the step did not fail".to_owned());
        };
        step("credit")
            .sql(|tx| Ok(tx.execute("update account set cents = cents + 1 where id = 2", ())?))?;
        Ok(failure.code)
    }

    fn slow(seconds: f64) -> Result<String, String> {
        let attempt = Cell::new(0);
        step("debit")
            .attempts(2)
            .backoff(Duration::from_millis(1), 1.0, Duration::from_millis(1))
            .run_with(|number| {
                attempt.set(number);
                raw::sql::execute("update account set cents = cents - 1 where id = 1", &[])
                    .map_err(Failure::from)?;
                // Only the first time.
                let seconds = if number == 1 { seconds } else { 0.0 };
                raw::sql::query("select pg_sleep($1)", &[Value::Float(seconds)])
                    .map_err(Failure::from)?;
                Ok(())
            })?;
        step("after").run(|| Ok(()))?;
        Ok(format!("attempt {}", attempt.get()))
    }

    fn stuck(ms: u64) -> Result<String, String> {
        step("debit").sql(|tx| {
            take_a_cent(tx)?;
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(ms) {
                std::hint::black_box(());
            }
            Ok(())
        })?;
        Ok("done".to_owned())
    }

    fn late() -> Result<String, String> {
        step("debit")
            .attempts(2)
            .backoff(Duration::from_millis(1), 1.0, Duration::from_millis(1))
            .timeout(Duration::from_millis(500))
            .run_with(|number| {
                raw::sql::execute("update account set cents = cents - 1 where id = 1", &[])
                    .map_err(Failure::from)?;
                let seconds = if number == 1 { 5.0 } else { 0.0 };
                raw::sql::query("select pg_sleep($1)", &[Value::Float(seconds)])
                    .map_err(Failure::from)?;
                Ok(())
            })?;
        Ok("done".to_owned())
    }
}

impl statements::Guest for Bank {
    fn hostile(statements: Vec<String>) -> Result<Vec<String>, String> {
        Ok(step("hostile").attempts(1).sql(|tx| {
            take_a_cent(tx)?;
            let mut codes = Vec::new();
            for statement in &statements {
                codes.push(match tx.query(statement, ()) {
                    Ok(_) => "ok".to_owned(),
                    Err(failure) => failure.code,
                });
            }
            Ok(codes)
        })?)
    }

    fn read(statement: String) -> Result<String, String> {
        Ok(step("read").attempts(1).sql(|tx| {
            let rows = tx.query(&statement, ())?;
            let rows: Vec<_> = rows
                .iter()
                .map(|row| (row.columns(), row.values()))
                .collect();
            Ok(format!("{rows:?}"))
        })?)
    }

    fn round_trip() -> Result<String, String> {
        Ok(step("round-trip").attempts(1).sql(|tx| {
            let id = "11111111-2222-3333-4444-555555555555";
            tx.execute(
                "insert into kinds (small, whole, big, single, double, yes, note, code, blob, doc, at, id, mood, missing, amount)
                values ($1, $1, $2, $3, $3, $4, $5, $5, $6, $7, $8, $9::uuid, $10::mood, $11, $12::numeric)",
                vec![
                    Value::Integer(-7),
                    Value::Integer(i64::MIN),
                    Value::Float(0.5),
                    Value::Boolean(true),
                    Value::from("grüße"),
                    Value::from(&[0_u8, 255][..]),
                    JsonText::of(&(1, "a"))?.into(),
                    Micros(1_790_000_000_123_456).into(),
                    Value::from(id),
                    Value::from("happy"),
                    Value::Null,
                    Value::from("12.50"),
                ],
            )?;
            let rows = tx.query(
                "select small, whole, big, single, double, yes, note, code, blob, doc, at, id, mood, missing, amount::text from kinds",
                (),
            )?;
            let row = rows.first().ok_or(Fatal("no row"))?;
            let mut wrong = Vec::new();
            let mut same = |column: &str, is_same: bool| {
                if !is_same {
                    wrong.push(column.to_owned());
                }
            };
            same("small", row.get::<i32>("small")? == -7);
            same("whole", row.get::<i64>("whole")? == -7);
            same("big", row.get::<i64>("big")? == i64::MIN);
            same("single", row.get::<f64>("single")? == 0.5);
            same("double", row.get::<f64>("double")? == 0.5);
            same("yes", row.get::<bool>("yes")?);
            same("note", row.get::<String>("note")? == "grüße");
            same("code", row.get::<String>("code")? == "grüße");
            same("blob", row.get::<Vec<u8>>("blob")? == [0, 255]);
            same("doc", row.get::<JsonText>("doc")?.read::<(i32, String)>()? == (1, "a".to_owned()));
            same("at", row.get::<Micros>("at")? == Micros(1_790_000_000_123_456));
            same("id", row.get::<String>("id")? == id);
            same("mood", row.get::<String>("mood")? == "happy");
            same("missing", row.get::<Option<i64>>("missing")?.is_none());
            same("amount", row.get::<String>("amount")? == "12.50");
            Ok(format!("{wrong:?}"))
        })?)
    }

    fn outside() -> Result<String, String> {
        raw::sql::execute("select 1", &[]).map_err(Failure::from)?;
        Ok("not refused".to_owned())
    }
}
