//! Calls workflows of the probe as functions of its own imports: each call is a child run.

use dacapo_guest::step;

dacapo_guest::workflows!(Caller);
use bindings::exports::test::caller::calls::Guest;
use bindings::test::probe::typed::{self, Order, Problem};

struct Caller;

impl Guest for Caller {
    fn reserve(order: Order) -> Result<String, String> {
        let outcome = typed::reserve(&order);
        step("after").run(|| Ok(()))?;
        match outcome {
            Ok(reservation) => Ok(format!(
                "{} {}",
                reservation.id,
                reservation.items.join(",")
            )),
            Err(Problem::SoldOut(left)) => Err(format!("sold out, {left} left")),
            Err(Problem::Failed(failure)) => Err(format!("{}: {}", failure.code, failure.message)),
        }
    }

    fn count_thrice(items: Vec<String>) -> Result<u32, String> {
        Ok((0..3).map(|_| typed::count(&items)).sum())
    }

    fn check(text: String) -> Result<String, String> {
        match typed::check(&text) {
            Ok(()) => Ok("good".to_owned()),
            Err(problem) => Ok(format!("bad: {problem}")),
        }
    }
}
