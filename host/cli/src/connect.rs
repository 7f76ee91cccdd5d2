//! Finding the database.

use std::path::{Path, PathBuf};

use dacapo_client::Client;
use dacapo_store::Store;

use crate::arguments::Global;
use crate::error::{Failed, Result};

/// Connections that a command may open.
const CONNECTIONS_MAX: u32 = 8;

/// The file in which a running `dacapo dev` leaves its database's URL for other commands.
pub(crate) fn dev_url_file(data_dir: &Path) -> PathBuf {
    data_dir.join("database-url")
}

/// The URL that was given, or that of a running `dacapo dev`.
pub(crate) fn url(global: &Global) -> Result<String> {
    if let Some(url) = &global.database_url {
        return Ok(url.clone());
    }
    let file = dev_url_file(&dacapo_postgres::default_data_dir());
    std::fs::read_to_string(file)
        .map(|url| url.trim().to_owned())
        .map_err(|_| {
            Failed::usage("no database was named, and no `dacapo dev` is running").hint(
                "start `dacapo dev` in another terminal, or give --database-url or DATABASE_URL",
            )
        })
}

/// A handle on the database, not yet connected.
pub(crate) fn store(url: &str) -> Result<Store> {
    const HINT: &str = "expected postgres://user:password@host:port/name";
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        // The URL itself may hold a password, so only its beginning is shown.
        let scheme = url.split(':').next().unwrap_or_default();
        return Err(
            Failed::usage(format!("not a database URL: it begins with {scheme:?}")).hint(HINT),
        );
    }
    Store::new(url, CONNECTIONS_MAX).map_err(|error| {
        Failed::usage(format!(
            "not a database URL: {}",
            crate::error::chain(&error)
        ))
        .hint(HINT)
    })
}

/// A client of a database that is migrated.
pub(crate) async fn client(global: &Global) -> Result<Client> {
    let url = url(global)?;
    store(&url)?;
    Ok(Client::connect(&url)
        .await?
        .with_namespace(&global.namespace)
        .with_payload_limits(global.payload_limits()))
}
