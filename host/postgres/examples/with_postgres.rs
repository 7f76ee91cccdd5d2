//! Runs a command with `DATABASE_URL` set to an empty database of a server that lives as long as the command.
//!
//! `cargo run -p dacapo-postgres --example with_postgres -- sh -c 'psql "$DATABASE_URL"'`

use std::process::{Command, ExitCode};

use dacapo_postgres::{Cluster, ClusterOptions};

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        eprintln!("usage: with_postgres COMMAND [ARGUMENT]...");
        return ExitCode::from(2);
    };
    match run(Command::new(program).args(arguments)).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: &mut Command) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let data_dir = tempfile::tempdir()?;
    let cluster = Cluster::start(ClusterOptions {
        data_dir: data_dir.path().to_owned(),
        ..ClusterOptions::default()
    })
    .await?;
    let status = command
        .env("DATABASE_URL", cluster.url("postgres"))
        .status();
    cluster.stop().await?;
    Ok(match status?.code() {
        Some(0) => ExitCode::SUCCESS,
        Some(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        None => ExitCode::FAILURE,
    })
}
