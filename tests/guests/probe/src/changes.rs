//! The code before it changes.

use dacapo_guest::{Failure, step};

use crate::Probe;
use crate::bindings::exports::test::probe::changes::Guest;
use crate::durable::wait_for_text;

impl Guest for Probe {
    fn renamed() -> Result<String, String> {
        Ok(reserve_and_wait()?)
    }

    fn kind_changed() -> Result<String, String> {
        Ok(reserve_and_wait()?)
    }

    fn inserted() -> Result<String, String> {
        Ok(reserve_and_wait()?)
    }

    fn dropped() -> Result<String, String> {
        Ok(reserve_and_wait()?)
    }

    fn swapped() -> Result<String, String> {
        let first: String = text_step("first")?;
        let second: String = text_step("second")?;
        wait_for_text("go")?;
        Ok(format!("{first} {second}"))
    }

    fn type_changed() -> Result<String, String> {
        Ok(reserve_and_wait()?)
    }

    fn other_event() -> Result<String, String> {
        Ok(reserve_and_wait()?)
    }

    fn appended() -> Result<String, String> {
        Ok(reserve_and_wait()?)
    }

    fn asks() -> Result<String, String> {
        Ok(reserve_and_wait()?)
    }

    fn branch_renamed() -> Result<String, String> {
        let both = dacapo_guest::map("pair", &[0, 1]).run(|_| reserve_and_wait())?;
        Ok(both.join(", "))
    }

    fn mended() -> Result<String, String> {
        text_step("reserve")?;
        panic!("this is mended in the new code");
    }

    fn same() -> Result<String, String> {
        Ok(reserve_and_wait()?)
    }
}

fn reserve_and_wait() -> Result<String, Failure> {
    let reserved = text_step("reserve")?;
    wait_for_text("go")?;
    Ok(reserved)
}

fn text_step(name: &str) -> Result<String, Failure> {
    step(name).run(|| Ok(format!("old {name}")))
}
