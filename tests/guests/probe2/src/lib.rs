//! The probe after a change of its code: what a replay must notice. `wit/changes.wit` says what is different.

use std::time::Duration;

use bindings::exports::test::probe::changes::Guest;
use dacapo_guest::{Failure, changed, raw, sleep, step, wait_for_any};

dacapo_guest::workflows!(Probe);

struct Probe;

impl Guest for Probe {
    fn renamed() -> Result<String, String> {
        let reserved = text_step("book")?;
        wait("go")?;
        Ok(reserved)
    }

    fn kind_changed() -> Result<String, String> {
        sleep("reserve", Duration::from_millis(1))?;
        wait("go")?;
        Ok("slept".to_owned())
    }

    fn inserted() -> Result<String, String> {
        text_step("check")?;
        Ok(reserve_and_wait()?)
    }

    fn dropped() -> Result<String, String> {
        wait("go")?;
        Ok("nothing reserved".to_owned())
    }

    fn swapped() -> Result<String, String> {
        let second = text_step("second")?;
        let first = text_step("first")?;
        wait("go")?;
        Ok(format!("{first} {second}"))
    }

    fn type_changed() -> Result<String, String> {
        let reserved: u32 = step("reserve").run(|| Ok(7))?;
        wait("go")?;
        Ok(reserved.to_string())
    }

    fn other_event() -> Result<String, String> {
        let reserved = text_step("reserve")?;
        wait("start")?;
        Ok(reserved)
    }

    fn appended() -> Result<String, String> {
        let reserved = reserve_and_wait()?;
        Ok(format!("{reserved}, {}", text_step("late")?))
    }

    fn asks() -> Result<String, String> {
        if changed("check") {
            text_step("check")?;
        }
        let reserved = reserve_and_wait()?;
        if changed("check") {
            text_step("late")?;
        }
        Ok(reserved)
    }

    fn branch_renamed() -> Result<String, String> {
        let both = dacapo_guest::map("pair", &[0, 1]).run(|index| {
            let reserved = text_step(if *index == 0 { "reserve" } else { "book" })?;
            wait("go")?;
            Ok(reserved)
        })?;
        Ok(both.join(", "))
    }

    fn mended() -> Result<String, String> {
        Ok(text_step("reserve")?)
    }

    fn same() -> Result<String, String> {
        Ok(reserve_and_wait()?)
    }

    fn inserted_before_fork() -> Result<String, String> {
        text_step("check")?;
        let both = dacapo_guest::map("pair", &[0, 1]).run(|_| reserve_and_wait())?;
        Ok(both.join(", "))
    }

    fn inserted_before_inner() -> Result<String, String> {
        let all = dacapo_guest::map("pair", &[0, 1]).run(|_| {
            text_step("reserve")?;
            text_step("check")?;
            let inner = dacapo_guest::map("inner", &[0, 1]).run(|_| {
                wait("go")?;
                Ok(String::new())
            })?;
            Ok(inner.len().to_string())
        })?;
        Ok(all.join(", "))
    }

    fn fork_dropped() -> Result<String, String> {
        Ok(text_step("late")?)
    }

    fn wait_dropped() -> Result<String, String> {
        Ok(text_step("reserve")?)
    }

    fn branch_event() -> Result<String, String> {
        let both = dacapo_guest::map("pair", &[0, 1]).run(|index| {
            if *index == 1 {
                sleep("first", Duration::from_secs(1))?;
            }
            wait("start")?;
            Ok("started".to_owned())
        })?;
        Ok(both.join(", "))
    }

    fn branch_any() -> Result<String, String> {
        let both = dacapo_guest::map("pair", &[0, 1]).run(|_| {
            let any = wait_for_any::<u32>("either", &["go", "stop", "start"]);
            let (event, _) = any.recv()?;
            Ok(event)
        })?;
        Ok(both.join(", "))
    }

    fn inserted_and_renamed() -> Result<String, String> {
        text_step("check")?;
        let reserved = text_step("book")?;
        wait("go")?;
        Ok(reserved)
    }
}

fn reserve_and_wait() -> Result<String, Failure> {
    let reserved = text_step("reserve")?;
    wait("go")?;
    Ok(reserved)
}

fn text_step(name: &str) -> Result<String, Failure> {
    step(name).run(|| Ok(format!("new {name}")))
}

fn wait(event: &str) -> Result<(), Failure> {
    raw::waits::wait_for(event, None)?;
    Ok(())
}
