//! What changes for those who deal with a workflow when another deployment of it comes: its callers, the readers of its output, and the
//! senders of its events.
//!
//! What becomes of runs in flight is not asked here: they stay on their deployment.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::same_types::bare;
use crate::{Case, Type, Workflow};

/// One difference between two deployments of a workflow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The workflow's full name.
    pub workflow: String,
    /// Where: `input.items[].price`, `output`, `events.paid`; empty: the workflow as a whole.
    pub place: String,
    /// Somebody who got along with the old one may not get along with the new one.
    pub breaking: bool,
    /// What is different.
    pub what: String,
}

impl Change {
    /// A change of a workflow as a whole.
    #[must_use]
    pub fn of(workflow: &str, breaking: bool, what: impl Into<String>) -> Self {
        Self {
            workflow: workflow.to_owned(),
            place: String::new(),
            breaking,
            what: what.into(),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.as_str() {
            "" => write!(f, "{}: {}", self.workflow, self.what),
            place => write!(f, "{}: {place}: {}", self.workflow, self.what),
        }
    }
}

/// Who reads what the other side writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// Takes exactly its type: a workflow its input and its events, a caller in WebAssembly the output of its child.
    Strict,
    /// Leaves out fields that it does not know: a client that reads an output.
    Lenient,
}

/// What is different between the workflow that is there and the one that comes, for clients: whoever starts it, sends it events, and reads
/// its output. Nothing: the types are the same.
#[must_use]
pub fn compatibility(old: &Workflow, new: &Workflow) -> Vec<Change> {
    let mut changes = Changes::of(new);
    changes.input(old, new);
    changes.output(new, old, Reader::Lenient);
    changes.events(old, new);
    changes.found
}

/// What would go wrong between a caller and the workflow that it calls as a child. `known`: the workflow as the caller knows it.
#[must_use]
pub fn problems_of_caller(known: &Workflow, new: &Workflow) -> Vec<Change> {
    let mut changes = Changes::of(new);
    changes.input(known, new);
    changes.output(new, known, Reader::Strict);
    changes.found.retain(|change| change.breaking);
    changes.found
}

struct Changes {
    workflow: String,
    found: Vec<Change>,
}

impl Changes {
    fn of(workflow: &Workflow) -> Self {
        Self {
            workflow: workflow.name.clone(),
            found: Vec::new(),
        }
    }

    fn add(&mut self, place: &str, breaking: bool, what: String) {
        self.found.push(Change {
            workflow: self.workflow.clone(),
            place: place.to_owned(),
            breaking,
            what,
        });
    }

    /// Values of `from` come to who expects `to`; where they do not fit is a breaking change, and any other difference one that is not.
    fn values(&mut self, place: &str, from: &Type, to: &Type, reader: Reader, otherwise: &str) {
        let before = self.found.len();
        self.fit(place, from, to, reader);
        if self.found.len() == before && bare(from) != bare(to) {
            self.add(place, false, otherwise.to_owned());
        }
    }

    fn input(&mut self, old: &Workflow, new: &Workflow) {
        let ty = |workflow: &Workflow| workflow.param.as_ref().map(|param| param.ty.clone());
        let place = "input";
        match (ty(old), ty(new)) {
            (None, None) => {}
            // Who passes nothing passes null.
            (None, Some(Type::Option(_))) => {
                self.add(
                    place,
                    false,
                    "there is one, which may be left out".to_owned(),
                );
            }
            (None, Some(to)) => self.add(place, true, format!("it takes {to}, and took nothing")),
            (Some(from), None) => {
                self.add(place, true, format!("it takes nothing, and took {from}"));
            }
            (Some(from), Some(to)) => {
                self.values(
                    place,
                    &from,
                    &to,
                    Reader::Strict,
                    "it takes more than before",
                );
            }
        }
    }

    fn output(&mut self, new: &Workflow, old: &Workflow, reader: Reader) {
        let place = "output";
        match (output_of(new), output_of(old)) {
            (None, None) => {}
            (None, Some(to)) => self.add(place, true, format!("there is none, and there was {to}")),
            (Some(from), None) => {
                self.add(place, true, format!("there is {from}, and there was none"))
            }
            (Some(from), Some(to)) => self.values(
                place,
                &from,
                &to,
                reader,
                "it says other things, all of which can be read as before",
            ),
        }
        if let (Some(from), Some(to)) = (error_of(new), error_of(old)) {
            self.values(
                "error",
                &from,
                &to,
                reader,
                "it says other things, all of which can be read as before",
            );
        }
    }

