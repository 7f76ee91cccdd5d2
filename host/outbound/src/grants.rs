//! What one deployment may ask for, and what it must not get to see.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use dacapo_model::{
    AND_DEPLOY, Failure, HttpSettings, Manifest, Otherwise, PLACEHOLDER_END, PLACEHOLDER_START,
    SecretGrant, SecretName,
};
use http::Uri;
use memchr::memmem;
use tokio::sync::Semaphore;
use url::{Host, Url};

use crate::hide::{Hidden, text_of};
use crate::secrets::Secrets;
use crate::{BAD_REQUEST, NOT_GRANTED};

/// The grants of one deployment. Its secrets are remembered once it sends requests, to be hidden in whatever comes back.
#[derive(Debug, Default)]
pub struct Grants {
    pub(crate) http: HttpSettings,
    secrets: BTreeMap<SecretName, SecretGrant>,
    hidden: RwLock<Hidden>,
    share: OnceLock<Arc<Semaphore>>,
}

/// Why a request is not made.
#[derive(Debug, Clone, PartialEq)]
pub enum Refused {
    /// Something that the guest is told.
    Failure(Failure),
    /// The manifest lacks something, and the run cannot go on with it; what, and what to do.
    NotGranted(String),
    /// A secret is not there, and the run cannot go on here.
    MissingSecret {
        /// Which.
        name: SecretName,
        /// Why it cannot be used, and what to do.
        message: String,
    },
}

impl Refused {
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Refused {
        Refused::Failure(Failure::new(code, message))
    }
}

/// Where a request that is granted goes.
#[derive(Debug, Clone)]
pub struct Target {
    pub(crate) url: Url,
    pub(crate) uri: Uri,
    pub(crate) host: String,
    /// The address need not be public.
    pub(crate) may_be_private: bool,
}

impl Target {
    /// What is asked for, in its normal form.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }
}

impl Grants {
    /// What this manifest grants.
    pub fn new(manifest: &Manifest) -> Grants {
        Grants {
            http: manifest.http.clone().unwrap_or_default(),
            secrets: manifest.secrets.clone(),
            hidden: RwLock::default(),
            share: OnceLock::new(),
        }
    }

    /// The header in which requests through `wasi:http` carry their step's idempotency key.
    pub fn idempotency_header(&self) -> Option<&str> {
        self.http.idempotency_header.as_deref()
    }

    /// Reads a URL, and finds the grant for a request to it.
    ///
    /// # Errors
    /// It is no URL for a request, or nothing grants it.
    pub fn target(&self, url: &str, method: &str) -> Result<Target, Refused> {
        let url = Url::parse(url).map_err(|error| {
            Refused::new(
                BAD_REQUEST,
                format!("expected a URL such as https://api.example.com/orders, got one that cannot be read: {error}"),
            )
        })?;
        match self.find(url, method) {
            // Where a response leads on is not the code's own wish.
            Err(Refused::Failure(failure)) if failure.code == NOT_GRANTED => {
                Err(self.lack(failure.message))
            }
            found => found,
        }
    }

    /// What comes of it that the manifest lacks something which the code wants.
    fn lack(&self, message: String) -> Refused {
        match self.http.otherwise {
            Otherwise::Block => Refused::NotGranted(message),
            Otherwise::Fail => Refused::new(NOT_GRANTED, message),
        }
    }

    pub(crate) fn find(&self, mut url: Url, method: &str) -> Result<Target, Refused> {
        let bad = |expected: &str, got: &str| {
            Refused::new(
                BAD_REQUEST,
                format!("URL of a request: expected {expected}, got {got}"),
            )
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad("https or http", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("no user and password (send a header)", "some"));
        }
        url.set_fragment(None);
        let (host, address) = match url.host() {
            Some(Host::Domain(name)) => (name.trim_end_matches('.').to_owned(), None),
            Some(Host::Ipv4(address)) => (address.to_string(), Some(address.into())),
            Some(Host::Ipv6(address)) => (address.to_string(), Some(address.into())),
            None => return Err(bad("a host", "none")),
        };
        let port = url.port_or_known_default().unwrap_or(0);
        let grant = self
            .http
            .find(&host, port, method)
            .map_err(|missing| Refused::new(NOT_GRANTED, missing))?;
        // An address that is granted as such may be any; a name only stands for a public one unless that is granted, too.
        let may_be_private =
            grant.private || (address.is_some() && grant.host.address() == address);
        let uri = url
            .as_str()
            .parse()
            .map_err(|_| bad("one that HTTP can carry", "another one"))?;
        Ok(Target {
            uri,
            host,
            may_be_private,
            url,
        })
    }

