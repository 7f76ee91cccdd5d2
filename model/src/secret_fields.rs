//! Which parts of payloads are secret, and payloads without them.
//!
//! A manifest names them by paths (docs/manifest.md). What is hidden is hidden where payloads are shown; the engine and the code of
//! workflows know nothing of it.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::schema::{Case, Type, Workflow, camel_case};
use crate::{Failure, Kind, Outcome, Payload, StepKey, check_name};

/// What is shown in the place of a secret part, as JSON: a string of three dots.
pub const REDACTED: &str = "\"•••\"";

/// What is shown in the place of a payload that somebody may not see at all, as JSON.
pub const WITHHELD: &str = "\"••• hidden\"";

/// The longest path, in bytes.
const PATH_BYTES_MAX: usize = 500;

/// The deepest path, in parts.
const PARTS_MAX: usize = 60;

/// A part of a workflow's payloads: `input.card.number`, `output`, `error.reason`, `events.paid.iban`, `steps.charge.output.id`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretPath {
    root: Root,
    parts: Vec<String>,
}

/// The payloads that a path begins in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Root {
    Input,
    Output,
    /// The error that the workflow returns, which is the `details` of the run's failure.
    Error,
    /// An event of this name, as it is sent and as waits record it.
    Event(String),
    /// What rows of the journal of this name record; `*`: all.
    Step(String),
}

/// Why a path cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SecretPathError(String);

impl SecretPath {
    fn parse(text: &str) -> Result<Self, SecretPathError> {
        const ROOTS: &str = "input, output, error, events.NAME or steps.NAME.output, and after that the names of fields";
        let fail = |message: String| Err(SecretPathError(message));
        if text.len() > PATH_BYTES_MAX {
            return fail(format!("a path of at most {PATH_BYTES_MAX} bytes"));
        }
        let Some(parts) = split(text) else {
            return fail(format!(
                "{ROOTS}, with dots between them; a name that holds a dot stands in double quotes"
            ));
        };
        if parts.len() > PARTS_MAX {
            return fail(format!("a path of at most {PARTS_MAX} parts"));
        }
        let mut parts = parts.into_iter();
        let root = parts.next().unwrap_or_default();
        let named = |name: Option<String>, what: &str| match name {
            None => Err(SecretPathError(format!("the name of {what} after it"))),
            Some(name) if name == "*" || check_name(&name).is_ok() => Ok(name),
            Some(name) => Err(SecretPathError(format!(
                "the name of {what} after it, not {name:?}"
            ))),
        };
        let root = match root.as_str() {
            "input" => Root::Input,
            "output" => Root::Output,
            "error" => Root::Error,
            "events" => Root::Event(named(parts.next(), "an event")?),
            "steps" => {
                let step = named(parts.next(), "a step")?;
                if parts.next().as_deref() != Some("output") {
                    return fail("`output` after the name of a step".to_owned());
                }
                Root::Step(step)
            }
            _ => return fail(ROOTS.to_owned()),
        };
        Ok(Self {
            root,
            parts: parts.collect(),
        })
    }

    /// Checks it against the types of the workflow, as far as they are known: nothing is known of what steps record.
    ///
    /// # Errors
    /// Says what would have been right in the place where the path leaves the type.
    pub fn check(&self, workflow: &Workflow) -> Result<(), SecretPathError> {
        let nothing = |what: &str| Err(SecretPathError(format!("{what} that has one")));
        let ty = match &self.root {
            Root::Input => match &workflow.param {
                Some(param) => &param.ty,
                None => return nothing("a workflow with an input, or a path into something"),
            },
            // What a workflow returns with `ok` is its output, and with `err` its error.
            Root::Output => match &workflow.result {
                Some(Type::Result { ok: Some(ty), .. }) => ty,
                None | Some(Type::Result { ok: None, .. }) => {
                    return nothing("a workflow with an output, or a path into something");
                }
                Some(ty) => ty,
            },
            Root::Error => match &workflow.result {
                Some(Type::Result { err: Some(ty), .. }) => ty,
                _ => {
                    return nothing("a workflow with an error of a type, or a path into something");
                }
            },
            Root::Event(name) => {
                if workflow.events.is_empty() || name == "*" {
                    return Ok(());
                }
                let event = workflow.events.iter().find(|event| event.name == *name);
                match event {
                    None => {
                        let names = workflow.event_names().join(", ");
                        return Err(SecretPathError(format!("one of its events: {names}")));
                    }
                    Some(Case { ty: Some(ty), .. }) => ty,
                    Some(_) => return nothing("an event with a payload, or a path into something"),
                }
            }
            Root::Step(_) => return Ok(()),
        };
        check_parts(ty, &self.parts)
    }
}

