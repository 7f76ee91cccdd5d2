//! Tokens for the server, sessions of browsers, and who did what.

use std::fmt;
use std::time::Duration;

use dacapo_model::{Role, Scope, Timestamp};
use dacapo_store::{AuditNote, FindAudit, NewToken, SessionOf, Store, StoreError};
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::gather::Question;
use crate::going_back::check_who;
use crate::options::{check_labels, check_text};
use crate::retry::retried;
use crate::{Client, ClientError};

/// How the secret of a token begins, so that people and scanners know one when they see it.
const PREFIX: &str = "dcp_";

/// Letters and digits of a secret: each is one of 62, so that 43 of them are more than 256 bits.
const SECRET_LETTERS: usize = 43;

/// Letters and digits of the sum behind them, by which a scanner tells a secret from a text that looks like one.
const SUM_LETTERS: usize = 6;

const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The longest name of a token, in bytes.
const NAME_BYTES_MAX: usize = 100;

/// The longest time for which a token is valid: a hundred years.
const EXPIRES_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Why a server is no help with tokens, and with whoever shows one or a cookie.
const FOR_TOKENS: &str = "to look at tokens and make them";
const TO_KNOW: &str = "to know who asks, and to note what they do";

/// Entries of a page of the audit at most.
const PAGE_MAX: u32 = 1_000;

/// A secret that was drawn at random: `dcp_`, 43 letters and digits, and the sum of these. Nobody should see it but whoever it is for.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    fn draw() -> Result<Self, ClientError> {
        let letters = random_letters(SECRET_LETTERS)?;
        let sum = sum(letters.as_bytes());
        Ok(Self(format!("{PREFIX}{letters}{sum}")))
    }

    /// The secret, to be shown once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether the text can be one at all.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        let Some(rest) = text.strip_prefix(PREFIX) else {
            return false;
        };
        rest.len() == SECRET_LETTERS + SUM_LETTERS
            && rest.is_ascii()
            && sum(&rest.as_bytes()[..SECRET_LETTERS]) == rest[SECRET_LETTERS..]
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(dcp_…)")
    }
}

/// So many letters and digits, drawn by the operating system.
fn random_letters(count: usize) -> Result<String, ClientError> {
    let mut letters = String::with_capacity(count);
    let mut bytes = [0_u8; 64];
    while letters.len() < count {
        getrandom::fill(&mut bytes)
            .map_err(|error| ClientError::NoRandomness(error.to_string()))?;
        // A byte above the last multiple of 62 would make some letters likelier than others.
        let fair = bytes.iter().filter(|byte| **byte < 248);
        let fair = fair.map(|byte| char::from(LETTERS[usize::from(byte % 62)]));
        letters.extend(fair.take(count - letters.len()));
    }
    Ok(letters)
}

/// The CRC-32 of the letters, in six of our own, the highest first.
fn sum(letters: &[u8]) -> String {
    let mut crc = u32::MAX;
    for byte in letters {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let low = crc & 1;
            crc >>= 1;
            if low == 1 {
                crc ^= 0xedb8_8320;
            }
        }
    }
    let mut rest = !crc;
    let mut sum = [b'0'; SUM_LETTERS];
    for letter in sum.iter_mut().rev() {
        *letter = LETTERS[(rest % 62) as usize];
        rest /= 62;
    }
    sum.iter().map(|letter| char::from(*letter)).collect()
}

/// A plain SHA-256 is enough: a secret of 256 random bits cannot be guessed, so there is nothing that a slow hash would make slower. It is
/// looked up by this hash, so that comparing takes the same time whatever is guessed: nobody can choose how a hash begins.
fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// What somebody may do and see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// What they may do.
    pub role: Role,
    /// With which workflows and runs.
    pub scope: Scope,
    /// Whether they see payloads and logs.
    pub payloads: bool,
}

