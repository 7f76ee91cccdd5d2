//! What a deployment lets its steps do outside: hosts, secrets, limits. Nothing is granted that is not said.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Which hosts steps may send requests to, and how far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HttpSettings {
    /// The hosts. Empty: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<HttpGrant>,
    /// How long a request and its response may take together, in milliseconds. None: as long as the worker allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// How long the body of a response may be, in bytes. None: as long as the worker allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_max_bytes: Option<u64>,
    /// The header in which each request through `wasi:http` carries its step's idempotency key, unless it sets that itself. None: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_header: Option<String>,
    /// What a request comes to that nothing grants.
    #[serde(skip_serializing_if = "Otherwise::is_block")]
    pub otherwise: Otherwise,
}

/// How what was added to a manifest reaches the runs that lack it: a deployment by itself is for new runs alone.
pub const AND_DEPLOY: &str = "and deploy with `dacapo deploy FILE.wasm --upgrade proven`, which takes along the runs in flight";

/// What it comes to when a guest wants what its deployment is not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Otherwise {
    /// The run is blocked until a deployment takes it over that grants it.
    #[default]
    Block,
    /// The guest is told so, by a failure: for code that is to try what others say.
    Fail,
}

impl Otherwise {
    fn is_block(&self) -> bool {
        *self == Self::Block
    }
}

/// Leave to send requests to one host, or to the hosts that a pattern fits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpGrant {
    /// The host.
    pub host: HostPattern,
    /// The only port. None: 443 and 80.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The methods, in capitals. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// The host's name may stand for an address that is not public.
    #[serde(default, skip_serializing_if = "is_false")]
    pub private: bool,
}

/// A host as a grant names it: exactly, by an address, or with one label left open (`*.example.com`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPattern(String);

/// A text names no host, port or method as a grant does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, got `{got}`")]
pub struct GrantError {
    expected: String,
    got: String,
}

/// The name of a secret: what placeholders in a guest's requests say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretName(String);

/// Where a secret may be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SecretGrant {
    /// The hosts in requests to which its placeholder is replaced; each is one that requests are granted to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostPattern>,
    /// The guest may have its bytes, and nothing is promised about where they go.
    #[serde(skip_serializing_if = "is_false")]
    pub reveal: bool,
}

/// How far a deployment's guests may go. The workers' own limits hold beside these: of the two, the smaller one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LimitSettings {
    /// Linear memory of one instance, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// How long a guest may compute between two durable calls, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// How long a step's body may compute in one attempt, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_cpu_ms: Option<u64>,
    /// Each payload that a guest records or returns, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_bytes: Option<u64>,
    /// Rows that a run's journal may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// What a step's scratch directory may hold in one attempt, in bytes. Without it there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scratch_bytes: Option<u64>,
}

impl LimitSettings {
    /// The least linear memory that a limit leaves a guest, in bytes.
    pub const MEMORY_MIN_BYTES: u64 = 1 << 20;
    /// The least payload that a limit leaves a guest, in bytes.
    pub const PAYLOAD_MIN_BYTES: u64 = 64;
    /// The least scratch directory that is one, in bytes.
    pub const SCRATCH_MIN_BYTES: u64 = 64 << 10;
}

impl HttpSettings {
    /// The grant by which a request may be sent. The host is lower-case, an address without brackets; the method is in capitals.
    ///
    /// # Errors
    /// There is none; the text says what would have to be granted.
    pub fn find(&self, host: &str, port: u16, method: &str) -> Result<&HttpGrant, String> {
        let of_host = || self.allow.iter().filter(|grant| grant.host.fits(host));
        let of_port = || of_host().filter(|grant| grant.has_port(port));
        // What is not public is asked of all that fit, so the one that grants more counts.
        let fits = || of_port().filter(|grant| grant.has_method(method));
        if let Some(grant) = fits().find(|grant| grant.private).or_else(|| fits().next()) {
            return Ok(grant);
        }
        let place = Authority(host, port);
        let how = format!("in dacapo.toml, {AND_DEPLOY}");
        Err(if of_port().next().is_some() {
            format!(
                "{method} requests to {place} are not granted: add \"{method}\" to the `methods` of its entry in `allow` under [http] {how}"
            )
        } else if of_host().next().is_some() {
            format!(
                "requests to port {port} of {host} are not granted: add \"{place}\" to `allow` under [http] {how}"
            )
        } else {
            format!(
                "requests to {host} are not granted: add \"{place}\" to `allow` under [http] {how}"
            )
        })
    }
}

/// A host and its port as a grant would name them.
struct Authority<'a>(&'a str, u16);

