//! Workflows that use what a step's body left in memory, which a replay does not find.

use std::cell::Cell;

use bindings::exports::test::forgetful::{memory, more};
use dacapo_guest::{step, wait_for};

dacapo_guest::workflows!(Forgetful);

struct Forgetful;

impl memory::Guest for Forgetful {
    fn counts() -> Result<u32, String> {
        let count = Cell::new(0);
        for _ in 0..2 {
            step("count").run(|| {
                count.set(count.get() + 1);
                Ok(())
            })?;
        }
        Ok(count.get())
    }

    fn decides() -> Result<(), String> {
        let is_new = Cell::new(false);
        step("first").run(|| {
            is_new.set(true);
            Ok(())
        })?;
        if is_new.get() {
            step("second").run(|| Ok(()))?;
        }
        Ok(wait_for("go").recv()?)
    }
}

impl more::Guest for Forgetful {
    fn counts() -> Result<u32, String> {
        let mut count = 0;
        for _ in 0..2 {
            count = step("count").run(|| Ok(count + 1))?;
        }
        Ok(count)
    }
}
