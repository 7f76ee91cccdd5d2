//! The code before it changes.

use std::time::Duration;

use dacapo_guest::{Failure, sleep, step, wait_for_any};

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
        pair()
    }

    fn mended() -> Result<String, String> {
        text_step("reserve")?;
        panic!("this is mended in the new code");
    }

    fn same() -> Result<String, String> {
        Ok(reserve_and_wait()?)
    }

    fn inserted_before_fork() -> Result<String, String> {
        pair()
    }

    fn inserted_before_inner() -> Result<String, String> {
        let all = dacapo_guest::map("pair", &[0, 1]).run(|_| {
            text_step("reserve")?;
            let inner = dacapo_guest::map("inner", &[0, 1]).run(|_| {
                wait_for_text("go")?;
                Ok(String::new())
            })?;
            Ok(inner.len().to_string())
        })?;
        Ok(all.join(", "))
    }

    fn fork_dropped() -> Result<String, String> {
        pair()
    }

    fn wait_dropped() -> Result<String, String> {
        Ok(reserve_and_wait()?)
    }

    fn branch_event() -> Result<String, String> {
        let both = dacapo_guest::map("pair", &[0, 1]).run(|index| {
            if *index == 1 {
                sleep("first", Duration::from_secs(1))?;
            }
            wait_for_text("go")?;
            Ok("went".to_owned())
        })?;
        Ok(both.join(", "))
    }

    fn branch_any() -> Result<String, String> {
        let both = dacapo_guest::map("pair", &[0, 1]).run(|_| {
            let (event, _) = wait_for_any::<u32>("either", &["go", "stop"]).recv()?;
            Ok(event)
        })?;
        Ok(both.join(", "))
    }

    fn inserted_and_renamed() -> Result<String, String> {
        Ok(reserve_and_wait()?)
    }
}

fn pair() -> Result<String, String> {
    let both = dacapo_guest::map("pair", &[0, 1]).run(|_| reserve_and_wait())?;
    Ok(both.join(", "))
}

fn reserve_and_wait() -> Result<String, Failure> {
    let reserved = text_step("reserve")?;
    wait_for_text("go")?;
    Ok(reserved)
}

fn text_step(name: &str) -> Result<String, Failure> {
    step(name).run(|| Ok(format!("old {name}")))
}