impl fmt::Display for Authority<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Authority(host, port) = *self;
        match (host.contains(':'), matches!(port, 80 | 443)) {
            (_, true) => f.write_str(host),
            (true, false) => write!(f, "[{host}]:{port}"),
            (false, false) => write!(f, "{host}:{port}"),
        }
    }
}

impl HttpGrant {
    /// A grant for a host, with or without a port: `api.example.com`, `*.example.com:8443`.
    ///
    /// # Errors
    /// The text is something else.
    pub fn parse(text: &str) -> Result<HttpGrant, GrantError> {
        let whole = |host| HttpGrant {
            host,
            port: None,
            methods: Vec::new(),
            private: false,
        };
        let is_bare_address = text.parse::<IpAddr>().is_ok();
        let Some((host, port)) = text
            .rsplit_once(':')
            .filter(|_| !is_bare_address && !text.contains('/') && !text.ends_with(']'))
        else {
            return HostPattern::parse(text).map(whole);
        };
        let host = HostPattern::parse(host)?;
        match port.parse() {
            Ok(0) | Err(_) => Err(GrantError {
                expected: "a port from 1 to 65535 behind the host".to_owned(),
                got: text.to_owned(),
            }),
            Ok(port) => Ok(HttpGrant {
                port: Some(port),
                ..whole(host)
            }),
        }
    }

    fn has_port(&self, port: u16) -> bool {
        self.port
            .map_or(matches!(port, 80 | 443), |own| own == port)
    }

    fn has_method(&self, method: &str) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|own| own == method)
    }
}

/// As it is said to people: `*.example.com:8443 (GET, private)`.
impl fmt::Display for HttpGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) if self.host.0.contains(':') => write!(f, "[{}]:{port}", self.host)?,
            Some(port) => write!(f, "{}:{port}", self.host)?,
            None => write!(f, "{}", self.host)?,
        }
        let mut more = self.methods.clone();
        more.extend(self.private.then(|| "private addresses too".to_owned()));
        if more.is_empty() {
            Ok(())
        } else {
            write!(f, " ({})", more.join(", "))
        }
    }
}

/// A method as grants name it: one word in capitals.
///
/// # Errors
/// It is something else.
pub fn check_method(method: &str) -> Result<(), GrantError> {
    if (1..=20).contains(&method.len()) && method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Ok(());
    }
    Err(GrantError {
        expected: "a method in capitals, such as \"GET\"".to_owned(),
        got: method.to_owned(),
    })
}

impl HostPattern {
    /// A host's name in lower case, an address, or a name whose first label is `*`.
    ///
    /// # Errors
    /// The text is something else; a URL is told what to write in its place.
    pub fn parse(text: &str) -> Result<HostPattern, GrantError> {
        let refuse = |expected: &str| {
            Err(GrantError {
                expected: expected.to_owned(),
                got: text.to_owned(),
            })
        };
        if let Some((_, rest)) = text.split_once("://") {
            let host = rest.split(['/', '?', '#']).next().unwrap_or(rest);
            let host = host.rsplit('@').next().unwrap_or(host);
            return refuse(&format!("a host and not a URL: write \"{host}\""));
        }
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(HostPattern(address.to_string()));
        }
        if text.contains(['/', '?', '#', '@']) {
            return refuse("a host alone, such as \"api.example.com\" or \"api.example.com:8443\"");
        }
        if !text.is_ascii() {
            return refuse("a host in its ASCII form, such as \"xn--bcher-kva.example\"");
        }
        let name = text.to_ascii_lowercase();
        let (is_open, fixed) = match name.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, name.as_str()),
        };
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        if fixed.contains('*') {
            return refuse(
                "`*` as the whole first label and nowhere else, such as \"*.example.com\"",
            );
        }
        if is_open && !fixed.contains('.') {
            return refuse("at least two labels behind `*.`, such as \"*.example.com\"");
        }
        let mut labels = fixed.split('.');
        let is_number = fixed
            .rsplit('.')
            .next()
            .is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
        if name.len() > 253 || is_number || !labels.all(is_label) {
            return refuse("a host's name or address, such as \"api.example.com\"");
        }
        Ok(HostPattern(name))
    }

    /// Whether it stands for this host, which is lower-case, an address without brackets.
    pub fn fits(&self, host: &str) -> bool {
        match self.0.strip_prefix("*.") {
            Some(rest) => host
                .split_once('.')
                .is_some_and(|(first, behind)| !first.is_empty() && behind == rest),
            None => self.0 == host,
        }
    }

    /// Whether all hosts that the other one stands for are among those of this one.
    pub fn covers(&self, other: &HostPattern) -> bool {
        self == other || (!other.0.starts_with("*.") && self.fits(&other.0))
    }

    /// The address, if it is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.0.parse().ok()
    }
}