/// Whether such a path can be taken into a value of this type.
fn check_parts(ty: &Type, parts: &[String]) -> Result<(), SecretPathError> {
    let Some((part, rest)) = parts.split_first() else {
        return Ok(());
    };
    let one_of = |what: &str, names: Vec<String>| {
        Err(SecretPathError(format!(
            "{what} in the place of {part:?}: {}",
            names.join(", ")
        )))
    };
    match ty {
        Type::Option(inner) => check_parts(inner, parts),
        Type::List(inner) | Type::FixedList(inner, _) => match part.as_str() {
            "*" => check_parts(inner, rest),
            _ => Err(SecretPathError(format!(
                "`*` in the place of {part:?}: that is a list, and `*` stands for each of its elements"
            ))),
        },
        Type::Tuple(types) => match part.parse::<usize>().ok().and_then(|at| types.get(at)) {
            Some(ty) => check_parts(ty, rest),
            None => one_of(
                "the place of an element",
                (0..types.len()).map(|at| at.to_string()).collect(),
            ),
        },
        Type::Record(record) => {
            match record
                .fields
                .iter()
                .find(|field| is_same(&field.name, part))
            {
                Some(field) => check_parts(&field.ty, rest),
                None => one_of(
                    "a field",
                    record
                        .fields
                        .iter()
                        .map(|field| field.json_name())
                        .collect(),
                ),
            }
        }
        Type::Variant(variant) => match variant.cases.iter().find(|case| case.name == *part) {
            Some(Case { ty: Some(ty), .. }) => check_parts(ty, rest),
            _ => one_of(
                "a case with a payload",
                (variant.cases.iter())
                    .filter(|case| case.ty.is_some())
                    .map(|case| case.name.clone())
                    .collect(),
            ),
        },
        Type::Result { ok, err } => match (part.as_str(), ok, err) {
            ("ok", Some(ty), _) | ("err", _, Some(ty)) => check_parts(ty, rest),
            _ => one_of(
                "a case with a payload",
                vec!["ok".to_owned(), "err".to_owned()],
            ),
        },
        other => Err(SecretPathError(format!(
            "nothing behind what is a {other}, not {part:?}"
        ))),
    }
}

/// Fields go by their names in WIT and in JSON alike.
fn is_same(name: &str, part: &str) -> bool {
    name == part || camel_case(name).eq(part.chars())
}

/// The parts between dots; what stands in double quotes may hold dots. None: it cannot be taken apart.
fn split(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (part, after) = quoted.split_once('"')?;
                (part, after)
            }
            None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
        };
        if part.is_empty() {
            return None;
        }
        parts.push(part.to_owned());
        if after.is_empty() {
            return Some(parts);
        }
        rest = after.strip_prefix('.')?;
    }
}

impl fmt::Display for SecretPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |f: &mut fmt::Formatter<'_>, part: &str| match part.contains('.') {
            true => write!(f, ".\"{part}\""),
            false => write!(f, ".{part}"),
        };
        match &self.root {
            Root::Input => f.write_str("input")?,
            Root::Output => f.write_str("output")?,
            Root::Error => f.write_str("error")?,
            Root::Event(name) => {
                f.write_str("events")?;
                part(f, name)?;
            }
            Root::Step(name) => {
                f.write_str("steps")?;
                part(f, name)?;
                f.write_str(".output")?;
            }
        }
        self.parts.iter().try_for_each(|one| part(f, one))
    }
}

impl std::str::FromStr for SecretPath {
    type Err = SecretPathError;

    fn from_str(text: &str) -> Result<Self, SecretPathError> {
        Self::parse(text)
    }
}

impl Serialize for SecretPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SecretPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|error| {
            serde::de::Error::custom(format_args!("secret {text:?}: expected {error}"))
        })
    }
}

