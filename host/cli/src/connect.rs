//! Finding the database.

use std::path::{Path, PathBuf};

use std::time::Duration;

use dacapo_client::{Client, ClientError};
use dacapo_store::{Store, StoreError};

use crate::arguments::Global;
use crate::error::{Failed, Result};
use crate::server::Server;

/// Connections that a command may open.
const CONNECTIONS_MAX: u32 = 8;

/// How long a server may take to accept a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// The file in which a running `dacapo dev` leaves its database's URL for other commands.
pub(crate) fn dev_url_file(data_dir: &Path) -> PathBuf {
    data_dir.join("database-url")
}

/// Reads the URLs that were given as files, where none was given in another way: what keeps secrets hands them to a process as files.
pub(crate) fn read_url_files(global: &mut Global) -> Result<()> {
    for (url, variable) in [
        (&mut global.database_url, "DATABASE_URL_FILE"),
        (&mut global.direct_url, "DACAPO_DIRECT_URL_FILE"),
    ] {
        // `DATABASE_URL=` is how a shell says that there is none.
        url.take_if(|url| url.is_empty());
        let file = std::env::var_os(variable).filter(|file| !file.is_empty());
        if let (None, Some(file)) = (&url, file) {
            *url = Some(url_in(variable, Path::new(&file))?);
        }
    }
    Ok(())
}

fn url_in(variable: &str, file: &Path) -> Result<String> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failed::usage(format!("{variable}: cannot read {shown}: {error}")))?;
    match text.trim() {
        "" => Err(Failed::usage(format!(
            "{variable}: expected the URL of a database in {shown}, which is empty"
        ))),
        url => Ok(url.to_owned()),
    }
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
                "start `dacapo dev` in another terminal, or give --database-url, DATABASE_URL or DATABASE_URL_FILE",
            )
        })
}

const HINT: &str = "expected postgres://user:password@host:port/name";

/// A handle on the database that was given, or on that of a running `dacapo dev`, not yet connected.
pub(crate) fn chosen_store(global: &Global) -> Result<Store> {
    let store = store(&url(global)?)?;
    // It belongs to the database that was given, and to none that was found.
    let (Some(direct), Some(_)) = (&global.direct_url, &global.database_url) else {
        return Ok(store);
    };
    store.with_direct(direct).map_err(|error| {
        Failed::usage(format!(
            "--direct-url: not a database URL: {}",
            crate::error::chain(&error)
        ))
        .hint(HINT)
    })
}

/// How a URL begins, if that is a word which everybody knows. Anything else of it may be a secret, or belong to one.
pub(crate) fn known_scheme(url: &str) -> Option<&'static str> {
    const KNOWN: [&str; 10] = [
        "postgres",
        "postgresql",
        "http",
        "https",
        "mysql",
        "mariadb",
        "sqlite",
        "file",
        "jdbc",
        "redis",
    ];
    let (scheme, _) = url.split_once(':')?;
    let mut known = KNOWN.into_iter();
    known.find(|known| scheme.eq_ignore_ascii_case(known))
}

/// A handle on a database, not yet connected.
pub(crate) fn store(url: &str) -> Result<Store> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        let problem = match known_scheme(url) {
            Some(scheme) => format!("it begins with {scheme}:"),
            None => "it does not begin with postgres://".to_owned(),
        };
        return Err(Failed::usage(format!("not a database URL: {problem}")).hint(HINT));
    }
    Store::new(url, CONNECTIONS_MAX).map_err(|error| {
        Failed::usage(format!(
            "not a database URL: {}",
            crate::error::chain(&error)
        ))
        .hint(HINT)
    })
}

/// A handle on the database that was given, or on that of a running `dacapo dev`, which answers.
pub(crate) async fn answering_store(global: &Global) -> Result<Store> {
    let store = chosen_store(global)?;
    answers(&store).await.map_err(|error| {
        let down = matches!(error, StoreError::Unavailable(_));
        left_behind(global, down, error.into())
    })?;
    Ok(store)
}

/// Whether the database answers. The store's pool tries again and again for a while and then knows no cause; a connection of our own
/// fails at once, and says why.
pub(crate) async fn answers(store: &Store) -> std::result::Result<(), StoreError> {
    match tokio::time::timeout(CONNECT_MAX, store.connect()).await {
        Ok(connection) => connection.map(drop),
        Err(late) => Err(StoreError::Unavailable(sqlx::Error::Io(late.into()))),
    }
}

/// A `dacapo dev` that was killed leaves its URL behind; whoever follows it must not be told to look at an address that they never
/// gave.
fn left_behind(global: &Global, down: bool, failed: Failed) -> Failed {
    if down && global.database_url.is_none() {
        return failed.hint(
            "the last `dacapo dev` does not run any more: start it again, or give --database-url or DATABASE_URL",
        );
    }
    failed
}

/// A client of the server that was given, or of a database that is migrated.
pub(crate) async fn client(global: &Global) -> Result<Client> {
    if let Some(url) = &global.server {
        // A token in an argument would be there for whoever lists processes.
        let token = std::env::var("DACAPO_TOKEN").ok();
        let server = Server::new(url, token.filter(|token| !token.is_empty()))?;
        let client = Client::over(Box::new(server))?;
        return Ok(client.with_payload_limits(global.payload_limits()));
    }
    let client = Client::connect_to(chosen_store(global)?)
        .await
        .map_err(|error| {
            let down = matches!(error, ClientError::Unavailable(_));
            left_behind(global, down, error.into())
        })?;
    Ok(client
        .with_namespace(&global.namespace)
        .with_payload_limits(global.payload_limits()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_url_of_a_database_is_refused_without_showing_what_may_be_secret() {
        for url in [
            "hunter2",
            "hunter2:5432/app",
            "hunter2@db.example.com/app",
            "app:hunter2@db.example.com/app",
            "hunter2://app@db.example.com/app",
            "postgres:hunter2@db.example.com/app",
            "mysql://app:hunter2@db.example.com/app",
            " postgres://app:hunter2@db.example.com/app",
            "postgres://app:hunter2@db.example.com:port/app",
            "postgres://app:hunter2@[db.example.com/app",
            "",
        ] {
            let Err(failed) = store(url) else {
                continue;
            };
            let said = format!("{} {}", failed.message, failed.hint.unwrap_or_default());
            assert!(said.contains("not a database URL"), "{said}");
            assert!(said.contains("expected postgres://"), "{said}");
            for part in ["hunter2", "app", "example"] {
                assert!(!said.contains(part), "{url}: {said}");
            }
        }
        let failed = store("mysql://app:hunter2@db.example.com/app").unwrap_err();
        assert_eq!(failed.message, "not a database URL: it begins with mysql:");
        let failed = store("hunter2").unwrap_err();
        assert_eq!(
            failed.message,
            "not a database URL: it does not begin with postgres://"
        );
    }
}
