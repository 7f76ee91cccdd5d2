//! The part of a manifest that says what guests may do: `[http]`, `[secrets]`, `[environment]` and `[limits]`.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use bytesize::ByteSize;
use dacapo_model::{
    HostPattern, HttpGrant, HttpSettings, LimitSettings, Manifest, Otherwise, SecretGrant,
    SecretName, check_method,
};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};
use toml::Spanned;

use super::millis::Millis;

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(super) struct Http {
    allow: Vec<Spanned<Allow>>,
    timeout: Option<Spanned<Millis>>,
    response_max: Option<Spanned<Bytes>>,
    idempotency_header: Option<Spanned<String>>,
    otherwise: Option<Otherwise>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(super) struct Limits {
    memory: Option<Spanned<Bytes>>,
    cpu: Option<Spanned<Millis>>,
    step_cpu: Option<Spanned<Millis>>,
    payload: Option<Spanned<Bytes>>,
    steps: Option<Spanned<Rows>>,
    scratch: Option<Spanned<Bytes>>,
}

/// An entry of `allow`: a host, or a table that says more about one.
#[derive(Debug)]
struct Allow(HttpGrant);

/// What is said of a secret: its hosts, or a table that says more.
#[derive(Debug)]
pub(super) struct Secret(SecretGrant);

pub(super) type Secrets = BTreeMap<Spanned<Name>, Secret>;
pub(super) type Environment = BTreeMap<Spanned<String>, String>;

/// A secret's name.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name(SecretName);

/// An amount of memory.
#[derive(Debug)]
struct Bytes(u64);

#[derive(Debug)]
struct Rows(u32);

/// Puts what the tables say into the manifest.
pub(super) fn add(
    manifest: &mut Manifest,
    http: Option<&Http>,
    secrets: &Secrets,
    environment: &Environment,
    limits: Option<&Limits>,
) {
    manifest.http = http.map(|http| HttpSettings {
        allow: http
            .allow
            .iter()
            .map(|allow| allow.get_ref().0.clone())
            .collect(),
        timeout_ms: http.timeout.as_ref().map(|it| it.get_ref().0),
        response_max_bytes: http.response_max.as_ref().map(|it| it.get_ref().0),
        idempotency_header: http
            .idempotency_header
            .as_ref()
            .map(|it| it.get_ref().clone()),
        otherwise: http.otherwise.unwrap_or_default(),
    });
    let secret =
        |(name, secret): (&Spanned<Name>, &Secret)| (name.get_ref().0.clone(), secret.0.clone());
    manifest.secrets = secrets.iter().map(secret).collect();
    let variable =
        |(name, value): (&Spanned<String>, &String)| (name.get_ref().clone(), value.clone());
    manifest.environment = environment.iter().map(variable).collect();
    manifest.limits = limits.map(|limits| LimitSettings {
        memory_bytes: limits.memory.as_ref().map(|it| it.get_ref().0),
        cpu_ms: limits.cpu.as_ref().map(|it| it.get_ref().0),
        step_cpu_ms: limits.step_cpu.as_ref().map(|it| it.get_ref().0),
        payload_bytes: limits.payload.as_ref().map(|it| it.get_ref().0),
        steps: limits.steps.as_ref().map(|it| it.get_ref().0),
        scratch_bytes: limits.scratch.as_ref().map(|it| it.get_ref().0),
    });
}

impl Http {
    /// Where a key stands.
    pub(super) fn place(&self, key: &str) -> Option<Range<usize>> {
        match key {
            "timeout" => self.timeout.as_ref().map(Spanned::span),
            "response-max" => self.response_max.as_ref().map(Spanned::span),
            "idempotency-header" => self.idempotency_header.as_ref().map(Spanned::span),
            _ => None,
        }
    }
}

impl Limits {
    /// Where a key stands.
    pub(super) fn place(&self, key: &str) -> Option<Range<usize>> {
        match key {
            "memory" => self.memory.as_ref().map(Spanned::span),
            "cpu" => self.cpu.as_ref().map(Spanned::span),
            "step-cpu" => self.step_cpu.as_ref().map(Spanned::span),
            "payload" => self.payload.as_ref().map(Spanned::span),
            "steps" => self.steps.as_ref().map(Spanned::span),
            "scratch" => self.scratch.as_ref().map(Spanned::span),
            _ => None,
        }
    }
}

/// Where a secret is named.
pub(super) fn place_of_secret(secrets: &Secrets, key: &str) -> Option<Range<usize>> {
    let named = secrets.keys().find(|name| name.get_ref().0.as_str() == key);
    named.map(Spanned::span)
}

/// What the grants are, a line for each.
pub(super) fn describe(manifest: &Manifest) -> Vec<String> {
    let mut lines = Vec::new();
    let ms = |ms: u64| super::millis::time(ms);
    let bytes = |bytes: u64| ByteSize::b(bytes).display().iec().to_string();
    if let Some(http) = &manifest.http {
        lines.extend(
            http.allow
                .iter()
                .map(|grant| format!("requests to {grant}")),
        );
        lines.extend(
            http.timeout_ms
                .map(|it| format!("requests that take at most {}", ms(it))),
        );
        lines.extend(
            http.response_max_bytes
                .map(|it| format!("responses of at most {}", bytes(it))),
        );
        lines.extend(
            http.idempotency_header
                .as_ref()
                .map(|name| format!("idempotency keys of wasi:http in the header {name}")),
        );
        if http.otherwise == Otherwise::Fail {
            lines.push("a failure of the step for what is not granted".to_owned());
        }
    }
    for (name, grant) in &manifest.secrets {
        let hosts: Vec<String> = grant.hosts.iter().map(ToString::to_string).collect();
        let sent = (!hosts.is_empty()).then(|| format!("sent to {}", hosts.join(", ")));
        let revealed = grant.reveal.then(|| "revealed to the guest".to_owned());
        let what: Vec<String> = [sent, revealed].into_iter().flatten().collect();
        lines.push(format!("secret {name}: {}", what.join(", ")));
    }
    lines.extend(
        manifest
            .environment
            .iter()
            .map(|(name, value)| format!("environment {name}={value}")),
    );
    if let Some(limits) = &manifest.limits {
        let texts = [
            limits
                .memory_bytes
                .map(|it| format!("memory of an instance: at most {}", bytes(it))),
            limits
                .cpu_ms
                .map(|it| format!("computing between two durable calls: at most {}", ms(it))),
            limits
                .step_cpu_ms
                .map(|it| format!("computing in a step: at most {}", ms(it))),
            limits
                .payload_bytes
                .map(|it| format!("a payload: at most {}", bytes(it))),
            limits
                .steps
                .map(|it| format!("rows of a journal: at most {it}")),
            limits
                .scratch_bytes
                .map(|it| format!("scratch directory of a step: at most {}", bytes(it))),
        ];
        lines.extend(texts.into_iter().flatten());
    }
    lines
}

/// Reads the hosts that `--allow-host` names.
pub(crate) fn allow_host(text: &str) -> Result<HttpGrant, String> {
    HttpGrant::parse(text).map_err(|error| error.to_string())
}

impl<'de> Deserialize<'de> for Allow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HostOrTable;
        impl<'de> Visitor<'de> for HostOrTable {
            type Value = Allow;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"a host such as "api.example.com", or a table such as { host = "api.example.com", methods = ["GET"] }"#)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Allow, E> {
                HttpGrant::parse(text).map(Allow).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Allow, A::Error> {
                #[derive(serde::Deserialize)]
                #[serde(rename_all = "kebab-case", deny_unknown_fields)]
                struct Table {
                    host: Host,
                    port: Option<Port>,
                    #[serde(default)]
                    methods: Vec<Method>,
                    #[serde(default)]
                    private: bool,
                }
                let table = Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Allow(HttpGrant {
                    host: table.host.0,
                    port: table.port.map(|port| port.0),
                    methods: table.methods.into_iter().map(|method| method.0).collect(),
                    private: table.private,
                }))
            }
        }
        deserializer.deserialize_any(HostOrTable)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HostsOrTable;
        impl<'de> Visitor<'de> for HostsOrTable {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"the hosts that it may be sent to, such as ["api.example.com"], or a table such as { reveal = true }"#)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Secret, A::Error> {
                let hosts = Vec::<Host>::deserialize(SeqAccessDeserializer::new(seq))?;
                Ok(Secret(SecretGrant {
                    hosts: hosts.into_iter().map(|host| host.0).collect(),
                    reveal: false,
                }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Secret, A::Error> {
                #[derive(serde::Deserialize)]
                #[serde(rename_all = "kebab-case", deny_unknown_fields)]
                struct Table {
                    #[serde(default)]
                    hosts: Vec<Host>,
                    #[serde(default)]
                    reveal: bool,
                }
                let table = Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Secret(SecretGrant {
                    hosts: table.hosts.into_iter().map(|host| host.0).collect(),
                    reveal: table.reveal,
                }))
            }
        }
        deserializer.deserialize_any(HostsOrTable)
    }
}