/// What is secret in the payloads of one workflow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretFields {
    paths: Vec<SecretPath>,
    /// Nobody knows what is secret, so all is.
    everything: bool,
}

impl SecretFields {
    /// What these paths name.
    #[must_use]
    pub fn new(paths: Vec<SecretPath>) -> Self {
        Self {
            paths,
            everything: false,
        }
    }

    /// Every payload as a whole: for whoever cannot find out what is secret.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            paths: Vec::new(),
            everything: true,
        }
    }

    /// The secrets of each workflow, by its full name, that a stored manifest names; of one that cannot be read nothing is known. Other
    /// settings of the manifest may be newer than this code.
    ///
    /// # Errors
    /// The manifest cannot be read.
    pub fn of_manifest(manifest: &str) -> Result<BTreeMap<String, Self>, serde_json::Error> {
        #[derive(Deserialize)]
        struct Stored {
            #[serde(default)]
            workflows: BTreeMap<String, StoredWorkflow>,
        }
        #[derive(Deserialize)]
        struct StoredWorkflow {
            #[serde(default)]
            secret: Vec<SecretPath>,
        }
        let stored: Stored = serde_json::from_str(manifest)?;
        let workflows = stored.workflows.into_iter();
        Ok(workflows
            .filter(|(_, own)| !own.secret.is_empty())
            .map(|(name, own)| (name, Self::new(own.secret)))
            .collect())
    }

    /// Whether nothing is secret.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && !self.everything
    }

    /// An input without what is secret in it.
    #[must_use]
    pub fn input(&self, payload: Payload) -> Payload {
        self.without(payload, |root| *root == Root::Input)
    }

    /// An output without what is secret in it.
    #[must_use]
    pub fn output(&self, payload: Payload) -> Payload {
        self.without(payload, |root| *root == Root::Output)
    }

    /// The failure of a run without what is secret in its details. Its message is as it is.
    #[must_use]
    pub fn failure(&self, mut failure: Failure) -> Failure {
        failure.details = failure
            .details
            .map(|details| self.without(details, |root| *root == Root::Error));
        failure
    }

    /// The payload of an event of this name without what is secret in it.
    #[must_use]
    pub fn event(&self, name: &str, payload: Payload) -> Payload {
        self.without(
            payload,
            |root| matches!(root, Root::Event(event) if event == name || event == "*"),
        )
    }

    /// What a row of the journal records, without what is secret in it.
    #[must_use]
    pub fn recorded(&self, key: &StepKey, kind: Kind, payload: Payload) -> Payload {
        if self.is_empty() {
            return payload;
        }
        let name = key.name();
        let of_step = |root: &Root| matches!(root, Root::Step(step) if step == name || step == "*");
        let payload = self.without(payload, of_step);
        if kind != Kind::Wait {
            return payload;
        }
        let payload = self.event(name, payload);
        // A wait for any of several events records which one it was.
        let Ok((event, value)) = serde_json::from_str::<(String, &RawValue)>(payload.as_str())
        else {
            return payload;
        };
        let shown = self.event(&event, Payload::from_trusted(value.get().to_owned()));
        if shown.as_str() == value.get() {
            return payload;
        }
        let event = serde_json::to_string(&event).unwrap_or_else(|_| "\"\"".to_owned());
        Payload::from_trusted(format!("[{event},{shown}]"))
    }

    /// The same of an outcome.
    #[must_use]
    pub fn outcome(&self, key: &StepKey, kind: Kind, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Ok(payload) => Outcome::Ok(self.recorded(key, kind, payload)),
            other => other,
        }
    }

    /// Whether a path leads into what rows of the journal record.
    #[must_use]
    pub fn concern_the_journal(&self) -> bool {
        let concerns = |path: &SecretPath| matches!(path.root, Root::Step(_) | Root::Event(_));
        self.everything || self.paths.iter().any(concerns)
    }

    fn without(&self, payload: Payload, is_meant: impl Fn(&Root) -> bool) -> Payload {
        if self.everything {
            return Payload::from_trusted(REDACTED.to_owned());
        }
        let paths: Vec<&[String]> = self
            .paths
            .iter()
            .filter(|path| is_meant(&path.root))
            .map(|path| path.parts.as_slice())
            .collect();
        if paths.is_empty() {
            return payload;
        }
        // What cannot be read is not shown.
        let shown = redacted(payload.as_str(), &paths).unwrap_or_else(|_| REDACTED.to_owned());
        Payload::from_trusted(shown)
    }
}

