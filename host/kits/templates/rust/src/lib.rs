//! Workflows are ordinary code. A step's body runs once, and its result is recorded; everything else may be played again.

use bindings::exports::app::{{ snake }}::workflows::{Account, Guest, Request};
use dacapo_guest::{Fatal, step, tracing::info, wait_for};

dacapo_guest::workflows!(Workflows);

/// What comes with the event `confirmed`.
#[derive(serde::Deserialize)]
struct Confirmation {
    by: String,
}

struct Workflows;

impl Guest for Workflows {
    fn sign_up(request: Request) -> Result<Account, String> {
        let id = step("create-account").run(|| {
            if !request.email.contains('@') {
                // Not worth another try.
                Err(Fatal(format!("{:?} is no e-mail address", request.email)))?;
            }
            Ok(format!("account-of-{}", request.email))
        })?;
        // Nothing of the run is in memory meanwhile, whether that takes seconds or months.
        let confirmation: Confirmation = wait_for("confirmed").recv()?;
        let greeting = step("send-greeting").run(|| {
            info!("writing to {}", request.email);
            Ok(format!(
                "Welcome, {}! {} has confirmed you.",
                request.name, confirmation.by
            ))
        })?;
        Ok(Account { id, greeting })
    }
}
