//! Access to the server: tokens, sessions of browsers, and who did what.

use std::collections::BTreeMap;
use std::time::Duration;

use dacapo_model::{DeploymentId, Role, RunId, Scope, Timestamp};

use crate::{Store, StoreError, Time};

/// A SHA-256.
pub type Hash = [u8; 32];

/// What somebody may do and see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// What they may do.
    pub role: Role,
    /// With which workflows and runs.
    pub scope: Scope,
    /// Whether they see payloads and logs.
    pub payloads: bool,
}

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken<'a> {
    /// Its name.
    pub name: &'a str,
    /// The hash of its secret.
    pub hash: Hash,
    /// What it allows.
    pub grant: &'a Grant,
    /// When it expires, from now. None: never.
    pub expires: Option<Duration>,
    /// Who makes it.
    pub who: &'a str,
}

/// When a token was made, and when it expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MadeToken {
    /// When it was made.
    pub created_at: Timestamp,
    /// When it expires. None: never.
    pub expires_at: Option<Timestamp>,
}

/// Makes a token, and notes that. None: there is one of this name. See `sql/token/create.sql`.
pub async fn create_token(
    store: &Store,
    namespace: &str,
    token: &NewToken<'_>,
) -> Result<Option<MadeToken>, StoreError> {
    let (workflows, labels) = columns_of(&token.grant.scope)?;
    let expires = token
        .expires
        .map(|time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
    let row = sqlx::query_file!(
        "sql/token/create.sql",
        namespace,
        token.name,
        token.hash.as_slice(),
        token.grant.role.as_str(),
        &workflows,
        labels,
        token.grant.payloads,
        expires,
        token.who
    )
    .fetch_optional(store.pool())
    .await?;
    Ok(row.map(|row| MadeToken {
        created_at: row.created_at.0,
        expires_at: row.expires_at.map(|time| time.0),
    }))
}

/// Revokes a token, and notes that. False: there is no such token. See `sql/token/revoke.sql`.
pub async fn revoke_token(
    store: &Store,
    namespace: &str,
    name: &str,
    who: &str,
) -> Result<bool, StoreError> {
    let row = sqlx::query_file!("sql/token/revoke.sql", namespace, name, who)
        .fetch_optional(store.pool())
        .await?;
    Ok(row.is_some())
}

/// A token as people see it.
#[derive(Debug, Clone)]
pub struct TokenRow {
    /// Its name.
    pub name: String,
    /// What it allows.
    pub grant: Grant,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// When it expires. None: never.
    pub expires_at: Option<Timestamp>,
    /// Whether it has.
    pub is_expired: bool,
    /// When it was last used, to about a minute.
    pub used_at: Option<Timestamp>,
    /// When it was revoked, and by whom.
    pub revoked: Option<(Timestamp, String)>,
}

/// The tokens of a namespace by name, those that are revoked only if they are asked for.
pub async fn list_tokens(
    store: &Store,
    namespace: &str,
    with_revoked: bool,
) -> Result<Vec<TokenRow>, StoreError> {
    let rows = sqlx::query!(
        r#"select name, role, workflows, labels::text as "labels!", payloads, created_at as "created_at: Time", created_by,
            expires_at as "expires_at: Time", coalesce(expires_at <= clock_timestamp(), false) as "is_expired!",
            used_at as "used_at: Time", revoked_at as "revoked_at: Time", revoked_by
        from dacapo.token where namespace = $1 and ($2 or revoked_at is null) order by name, id"#,
        namespace,
        with_revoked
    )
    .fetch_all(store.pool())
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(TokenRow {
                grant: grant(&row.role, &row.workflows, &row.labels, row.payloads)?,
                name: row.name,
                created_at: row.created_at.0,
                created_by: row.created_by,
                expires_at: row.expires_at.map(|time| time.0),
                is_expired: row.is_expired,
                used_at: row.used_at.map(|time| time.0),
                revoked: row.revoked_at.map(|time| time.0).zip(row.revoked_by),
            })
        })
        .collect()
}

/// Whether the namespace has a token that is not revoked. One that has expired counts: nobody meant to open the server by letting time pass.
pub async fn has_tokens(store: &Store, namespace: &str) -> Result<bool, StoreError> {
    let has = sqlx::query_scalar!(
        r#"select exists (select from dacapo.token where namespace = $1 and revoked_at is null) as "has!""#,
        namespace
    )
    .fetch_one(store.pool())
    .await?;
    Ok(has)
}

/// A token that was shown.
#[derive(Debug, Clone)]
pub struct FoundToken {
    /// Its id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// What it allows.
    pub grant: Grant,
    /// Whether its use was not noted within the last minute.
    pub is_use_to_note: bool,
}

/// The token with this hash. None: there is none, or it is revoked or has expired. See `sql/token/find.sql`.
pub async fn find_token(
    store: &Store,
    namespace: &str,
    hash: &Hash,
) -> Result<Option<FoundToken>, StoreError> {
    let row = sqlx::query_file!("sql/token/find.sql", namespace, hash.as_slice())
        .fetch_optional(store.pool())
        .await?;
    row.map(|row| {
        Ok(FoundToken {
            id: row.id,
            grant: grant(&row.role, &row.workflows, &row.labels, row.payloads)?,
            name: row.name,
            is_use_to_note: row.is_use_to_note,
        })
    })
    .transpose()
}