/// JSON text without what these paths lead to. Everything else is as it was, byte for byte but for white space around it.
fn redacted(text: &str, paths: &[&[String]]) -> Result<String, serde_json::Error> {
    if paths.iter().any(|path| path.is_empty()) {
        return Ok(REDACTED.to_owned());
    }
    let text = text.trim_ascii();
    match text.as_bytes().first() {
        Some(b'{') => {
            let Members(members) = serde_json::from_str(text)?;
            let tag = members.iter().find(|(name, _)| name == "tag");
            let tag = tag.and_then(|(_, tag)| serde_json::from_str::<String>(tag.get()).ok());
            let mut shown = String::with_capacity(text.len());
            for (name, value) in &members {
                shown.push(if shown.is_empty() { '{' } else { ',' });
                shown.push_str(&serde_json::to_string(name)?);
                shown.push(':');
                let mut deeper: Vec<&[String]> = Vec::new();
                for path in paths {
                    let (part, rest) = (&path[0], &path[1..]);
                    if part == "*" || is_same(name, part) || is_same(part, name) {
                        deeper.push(rest);
                    }
                    // The payload of a variant's case.
                    if name == "val" && tag.as_ref().is_some_and(|tag| tag == part) {
                        deeper.push(rest);
                    }
                    // The inside of an option that needs a wrapper.
                    if name == "some" && members.len() == 1 {
                        deeper.push(path);
                    }
                }
                match deeper.is_empty() {
                    true => shown.push_str(value.get()),
                    false => shown.push_str(&redacted(value.get(), &deeper)?),
                }
            }
            if shown.is_empty() {
                shown.push('{');
            }
            shown.push('}');
            Ok(shown)
        }
        Some(b'[') => {
            let Elements(elements) = serde_json::from_str(text)?;
            let mut shown = String::with_capacity(text.len());
            for (at, value) in elements.iter().enumerate() {
                shown.push(if shown.is_empty() { '[' } else { ',' });
                let deeper: Vec<&[String]> = paths
                    .iter()
                    .filter_map(|path| match path[0].parse::<usize>() {
                        Ok(place) => (place == at).then_some(&path[1..]),
                        Err(_) if path[0] == "*" => Some(&path[1..]),
                        // Of what steps record nothing is known: the name may be meant for each element.
                        Err(_) => Some(*path),
                    })
                    .collect();
                match deeper.is_empty() {
                    true => shown.push_str(value.get()),
                    false => shown.push_str(&redacted(value.get(), &deeper)?),
                }
            }
            if shown.is_empty() {
                shown.push('[');
            }
            shown.push(']');
            Ok(shown)
        }
        // It has no parts, so the path does not lead to anything.
        _ => Ok(text.to_owned()),
    }
}

/// The members of an object in their order.
struct Members<'a>(Vec<(String, &'a RawValue)>);

