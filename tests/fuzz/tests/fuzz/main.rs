//! Random inputs at every door: what was found before, a few seconds of new ones, and as many as one likes (`./x fuzz`).

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::time::Duration;

use dacapo_fuzz::{Calls, Commands, Components, Json, Manifests, Sql, Target, fuzz, replay};
use dacapo_tests::database;

/// Of each target, in `./x test`.
const SHORT: Duration = Duration::from_secs(4);

async fn nothing_is_found<T: Target>(mut target: T) {
    let found = replay(&mut target).await;
    assert!(found.is_empty(), "found again: {found:#?}");
    let (_, findings) = fuzz(&mut target, 1, SHORT).await;
    assert!(findings.is_empty(), "{findings:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_bytes_are_described_and_made_ready_or_refused_with_words() {
    nothing_is_found(Components::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_text_is_a_manifest_or_refused_with_words() {
    nothing_is_found(Manifests::new(database().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_json_is_read_as_a_type_and_back_or_refused_with_words() {
    nothing_is_found(Json).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_calls_of_a_guest_end_its_own_run_at_most() {
    nothing_is_found(Calls::new(database().await).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_arguments_of_sql_functions_are_taken_or_refused_by_the_functions_themselves() {
    nothing_is_found(Sql::new(database().await).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_arguments_of_the_command_end_with_a_documented_exit_code() {
    nothing_is_found(Commands::new(database().await).await).await;
}

// ---- as long as one likes

fn asked<T: std::str::FromStr>(name: &str) -> Option<T> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
    Some(value.parse().ok().unwrap())
}

async fn long<T: Target>(mut target: T) {
    if asked::<String>("DACAPO_FUZZ_TARGET").is_some_and(|name| name != T::NAME) {
        return;
    }
    let seconds = asked("DACAPO_FUZZ_SECONDS").unwrap_or(10);
    let seed = asked("DACAPO_FUZZ_SEED").unwrap_or(1_000);
    let (count, findings) = fuzz(&mut target, seed, Duration::from_secs(seconds)).await;
    println!(
        "{}: {count} inputs from seed {seed} in {seconds} s, {} findings",
        T::NAME,
        findings.len()
    );
    assert!(findings.is_empty(), "{findings:#?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "as long as one likes: ./x fuzz"]
async fn long_components() {
    long(Components::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "as long as one likes: ./x fuzz"]
async fn long_manifests() {
    long(Manifests::new(database().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "as long as one likes: ./x fuzz"]
async fn long_json() {
    long(Json).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "as long as one likes: ./x fuzz"]
async fn long_calls() {
    long(Calls::new(database().await).await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "as long as one likes: ./x fuzz"]
async fn long_sql() {
    long(Sql::new(database().await).await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "as long as one likes: ./x fuzz"]
async fn long_command() {
    long(Commands::new(database().await).await).await;
}