/// Notes that a token was used, unless that was noted within the last minute.
pub async fn note_token_used(store: &Store, id: i64) -> Result<(), StoreError> {
    sqlx::query!(
        "update dacapo.token set used_at = clock_timestamp()
        where id = $1 and (used_at is null or used_at < clock_timestamp() - interval '1 minute')",
        id
    )
    .execute(store.pool())
    .await?;
    Ok(())
}

/// Whose session a browser begins.
#[derive(Debug, Clone, Copy)]
pub enum SessionOf<'a> {
    /// That of a token, with which it ends.
    Token(i64),
    /// That of somebody whom a provider knows.
    Person {
        /// Who.
        who: &'a str,
        /// What they may do and see.
        grant: &'a Grant,
    },
}

/// Begins a session, whose cookie has this hash.
pub async fn begin_session(
    store: &Store,
    namespace: &str,
    hash: &Hash,
    of: SessionOf<'_>,
    lasts: Duration,
) -> Result<(), StoreError> {
    let (token, who, grant) = match of {
        SessionOf::Token(id) => (Some(id), None, None),
        SessionOf::Person { who, grant } => (None, Some(who), Some(grant)),
    };
    let (workflows, labels) = match grant {
        Some(grant) => {
            let (workflows, labels) = columns_of(&grant.scope)?;
            (Some(workflows), Some(labels))
        }
        None => (None, None),
    };
    sqlx::query!(
        "insert into dacapo.session (hash, namespace, token_id, who, role, workflows, labels, payloads, expires_at)
        values ($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8, clock_timestamp() + $9::bigint * interval '1 millisecond')",
        hash.as_slice(),
        namespace,
        token,
        who,
        grant.map(|grant| grant.role.as_str()),
        workflows.as_deref(),
        labels,
        grant.map(|grant| grant.payloads),
        i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX)
    )
    .execute(store.pool())
    .await?;
    Ok(())
}

/// A session of a browser.
#[derive(Debug, Clone)]
pub struct FoundSession {
    /// The name of its token, or whom the provider knows.
    pub who: String,
    /// Whether it was begun with a token.
    pub is_of_token: bool,
    /// What they may do and see.
    pub grant: Grant,
}

/// The session whose cookie has this hash. None: there is none any more. See `sql/session/find.sql`.
pub async fn find_session(
    store: &Store,
    namespace: &str,
    hash: &Hash,
) -> Result<Option<FoundSession>, StoreError> {
    let row = sqlx::query_file!("sql/session/find.sql", namespace, hash.as_slice())
        .fetch_optional(store.pool())
        .await?;
    row.map(|row| {
        Ok(FoundSession {
            grant: grant(&row.role, &row.workflows, &row.labels, row.payloads)?,
            who: row.who,
            is_of_token: row.is_of_token,
        })
    })
    .transpose()
}

/// Ends a session.
pub async fn end_session(store: &Store, hash: &Hash) -> Result<(), StoreError> {
    sqlx::query!(
        "delete from dacapo.session where hash = $1",
        hash.as_slice()
    )
    .execute(store.pool())
    .await?;
    Ok(())
}

/// Something that was done, or refused.
#[derive(Debug, Clone)]
pub struct AuditNote {
    /// The namespace that it was done in.
    pub namespace: String,
    /// Who; none: nobody who is known.
    pub who: Option<String>,
    /// How they were known: `token`, `session`, `oidc`, `local`, `command`, `nobody`.
    pub via: &'static str,
    /// The role that they had.
    pub role: Option<Role>,
    /// What.
    pub action: String,
    /// What it was done to.
    pub target: Option<String>,
    /// `done`, `refused` or `failed`.
    pub outcome: &'static str,
    /// The answer's HTTP status.
    pub status: Option<u16>,
    /// The address that it came from.
    pub address: Option<String>,
}

/// Notes who did what. See `sql/audit/note.sql`.
pub async fn note_audit(store: &Store, notes: &[AuditNote]) -> Result<(), StoreError> {
    fn all<'a, T>(notes: &'a [AuditNote], part: impl Fn(&'a AuditNote) -> T) -> Vec<T> {
        notes.iter().map(part).collect()
    }
    sqlx::query_file!(
        "sql/audit/note.sql",
        &all(notes, |note| note.namespace.as_str()) as _,
        &all(notes, |note| note.who.as_deref()) as _,
        &all(notes, |note| note.via) as _,
        &all(notes, |note| note.role.map(Role::as_str)) as _,
        &all(notes, |note| note.action.as_str()) as _,
        &all(notes, |note| note.target.as_deref()) as _,
        &all(notes, |note| note.outcome) as _,
        &all(notes, |note| note
            .status
            .and_then(|status| i16::try_from(status).ok())) as _,
        &all(notes, |note| note.address.as_deref()) as _
    )
    .execute(store.pool())
    .await?;
    Ok(())
}

