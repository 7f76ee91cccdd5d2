//! A value of a type as fields of a form: from the type to fields, and from what they say to JSON.
//!
//! A field is named by its place, as errors name places: `input.items[2].price`. What is no part of the value itself has a mark behind that:
//! `?` whether an option is given, `#` how many items a list has, `|` which case of a variant or side of a result, `:` and a name a flag.

use std::collections::BTreeMap;

use dacapo_client::{ClientError, InputError};
use dacapo_model::Type;
use serde::Serialize;
use serde_json::value::RawValue;

use super::json_view::Level;
use super::query::Query;

/// Items of a list that a form shows. Longer ones are given as JSON.
const ITEMS_MAX: usize = 200;

/// What was said, by its place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields(BTreeMap<String, String>);

/// What is wrong, by its place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Errors(Vec<(String, String)>);

impl Errors {
    /// What the client says of an input or an event.
    pub(crate) fn of(error: &ClientError) -> Self {
        if let ClientError::BadInput {
            error: InputError::Mismatch(mismatches),
            ..
        } = error
        {
            let pairs = mismatches.iter();
            return Self(
                pairs
                    .map(|one| (one.path.clone(), one.message.clone()))
                    .collect(),
            );
        }
        let lines = super::steer::lines_of(error);
        let pairs = lines.lines().filter_map(|line| line.split_once(": "));
        Self(
            pairs
                .map(|(path, message)| (path.to_owned(), message.to_owned()))
                .collect(),
        )
    }

    fn at(&self, path: &str) -> Option<String> {
        let found = self.0.iter().find(|(known, _)| known == path);
        found.map(|(_, message)| message.clone())
    }
}

/// One of those that can be chosen.
#[derive(Debug, Clone, Serialize)]
struct Choice {
    value: String,
    label: String,
    is_chosen: bool,
}

/// A field, with those inside of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Field {
    label: String,
    /// Its place, and the name of what the form sends for it.
    path: String,
    /// Its type in WIT.
    ty: String,
    docs: Option<String>,
    error: Option<String>,
    /// How it is asked for: `text`, `number`, `bool`, `choice`, `flags`, `list`, `group`, `json`.
    kind: &'static str,
    value: String,
    choices: Vec<Choice>,
    inside: Vec<Field>,
    /// Items can come and go.
    is_list: bool,
}