    fn events(&mut self, old: &Workflow, new: &Workflow) {
        if new.events.is_empty() {
            if !old.events.is_empty() {
                self.add("events", false, "any will do".to_owned());
            }
            return;
        }
        let named =
            |events: &[Case], name: &str| events.iter().find(|one| one.name == name).cloned();
        if old.events.is_empty() {
            let names: Vec<&str> = new.events.iter().map(|event| event.name.as_str()).collect();
            let names = names.join(", ");
            self.add("events", true, format!("only {names} will do, and any did"));
            return;
        }
        for event in &old.events {
            let place = format!("events.{}", event.name);
            match named(&new.events, &event.name).map(|new| new.ty) {
                None => self.add(&place, true, "it is not taken any more".to_owned()),
                Some(ty) => self.payload(&place, event.ty.as_ref(), ty.as_ref(), Reader::Strict),
            }
        }
        for event in &new.events {
            if named(&old.events, &event.name).is_none() {
                self.add(
                    &format!("events.{}", event.name),
                    false,
                    "it is new".to_owned(),
                );
            }
        }
    }

    /// The payload of a case.
    fn payload(&mut self, place: &str, from: Option<&Type>, to: Option<&Type>, reader: Reader) {
        match (from, to) {
            (None, None) => {}
            (Some(from), Some(to)) => {
                self.values(place, from, to, reader, "it takes more than before")
            }
            (Some(from), None) => self.add(place, true, format!("expected nothing, may be {from}")),
            (None, Some(to)) => self.add(place, true, format!("expected {to}, there is nothing")),
        }
    }

    /// Where a value of `from` may be none of `to`, in their JSON form.
    fn fit(&mut self, place: &str, from: &Type, to: &Type, reader: Reader) {
        use Type::{
            Char, Enum, F32, F64, FixedList, Flags, List, Option, Record, Result, S8, S16, S32,
            S64, String, Tuple, U8, U16, U32, U64, Variant,
        };
        match (from, to) {
            // Where an option may hold none itself, some(x) is written as {"some": x}.
            (Option(one), Option(other))
                if matches!(**one, Option(_)) != matches!(**other, Option(_)) =>
            {
                self.add(place, true, format!("expected {to}, may be {from}"));
            }
            (Option(from), Option(to)) => self.fit(place, from, to, reader),
            // Some(x) is written as x, unless x may be none itself.
            (from, Option(to)) if !matches!(from, Option(_)) && !matches!(**to, Option(_)) => {
                self.fit(place, from, to, reader);
            }
            (Option(_), to) => self.add(place, true, format!("expected {to}, may be left out")),
            (List(from), List(to)) | (FixedList(from, _), List(to)) => {
                self.fit(&format!("{place}[]"), from, to, reader);
            }
            (FixedList(from, length), FixedList(to, same)) if length == same => {
                self.fit(&format!("{place}[]"), from, to, reader);
            }
            (Tuple(from), Tuple(to)) if from.len() == to.len() => {
                for (at, (from, to)) in from.iter().zip(to).enumerate() {
                    self.fit(&format!("{place}[{at}]"), from, to, reader);
                }
            }
            (Record(from), Record(to)) => {
                for field in &to.fields {
                    let place = format!("{place}.{}", field.json_name());
                    match from.fields.iter().find(|one| one.name == field.name) {
                        Some(one) => self.fit(&place, &one.ty, &field.ty, reader),
                        None if matches!(field.ty, Option(_)) => {}
                        None => {
                            self.add(&place, true, format!("expected {}, is not there", field.ty))
                        }
                    }
                }
                for field in &from.fields {
                    let known = to.fields.iter().any(|one| one.name == field.name);
                    if !known && reader == Reader::Strict {
                        let place = format!("{place}.{}", field.json_name());
                        self.add(
                            &place,
                            true,
                            "there is no such field for who reads it".to_owned(),
                        );
                    }
                }
            }
            (Variant(from), Variant(to)) => {
                for case in &from.cases {
                    let place = format!("{place}.{}", case.name);
                    match to.cases.iter().find(|one| one.name == case.name) {
                        Some(one) => {
                            self.payload(&place, case.ty.as_ref(), one.ty.as_ref(), reader)
                        }
                        None => self.add(
                            &place,
                            true,
                            "there is no such case for who reads it".to_owned(),
                        ),
                    }
                }
            }
            (Enum(from), Enum(to)) => self.names(place, &from.cases, &to.cases),
            (Flags(from), Flags(to)) => self.names(place, &from.flags, &to.flags),
            (
                Result { ok, err },
                Result {
                    ok: to_ok,
                    err: to_err,
                },
            ) => {
                self.payload(
                    &format!("{place}.ok"),
                    ok.as_deref(),
                    to_ok.as_deref(),
                    reader,
                );
                self.payload(
                    &format!("{place}.err"),
                    err.as_deref(),
                    to_err.as_deref(),
                    reader,
                );
            }
            (U8, U16 | U32 | U64 | S16 | S32 | S64 | F32 | F64)
            | (U16, U32 | U64 | S32 | S64 | F32 | F64)
            | (U32, U64 | S64 | F64)
            | (S8, S16 | S32 | S64 | F32 | F64)
            | (S16, S32 | S64 | F32 | F64)
            | (S32, S64 | F64)
            | (F32, F64)
            | (Char | Enum(_), String) => {}
            (from, to) if bare(from) == bare(to) => {}
            (from, to) => self.add(place, true, format!("expected {to}, may be {from}")),
        }
    }

