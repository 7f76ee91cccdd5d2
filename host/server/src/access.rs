//! Access: who asks, what they may, what they see, and what is kept of it.
//!
//! One layer stands before all routes but those of health. It finds out who asks: by a token in the header `Authorization`, by the session
//! of a browser, or, on a server that has no tokens and listens on loopback alone, by nothing, since whoever is on this machine may do
//! everything. What comes too fast does not reach it ([`paced`](crate::guard::paced)), since it asks the database. Then it looks up what the
//! operation takes, in the same table that the OpenAPI document is made from, and hands the handlers a client that sees what its caller may
//! see: scope and payloads are held there, in one place, and not by handlers. An operation that is in no table is for admins alone.
//!
//! What changes something is noted in the audit before it is answered, also when it was refused.

pub(crate) mod cookies;
mod gate;
mod headers;
mod oidc;
mod sign_in;
mod slow;

use std::net::SocketAddr;
use std::time::Duration;

use dacapo_client::{Access, Client, ClientError, Payloads, Role, Via};
use ipnet::IpNet;
use thiserror::Error;

pub use gate::Gate;
pub(crate) use gate::{About, Auditor, IsSecure, Need, guarded, located};
pub(crate) use headers::{HasTls, secure};
pub use oidc::{OidcConfig, OidcError, OidcRule};
pub(crate) use sign_in::sign_in_routes;

/// How access to a server is had.
#[derive(Debug, Clone)]
pub struct AccessConfig {
    /// Where the server listens.
    pub address: SocketAddr,
    /// Whether it has TLS of its own.
    pub tls: bool,
    /// Networks of proxies that are believed about whom they ask for, and over what.
    pub trusted_proxies: Vec<IpNet>,
    /// How long a browser stays signed in. Default: 12 hours.
    pub session: Duration,
    /// Who vouches for people, if somebody does.
    pub oidc: Option<OidcConfig>,
}

impl AccessConfig {
    /// Access to a server that listens here, with tokens alone.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            tls: false,
            trusted_proxies: Vec::new(),
            session: Duration::from_secs(12 * 3_600),
            oidc: None,
        }
    }
}

/// Why a server must not be started.
#[derive(Debug, Error)]
pub enum AccessError {
    /// Everybody who reaches it could do everything.
    #[error(
        "{address} can be reached from other machines, and namespace {namespace} has no token: anybody could do anything"
    )]
    Open {
        /// Where it was to listen.
        address: SocketAddr,
        /// The namespace.
        namespace: String,
    },
    /// The provider's settings cannot be meant.
    #[error(transparent)]
    Oidc(#[from] OidcError),
    /// The database did not say whether there are tokens.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl AccessError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Open { .. } => Some(
                "make a token first, such as `dacapo token create me --role admin`, or listen on 127.0.0.1",
            ),
            Self::Oidc(_) | Self::Client(_) => None,
        }
    }
}

/// Somebody who asks for something.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who: the name of a token, whom a provider knows, or `local`.
    pub who: String,
    /// How they are known.
    pub via: Via,
    /// What they may do and see.
    pub access: Access,
    client: Client,
}

impl Caller {
    fn new(client: &Client, who: String, via: Via, access: Access) -> Self {
        let payloads = match access.payloads {
            true => Payloads::WithoutSecrets,
            false => Payloads::Hidden,
        };
        let client = client
            .clone()
            .showing(payloads)
            .within(access.scope.clone());
        Self {
            who,
            via,
            access,
            client,
        }
    }

    /// A client that sees what the caller may see.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Whether they may do what takes this role.
    #[must_use]
    pub fn may(&self, role: Role) -> bool {
        self.access.role >= role
    }

    /// Whether they see payloads and logs.
    #[must_use]
    pub fn sees_payloads(&self) -> bool {
        self.access.payloads
    }

    /// Whether they see what concerns all runs: queues, workers, what is counted.
    #[must_use]
    pub fn sees_all(&self) -> bool {
        self.client.check_sees_all().is_ok()
    }

    /// Whether they have signed in with a browser, and can sign out.
    #[must_use]
    pub fn is_signed_in(&self) -> bool {
        matches!(self.via, Via::Session | Via::Oidc)
    }
}
