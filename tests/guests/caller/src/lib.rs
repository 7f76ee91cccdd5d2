//! Calls workflows of the probe as functions of its own imports: each call is a child run.

use dacapo_guest::{Failure, race, step, wait_for};

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

    fn races_reserve(order: Order) -> Result<String, String> {
        let won: String = race!(
            "race",
            || match typed::reserve(&order) {
                Ok(reservation) => Ok(format!("reserved {}", reservation.id)),
                Err(problem) => {
                    step("release").run(|| Ok(()))?;
                    Err(Failure::fatal("lost", format!("{problem:?}")))
                }
            },
            || wait_for::<String>("stop").recv(),
        )?;
        step("after").run(|| Ok(()))?;
        Ok(won)
    }

    fn check(text: String) -> Result<String, String> {
        match typed::check(&text) {
            Ok(()) => Ok("good".to_owned()),
            Err(problem) => Ok(format!("bad: {problem}")),
        }
    }
}