    fn names(&mut self, place: &str, from: &[String], to: &[String]) {
        for name in from {
            if !to.contains(name) {
                self.add(place, true, format!("{name} is unknown to who reads it"));
            }
        }
    }
}

/// What a run of it has as its output: what stands in `ok` of a result.
fn output_of(workflow: &Workflow) -> Option<Type> {
    match &workflow.result {
        Some(Type::Result { ok, .. }) => ok.as_deref().cloned(),
        other => other.clone(),
    }
}

/// The error that it returns. One that comes or goes breaks nobody: a run may fail in any case.
fn error_of(workflow: &Workflow) -> Option<Type> {
    match &workflow.result {
        Some(Type::Result { err, .. }) => err.as_deref().cloned(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EnumType, Field, Param, RecordType, VariantType};

    fn workflow(
        param: Option<Type>,
        result: Option<Type>,
        events: &[(&str, Option<Type>)],
    ) -> Workflow {
        Workflow {
            name: "a:b/c.d".to_owned(),
            interface: "a:b/c".to_owned(),
            function: "d".to_owned(),
            param: param.map(|ty| Param {
                name: "it".to_owned(),
                ty,
            }),
            result,
            events: events
                .iter()
                .map(|(name, ty)| case(name, ty.clone()))
                .collect(),
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

    fn record(fields: &[(&str, Type)]) -> Type {
        let fields = fields.iter().map(|(name, ty)| Field {
            name: (*name).to_owned(),
            ty: ty.clone(),
            docs: None,
        });
        Type::Record(RecordType {
            name: Some("it".to_owned()),
            fields: fields.collect(),
            docs: None,
        })
    }

    fn option(ty: Type) -> Type {
        Type::Option(Box::new(ty))
    }

    fn cases(names: &[&str]) -> Type {
        Type::Enum(EnumType {
            name: None,
            cases: names.iter().map(|name| (*name).to_owned()).collect(),
        })
    }

    /// `place: what`, with an exclamation mark in front of what breaks somebody.
    fn said(changes: &[Change]) -> Vec<String> {
        changes
            .iter()
            .map(|change| {
                let mark = if change.breaking { "!" } else { "" };
                format!("{mark}{}: {}", change.place, change.what)
            })
            .collect()
    }

    fn input(old: Type, new: Type) -> Vec<String> {
        let one = |ty| workflow(Some(ty), None, &[]);
        said(&compatibility(&one(old), &one(new)))
    }

    fn output(old: Type, new: Type) -> Vec<String> {
        let one = |ty| workflow(None, Some(ty), &[]);
        said(&compatibility(&one(old), &one(new)))
    }

    #[test]
    fn an_input_that_takes_less_breaks_its_callers() {
        let old = record(&[("order-id", Type::U32), ("note", option(Type::String))]);
        assert!(input(old.clone(), old.clone()).is_empty());
        let new = record(&[
            ("order-id", Type::U64),
            ("note", option(Type::String)),
            ("gift", option(Type::Bool)),
        ]);
        assert_eq!(
            input(old.clone(), new),
            ["input: it takes more than before"]
        );
        let new = record(&[
            ("order-id", Type::U16),
            ("note", Type::String),
            ("gift", Type::Bool),
        ]);
        assert_eq!(
            input(old.clone(), new),
            [
                "!input.orderId: expected u16, may be u32",
                "!input.note: expected string, may be left out",
                "!input.gift: expected bool, is not there",
            ]
        );
        let new = record(&[("order-id", Type::U32)]);
        assert_eq!(
            input(old, new),
            ["!input.note: there is no such field for who reads it"]
        );
        assert_eq!(
            input(option(Type::U8), option(option(Type::U8))),
            ["!input: expected option<option<u8>>, may be option<u8>"]
        );
        assert_eq!(
            input(option(option(Type::U8)), option(option(Type::U16))),
            ["input: it takes more than before"]
        );
        let list = |ty| Type::List(Box::new(ty));
        assert_eq!(
            input(list(cases(&["a", "b"])), list(cases(&["a", "c"]))),
            ["!input[]: b is unknown to who reads it"]
        );
        let nothing = workflow(None, None, &[]);
        let something = |ty| workflow(Some(ty), None, &[]);
        assert_eq!(
            said(&compatibility(&nothing, &something(Type::U8))),
            ["!input: it takes u8, and took nothing"]
        );
        assert_eq!(
            said(&compatibility(&nothing, &something(option(Type::U8)))),
            ["input: there is one, which may be left out"]
        );
        assert_eq!(
            said(&compatibility(&something(Type::U8), &nothing)),
            ["!input: it takes nothing, and took u8"]
        );
    }

    #[test]
    fn an_output_with_more_fields_breaks_callers_in_webassembly_and_no_client() {
        let old = record(&[("id", Type::U32)]);
        let new = record(&[("id", Type::U32), ("total", Type::F64)]);
        assert_eq!(
            output(old.clone(), new.clone()),
            ["output: it says other things, all of which can be read as before"]
        );
        let one = |ty| workflow(None, Some(ty), &[]);
        assert_eq!(
            said(&problems_of_caller(&one(old.clone()), &one(new.clone()))),
            ["!output.total: there is no such field for who reads it"]
        );
        assert_eq!(
            output(new, old),
            ["!output.total: expected f64, is not there"]
        );
    }

    #[test]
    fn an_output_with_another_case_breaks_its_readers_and_one_with_fewer_does_not() {
        let variant = |names: &[&str]| {
            Type::Variant(VariantType {
                name: None,
                cases: names
                    .iter()
                    .map(|name| case(name, Some(Type::U8)))
                    .collect(),
                docs: None,
            })
        };
        assert_eq!(
            output(variant(&["paid"]), variant(&["paid", "refused"])),
            ["!output.refused: there is no such case for who reads it"]
        );
        assert_eq!(
            output(variant(&["paid", "refused"]), variant(&["paid"])),
            ["output: it says other things, all of which can be read as before"]
        );
    }

    #[test]
    fn a_result_is_read_by_its_parts() {
        let result = |ok, err: Option<Type>| Type::Result {
            ok: Some(Box::new(ok)),
            err: err.map(Box::new),
        };
        assert!(output(Type::U8, result(Type::U8, Some(Type::String))).is_empty());
        assert_eq!(
            output(
                result(Type::U8, Some(cases(&["a"]))),
                result(Type::U8, Some(cases(&["a", "b"])))
            ),
            ["!error: b is unknown to who reads it"]
        );
    }

    #[test]
    fn an_event_that_is_gone_or_takes_less_breaks_who_sends_it() {
        let one = |events: &[(&str, Option<Type>)]| workflow(None, None, events);
        let old = one(&[("paid", Some(Type::U32)), ("nudge", None)]);
        assert_eq!(
            said(&compatibility(
                &old,
                &one(&[("paid", Some(Type::U8)), ("late", None)])
            )),
            [
                "!events.paid: expected u8, may be u32",
                "!events.nudge: it is not taken any more",
                "events.late: it is new",
            ]
        );
        assert_eq!(
            said(&compatibility(&old, &one(&[]))),
            ["events: any will do"]
        );
        assert_eq!(
            said(&compatibility(&one(&[]), &old)),
            ["!events: only paid, nudge will do, and any did"]
        );
    }
}