    /// The value of a header with what its placeholders stand for. Only requests to hosts that a secret is granted for carry it.
    pub(crate) fn fill<'a>(
        &self,
        value: &'a [u8],
        target: &Target,
        secrets: &Secrets,
    ) -> Result<Cow<'a, [u8]>, Refused> {
        let Some(mut start) = memmem::find(value, PLACEHOLDER_START.as_bytes()) else {
            return Ok(Cow::Borrowed(value));
        };
        let mut filled = Vec::new();
        let mut rest = value;
        loop {
            let behind = &rest[start + PLACEHOLDER_START.len()..];
            let Some(end) = memmem::find(behind, PLACEHOLDER_END.as_bytes()) else {
                break;
            };
            filled.extend_from_slice(&rest[..start]);
            let name = String::from_utf8_lossy(&behind[..end]);
            filled.extend_from_slice(self.secret_for(&name, target, secrets)?.as_bytes());
            rest = &behind[end + PLACEHOLDER_END.len()..];
            match memmem::find(rest, PLACEHOLDER_START.as_bytes()) {
                Some(next) => start = next,
                None => break,
            }
        }
        filled.extend_from_slice(rest);
        Ok(Cow::Owned(filled))
    }

    fn secret_for(
        &self,
        name: &str,
        target: &Target,
        secrets: &Secrets,
    ) -> Result<String, Refused> {
        let host = &target.host;
        let refuse = |message: String| Err(Refused::new(NOT_GRANTED, message));
        let Some((name, grant)) = SecretName::parse(name)
            .ok()
            .and_then(|name| self.secrets.get_key_value(&name))
        else {
            return Err(self.lack(format!(
                "secret `{name}` is not granted: add it under [secrets] in dacapo.toml, with \"{host}\" among its hosts, {AND_DEPLOY}"
            )));
        };
        if !grant.hosts.iter().any(|pattern| pattern.fits(host)) {
            return Err(self.lack(format!(
                "secret `{name}` is not granted for requests to {host}: add \"{host}\" to its hosts under [secrets] in dacapo.toml, \
                 {AND_DEPLOY}"
            )));
        }
        if target.url.scheme() != "https" && !target.may_be_private {
            return refuse(format!(
                "secret `{name}` is not sent to {host} in the clear: use https"
            ));
        }
        let value = found(name, secrets)?;
        if !grant.reveal {
            self.remember(name, &value);
        }
        Ok(value)
    }

    /// The bytes of a secret that is granted to be revealed.
    pub(crate) fn reveal(&self, name: &str, secrets: &Secrets) -> Result<String, Refused> {
        let known = SecretName::parse(name)
            .ok()
            .and_then(|name| self.secrets.get_key_value(&name));
        match known {
            Some((name, grant)) if grant.reveal => found(name, secrets),
            _ => Err(self.lack(format!(
                "secret `{name}` is not granted to be revealed: send its placeholder in a header, or write `reveal = true` for it under \
                 [secrets] in dacapo.toml, {AND_DEPLOY}"
            ))),
        }
    }

    /// Remembers all secrets that may be sent and must not be seen: whoever sent one before, here or elsewhere, it may come back with any
    /// response. Those that are not there are not asked for.
    pub(crate) fn remember_all(&self, secrets: &Secrets) {
        for (name, _) in self.secrets.iter().filter(|(_, grant)| !grant.reveal) {
            if let Ok(value) = secrets.get(name) {
                self.remember(name, &value);
            }
        }
    }

    fn remember(&self, name: &SecretName, value: &str) {
        let placeholder = name.placeholder();
        if self.hidden().has(value, &placeholder) {
            return;
        }
        let mut hidden = self.hidden.write().unwrap_or_else(PoisonError::into_inner);
        if !hidden.has(value, &placeholder) {
            hidden.add(value, placeholder);
        }
    }

    fn hidden(&self) -> RwLockReadGuard<'_, Hidden> {
        self.hidden.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A text without the secrets that may be in it, their placeholders in their places.
    pub fn hide<'a>(&self, text: impl Into<Cow<'a, str>>) -> Cow<'a, str> {
        let text = text.into();
        match self.hidden().replace(text.as_bytes(), true).0 {
            Some(shown) => Cow::Owned(text_of(shown)),
            None => text,
        }
    }

    /// The same for JSON, which it stays.
    pub fn hide_in_json<'a>(&self, json: &'a str) -> Cow<'a, str> {
        let shown = self.hidden().replace_in_json(json);
        shown.map_or(Cow::Borrowed(json), Cow::Owned)
    }

    /// The same for bytes that need not be text.
    pub(crate) fn hide_bytes(&self, bytes: Vec<u8>) -> Vec<u8> {
        let shown = self.hidden().replace(&bytes, true).0;
        shown.unwrap_or(bytes)
    }

    /// The same for the beginning of what comes: as far as it can be told, and how many bytes that were.
    pub(crate) fn hide_beginning(&self, bytes: &[u8]) -> (Option<Vec<u8>>, usize) {
        self.hidden().replace(bytes, false)
    }

    /// Places for the deployment's requests that are under way, of which there are this many.
    pub(crate) fn share(&self, places: usize) -> Arc<Semaphore> {
        Arc::clone(self.share.get_or_init(|| Arc::new(Semaphore::new(places))))
    }

    /// Whether there is nothing to hide.
    pub fn hides_nothing(&self) -> bool {
        self.hidden().is_empty()
    }
}