impl Access {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self {
            role: Role::Admin,
            scope: Scope::default(),
            payloads: true,
        }
    }

    fn from_grant(grant: dacapo_store::Grant) -> Self {
        Self {
            role: grant.role,
            scope: grant.scope,
            payloads: grant.payloads,
        }
    }

    fn to_grant(&self) -> dacapo_store::Grant {
        dacapo_store::Grant {
            role: self.role,
            scope: self.scope.clone(),
            payloads: self.payloads,
        }
    }
}

/// In JSON: `role`, `workflows` (patterns; empty: all), `labels`, `payloads`.
impl Serialize for Access {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            role: &'static str,
            workflows: Vec<&'a str>,
            labels: &'a std::collections::BTreeMap<String, String>,
            payloads: bool,
        }
        let workflows = self.scope.workflows.iter();
        Shown {
            role: self.role.as_str(),
            workflows: workflows.map(|pattern| pattern.as_str()).collect(),
            labels: &self.scope.labels,
            payloads: self.payloads,
        }
        .serialize(serializer)
    }
}

/// A token that was made.
#[derive(Debug, Clone)]
pub struct CreatedToken {
    /// Its secret, which is kept nowhere.
    pub secret: Secret,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it expires. None: never.
    pub expires_at: Option<Timestamp>,
}

/// A token as it stands.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// Its name.
    pub name: String,
    /// What it allows.
    #[serde(flatten)]
    pub access: Access,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// When it expires. None: never.
    pub expires_at: Option<Timestamp>,
    /// Whether it has.
    pub expired: bool,
    /// When it was last used, to about a minute.
    pub used_at: Option<Timestamp>,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// By whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_by: Option<String>,
}

/// Somebody who has shown who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Who: the name of a token, or whom a provider knows.
    pub who: String,
    /// Whether that is the name of a token.
    pub is_token: bool,
    /// What they may do and see.
    pub access: Access,
}

/// Somebody who did something, or was refused: what the audit keeps.
#[derive(Debug, Clone)]
pub struct Deed {
    /// Who; none: nobody who is known.
    pub who: Option<String>,
    /// How they were known.
    pub via: Via,
    /// The role that they had.
    pub role: Option<Role>,
    /// What: the operation's name in the API.
    pub action: String,
    /// What it was done to.
    pub target: Option<String>,
    /// What became of it.
    pub outcome: DeedOutcome,
    /// The answer's HTTP status.
    pub status: u16,
    /// The address that it came from.
    pub address: Option<String>,
}

/// How somebody was known who did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// By a token.
    Token,
    /// By a browser that was signed in with a token.
    Session,
    /// By a browser that was signed in with OpenID Connect.
    Oidc,
    /// As somebody on the machine of a server without tokens.
    Local,
    /// Not at all.
    Nobody,
}

impl Via {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Session => "session",
            Self::Oidc => "oidc",
            Self::Local => "local",
            Self::Nobody => "nobody",
        }
    }
}

/// What became of something that somebody wanted to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeedOutcome {
    /// It was done.
    Done,
    /// They may not, or it cannot be.
    Refused,
    /// The server could not.
    Failed,
}

impl DeedOutcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// Which entries of the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only of this one.
    pub who: Option<String>,
    /// Only of this.
    pub action: Option<String>,
    /// Only what was done to this.
    pub target: Option<String>,
    /// Only with this outcome: `done`, `refused`, `failed`.
    pub outcome: Option<String>,
    /// Only at this time or later.
    pub since: Option<Timestamp>,
    /// Only before this time.
    pub before: Option<Timestamp>,
    /// How many at most, 1 to 1,000. Default: 50.
    pub limit: u32,
    /// Go on after this entry.
    pub after: Option<i64>,
}

impl Default for AuditFilter {
    fn default() -> Self {
        Self {
            who: None,
            action: None,
            target: None,
            outcome: None,
            since: None,
            before: None,
            limit: 50,
            after: None,
        }
    }
}