struct Host(HostPattern);

impl<'de> Deserialize<'de> for Host {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        HostPattern::parse(&text)
            .map(Host)
            .map_err(D::Error::custom)
    }
}

struct Method(String);

impl<'de> Deserialize<'de> for Method {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        check_method(&text).map_err(D::Error::custom)?;
        Ok(Method(text))
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        SecretName::parse(&text).map(Name).map_err(D::Error::custom)
    }
}

/// Reads whole numbers within a range.
struct Whole {
    expected: &'static str,
    max: u32,
}

impl Visitor<'_> for Whole {
    type Value = u32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<u32, E> {
        u32::try_from(value)
            .ok()
            .filter(|value| (1..=self.max).contains(value))
            .ok_or_else(|| E::invalid_value(Unexpected::Signed(value), &self))
    }
}

struct Port(u16);

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let whole = Whole {
            expected: "a port from 1 to 65535",
            max: 65_535,
        };
        let port = deserializer.deserialize_any(whole)?;
        Ok(Port(u16::try_from(port).unwrap_or(u16::MAX)))
    }
}

impl<'de> Deserialize<'de> for Rows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let whole = Whole {
            expected: "a whole number from 1 on, such as 1000",
            max: u32::MAX,
        };
        deserializer.deserialize_any(whole).map(Rows)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Size;
        impl Visitor<'_> for Size {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"an amount in quotes, such as "64MiB" or "256KiB""#)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Bytes, E> {
                // A number without a unit may mean anything.
                let size = text
                    .parse::<ByteSize>()
                    .ok()
                    .filter(|_| text.ends_with('B'));
                size.map(|size| Bytes(size.as_u64()))
                    .ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Size)
    }
}
