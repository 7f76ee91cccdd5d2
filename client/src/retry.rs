//! Trying a statement again when doing so cannot do harm.

use std::time::Duration;

use dacapo_store::StoreError;
use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use sqlx::{Connection, Error};

use crate::Client;

/// A pool may hold as many dead connections as this before one is opened anew.
const TRIES_MAX: u32 = 10;

const FIRST_PAUSE: Duration = Duration::from_millis(2);

/// Carries out a statement that may be carried out twice: a read, or a write that finds its own trace. A server that restarted leaves
/// dead connections in the pool, and two statements may collide; neither is worth an error of the caller's.
pub(crate) async fn retried<T, F: Future<Output = Result<T, StoreError>>>(
    mut call: impl FnMut() -> F,
) -> Result<T, StoreError> {
    let mut pause = FIRST_PAUSE;
    let mut tries = 1;
    loop {
        match call().await {
            Err(error) if tries < TRIES_MAX && is_worth_another_try(&error) => {
                tracing::debug!(%error, tries, "trying again");
                tokio::time::sleep(pause).await;
                pause *= 2;
                tries += 1;
            }
            result => return result,
        }
    }
}

fn is_worth_another_try(error: &StoreError) -> bool {
    match error {
        StoreError::Collision(_) => true,
        // The pool has tried to connect for as long as it may.
        StoreError::Unavailable(Error::PoolTimedOut | Error::PoolClosed) => false,
        StoreError::Unavailable(_) => true,
        _ => false,
    }
}

impl Client {
    /// A pooled connection that has just answered, for a statement that must not be carried out twice.
    pub(crate) async fn live_connection(&self) -> Result<PoolConnection<Postgres>, StoreError> {
        let pool = self.store().pool();
        retried(|| async move {
            let mut connection = pool.acquire().await?;
            connection.ping().await?;
            Ok(connection)
        })
        .await
    }
}
