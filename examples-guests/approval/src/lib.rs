//! A request that waits for people: for somebody to look at it, for one or two decisions, and for the employee to think again.

use std::time::Duration;

use bindings::exports::hr::approvals::approvals::{Decision, Guest, Request};
use dacapo_guest::{pause, sleep, step, tracing::info, wait_for};

dacapo_guest::workflows!(Approvals);

/// From this amount on finance decides too.
const HIGH_CENTS: u64 = 100_000;

/// The payload of the events `manager-decision` and `finance-decision`.
#[derive(serde::Deserialize)]
struct Vote {
    by: String,
    approved: bool,
}

struct Approvals;

impl Guest for Approvals {
    fn approve(request: Request) -> Result<Decision, String> {
        pause("completeness-check")?;
        let mut deciders = vec!["manager-decision"];
        if request.amount_cents >= HIGH_CENTS {
            deciders.push("finance-decision");
        }
        let mut approved_by = Vec::new();
        for event in deciders {
            let vote: Vote = wait_for(event).recv()?;
            if !vote.approved {
                return Ok(Decision::Refused(vote.by));
            }
            approved_by.push(vote.by);
        }
        sleep(
            "cooling-off",
            Duration::from_secs(request.cooling_off_seconds.into()),
        )?;
        step("book").run(|| {
            info!("booking {} for {}", request.purpose, request.employee);
            Ok(())
        })?;
        Ok(Decision::Approved(approved_by))
    }
}
