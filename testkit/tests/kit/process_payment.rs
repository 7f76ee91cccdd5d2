//! Tests of the workflow `process`, as its author would write them.

use std::time::Duration;

use dacapo_testkit::{Component, Error, Failure, Run, Value, json};

const PAYMENTS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../target/wasm32-wasip2/guest/process_payment.wasm"
);
const HOUR: Duration = Duration::from_secs(60 * 60);

fn payment() -> Result<Run, Error> {
    let input = json!({
        "orderId": 7,
        "amountCents": 1250,
        "currency": "eur",
        "items": [{ "sku": "tea", "price": 1250 }],
    });
    Component::load(PAYMENTS)?.run("process", input)
}

#[tokio::test]
async fn a_payment_settles_also_when_the_bank_takes_hours() -> Result<(), Error> {
    let mut run = payment()?;
    run.send_event_at(23 * HOUR, "settled", json!({ "reference": "bank-1" }));

    let outcome = run.run_to_completion().await?;

    let receipt: Value = outcome.output()?;
    assert_eq!(receipt["settlement"], "bank-1");
    assert_eq!(run.elapsed(), 23 * HOUR);
    run.assert_journal(
        r#"
        reserve#1 step ok "hold-7"
        charge#1 step ok "charge-7"
        settled#1 wait ok {"reference":"bank-1"}
        "#,
    );
    run.crash_everywhere().await?;
    Ok(())
}

#[tokio::test]
async fn what_does_not_settle_within_a_day_is_released() -> Result<(), Error> {
    let mut run = payment()?;

    let outcome = run.run_to_completion().await?;

    let problem: Option<Value> = outcome.workflow_error()?;
    assert_eq!(problem, Some(json!({ "tag": "not-settled" })));
    assert_eq!(run.elapsed(), 24 * HOUR);
    run.assert_journal(
        r#"
        reserve#1 step ok "hold-7"
        charge#1 step ok …
        settled#1 wait timed-out
        release#1 step ok "hold-7 is released"
        "#,
    );
    run.crash_everywhere().await?;
    Ok(())
}

#[tokio::test]
async fn a_card_that_is_declined_releases_the_items() -> Result<(), Error> {
    let mut run = payment()?;
    run.script_step("charge", Err(Failure::new("declined", "no funds")));

    let outcome = run.run_to_completion().await?;

    assert_eq!(outcome.to_string(), "failed with declined: no funds");
    run.assert_journal(
        r#"
        reserve#1 step ok "hold-7"
        charge#1 step failed …
        release#1 step ok "hold-7 is released"
        "#,
    );
    run.crash_everywhere().await?;
    Ok(())
}