impl Field {
    /// The field for a type at a place.
    pub(crate) fn new(ty: &Type, path: &str, label: &str, said: &Fields, errors: &Errors) -> Self {
        let mut field = Self {
            label: label.to_owned(),
            path: path.to_owned(),
            ty: ty.to_string(),
            docs: None,
            error: errors.at(path),
            kind: "text",
            value: said.text(path).to_owned(),
            choices: Vec::new(),
            inside: Vec::new(),
            is_list: false,
        };
        let inner = |ty: &Type, path: &str, label: &str| Self::new(ty, path, label, said, errors);
        match ty {
            Type::Bool => field.kind = "bool",
            Type::String => field.kind = "text",
            Type::Char => field.kind = "short",
            Type::Bytes => field.kind = "bytes",
            Type::F32 | Type::F64 => field.kind = "decimal",
            Type::U8
            | Type::U16
            | Type::U32
            | Type::U64
            | Type::S8
            | Type::S16
            | Type::S32
            | Type::S64 => field.kind = "number",
            Type::List(item) => {
                field.kind = "list";
                field.is_list = true;
                let count = said.count(path);
                field.value = count.to_string();
                field.inside = (0..count)
                    .map(|index| {
                        inner(item, &format!("{path}[{index}]"), &format!("{}", index + 1))
                    })
                    .collect();
            }
            Type::FixedList(item, count) if (*count as usize) <= ITEMS_MAX => {
                field.kind = "group";
                field.inside = (0..*count)
                    .map(|index| {
                        inner(item, &format!("{path}[{index}]"), &format!("{}", index + 1))
                    })
                    .collect();
            }
            Type::FixedList(..) => field.kind = "json",
            Type::Tuple(types) => {
                field.kind = "group";
                field.inside = types
                    .iter()
                    .enumerate()
                    .map(|(index, ty)| {
                        inner(ty, &format!("{path}[{index}]"), &format!("{}", index + 1))
                    })
                    .collect();
            }
            Type::Record(record) => {
                field.kind = "group";
                field.docs = record.docs.clone();
                field.inside = record
                    .fields
                    .iter()
                    .map(|part| {
                        let name = part.json_name();
                        let mut field = inner(&part.ty, &format!("{path}.{name}"), &name);
                        field.docs = part.docs.clone().or(field.docs);
                        field
                    })
                    .collect();
            }
            Type::Enum(cases) => {
                field.kind = "choice";
                let chosen = said.get(path).or(cases.cases.first().map(String::as_str));
                field.choices = choices(cases.cases.iter().map(String::as_str), chosen);
            }
            Type::Flags(flags) => {
                field.kind = "flags";
                field.choices = flags
                    .flags
                    .iter()
                    .map(|flag| Choice {
                        value: format!("{path}:{flag}"),
                        label: flag.clone(),
                        is_chosen: said.get(&format!("{path}:{flag}")).is_some(),
                    })
                    .collect();
            }
            Type::Variant(variant) => {
                field.kind = "case";
                field.docs = variant.docs.clone();
                let names = variant.cases.iter().map(|case| case.name.as_str());
                let chosen =
                    said.chosen(path, variant.cases.first().map(|case| case.name.as_str()));
                field.choices = choices(names, chosen);
                let case = variant
                    .cases
                    .iter()
                    .find(|case| Some(case.name.as_str()) == chosen);
                if let Some(case) = case
                    && let Some(ty) = &case.ty
                {
                    field
                        .inside
                        .push(inner(ty, &format!("{path}.val"), &case.name));
                }
            }
            Type::Result { ok, err } => {
                field.kind = "case";
                let chosen = said.chosen(path, Some("ok"));
                field.choices = choices(["ok", "err"].into_iter(), chosen);
                let side = if chosen == Some("err") { err } else { ok };
                if let Some(ty) = side {
                    let name = chosen.unwrap_or("ok");
                    field
                        .inside
                        .push(inner(ty, &format!("{path}.{name}"), name));
                }
            }
            Type::Option(some) => {
                field.kind = "option";
                let is_given = said.is_given(path);
                let chosen = if is_given { "some" } else { "none" };
                field.choices = choices(["none", "some"].into_iter(), Some(chosen));
                for (choice, label) in field.choices.iter_mut().zip(["not given", "given"]) {
                    label.clone_into(&mut choice.label);
                }
                field.error = None;
                if is_given {
                    field
                        .inside
                        .push(inner(some, &place_of_some(some, path), label));
                } else {
                    field.error = errors.at(path);
                }
            }
        }
        field
    }
}

fn choices<'a>(names: impl Iterator<Item = &'a str>, chosen: Option<&str>) -> Vec<Choice> {
    names
        .map(|name| Choice {
            value: name.to_owned(),
            label: name.to_owned(),
            is_chosen: Some(name) == chosen,
        })
        .collect()
}

/// What is in an option is at its own place, unless it can be `null` itself.
fn place_of_some(some: &Type, path: &str) -> String {
    match is_nullable(some) {
        true => format!("{path}.some"),
        false => path.to_owned(),
    }
}

fn is_nullable(ty: &Type) -> bool {
    matches!(ty, Type::Option(_))
}

impl Fields {
    /// What a form says.
    pub(crate) fn of(query: &Query) -> Self {
        // A place is sent twice by a box that can be empty and one that cannot: the first counts.
        let mut fields = BTreeMap::new();
        for (name, value) in query.iter() {
            // Browsers send line ends in their own way.
            fields
                .entry(name.to_owned())
                .or_insert_with(|| value.replace("\r\n", "\n"));
        }
        Self(fields)
    }

