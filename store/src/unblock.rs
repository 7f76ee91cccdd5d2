//! Runs that are blocked for something that their worker had not got and another one may have: a secret, a newer contract.

use crate::{Store, StoreError};

/// Why runs are blocked whose component wants what only a newer host offers.
pub const NEWER_COMPONENT: &str = "newer-component";

/// The names of the secrets that blocked runs wait for.
pub async fn missing_secrets(store: &Store) -> Result<Vec<String>, StoreError> {
    let names = sqlx::query_scalar!(
        r#"select distinct blocked::jsonb #>> '{details,secret}' as "name!"
        from dacapo.task_suspended
        where reason = 'blocked' and blocked::jsonb ->> 'code' = 'missing-secret' and blocked::jsonb #>> '{details,secret}' is not null"#
    )
    .fetch_all(store.pool())
    .await?;
    Ok(names)
}

/// Lets the runs go on that wait for these secrets. Answers how many they were.
pub async fn unblock_secrets(store: &Store, names: &[String]) -> Result<i64, StoreError> {
    let woken = sqlx::query_scalar!(
        r#"select dacapo.unblock('missing-secret', array(
            select run_id
            from dacapo.task_suspended
            where reason = 'blocked' and blocked::jsonb ->> 'code' = 'missing-secret'
                and blocked::jsonb #>> '{details,secret}' = any ($1)
        ))::bigint as "woken!""#,
        names
    )
    .fetch_one(store.pool())
    .await?;
    Ok(woken)
}

/// Lets the runs go on that hosts with another contract have blocked because their component wants a newer one, if this one is as new.
/// Answers how many they were.
pub async fn unblock_newer(store: &Store, contract: &str) -> Result<i64, StoreError> {
    let woken = sqlx::query_scalar!(
        r#"select dacapo.unblock($2, array(
            select run_id
            from dacapo.task_suspended
            where reason = 'blocked' and blocked::jsonb ->> 'code' = $2
                and blocked::jsonb #>> '{details,offered}' <> $1
                and string_to_array(blocked::jsonb #>> '{details,wants}', '.')::numeric[] <= string_to_array($1, '.')::numeric[]
        ))::bigint as "woken!""#,
        contract,
        NEWER_COMPONENT
    )
    .fetch_one(store.pool())
    .await?;
    Ok(woken)
}
