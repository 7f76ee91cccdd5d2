//! Creates an account and sends its owner a welcome: two steps, each of which runs once.

use bindings::exports::users::onboarding::accounts::{Account, Guest, NewUser};
use dacapo_guest::{Fatal, context, step, tracing::info};

dacapo_guest::workflows!(Onboarding);

struct Onboarding;

impl Guest for Onboarding {
    fn onboard(user: NewUser) -> Result<Account, String> {
        let account: Account = step("create-account").run(|| {
            info!("creating an account for {}", user.email);
            if !user.email.contains('@') {
                Err(Fatal(format!(
                    "\"{}\" is not an e-mail address",
                    user.email
                )))?;
            }
            // The run's id makes a good account id: another try of this step makes the same account, not a second one.
            Ok(Account {
                id: context::run_id(),
                email: user.email.clone(),
            })
        })?;
        step("send-welcome").run(|| {
            info!("sending a welcome to {}", user.name);
            Ok(())
        })?;
        Ok(account)
    }
}