/// Who did what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// Its place: later entries have higher ones.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who; none: nobody who was known.
    pub who: Option<String>,
    /// How they were known: `token`, `session`, `oidc`, `local`, `command`, `nobody`.
    pub via: String,
    /// The role that they had.
    pub role: Option<String>,
    /// What: an operation's name in the API, or `token-create` and the like.
    pub action: String,
    /// What it was done to.
    pub target: Option<String>,
    /// `done`, `refused` or `failed`.
    pub outcome: String,
    /// The answer's HTTP status, if it was a request.
    pub status: Option<i16>,
    /// The address that it came from.
    pub address: Option<String>,
}

/// Part of the audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditPage {
    /// The entries, the newest first.
    pub items: Vec<AuditEntry>,
    /// Where to go on; none at the end.
    pub next: Option<i64>,
}

/// Notes that come while a statement is under way share the next one. A note that was written twice is harmless.
impl Question for AuditNote {
    type Answer = ();

    async fn ask_all(store: &Store, notes: &[Self]) -> Result<Vec<()>, StoreError> {
        dacapo_store::note_audit(store, notes).await?;
        Ok(vec![(); notes.len()])
    }
}

impl Client {
    /// Makes a token for the server, in the client's namespace. Its secret is shown by the answer alone.
    ///
    /// # Errors
    /// [`ClientError::TokenExists`]; [`ClientError::BadArgument`] if it cannot be one.
    pub async fn create_token(
        &self,
        name: &str,
        access: &Access,
        expires: Option<Duration>,
        who: &str,
    ) -> Result<CreatedToken, ClientError> {
        self.needs_no_server(FOR_TOKENS)?;
        check_token_name(name)?;
        check_who(who)?;
        check_labels(&access.scope.labels)?;
        if let Some(expires) = expires
            && (expires < Duration::from_secs(1) || expires > EXPIRES_MAX)
        {
            return Err(ClientError::BadArgument {
                what: "expiry",
                message: format!("{expires:?}: expected a second to a hundred years"),
            });
        }
        let secret = Secret::draw()?;
        let grant = access.to_grant();
        let token = NewToken {
            name,
            hash: hash(secret.reveal()),
            grant: &grant,
            expires,
            who,
        };
        // Not again after a lost answer: it would find its own token, and could not tell.
        let made = dacapo_store::create_token(self.store(), &self.namespace, &token)
            .await?
            .ok_or_else(|| ClientError::TokenExists(name.to_owned()))?;
        Ok(CreatedToken {
            secret,
            created_at: made.created_at,
            expires_at: made.expires_at,
        })
    }

    /// Revokes a token of the client's namespace: from now on it is none, and neither are the sessions that were begun with it.
    ///
    /// # Errors
    /// [`ClientError::TokenNotFound`].
    pub async fn revoke_token(&self, name: &str, who: &str) -> Result<(), ClientError> {
        self.needs_no_server(FOR_TOKENS)?;
        check_token_name(name)?;
        check_who(who)?;
        match dacapo_store::revoke_token(self.store(), &self.namespace, name, who).await? {
            true => Ok(()),
            false => Err(ClientError::TokenNotFound(name.to_owned())),
        }
    }