/// The elements of an array.
struct Elements<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl<'de> Deserialize<'de> for Elements<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Array;
        impl<'de> Visitor<'de> for Array {
            type Value = Elements<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = seq.next_element()? {
                    elements.push(element);
                }
                Ok(Elements(elements))
            }
        }
        deserializer.deserialize_seq(Array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Field, Param, RecordType, VariantType};

    fn fields(paths: &[&str]) -> SecretFields {
        SecretFields::new(paths.iter().map(|path| path.parse().unwrap()).collect())
    }

    #[track_caller]
    fn shows(paths: &[&str], input: &str, expected: &str) {
        let shown = fields(paths).input(Payload::from_trusted(input.to_owned()));
        assert_eq!(shown.as_str(), expected);
    }

    #[test]
    fn what_a_path_leads_to_is_three_dots_and_the_rest_is_as_it_was() {
        let card =
            r#"{"card":{"number":"4111","name":"Ann"},"amount":1.50,"big":18446744073709551615}"#;
        shows(
            &["input.card.number"],
            card,
            r#"{"card":{"number":"•••","name":"Ann"},"amount":1.50,"big":18446744073709551615}"#,
        );
        shows(
            &["input.card", "input.card.number", "input.amount"],
            card,
            r#"{"card":"•••","amount":"•••","big":18446744073709551615}"#,
        );
        shows(&["input"], " 7 ", "\"•••\"");
        shows(&["output", "input.other"], card, card);
        shows(
            &["input.*"],
            r#"{"a":1,"b":[2]}"#,
            r#"{"a":"•••","b":"•••"}"#,
        );
        shows(&["input.x"], "{}", "{}");
        shows(&["input.x"], "[]", "[]");
        shows(&["input.x"], "null", "null");
    }

    #[test]
    fn lists_tuples_variants_options_and_names_of_wit_are_followed() {
        shows(
            &["input.items.*.price"],
            r#"{"items":[{"price":1,"id":2},{"price":3}]}"#,
            r#"{"items":[{"price":"•••","id":2},{"price":"•••"}]}"#,
        );
        shows(
            &["input.pair.1"],
            r#"{"pair":[1,2]}"#,
            r#"{"pair":[1,"•••"]}"#,
        );
        shows(
            &["input.method.card.number"],
            r#"{"method":{"tag":"card","val":{"number":"4111"}}}"#,
            r#"{"method":{"tag":"card","val":{"number":"•••"}}}"#,
        );
        shows(
            &["input.method.card"],
            r#"{"method":{"tag":"cash","val":{"number":"4111"}}}"#,
            r#"{"method":{"tag":"cash","val":{"number":"4111"}}}"#,
        );
        shows(
            &["input.pin"],
            r#"{"some":{"pin":1}}"#,
            r#"{"some":{"pin":"•••"}}"#,
        );
        shows(
            &["input.order-id"],
            r#"{"orderId":1}"#,
            r#"{"orderId":"•••"}"#,
        );
        // A key may be written with escapes.
        shows(&["input.pin"], r#"{"\u0070in":1}"#, r#"{"pin":"•••"}"#);
        // Nothing is known of what a step records: a list may be in the way.
        let key = StepKey::new("", "load", 1);
        let shown = fields(&["steps.load.output.pin"]).recorded(
            &key,
            Kind::Step,
            Payload::from_trusted(r#"[{"pin":1},{"pin":2}]"#.to_owned()),
        );
        assert_eq!(shown.as_str(), r#"[{"pin":"•••"},{"pin":"•••"}]"#);
    }

    #[test]
    fn rows_of_the_journal_go_by_their_names_and_waits_by_their_events() {
        let shown = |paths: &[&str], key: &str, kind, payload: &str| {
            let key = StepKey::from_trusted(key.to_owned());
            let payload = Payload::from_trusted(payload.to_owned());
            fields(paths).recorded(&key, kind, payload).into_string()
        };
        let hidden = "\"•••\"";
        assert_eq!(
            shown(&["steps.charge.output"], "charge#2", Kind::Step, "7"),
            hidden
        );
        assert_eq!(
            shown(
                &["steps.charge.output"],
                "all#1/0/charge#1",
                Kind::Step,
                "7"
            ),
            hidden
        );
        assert_eq!(
            shown(&["steps.charge.output"], "charges#1", Kind::Step, "7"),
            "7"
        );
        assert_eq!(shown(&["steps.*.output"], "any#1", Kind::Step, "7"), hidden);
        assert_eq!(
            shown(&["steps.\"v1.2\".output"], "v1.2#1", Kind::Step, "7"),
            hidden
        );
        let paid = ["events.paid.iban"];
        assert_eq!(
            shown(&paid, "paid#1", Kind::Wait, r#"{"iban":"x"}"#),
            r#"{"iban":"•••"}"#
        );
        assert_eq!(
            shown(&paid, "first#1", Kind::Wait, r#"["paid", {"iban":"x"}]"#),
            r#"["paid",{"iban":"•••"}]"#
        );
        let other = r#"["other", {"iban":"x"}]"#;
        assert_eq!(shown(&paid, "first#1", Kind::Wait, other), other);
        assert_eq!(
            fields(&paid)
                .event("paid", Payload::from_trusted(r#"{"iban":"x"}"#.to_owned()))
                .as_str(),
            r#"{"iban":"•••"}"#
        );
    }

    #[test]
    fn what_cannot_be_read_is_not_shown() {
        shows(&["input.x"], "{\"x\":", "\"•••\"");
        let all = SecretFields::everything();
        assert_eq!(all.input(Payload::null()).as_str(), REDACTED);
        assert!(!all.is_empty());
        assert!(SecretFields::of_manifest("{").is_err());
        let newer = r#"{"soon": 1, "workflows": {"a:b/c.d": {"secret": ["input.x"], "later": 2}, "a:b/c.e": {}}}"#;
        let read = SecretFields::of_manifest(newer).unwrap();
        assert_eq!(read.keys().collect::<Vec<_>>(), ["a:b/c.d"]);
    }

    fn workflow() -> Workflow {
        let field = |name: &str, ty| Field {
            name: name.to_owned(),
            ty,
            docs: None,
        };
        let record = |fields| {
            Type::Record(RecordType {
                name: None,
                fields,
                docs: None,
            })
        };
        let case = |name: &str, ty| Case {
            name: name.to_owned(),
            ty,
            docs: None,
        };
        Workflow {
            name: "a:b/c.d".to_owned(),
            interface: "a:b/c".to_owned(),
            function: "d".to_owned(),
            param: Some(Param {
                name: "order".to_owned(),
                ty: record(vec![
                    field("order-id", Type::U32),
                    field(
                        "lines",
                        Type::List(Box::new(record(vec![field("price", Type::U32)]))),
                    ),
                    field(
                        "method",
                        Type::Variant(VariantType {
                            name: None,
                            cases: vec![case("card", Some(Type::String)), case("cash", None)],
                            docs: None,
                        }),
                    ),
                    field(
                        "pin",
                        Type::Option(Box::new(Type::Tuple(vec![Type::U8, Type::U8]))),
                    ),
                ]),
            }),
            result: Some(Type::Result {
                ok: Some(Box::new(record(vec![field("token", Type::String)]))),
                err: None,
            }),
            events: vec![case("paid", Some(Type::String)), case("nudge", None)],
            docs: None,
        }
    }

    #[test]
    fn paths_are_checked_against_the_types() {
        let check = |path: &str| path.parse::<SecretPath>().unwrap().check(&workflow());
        for path in [
            "input",
            "input.orderId",
            "input.order-id",
            "input.lines",
            "input.lines.*.price",
            "input.method.card",
            "input.pin.1",
            "output.token",
            "events.paid",
            "events.*",
            "steps.any.output.at.all",
        ] {
            assert_eq!(check(path), Ok(()), "{path}");
        }
        let refused = |path: &str| check(path).unwrap_err().to_string();
        assert_eq!(
            refused("input.orderNo"),
            "a field in the place of \"orderNo\": orderId, lines, method, pin"
        );
        assert_eq!(
            refused("input.lines.price"),
            "`*` in the place of \"price\": that is a list, and `*` stands for each of its elements"
        );
        assert_eq!(
            refused("input.method.cash"),
            "a case with a payload in the place of \"cash\": card"
        );
        assert_eq!(
            refused("input.pin.2"),
            "the place of an element in the place of \"2\": 0, 1"
        );
        assert_eq!(
            refused("output.token.x"),
            "nothing behind what is a string, not \"x\""
        );
        assert_eq!(refused("events.payed"), "one of its events: paid, nudge");
        assert!(check("error").is_err() && check("events.nudge").is_err());
    }

    #[test]
    fn paths_survive_their_text_form_and_others_are_refused() {
        for path in [
            "input.a.b",
            "output",
            "events.paid.iban",
            "steps.charge.output",
            "steps.\"v1.2\".output.\"a.b\"",
            "error",
        ] {
            assert_eq!(path.parse::<SecretPath>().unwrap().to_string(), path);
        }
        for path in [
            "",
            "input.",
            ".input",
            "inputs",
            "events",
            "steps.x",
            "steps.x.input",
            "steps..output",
            "a\"b",
            "events.\"a",
        ] {
            assert!(path.parse::<SecretPath>().is_err(), "{path}");
        }
    }
}
