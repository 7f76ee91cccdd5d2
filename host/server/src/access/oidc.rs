//! Signing in with OpenID Connect: the authorization code flow with PKCE, by the library `openidconnect`, over a client of our own that
//! follows no redirects.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use dacapo_client::{Access, Role, Scope};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreAuthenticationFlow, CoreErrorResponseType,
    CoreGenderClaim, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm,
    CoreProviderMetadata, CoreRevocableToken, CoreRevocationErrorResponse,
    CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AdditionalClaims, AsyncHttpClient, AuthorizationCode, Client, ClientId, ClientSecret,
    CsrfToken, EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest,
    HttpResponse, IdTokenFields, IssuerUrl, Nonce, PkceCodeChallenge, PkceCodeVerifier,
    RedirectUrl, StandardErrorResponse, StandardTokenResponse, TokenResponse,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;
use tokio::time::{Instant, timeout};

/// How long it is believed what the provider says of itself, its keys among it.
const BELIEVED: Duration = Duration::from_secs(300);

/// How long an answer of the provider may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// An answer of the provider, at most, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// A provider, and what those whom it knows may do here.
#[derive(Debug, Clone)]
pub struct OidcConfig {
    /// The provider's issuer, such as `https://login.example.com`.
    pub issuer: String,
    /// What the provider calls this server.
    pub client_id: String,
    /// What this server shows the provider; none: a client that has no secret.
    pub client_secret: Option<String>,
    /// Where browsers find this server: `https://dacapo.example.com`. The provider sends them back there, to `/sign-in/oidc/callback`.
    pub public_url: String,
    /// What to ask the provider for, beside `openid`.
    pub scopes: Vec<String>,
    /// Who may do what; whoever fits none may do nothing.
    pub rules: Vec<OidcRule>,
}

/// What somebody may do of whom the provider says this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcRule {
    /// The claim and its value; a claim that is a list has to hold it. None: whoever the provider knows.
    pub claim: Option<(String, String)>,
    /// What they may do.
    pub role: Role,
    /// Whether they see payloads.
    pub payloads: bool,
}

impl std::str::FromStr for OidcRule {
    type Err = String;

    /// `groups=operators:operate`, `email=ann@example.com:admin`, `*:read`, `groups=support:read,no-payloads`.
    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected CLAIM=VALUE:ROLE such as groups=operators:operate, or *:ROLE for everybody; with ,no-payloads behind it for those who see none";
        let (whom, what) = text.rsplit_once(':').ok_or(EXPECTED)?;
        let (role, payloads) = match what.split_once(',') {
            None => (what, true),
            Some((role, "no-payloads")) => (role, false),
            Some(_) => return Err(EXPECTED.to_owned()),
        };
        let role = role
            .parse()
            .map_err(|error: dacapo_client::RoleError| format!("{error}: {EXPECTED}"))?;
        let claim = match (whom, whom.split_once('=')) {
            ("*", _) => None,
            (_, Some((claim, value))) if !claim.is_empty() && !value.is_empty() => {
                Some((claim.to_owned(), value.to_owned()))
            }
            _ => return Err(EXPECTED.to_owned()),
        };
        Ok(Self {
            claim,
            role,
            payloads,
        })
    }
}