    /// The form after the change that its button asks for: `add PATH`, `remove PATH INDEX`; anything else only shows it anew.
    pub(crate) fn changed(query: &Query) -> Query {
        let mut fields = Self::of(query);
        let change = query.get("change").unwrap_or("").to_owned();
        let mut words = change.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("add"), Some(path), None) => {
                let count = (fields.count(path) + 1).min(ITEMS_MAX);
                fields.0.insert(format!("{path}#"), count.to_string());
            }
            (Some("remove"), Some(path), Some(index)) => {
                if let Ok(index) = index.parse() {
                    fields.remove(path, index);
                }
            }
            _ => {}
        }
        fields.0.remove("change");
        Query::from_pairs(fields.0.into_iter())
    }

    /// Takes an item out; those behind it move up.
    fn remove(&mut self, path: &str, index: usize) {
        let count = self.count(path);
        if index >= count {
            return;
        }
        let mut kept = BTreeMap::new();
        let prefix = format!("{path}[");
        for (name, value) in std::mem::take(&mut self.0) {
            let place = name
                .strip_prefix(&prefix)
                .and_then(|rest| rest.split_once(']'))
                .and_then(|(number, rest)| Some((number.parse::<usize>().ok()?, rest)));
            match place {
                Some((number, _)) if number == index => {}
                Some((number, rest)) if number > index => {
                    kept.insert(format!("{prefix}{}]{rest}", number - 1), value);
                }
                _ => {
                    kept.insert(name, value);
                }
            }
        }
        kept.insert(format!("{path}#"), (count - 1).to_string());
        self.0 = kept;
    }

    /// Names and values.
    pub(crate) fn into_pairs(self) -> impl Iterator<Item = (String, String)> {
        self.0.into_iter()
    }

    fn get(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }

    fn text(&self, path: &str) -> &str {
        self.get(path).unwrap_or("")
    }

    fn count(&self, path: &str) -> usize {
        let count = self.get(&format!("{path}#"));
        let count = count.and_then(|text| text.parse().ok()).unwrap_or(0);
        usize::min(count, ITEMS_MAX)
    }

    fn chosen<'a>(&'a self, path: &str, default: Option<&'a str>) -> Option<&'a str> {
        self.get(&format!("{path}|")).or(default)
    }

    fn is_given(&self, path: &str) -> bool {
        self.get(&format!("{path}?")) == Some("some")
    }

    /// What they say as JSON of this type; what cannot be one is put there as a text, for the check of the type to say so at its place.
    pub(crate) fn to_json(&self, ty: &Type, path: &str) -> String {
        let mut out = String::new();
        self.write(&mut out, ty, path);
        out
    }

    fn write(&self, out: &mut String, ty: &Type, path: &str) {
        let text = self.text(path);
        match ty {
            Type::Bool => out.push_str(if text == "true" { "true" } else { "false" }),
            Type::String => quoted(out, text),
            Type::Char => quoted(out, text),
            Type::Bytes => quoted(out, text.trim()),
            Type::U64 | Type::S64 => quoted(out, text.trim()),
            Type::U8
            | Type::U16
            | Type::U32
            | Type::S8
            | Type::S16
            | Type::S32
            | Type::F32
            | Type::F64 => {
                number(out, text.trim());
            }
            Type::Enum(cases) => {
                let first = cases.cases.first().map_or("", String::as_str);
                quoted(out, self.get(path).unwrap_or(first));
            }
            Type::List(item) => {
                let places = (0..self.count(path)).map(|index| format!("{path}[{index}]"));
                self.array(out, places.map(|place| (&**item, place)));
            }
            Type::FixedList(item, count) if (*count as usize) <= ITEMS_MAX => {
                let places = (0..*count).map(|index| format!("{path}[{index}]"));
                self.array(out, places.map(|place| (&**item, place)));
            }
            Type::FixedList(..) => json_or_text(out, text),
            Type::Tuple(types) => {
                let parts = types.iter().enumerate();
                self.array(
                    out,
                    parts.map(|(index, ty)| (ty, format!("{path}[{index}]"))),
                );
            }
            Type::Record(record) => {
                out.push('{');
                for (index, field) in record.fields.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    let name = field.json_name();
                    quoted(out, &name);
                    out.push(':');
                    self.write(out, &field.ty, &format!("{path}.{name}"));
                }
                out.push('}');
            }
            Type::Flags(flags) => {
                let set = flags
                    .flags
                    .iter()
                    .filter(|flag| self.get(&format!("{path}:{flag}")).is_some());
                out.push('[');
                for (index, flag) in set.enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    quoted(out, flag);
                }
                out.push(']');
            }
            Type::Variant(variant) => {
                let first = variant.cases.first().map(|case| case.name.as_str());
                let chosen = self.chosen(path, first).unwrap_or("");
                out.push_str("{\"tag\":");
                quoted(out, chosen);
                let case = variant.cases.iter().find(|case| case.name == chosen);
                if let Some(ty) = case.and_then(|case| case.ty.as_ref()) {
                    out.push_str(",\"val\":");
                    self.write(out, ty, &format!("{path}.val"));
                }
                out.push('}');
            }
            Type::Result { ok, err } => {
                let (name, side) = match self.chosen(path, Some("ok")) {
                    Some("err") => ("err", err),
                    _ => ("ok", ok),
                };
                out.push('{');
                quoted(out, name);
                out.push(':');
                match side {
                    Some(ty) => self.write(out, ty, &format!("{path}.{name}")),
                    None => out.push_str("null"),
                }
                out.push('}');
            }
            Type::Option(_) if !self.is_given(path) => out.push_str("null"),
            Type::Option(some) if is_nullable(some) => {
                out.push_str("{\"some\":");
                self.write(out, some, &place_of_some(some, path));
                out.push('}');
            }
            Type::Option(some) => self.write(out, some, path),
        }
    }

    fn array<'a>(&self, out: &mut String, parts: impl Iterator<Item = (&'a Type, String)>) {
        out.push('[');
        for (index, (ty, place)) in parts.enumerate() {
            if index > 0 {
                out.push(',');
            }
            self.write(out, ty, &place);
        }
        out.push(']');
    }

    /// The fields that say what this JSON says, as far as it is of the type.
    pub(crate) fn from_json(json: &str, ty: &Type, path: &str) -> Self {
        let mut fields = Self::default();
        fields.read(json, ty, path);
        fields
    }

    fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    fn read(&mut self, json: &str, ty: &Type, path: &str) {
        match (ty, Level::of(json)) {
            (Type::Option(_), Level::Other("null")) => {}
            (Type::Option(some), level) => {
                self.set(format!("{path}?"), "some");
                match level {
                    Level::Object(members) if is_nullable(some) => {
                        if let Some(inner) = member(&members, "some") {
                            self.read(inner, some, &place_of_some(some, path));
                        }
                    }
                    _ => self.read(json, some, path),
                }
            }
            (Type::List(item), Level::Array(items)) => {
                let count = items.len().min(ITEMS_MAX);
                self.set(format!("{path}#"), count.to_string());
                for (index, part) in items.into_iter().take(count).enumerate() {
                    self.read(part.get(), item, &format!("{path}[{index}]"));
                }
            }
            (Type::FixedList(item, count), Level::Array(items))
                if (*count as usize) <= ITEMS_MAX =>
            {
                for (index, part) in items.into_iter().enumerate() {
                    self.read(part.get(), item, &format!("{path}[{index}]"));
                }
            }
            (Type::FixedList(..), _) => self.set(path, json),
            (Type::Tuple(types), Level::Array(items)) => {
                for (index, (part, ty)) in items.into_iter().zip(types).enumerate() {
                    self.read(part.get(), ty, &format!("{path}[{index}]"));
                }
            }
            (Type::Record(record), Level::Object(members)) => {
                for field in &record.fields {
                    let name = field.json_name();
                    if let Some(part) = member(&members, &name) {
                        self.read(part, &field.ty, &format!("{path}.{name}"));
                    }
                }
            }
            (Type::Variant(variant), Level::Object(members)) => {
                let tag = member(&members, "tag").map(Level::of);
                let Some(Level::Text(tag)) = tag else {
                    return;
                };
                self.set(format!("{path}|"), tag.as_ref());
                let case = variant.cases.iter().find(|case| case.name == tag);
                if let (Some(ty), Some(part)) = (
                    case.and_then(|case| case.ty.as_ref()),
                    member(&members, "val"),
                ) {
                    self.read(part, ty, &format!("{path}.val"));
                }
            }
            (Type::Result { ok, err }, Level::Object(members)) => {
                for (name, side) in [("ok", ok), ("err", err)] {
                    if let Some(part) = member(&members, name) {
                        self.set(format!("{path}|"), name);
                        if let Some(ty) = side {
                            self.read(part, ty, &format!("{path}.{name}"));
                        }
                    }
                }
            }
            (Type::Flags(_), Level::Array(items)) => {
                for item in items {
                    if let Level::Text(flag) = Level::of(item.get()) {
                        self.set(format!("{path}:{flag}"), "true");
                    }
                }
            }
            (_, Level::Text(text)) => self.set(path, text.as_ref()),
            (_, Level::Other(text)) => self.set(path, text),
            (_, Level::Object(_) | Level::Array(_)) => {}
        }
    }
}

