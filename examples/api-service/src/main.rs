//! Serves payments on `LISTEN` (127.0.0.1:8080 unless it says otherwise), from the database that `DATABASE_URL` names.

use std::error::Error;

use dacapo_client::Client;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = Client::connect(&std::env::var("DATABASE_URL")?).await?;
    let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, api_service::router(client)).await?;
    Ok(())
}
