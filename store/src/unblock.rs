//! Runs that are blocked for a secret that their worker had not got.

use crate::{Store, StoreError};

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