/// Why somebody was not signed in.
#[derive(Debug, Error)]
pub enum OidcError {
    /// The provider cannot be reached, or says what cannot be.
    #[error("the provider {issuer}: {problem}")]
    Provider {
        /// The provider.
        issuer: String,
        /// What is wrong.
        problem: String,
    },
    /// What came back was not what was begun here.
    #[error("{0}")]
    Refused(String),
    /// The provider knows them, and there is no rule for them.
    #[error("{0} is known to the provider, and may do nothing here")]
    Nobody(String),
    /// A setting cannot be meant.
    #[error("{what}: {problem}")]
    Config {
        /// Which one.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// All claims that the library does not know itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
struct OtherClaims(BTreeMap<String, Value>);

impl AdditionalClaims for OtherClaims {}

type Fields = IdTokenFields<
    OtherClaims,
    EmptyExtraTokenFields,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;

type Provider = Client<
    OtherClaims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    StandardTokenResponse<Fields, CoreTokenType>,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// The provider, and a way to ask it.
pub(super) struct Oidc {
    config: OidcConfig,
    issuer: IssuerUrl,
    redirect: RedirectUrl,
    http: Http,
    known: Mutex<Option<(Instant, CoreProviderMetadata)>>,
}

/// What is kept in the browser between its leaving for the provider and its coming back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Begun {
    state: String,
    nonce: String,
    verifier: String,
    /// The page that it wanted.
    pub(super) next: String,
}

impl Begun {
    /// As the value of a cookie. The page goes last, since it may hold dots.
    pub(super) fn to_cookie(&self) -> String {
        let next = url::form_urlencoded::byte_serialize(self.next.as_bytes());
        format!(
            "{}.{}.{}.{}",
            self.state,
            self.nonce,
            self.verifier,
            next.collect::<String>()
        )
    }

    pub(super) fn from_cookie(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, '.');
        let mut part = || Some(parts.next()?.to_owned());
        let (state, nonce, verifier, next) = (part()?, part()?, part()?, part()?);
        let (next, _) = url::form_urlencoded::parse(next.as_bytes()).next()?;
        Some(Self {
            state,
            nonce,
            verifier,
            next: next.into_owned(),
        })
    }
}

impl Oidc {
    pub(super) fn new(config: OidcConfig) -> Result<Self, OidcError> {
        let bad = |what, problem: String| OidcError::Config { what, problem };
        let issuer = IssuerUrl::new(config.issuer.clone())
            .map_err(|error| bad("oidc-issuer", error.to_string()))?;
        let is_local =
            |url: &url::Url| matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        if issuer.url().scheme() != "https" && !is_local(issuer.url()) {
            // Whoever is between could say who anybody is.
            return Err(bad("oidc-issuer", "expected an https URL".to_owned()));
        }
        let public = config.public_url.trim_end_matches('/');
        let redirect = RedirectUrl::new(format!("{public}/sign-in/oidc/callback"))
            .map_err(|error| bad("public-url", error.to_string()))?;
        if config.rules.is_empty() {
            return Err(bad(
                "oidc-role",
                "expected at least one rule, or nobody can sign in: groups=operators:operate"
                    .to_owned(),
            ));
        }
        Ok(Self {
            config,
            issuer,
            redirect,
            http: Http::new(),
            known: Mutex::default(),
        })
    }

    /// The provider as people know it: the host of its issuer.
    pub(super) fn name(&self) -> &str {
        self.issuer.url().host_str().unwrap_or("OpenID Connect")
    }

    /// Whether browsers reach this server over TLS.
    pub(super) fn is_public_tls(&self) -> bool {
        self.redirect.url().scheme() == "https"
    }