fn member<'a>(
    members: &[(std::borrow::Cow<'a, str>, &'a RawValue)],
    name: &str,
) -> Option<&'a str> {
    let found = members.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.get())
}

fn quoted(out: &mut String, text: &str) {
    out.push_str(&serde_json::to_string(text).unwrap_or_else(|_| "null".to_owned()));
}

/// A number as it is written; anything else as a text, and nothing at all as `null`.
fn number(out: &mut String, text: &str) {
    let is_number = serde_json::from_str::<serde_json::Number>(text).is_ok();
    match text {
        "" => out.push_str("null"),
        _ if is_number => out.push_str(text),
        _ => quoted(out, text),
    }
}

fn json_or_text(out: &mut String, text: &str) {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(raw) => out.push_str(raw.get()),
        Err(_) => quoted(out, text),
    }
}

#[cfg(test)]
mod tests {
    use dacapo_model::{
        Case, EnumType, Field as Part, FlagsType, PayloadLimits, RecordType, VariantType, from_json,
    };

    use super::*;

    fn part(name: &str, ty: Type) -> Part {
        Part {
            name: name.to_owned(),
            ty,
            docs: None,
        }
    }

    fn case(name: &str, ty: Option<Type>) -> Case {
        Case {
            name: name.to_owned(),
            ty,
            docs: None,
        }
    }

