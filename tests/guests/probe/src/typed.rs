//! Workflows that other components call as functions.

use dacapo_guest::{step, wait_for};

use crate::Probe;
use crate::bindings::exports::test::probe::typed::{Guest, Order, Problem, Reservation};

impl Guest for Probe {
    fn reserve(order: Order) -> Result<Reservation, Problem> {
        assert!(order.item_name != "trap", "told to trap");
        if order.item_name == "wait" {
            let _ = wait_for::<()>("never").recv();
        }
        if order.count > 10 {
            return Err(Problem::SoldOut(10));
        }
        let id = step("reserve").run(|| Ok(7)).unwrap_or_default();
        let items = (1..=order.count).map(|number| format!("{}-{number}", order.item_name));
        Ok(Reservation {
            id,
            items: items.collect(),
        })
    }

    fn count(items: Vec<String>) -> u32 {
        u32::try_from(items.len()).unwrap_or(u32::MAX)
    }

    fn check(text: String) -> Result<(), String> {
        assert!(text != "trap", "told to trap");
        if text.is_empty() {
            return Err("there is nothing to check".to_owned());
        }
        Ok(())
    }
}
