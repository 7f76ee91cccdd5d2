//! Takes a payment: holds the items, charges for them, waits for the bank, and lets go of the items when it comes to nothing.

use std::time::Duration;

use bindings::exports::payments::processing::payments::{Guest, Payment, Problem, Receipt};
use dacapo_guest::{Failure, Fatal, step, tracing::info, wait_for};

dacapo_guest::workflows!(Payments);

const A_DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The payload of the event `settled`.
#[derive(serde::Deserialize)]
struct Settled {
    reference: String,
}

struct Payments;

impl Guest for Payments {
    fn process(payment: Payment) -> Result<Receipt, Problem> {
        let order = payment.order_id;
        step("reserve").run(|| {
            info!("reserving {} items for order {order}", payment.items.len());
            Ok(())
        })?;
        charge_and_settle(&payment).or_else(|problem| {
            step("release").run(|| {
                info!("releasing the items of order {order}");
                Ok(())
            })?;
            Err(problem)
        })
    }
}

fn charge_and_settle(payment: &Payment) -> Result<Receipt, Problem> {
    let order_id = payment.order_id;
    let charge = step("charge").run(|| {
        info!("charging order {order_id}");
        let total: u64 = payment.items.iter().map(|item| u64::from(item.price)).sum();
        if total != payment.amount_cents {
            Err(Fatal(format!("the items cost {total} cents")))?;
        }
        Ok(format!("charge-{order_id}"))
    })?;
    let patience = Duration::from_millis(payment.settle_within_ms.unwrap_or(A_DAY_MS));
    let settled: Option<Settled> = wait_for("settled").timeout(patience).recv()?;
    let settlement = settled.ok_or(Problem::NotSettled)?.reference;
    Ok(Receipt {
        order_id,
        charge,
        settlement,
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