    /// A bit of everything.
    fn everything() -> Type {
        let kind = VariantType {
            name: None,
            cases: vec![case("none", None), case("some-text", Some(Type::String))],
            docs: None,
        };
        let colour = EnumType {
            name: None,
            cases: vec!["red".to_owned(), "green".to_owned()],
        };
        let flags = FlagsType {
            name: None,
            flags: vec!["a".to_owned(), "b-c".to_owned()],
        };
        let item = RecordType {
            name: None,
            fields: vec![part("sku", Type::String), part("unit-price", Type::F64)],
            docs: None,
        };
        Type::Record(RecordType {
            name: None,
            fields: vec![
                part("order-id", Type::U64),
                part("count", Type::S32),
                part("ok", Type::Bool),
                part("letter", Type::Char),
                part("data", Type::Bytes),
                part("items", Type::List(Box::new(Type::Record(item)))),
                part("pair", Type::Tuple(vec![Type::U8, Type::String])),
                part("three", Type::FixedList(Box::new(Type::U8), 3)),
                part("kind", Type::Variant(kind)),
                part("colour", Type::Enum(colour)),
                part("marks", Type::Flags(flags)),
                part("maybe", Type::Option(Box::new(Type::String))),
                part("never", Type::Option(Box::new(Type::U32))),
                part(
                    "twice",
                    Type::Option(Box::new(Type::Option(Box::new(Type::U32)))),
                ),
                part(
                    "came",
                    Type::Result {
                        ok: None,
                        err: Some(Box::new(Type::String)),
                    },
                ),
            ],
            docs: None,
        })
    }

    const JSON: &str = r#"{"orderId":"18446744073709551615","count":-3,"ok":true,"letter":"é","data":"AAE=","items":[{"sku":"a\nb","unitPrice":1.5},{"sku":"<b>","unitPrice":2}],"pair":[1,"x"],"three":[1,2,3],"kind":{"tag":"some-text","val":"t"},"colour":"green","marks":["b-c"],"maybe":"","never":null,"twice":{"some":null},"came":{"err":"no"}}"#;

    #[test]
    fn a_value_survives_its_form() {
        let ty = everything();
        let fields = Fields::from_json(JSON, &ty, "input");
        let json = fields.to_json(&ty, "input");
        assert_eq!(json, JSON);
        assert!(from_json(&json, &ty, "input", &PayloadLimits::default()).is_ok());
    }

    #[test]
    fn an_empty_form_says_what_is_missing_where_it_is() {
        let ty = everything();
        let json = Fields::default().to_json(&ty, "input");
        let error = from_json(&json, &ty, "input", &PayloadLimits::default()).unwrap_err();
        let InputError::Mismatch(mismatches) = &error else {
            panic!("{error}");
        };
        let errors = Errors(
            mismatches
                .iter()
                .map(|one| (one.path.clone(), one.message.clone()))
                .collect(),
        );
        let field = Field::new(&ty, "input", "input", &Fields::default(), &errors);
        let wrong: Vec<&str> = field
            .inside
            .iter()
            .filter(|field| field.error.is_some())
            .map(|field| field.label.as_str())
            .collect();
        assert_eq!(wrong[..3], ["orderId", "count", "letter"]);
    }

    #[test]
    fn items_come_and_go() {
        let ty = everything();
        let fields = Fields::from_json(JSON, &ty, "input");
        let with = |fields: &Fields, change: &str| {
            let mut pairs: Vec<(String, String)> = fields.0.clone().into_iter().collect();
            pairs.push(("change".to_owned(), change.to_owned()));
            Fields::of(&Fields::changed(&Query::from_pairs(pairs.into_iter())))
        };
        let fewer = with(&fields, "remove input.items 0");
        assert!(
            fewer
                .to_json(&ty, "input")
                .contains(r#""items":[{"sku":"<b>","unitPrice":2}]"#)
        );
        let more = with(&fewer, "add input.items");
        assert!(
            more.to_json(&ty, "input")
                .contains(r#"{"sku":"","unitPrice":null}]"#)
        );
    }
}
