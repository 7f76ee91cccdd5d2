//! An order: the same in each language that has a kit, and with the same journal.

use std::time::Duration;

use bindings::exports::shop::orders::orders::{Guest, Order, Parcel, Problem, Receipt};
use dacapo_guest::{Failure, Result, StepError, child, map, step, wait_for};

dacapo_guest::workflows!(Orders);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What is held for an order until it is paid.
#[derive(serde::Serialize, serde::Deserialize)]
struct Hold {
    id: String,
    items: u32,
}

/// The payload of the event `paid`.
#[derive(serde::Deserialize)]
struct Payment {
    reference: String,
}

struct Orders;

impl Guest for Orders {
    fn place(order: Order) -> Result<Receipt, Problem> {
        let hold = step("reserve").run(|| {
            Ok(Hold {
                id: format!("hold-{}", order.number),
                items: order.items.iter().map(|item| item.quantity).sum(),
            })
        })?;
        let charge: String = step("charge")
            .attempts(3)
            .backoff(Duration::from_secs(1), 2.0, Duration::from_secs(60))
            .run_with(|attempt| charge(&order, attempt))?;
        let payment: Option<Payment> = wait_for("paid").timeout(DAY).recv()?;
        let Some(payment) = payment else {
            step("release").run(|| Ok(format!("{} is released", hold.id)))?;
            return Err(Problem::NotPaid);
        };
        let picked: Vec<String> = map("pick", &order.items)
            .max_parallel(2)
            .run(|item| step("pick").run(|| Ok(format!("{} x {}", item.quantity, item.sku))))?;
        let parcel = Parcel {
            customer: order.customer,
            lines: picked.clone(),
        };
        let tracking = child("ship", "shop:orders/orders.ship").run(&parcel)?;
        Ok(Receipt {
            number: order.number,
            charge,
            payment: payment.reference,
            picked,
            tracking,
        })
    }

    fn ship(parcel: Parcel) -> Result<String, String> {
        let tracking =
            step("label").run(|| Ok(format!("{}-{}", parcel.customer, parcel.lines.len())))?;
        Ok(tracking)
    }
}

/// The bank is busy at first.
fn charge(order: &Order, attempt: u32) -> Result<String, StepError> {
    match attempt {
        1 => Err(Failure::retry("busy", "the bank is busy").into()),
        _ => Ok(format!("charge-{}", order.number)),
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure.message)
    }
}
