//! Client and worker in one process: a program that starts runs and plays them itself. Other processes may do either beside it; what
//! this one leaves unfinished goes on wherever there is a worker next.

#![forbid(unsafe_code)]

use std::error::Error;

use dacapo_client::Client;
use dacapo_worker::{Store, Worker, WorkerConfig};

mod workflows {
    dacapo_client::refs!("../../examples-guests/onboard-user/wit");
}

pub use workflows::accounts::{Account, NewUser, ONBOARD};

/// Onboards a user, with the deployment of `onboard-user` that is active in the database.
///
/// # Errors
/// The workflow is not deployed, it fails, or the database refuses something.
pub async fn onboard(
    store: Store,
    user: &NewUser,
) -> Result<Account, Box<dyn Error + Send + Sync>> {
    let worker = Worker::start(store.clone(), WorkerConfig::default()).await?;
    let client = Client::new(store);
    let run = client.start(ONBOARD, user).await?;
    let account = client.wait_output(&run).await?;
    worker.drain().await?;
    Ok(account)
}