    /// Where to send a browser, and what it is to bring back.
    pub(super) async fn begin(&self, next: String) -> Result<(String, Begun), OidcError> {
        let provider = self.provider().await?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let mut request = provider
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                CsrfToken::new_random,
                Nonce::new_random,
            )
            .set_pkce_challenge(challenge);
        for scope in &self.config.scopes {
            request = request.add_scope(openidconnect::Scope::new(scope.clone()));
        }
        let (url, state, nonce) = request.url();
        let begun = Begun {
            state: state.secret().clone(),
            nonce: nonce.secret().clone(),
            verifier: verifier.secret().clone(),
            next,
        };
        Ok((url.to_string(), begun))
    }

    /// Who came back, and what they may do.
    pub(super) async fn finish(
        &self,
        begun: Begun,
        state: &str,
        code: String,
    ) -> Result<(String, Access), OidcError> {
        // Both are random and used once: how long comparing takes tells nobody anything of use.
        if state != begun.state {
            return Err(OidcError::Refused(
                "this sign-in was not begun by this browser, or was begun again meanwhile: try again"
                    .to_owned(),
            ));
        }
        let provider = self.provider().await?;
        let response = provider
            .exchange_code(AuthorizationCode::new(code))
            .map_err(|error| self.problem(&error))?
            .set_pkce_verifier(PkceCodeVerifier::new(begun.verifier))
            .request_async(&self.http)
            .await
            .map_err(|error| self.problem(&error))?;
        let token = response
            .id_token()
            .ok_or_else(|| OidcError::Refused("the provider sent no ID token".to_owned()))?;
        // Signature, issuer, audience, time and nonce.
        let claims = token
            .claims(&provider.id_token_verifier(), &Nonce::new(begun.nonce))
            .map_err(|error| self.problem(&error))?;
        let all = serde_json::to_value(claims).map_err(|error| self.problem(&error))?;
        self.access_of(&all)
    }

    /// What these claims allow.
    fn access_of(&self, claims: &Value) -> Result<(String, Access), OidcError> {
        let text = |name: &str| claims[name].as_str().filter(|text| !text.trim().is_empty());
        let is_verified = claims["email_verified"] == Value::Bool(true);
        // An address that nobody has looked at may be anybody's.
        let email = text("email").filter(|_| is_verified);
        let subject = text("sub").unwrap_or_default();
        let who = email.map_or_else(
            || format!("{subject}@{}", self.name()),
            std::borrow::ToOwned::to_owned,
        );
        let fits = |rule: &&OidcRule| match &rule.claim {
            None => true,
            Some((name, value)) if name == "email" => email == Some(value.as_str()),
            Some((name, value)) => match &claims[name.as_str()] {
                Value::Array(several) => several.iter().any(|one| one.as_str() == Some(value)),
                Value::Bool(one) => one.to_string() == *value,
                one => one.as_str() == Some(value),
            },
        };
        let fitting = || self.config.rules.iter().filter(fits);
        let Some(role) = fitting().map(|rule| rule.role).max() else {
            return Err(OidcError::Nobody(who));
        };
        let access = Access {
            role,
            scope: Scope::default(),
            payloads: fitting().any(|rule| rule.payloads),
        };
        Ok((who, access))
    }

    async fn provider(&self) -> Result<Provider, OidcError> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = known()
            .as_ref()
            .filter(|(since, _)| since.elapsed() < BELIEVED)
            .map(|(_, metadata)| metadata.clone());
        let metadata = match fresh {
            Some(metadata) => metadata,
            None => {
                let issuer = self.issuer.clone();
                let metadata = CoreProviderMetadata::discover_async(issuer, &self.http)
                    .await
                    .map_err(|error| self.problem(&error))?;
                *known() = Some((Instant::now(), metadata.clone()));
                metadata
            }
        };
        let secret = self.config.client_secret.clone().map(ClientSecret::new);
        let id = ClientId::new(self.config.client_id.clone());
        let provider = Client::from_provider_metadata(metadata, id, secret);
        Ok(provider.set_redirect_uri(self.redirect.clone()))
    }

    fn problem(&self, error: &dyn std::error::Error) -> OidcError {
        let mut problem = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            problem = format!("{problem}: {error}");
            cause = error.source();
        }
        OidcError::Provider {
            issuer: self.config.issuer.clone(),
            problem,
        }
    }
}

/// Asks the provider. It follows no redirects: they could lead anywhere within our own network.
struct Http(HttpClient<HttpsConnector<HttpConnector>, Full<bytes::Bytes>>);

/// The provider gave no answer.
#[derive(Debug, Error)]
enum HttpError {
    #[error("it cannot be reached")]
    Unreachable(#[source] hyper_util::client::legacy::Error),
    #[error("no answer within {} s", ANSWER_MAX.as_secs())]
    Late,
    #[error("its answer broke off, or is longer than 1 MiB")]
    Body,
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.ask(request))
    }
}