    /// The tokens of the client's namespace by name, those that are revoked only if they are asked for.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn tokens(&self, with_revoked: bool) -> Result<Vec<Token>, ClientError> {
        self.needs_no_server(FOR_TOKENS)?;
        let store = self.store();
        let rows =
            retried(|| dacapo_store::list_tokens(store, &self.namespace, with_revoked)).await?;
        let tokens = rows.into_iter().map(|row| {
            let (revoked_at, revoked_by) = row.revoked.unzip();
            Token {
                name: row.name,
                access: Access::from_grant(row.grant),
                created_at: row.created_at,
                created_by: row.created_by,
                expires_at: row.expires_at,
                expired: row.is_expired,
                used_at: row.used_at,
                revoked_at,
                revoked_by,
            }
        });
        Ok(tokens.collect())
    }

    /// Whether the client's namespace has any token that is not revoked, also one that has expired.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn has_tokens(&self) -> Result<bool, ClientError> {
        self.needs_no_server(FOR_TOKENS)?;
        let store = self.store();
        Ok(retried(|| dacapo_store::has_tokens(store, &self.namespace)).await?)
    }

    /// Whose token this is. None: nobody's. Its use is noted, at most once a minute.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn know_token(&self, secret: &str) -> Result<Option<Known>, ClientError> {
        Ok(self.find_token(secret).await?.map(|(_, known)| known))
    }

    async fn find_token(&self, secret: &str) -> Result<Option<(i64, Known)>, ClientError> {
        self.needs_no_server(TO_KNOW)?;
        if !Secret::is_one(secret) {
            return Ok(None);
        }
        let store = self.store();
        let hash = hash(secret);
        let found = retried(|| dacapo_store::find_token(store, &self.namespace, &hash)).await?;
        let Some(found) = found else {
            return Ok(None);
        };
        if found.is_use_to_note
            && let Err(error) = dacapo_store::note_token_used(store, found.id).await
        {
            // Nobody is refused because of that.
            tracing::debug!(%error, token = found.name, "the use of a token was not noted");
        }
        let known = Known {
            who: found.name,
            is_token: true,
            access: Access::from_grant(found.grant),
        };
        Ok(Some((found.id, known)))
    }

    /// Begins a session with a token. Answers the text for its cookie, and who it is. None: there is no such token.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin_session(
        &self,
        secret: &str,
        lasts: Duration,
    ) -> Result<Option<(String, Known)>, ClientError> {
        let Some((id, known)) = self.find_token(secret).await? else {
            return Ok(None);
        };
        let cookie = self.write_session(SessionOf::Token(id), lasts).await?;
        Ok(Some((cookie, known)))
    }

    /// Begins a session of somebody whom a provider knows. Answers the text for its cookie.
    ///
    /// # Errors
    /// [`ClientError::BadArgument`] if nobody can be called so.
    pub async fn begin_session_of(
        &self,
        who: &str,
        access: &Access,
        lasts: Duration,
    ) -> Result<String, ClientError> {
        self.needs_no_server(TO_KNOW)?;
        check_who(who)?;
        let grant = access.to_grant();
        let of = SessionOf::Person { who, grant: &grant };
        self.write_session(of, lasts).await
    }

    async fn write_session(
        &self,
        of: SessionOf<'_>,
        lasts: Duration,
    ) -> Result<String, ClientError> {
        let cookie = random_letters(SECRET_LETTERS)?;
        let store = self.store();
        dacapo_store::begin_session(store, &self.namespace, &hash(&cookie), of, lasts).await?;
        Ok(cookie)
    }

    /// Whose session this is, by the text of its cookie. None: nobody's any more.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn know_session(&self, cookie: &str) -> Result<Option<Known>, ClientError> {
        self.needs_no_server(TO_KNOW)?;
        if cookie.len() != SECRET_LETTERS {
            return Ok(None);
        }
        let store = self.store();
        let hash = hash(cookie);
        let found = retried(|| dacapo_store::find_session(store, &self.namespace, &hash)).await?;
        Ok(found.map(|found| Known {
            who: found.who,
            is_token: found.is_of_token,
            access: Access::from_grant(found.grant),
        }))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn end_session(&self, cookie: &str) -> Result<(), ClientError> {
        self.needs_no_server(TO_KNOW)?;
        let store = self.store();
        let hash = hash(cookie);
        Ok(retried(|| dacapo_store::end_session(store, &hash)).await?)
    }

    /// Notes in the audit who did what.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn note_deed(&self, deed: Deed) -> Result<(), ClientError> {
        self.needs_no_server(TO_KNOW)?;
        // Postgres would refuse it, and what somebody sends must not keep it from being noted.
        let clean = |text: String| text.replace('\0', "\u{fffd}");
        let note = AuditNote {
            namespace: self.namespace.to_string(),
            who: deed.who.map(clean),
            via: deed.via.as_str(),
            role: deed.role,
            action: deed.action,
            target: deed.target.map(|target| {
                let short: String = target.chars().take(300).collect();
                clean(short)
            }),
            outcome: deed.outcome.as_str(),
            status: Some(deed.status),
            address: deed.address,
        };
        let store = self.store();
        Ok(retried(|| self.shared.deeds.ask(store, note.clone())).await?)
    }

    /// Who did what in the client's namespace, the newest first.
    ///
    /// # Errors
    /// [`ClientError::BadArgument`].
    pub async fn audit(&self, filter: &AuditFilter) -> Result<AuditPage, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.audit(filter).await;
        }
        self.check_whole("the audit")?;
        if filter.limit == 0 || filter.limit > PAGE_MAX {
            return Err(ClientError::BadArgument {
                what: "limit",
                message: format!("{} is not within 1 to {PAGE_MAX}", filter.limit),
            });
        }
        for text in [&filter.who, &filter.action, &filter.target] {
            check_text("filter", text.as_deref().unwrap_or_default(), 1_000)?;
        }
        if let Some(outcome) = &filter.outcome
            && !["done", "refused", "failed"].contains(&outcome.as_str())
        {
            return Err(ClientError::BadArgument {
                what: "outcome",
                message: format!("{outcome:?}: expected done, refused or failed"),
            });
        }
        let find = FindAudit {
            who: filter.who.as_deref(),
            action: filter.action.as_deref(),
            target: filter.target.as_deref(),
            outcome: filter.outcome.as_deref(),
            since: filter.since,
            before: filter.before,
            below: filter.after,
            // One more tells whether there are more.
            limit: filter.limit + 1,
        };
        let store = self.store();
        let mut rows = retried(|| dacapo_store::list_audit(store, &self.namespace, &find)).await?;
        let more = rows.len() > filter.limit as usize;
        rows.truncate(filter.limit as usize);
        let next = rows.last().map(|row| row.id).filter(|_| more);
        let items = rows.into_iter().map(|row| AuditEntry {
            id: row.id,
            at: row.at,
            who: row.who,
            via: row.via,
            role: row.role,
            action: row.action,
            target: row.target,
            outcome: row.outcome,
            status: row.status,
            address: row.address,
        });
        Ok(AuditPage {
            items: items.collect(),
            next,
        })
    }
}

