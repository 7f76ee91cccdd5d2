//! Takes a payment: holds the items, charges for them, waits for the bank, and lets go of the items when it comes to nothing.

use std::time::Duration;

use bindings::exports::payments::processing::payments::{Guest, Payment, Problem, Receipt};
use dacapo_guest::{Failure, Fatal, step, wait_for};

dacapo_guest::workflows!(Payments);

/// The payload of the event `settled`.
#[derive(serde::Deserialize)]
struct Settled {
    reference: String,
}

struct Payments;

impl Guest for Payments {
    fn process(payment: Payment) -> Result<Receipt, Problem> {
        let hold = step("reserve").run(|| Ok(format!("hold-{}", payment.order_id)))?;
        let receipt = charge_and_settle(&payment);
        if receipt.is_err() {
            step("release").run(|| Ok(format!("{hold} is released")))?;
        }
        receipt
    }
}

fn charge_and_settle(payment: &Payment) -> Result<Receipt, Problem> {
    let total: u64 = payment.items.iter().map(|item| u64::from(item.price)).sum();
    let charge = step("charge").run(|| match total == payment.amount_cents {
        true => Ok(format!("charge-{}", payment.order_id)),
        false => Err(Fatal(format!("the items cost {total} cents")).into()),
    })?;
    // Banks take their time: a day, unless the caller says otherwise.
    let patience = Duration::from_millis(payment.settle_within_ms.unwrap_or(24 * 60 * 60 * 1000));
    let settled: Option<Settled> = wait_for("settled").timeout(patience).recv()?;
    Ok(Receipt {
        order_id: payment.order_id,
        charge,
        settlement: settled.ok_or(Problem::NotSettled)?.reference,
    })
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure.is_cancelled() {
            true => Self::Stopped(failure.message),
            false => Self::Declined(failure.message),
        }
    }
}
