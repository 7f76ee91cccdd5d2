//! What a service does with the Rust client, at the word of `bench/`: one command a line on standard input, one answer a line on standard
//! output. The peers' programs in `bench/peers` understand the same commands. The database is the one that `DATABASE_URL` names.

#![forbid(unsafe_code)]

mod commands;

use std::error::Error;

use dacapo_client::Client;

use commands::{Command, Session};

/// Whatever can go wrong here is only to be told.
type Trouble = Box<dyn Error + Send + Sync>;

/// Tells answers from whatever else a program may print.
const MARK: &str = "@bench ";

#[tokio::main]
async fn main() -> Result<(), Trouble> {
    let url = std::env::var("DATABASE_URL").map_err(|_| "DATABASE_URL is not set")?;
    let mut session = Session::new(Client::connect(&url).await?);
    answer(&serde_json::json!({ "ready": true }));
    // This thread is the only one that waits here; connections are served by others.
    for line in std::io::stdin().lines() {
        match obey(&mut session, &line?).await {
            Ok(done) => answer(&serde_json::json!({ "done": done })),
            Err(error) => answer(&serde_json::json!({ "error": error.to_string() })),
        }
    }
    Ok(())
}

async fn obey(session: &mut Session, line: &str) -> Result<serde_json::Value, Trouble> {
    let command: Command =
        serde_json::from_str(line).map_err(|error| format!("cannot read {line}: {error}"))?;
    session.obey(command).await
}

fn answer(what: &serde_json::Value) {
    println!("{MARK}{what}");
}