fn check_token_name(name: &str) -> Result<(), ClientError> {
    check_text("token", name, NAME_BYTES_MAX)?;
    let message = if name.trim().is_empty() {
        "its name is empty".to_owned()
    } else if name.chars().any(char::is_control) {
        format!("{name:?}: no control characters are allowed in its name")
    } else {
        return Ok(());
    };
    Err(ClientError::BadArgument {
        what: "token",
        message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_when_it_is_seen_and_never_printed_by_chance() {
        let (one, other) = (Secret::draw().unwrap(), Secret::draw().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.reveal().len(), 53);
        assert!(one.reveal().starts_with("dcp_") && Secret::is_one(one.reveal()));
        assert!(
            one.reveal()[4..]
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric())
        );
        assert_eq!(format!("{one:?}"), "Secret(dcp_…)");
        let mistyped = match one.reveal().strip_suffix('a') {
            Some(start) => format!("{start}b"),
            None => format!("{}a", &one.reveal()[..52]),
        };
        for text in ["", "dcp_", &mistyped, &one.reveal()[1..], "dcp_é"] {
            assert!(!Secret::is_one(text), "{text}");
        }
    }

    #[test]
    fn the_sum_is_the_crc_that_others_know() {
        // The check value of CRC-32 is 0xcbf43926, 3,421,780,262.
        let mut value = 0_u64;
        for letter in sum(b"123456789").bytes() {
            let digit = LETTERS.iter().position(|known| *known == letter).unwrap();
            value = value * 62 + digit as u64;
        }
        assert_eq!(value, 0xcbf4_3926);
    }

    #[test]
    fn names_of_tokens_can_be_shown() {
        assert!(check_token_name("ci of shop").is_ok());
        for name in ["", "  ", "a\nb", "a\0", &"x".repeat(101)] {
            assert!(check_token_name(name).is_err(), "{name:?}");
        }
    }
}
