//! Onboards one user in the database that `DATABASE_URL` names, where `onboard-user` must be deployed.

use std::error::Error;

use dacapo_worker::Store;
use monolith::{NewUser, onboard};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let store = Store::new(&std::env::var("DATABASE_URL")?, 16)?;
    dacapo_client::migrate(&store).await?;
    let user = NewUser {
        name: "Ada".to_owned(),
        email: "ada@example.org".to_owned(),
    };
    let account = onboard(store, &user).await?;
    println!("{} has the account {}", account.email, account.id);
    Ok(())
}