/// The value of a secret on this worker.
fn found(name: &SecretName, secrets: &Secrets) -> Result<String, Refused> {
    secrets.get(name).map_err(|message| Refused::MissingSecret {
        name: name.clone(),
        message,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use dacapo_model::HttpGrant;

    use super::*;

    fn grants() -> Grants {
        let allow = ["api.example.com", "*.example.org", "127.0.0.1:8080"];
        let secret = SecretGrant {
            hosts: vec!["api.example.com".to_owned().try_into().unwrap()],
            reveal: false,
        };
        Grants::new(&Manifest {
            http: Some(HttpSettings {
                allow: allow.map(|text| HttpGrant::parse(text).unwrap()).into(),
                ..HttpSettings::default()
            }),
            secrets: [(SecretName::parse("key").unwrap(), secret)].into(),
            ..Manifest::default()
        })
    }

    fn secrets() -> Secrets {
        Secrets::new(
            [("DACAPO_SECRET_KEY".to_owned(), "s3cr\"t-value".to_owned())],
            None,
        )
    }

    /// Grants by which a secret was used.
    pub(crate) fn used_grants() -> Grants {
        let grants = grants();
        let target = grants.target("https://api.example.com", "GET").unwrap();
        let placeholder = "{{dacapo.secret.key}}";
        grants
            .fill(placeholder.as_bytes(), &target, &secrets())
            .unwrap();
        grants
    }

    fn said(refused: Refused) -> (String, String) {
        match refused {
            Refused::Failure(failure) => (failure.code, failure.message),
            Refused::NotGranted(message) => (NOT_GRANTED.to_owned(), message),
            Refused::MissingSecret { message, .. } => ("missing".to_owned(), message),
        }
    }

    #[test]
    fn a_host_is_the_one_that_will_be_connected_to_however_it_is_written() {
        let grants = grants();
        for (url, host) in [
            ("https://API.example.com/x#y", "api.example.com"),
            ("https://api.example.com./x", "api.example.com"),
            ("http://0x7f.1:8080/", "127.0.0.1"),
            ("http://2130706433:8080/", "127.0.0.1"),
            ("https://a.example.org:443", "a.example.org"),
        ] {
            assert_eq!(grants.target(url, "GET").unwrap().host, host, "{url}");
        }
        for url in [
            "https://api.example.com@evil.org/",
            "https://api.example.com:8443/",
            "https://evil.org/?api.example.com",
            "http://127.0.0.1/",
            "http://[::ffff:127.0.0.1]:8080/",
            "ftp://api.example.com/",
            "api.example.com",
            "",
        ] {
            let (code, message) = said(grants.target(url, "GET").unwrap_err());
            assert!(
                [NOT_GRANTED, BAD_REQUEST].contains(&code.as_str()),
                "{url}: {message}"
            );
        }
    }

    #[test]
    fn a_placeholder_is_filled_for_its_hosts_alone_and_never_in_the_clear() {
        let (grants, secrets) = (grants(), secrets());
        let fill = |url: &str, value: &str| -> Result<String, Refused> {
            let target = grants.target(url, "GET").unwrap();
            let filled = grants.fill(value.as_bytes(), &target, &secrets)?;
            Ok(String::from_utf8(filled.into_owned()).unwrap())
        };
        let bearer = "Bearer {{dacapo.secret.key}}";
        assert_eq!(
            fill("https://api.example.com", bearer).unwrap(),
            "Bearer s3cr\"t-value"
        );
        assert_eq!(
            fill("https://api.example.com", "{{dacapo.secret.key").unwrap(),
            "{{dacapo.secret.key"
        );
        assert_eq!(fill("https://a.example.org", "plain").unwrap(), "plain");
        assert_eq!(
            fill("https://api.example.com", "é {{dacapo.secret.key}} é").unwrap(),
            "é s3cr\"t-value é"
        );
        for (url, value, part) in [
            (
                "https://a.example.org",
                bearer,
                "not granted for requests to a.example.org",
            ),
            ("http://api.example.com", bearer, "in the clear"),
            (
                "https://api.example.com",
                "{{dacapo.secret.other}}",
                "secret `other` is not granted",
            ),
            (
                "https://api.example.com",
                "{{dacapo.secret.}}",
                "is not granted",
            ),
        ] {
            let (code, message) = said(fill(url, value).unwrap_err());
            assert!(code == NOT_GRANTED && message.contains(part), "{message}");
        }
        let target = grants.target("https://api.example.com", "GET").unwrap();
        let missing = grants
            .fill(bearer.as_bytes(), &target, &Secrets::default())
            .unwrap_err();
        assert!(matches!(missing, Refused::MissingSecret { .. }));
    }

    #[test]
    fn a_used_secret_is_hidden_in_texts_bytes_and_json() {
        let (grants, secrets) = (grants(), secrets());
        assert!(grants.hides_nothing());
        assert_eq!(grants.hide("s3cr\"t-value"), "s3cr\"t-value");
        let target = grants.target("https://api.example.com", "GET").unwrap();
        grants
            .fill(b"{{dacapo.secret.key}}", &target, &secrets)
            .unwrap();
        assert_eq!(
            grants.hide("a s3cr\"t-value b"),
            "a {{dacapo.secret.key}} b"
        );
        assert_eq!(
            grants.hide(r#"{"a":"s3cr\"t-value"}"#),
            r#"{"a":"{{dacapo.secret.key}}"}"#
        );
        assert_eq!(
            grants.hide_bytes(b"\xffs3cr\"t-value\xff".to_vec()),
            b"\xff{{dacapo.secret.key}}\xff"
        );
        assert!(!format!("{grants:?}").contains("s3cr"));
    }

    #[test]
    fn all_secrets_are_hidden_that_are_there_and_not_revealed() {
        let (mut grants, secrets) = (grants(), secrets());
        grants.remember_all(&secrets);
        assert_eq!(grants.hide("s3cr\"t-value"), "{{dacapo.secret.key}}");
        grants = self::grants();
        grants.remember_all(&Secrets::default());
        assert!(grants.hides_nothing());
        grants
            .secrets
            .values_mut()
            .for_each(|grant| grant.reveal = true);
        grants.remember_all(&secrets);
        assert!(grants.hides_nothing());
    }

    #[test]
    fn a_secret_is_revealed_where_that_is_granted_and_nowhere_else() {
        let (code, message) = said(grants().reveal("key", &secrets()).unwrap_err());
        assert!(
            code == NOT_GRANTED && message.contains("`reveal = true`"),
            "{message}"
        );
        let mut grants = grants();
        grants
            .secrets
            .values_mut()
            .for_each(|grant| grant.reveal = true);
        assert_eq!(grants.reveal("key", &secrets()).unwrap(), "s3cr\"t-value");
    }
}