impl Http {
    fn new() -> Self {
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider());
        let connector = match connector {
            Ok(connector) => connector,
            // The versions of TLS that the library chooses by itself are those that it has.
            Err(_) => HttpsConnectorBuilder::new().with_webpki_roots(),
        };
        let connector = connector.https_or_http().enable_http1().build();
        Self(HttpClient::builder(TokioExecutor::new()).build(connector))
    }

    async fn ask(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let request = request.map(|body| Full::new(bytes::Bytes::from(body)));
        let answer = async {
            let response = self
                .0
                .request(request)
                .await
                .map_err(HttpError::Unreachable)?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX)
                .collect()
                .await
                .map_err(|_| HttpError::Body)?;
            Ok(HttpResponse::from_parts(parts, body.to_bytes().to_vec()))
        };
        timeout(ANSWER_MAX, answer)
            .await
            .unwrap_or(Err(HttpError::Late))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn oidc(rules: &[&str]) -> Oidc {
        Oidc::new(OidcConfig {
            issuer: "https://login.example.com".to_owned(),
            client_id: "dacapo".to_owned(),
            client_secret: None,
            public_url: "https://dacapo.example.com/".to_owned(),
            scopes: Vec::new(),
            rules: rules.iter().map(|rule| rule.parse().unwrap()).collect(),
        })
        .unwrap()
    }

    #[test]
    fn the_highest_role_of_all_rules_that_fit_counts() {
        let oidc = oidc(&[
            "*:read,no-payloads",
            "groups=ops:operate",
            "email=ann@example.com:admin",
        ]);
        let access = |claims: Value| oidc.access_of(&claims).unwrap();
        let (who, access_of_anybody) = access(json!({ "sub": "7" }));
        assert_eq!(who, "7@login.example.com");
        assert_eq!(access_of_anybody.role, Role::Read);
        assert!(!access_of_anybody.payloads);
        let (_, operator) = access(json!({ "sub": "7", "groups": ["dev", "ops"] }));
        assert_eq!((operator.role, operator.payloads), (Role::Operate, true));
        let ann = json!({ "sub": "8", "email": "ann@example.com", "email_verified": true });
        let (who, admin) = access(ann);
        assert_eq!((who.as_str(), admin.role), ("ann@example.com", Role::Admin));
        // An address that nobody has verified is anybody's.
        let (who, other) = access(json!({ "sub": "9", "email": "ann@example.com" }));
        assert_eq!(
            (who.as_str(), other.role),
            ("9@login.example.com", Role::Read)
        );
    }

    #[test]
    fn whoever_fits_no_rule_may_do_nothing() {
        let oidc = oidc(&["groups=ops:operate"]);
        let refused = oidc.access_of(&json!({ "sub": "7", "groups": "dev" }));
        assert!(matches!(refused, Err(OidcError::Nobody(_))));
    }

    #[test]
    fn rules_are_read_as_people_write_them() {
        let rule: OidcRule = "groups=team:a:operate".parse().unwrap();
        assert_eq!(rule.claim, Some(("groups".to_owned(), "team:a".to_owned())));
        for text in [
            "",
            "groups",
            "groups=x",
            "groups=x:root",
            "=x:read",
            "x:read",
            "*:read,loud",
        ] {
            assert!(text.parse::<OidcRule>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_a_browser_keeps_survives_its_cookie() {
        let begun = Begun {
            state: "a-b_c".to_owned(),
            nonce: "n".to_owned(),
            verifier: "v-~".to_owned(),
            next: "/runs?label=a.b; c&x=ü".to_owned(),
        };
        let cookie = begun.to_cookie();
        assert!(!cookie.contains([';', ' ', ',']), "{cookie}");
        assert_eq!(Begun::from_cookie(&cookie), Some(begun));
        assert_eq!(Begun::from_cookie("a.b.c"), None);
    }

    #[test]
    fn a_provider_without_tls_is_refused_unless_it_is_on_this_machine() {
        let config = |issuer: &str| OidcConfig {
            issuer: issuer.to_owned(),
            client_id: "dacapo".to_owned(),
            client_secret: None,
            public_url: "http://localhost:7007".to_owned(),
            scopes: Vec::new(),
            rules: vec!["*:read".parse().unwrap()],
        };
        assert!(Oidc::new(config("http://login.example.com")).is_err());
        assert!(Oidc::new(config("http://127.0.0.1:1")).is_ok());
    }
}