impl TryFrom<String> for HostPattern {
    type Error = GrantError;

    fn try_from(text: String) -> Result<Self, GrantError> {
        HostPattern::parse(&text)
    }
}

impl From<HostPattern> for String {
    fn from(host: HostPattern) -> String {
        host.0
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl SecretName {
    /// A name of lower-case letters, digits and `-`, at most 60 of them, that begins with a letter and does not end with `-`.
    ///
    /// # Errors
    /// The text is something else.
    pub fn parse(text: &str) -> Result<SecretName, GrantError> {
        let is_known =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.len() <= 60
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && !text.ends_with('-')
            && text.bytes().all(is_known)
        {
            return Ok(SecretName(text.to_owned()));
        }
        Err(GrantError {
            expected:
                "the name of a secret: lower-case letters, digits and `-`, such as \"stripe-key\""
                    .to_owned(),
            got: text.to_owned(),
        })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The environment variable of a worker that holds its value.
    pub fn variable(&self) -> String {
        format!(
            "DACAPO_SECRET_{}",
            self.0.to_ascii_uppercase().replace('-', "_")
        )
    }

    /// What a guest writes in the value of a header where the secret is to stand.
    pub fn placeholder(&self) -> String {
        format!("{PLACEHOLDER_START}{}{PLACEHOLDER_END}", self.0)
    }
}

/// Headers that say how a message is carried, in lower case: neither guests nor manifests say them.
pub const CARRYING_HEADERS: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// How a placeholder begins, before the secret's name.
pub const PLACEHOLDER_START: &str = "{{dacapo.secret.";

/// How a placeholder ends.
pub const PLACEHOLDER_END: &str = "}}";

impl TryFrom<String> for SecretName {
    type Error = GrantError;

    fn try_from(text: String) -> Result<Self, GrantError> {
        SecretName::parse(&text)
    }
}

impl From<SecretName> for String {
    fn from(name: SecretName) -> String {
        name.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is wrong with grants that are each well-formed.
pub(crate) struct GrantMistake {
    pub(crate) table: &'static str,
    pub(crate) key: String,
    pub(crate) expected: String,
    pub(crate) got: String,
}

/// The first thing that cannot be meant.
pub(crate) fn check_grants(
    http: Option<&HttpSettings>,
    secrets: &BTreeMap<SecretName, SecretGrant>,
    environment: &BTreeMap<String, String>,
    limits: Option<&LimitSettings>,
) -> Result<(), GrantMistake> {
    let refuse = |table, key: &str, expected: &str, got: String| {
        Err(GrantMistake {
            table,
            key: key.to_owned(),
            expected: expected.to_owned(),
            got,
        })
    };
    let allow = http.map_or(&[][..], |http| &http.allow);
    if let Some(http) = http {
        if http.timeout_ms == Some(0) {
            return refuse("http", "timeout", "at least 1 ms", "0 ms".to_owned());
        }
        if let Some(header) = &http.idempotency_header {
            let is_token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            if header.is_empty() || !header.bytes().all(is_token) {
                let expected = "the name of a header, such as \"Idempotency-Key\"";
                return refuse(
                    "http",
                    "idempotency-header",
                    expected,
                    format!("`{header}`"),
                );
            }
            if CARRYING_HEADERS.contains(&header.to_ascii_lowercase().as_str()) {
                let expected = "a header of your own, such as \"Idempotency-Key\", and none that says how a message is carried";
                return refuse(
                    "http",
                    "idempotency-header",
                    expected,
                    format!("`{header}`"),
                );
            }
        }
        for grant in allow {
            if let Err(error) = grant
                .methods
                .iter()
                .try_for_each(|method| check_method(method))
            {
                return refuse("http", "allow", &error.expected, format!("`{}`", error.got));
            }
        }
    }
    for (name, grant) in secrets {
        let text = name.as_str();
        if text.contains("--") {
            let expected = "the name of a secret with single `-` in it";
            return refuse("secrets", text, expected, format!("`{text}`"));
        }
        if text.ends_with("-file") {
            let expected = format!(
                "the name of a secret that does not end in `-file`: {} names the file of another one",
                name.variable()
            );
            return refuse("secrets", text, &expected, format!("`{text}`"));
        }
        if grant.hosts.is_empty() && !grant.reveal {
            let expected = "hosts that it may be sent to, or `reveal = true`";
            return refuse("secrets", name.as_str(), expected, "neither".to_owned());
        }
        for host in &grant.hosts {
            if !allow.iter().any(|grant| grant.host.covers(host)) {
                let expected = "hosts that `allow` under [http] grants";
                return refuse("secrets", name.as_str(), expected, format!("`{host}`"));
            }
        }
    }
    for (name, value) in environment {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            let expected = "a name without `=`, and no NUL characters";
            return refuse("environment", name, expected, format!("`{name}`"));
        }
    }
    let Some(limits) = limits else { return Ok(()) };
    let least = [
        (
            "memory",
            limits.memory_bytes,
            LimitSettings::MEMORY_MIN_BYTES,
            "B",
        ),
        ("cpu", limits.cpu_ms, 1, "ms"),
        ("step-cpu", limits.step_cpu_ms, 1, "ms"),
        (
            "payload",
            limits.payload_bytes,
            LimitSettings::PAYLOAD_MIN_BYTES,
            "B",
        ),
        ("steps", limits.steps.map(u64::from), 1, "rows"),
        (
            "scratch",
            limits.scratch_bytes,
            LimitSettings::SCRATCH_MIN_BYTES,
            "B",
        ),
    ];
    for (key, value, min, unit) in least {
        if let Some(value) = value.filter(|value| *value < min) {
            return refuse(
                "limits",
                key,
                &format!("at least {min} {unit}"),
                format!("{value} {unit}"),
            );
        }
    }
    Ok(())
}

fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_its_hosts_and_no_others() {
        let cases = [
            ("api.example.com", "api.example.com", true),
            ("API.example.com", "api.example.com", true),
            ("api.example.com", "api.example.com.evil.org", false),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "a.b.example.com", false),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("*.example.com", "aexample.com", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("[::1]", "::1", true),
        ];
        for (pattern, host, fits) in cases {
            let parsed = HostPattern::parse(pattern).unwrap();
            assert_eq!(parsed.fits(host), fits, "{pattern} and {host}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused_with_what_to_write() {
        let refused = |text: &str| HttpGrant::parse(text).unwrap_err().to_string();
        assert_eq!(
            refused("https://user@api.example.com/v1?x"),
            "expected a host and not a URL: write \"api.example.com\", got `https://user@api.example.com/v1?x`"
        );
        for text in [
            "",
            "*",
            "*.com",
            "a.*.com",
            "a*.example.com",
            "a b",
            "a/b",
            "-a.com",
            "a..b",
            "1.2.3",
            "256.1.1.1",
            "bücher.example",
            "a.com:0",
            "a.com:x",
            "a.com:65536",
            ":80",
        ] {
            let said = refused(text);
            assert!(said.starts_with("expected "), "{text}: {said}");
        }
    }

    #[test]
    fn a_grant_is_for_its_ports_and_methods() {
        let mut narrow = HttpGrant::parse("api.example.com:8443").unwrap();
        narrow.methods = vec!["GET".to_owned()];
        let settings = HttpSettings {
            allow: vec![narrow, HttpGrant::parse("shop.example.com").unwrap()],
            ..HttpSettings::default()
        };
        assert!(settings.find("api.example.com", 8443, "GET").is_ok());
        assert!(settings.find("shop.example.com", 443, "DELETE").is_ok());
        assert!(settings.find("shop.example.com", 80, "GET").is_ok());
        let missing = |host, port, method| settings.find(host, port, method).unwrap_err();
        assert!(missing("api.example.com", 8443, "POST").contains("add \"POST\" to the `methods`"));
        assert!(missing("shop.example.com", 8080, "GET").contains("add \"shop.example.com:8080\""));
        assert!(missing("example.com", 443, "GET").contains("add \"example.com\" to `allow`"));
        assert!(missing("::1", 8080, "GET").contains("add \"[::1]:8080\""));
    }

    #[test]
    fn grants_survive_their_json_form_and_bad_ones_do_not_come_in_by_it() {
        let text = r#"{"host":"*.example.com","port":8443,"methods":["GET"],"private":true}"#;
        let grant: HttpGrant = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&grant).unwrap(), text);
        assert!(serde_json::from_str::<HttpGrant>(r#"{"host":"https://a.com"}"#).is_err());
        assert!(serde_json::from_str::<SecretName>(r#""Stripe""#).is_err());
    }

    #[test]
    fn a_secret_has_a_variable_and_a_placeholder() {
        let name = SecretName::parse("stripe-key-2").unwrap();
        assert_eq!(name.variable(), "DACAPO_SECRET_STRIPE_KEY_2");
        assert_eq!(name.placeholder(), "{{dacapo.secret.stripe-key-2}}");
        for bad in ["", "2a", "a_b", "A", "a-", "a b"] {
            assert!(SecretName::parse(bad).is_err(), "{bad}");
        }
    }
}