/// Which notes of who did what.
#[derive(Debug, Clone, Default)]
pub struct FindAudit<'a> {
    /// Only of this one.
    pub who: Option<&'a str>,
    /// Only of this.
    pub action: Option<&'a str>,
    /// Only what was done to this.
    pub target: Option<&'a str>,
    /// Only with this outcome.
    pub outcome: Option<&'a str>,
    /// Only at this time or later.
    pub since: Option<Timestamp>,
    /// Only before this time.
    pub before: Option<Timestamp>,
    /// Only below this id.
    pub below: Option<i64>,
    /// How many at most.
    pub limit: u32,
}

/// A note of who did what.
#[derive(Debug, Clone)]
pub struct AuditRow {
    /// Its id; later notes have higher ones.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub who: Option<String>,
    /// How they were known.
    pub via: String,
    /// The role that they had.
    pub role: Option<String>,
    /// What.
    pub action: String,
    /// What it was done to.
    pub target: Option<String>,
    /// `done`, `refused` or `failed`.
    pub outcome: String,
    /// The answer's HTTP status.
    pub status: Option<i16>,
    /// The address that it came from.
    pub address: Option<String>,
}

/// Who did what, the newest first. See `sql/audit/list.sql`.
pub async fn list_audit(
    store: &Store,
    namespace: &str,
    find: &FindAudit<'_>,
) -> Result<Vec<AuditRow>, StoreError> {
    let mut transaction = store.planned_anew().await?;
    let rows = sqlx::query_file!(
        "sql/audit/list.sql",
        namespace,
        find.who,
        find.action,
        find.target,
        find.outcome,
        find.since.map(Time) as _,
        find.before.map(Time) as _,
        find.below,
        i64::from(find.limit)
    )
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(rows
        .into_iter()
        .map(|row| AuditRow {
            id: row.id,
            at: row.at.0,
            who: row.who,
            via: row.via,
            role: row.role,
            action: row.action,
            target: row.target,
            outcome: row.outcome,
            status: row.status,
            address: row.address,
        })
        .collect())
}

/// Deletes a batch of notes that are older than this, and sessions that are over; answers how many notes are gone. See
/// `sql/audit/sweep.sql`.
pub async fn sweep_audit(store: &Store, kept: Duration, rows_max: u32) -> Result<u64, StoreError> {
    let seconds = i64::try_from(kept.as_secs()).unwrap_or(i64::MAX);
    let gone = sqlx::query_file_scalar!("sql/audit/sweep.sql", seconds, i64::from(rows_max))
        .fetch_one(store.pool())
        .await?;
    Ok(u64::try_from(gone).unwrap_or(0))
}

/// What a run is, as far as access to it goes: its namespace, its workflow and its labels. None: there is no such run.
pub async fn run_for_access(
    store: &Store,
    run: RunId,
) -> Result<Option<(String, String, BTreeMap<String, String>)>, StoreError> {
    let row = sqlx::query!(
        r#"select namespace, workflow, labels::text as "labels!" from dacapo.run where id = $1"#,
        run.0
    )
    .fetch_optional(store.pool())
    .await?;
    row.map(|row| Ok((row.namespace, row.workflow, labels(&row.labels)?)))
        .transpose()
}

/// The manifests of these deployments, as they are stored.
pub async fn manifests(
    store: &Store,
    deployments: &[DeploymentId],
) -> Result<Vec<(DeploymentId, String)>, StoreError> {
    let ids: Vec<i64> = deployments.iter().map(|deployment| deployment.0).collect();
    let rows = sqlx::query!(
        r#"select id, manifest::text as "manifest!" from dacapo.deployment where id = any ($1::bigint[])"#,
        &ids
    )
    .fetch_all(store.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (DeploymentId(row.id), row.manifest))
        .collect())
}

fn columns_of(scope: &Scope) -> Result<(Vec<String>, String), StoreError> {
    let workflows = scope.workflows.iter().map(ToString::to_string).collect();
    let labels = serde_json::to_string(&scope.labels)
        .map_err(|error| StoreError::Unreadable(error.to_string()))?;
    Ok((workflows, labels))
}

fn grant(
    role: &str,
    workflows: &[String],
    labels_text: &str,
    payloads: bool,
) -> Result<Grant, StoreError> {
    let unreadable = |error: String| StoreError::Unreadable(format!("token: {error}"));
    let workflows = workflows.iter().map(|pattern| pattern.parse());
    Ok(Grant {
        role: role
            .parse()
            .map_err(|error: dacapo_model::RoleError| unreadable(error.to_string()))?,
        scope: Scope {
            workflows: workflows
                .collect::<Result<_, dacapo_model::PatternError>>()
                .map_err(|error| unreadable(error.to_string()))?,
            labels: labels(labels_text)?,
        },
        payloads,
    })
}

fn labels(text: &str) -> Result<BTreeMap<String, String>, StoreError> {
    serde_json::from_str(text)
        .map_err(|error| StoreError::Unreadable(format!("labels {text}: {error}")))
}
