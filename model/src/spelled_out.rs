//! A type in words for somebody who is to write a value of it as JSON.

use std::fmt::Write;

use crate::schema::Type;

/// Types with names that are explained, at most.
const NAMED_MAX: usize = 20;

/// A type by its parts, even if it has a name: fields have the names that they have in JSON, and behind it stands what the names of types in
/// it stand for: `record { orderId: u64, price: money }, where money is record { cents: s64 }`.
#[must_use]
pub fn spelled_out(ty: &Type) -> String {
    let mut speller = Speller::default();
    let mut text = speller.parts(ty);
    let mut told = 0;
    while let Some(ty) = speller.named.get(told).copied() {
        if told == NAMED_MAX {
            text.push_str(", …");
            break;
        }
        let name = name_of(ty).unwrap_or_default();
        let before = if told == 0 { ", where" } else { "," };
        let parts = speller.parts(ty);
        let _ = write!(text, "{before} {name} is {parts}");
        told += 1;
    }
    text
}

/// The name that the WIT gives a type.
fn name_of(ty: &Type) -> Option<&str> {
    match ty {
        Type::Record(record) => record.name.as_deref(),
        Type::Variant(variant) => variant.name.as_deref(),
        Type::Enum(cases) => cases.name.as_deref(),
        Type::Flags(flags) => flags.name.as_deref(),
        _ => None,
    }
}

/// Remembers the named types that it came by, in this order.
#[derive(Default)]
struct Speller<'a> {
    named: Vec<&'a Type>,
}

impl<'a> Speller<'a> {
    /// By its name if it has one, which is remembered.
    fn short(&mut self, ty: &'a Type) -> String {
        let Some(name) = name_of(ty) else {
            return self.parts(ty);
        };
        match self.named.iter().find(|known| name_of(known) == Some(name)) {
            // Two interfaces may have types of one name.
            Some(known) if *known != ty => return self.parts(ty),
            Some(_) => {}
            None => self.named.push(ty),
        }
        name.to_owned()
    }

    fn all(&mut self, types: &'a [Type]) -> String {
        let types: Vec<String> = types.iter().map(|ty| self.short(ty)).collect();
        types.join(", ")
    }

    fn parts(&mut self, ty: &'a Type) -> String {
        match ty {
            Type::List(item) => format!("list<{}>", self.short(item)),
            Type::FixedList(item, length) => format!("list<{}, {length}>", self.short(item)),
            Type::Tuple(items) => format!("tuple<{}>", self.all(items)),
            Type::Option(inner) => format!("option<{}>", self.short(inner)),
            Type::Result { ok, err } => {
                let mut side = |ty: &'a Option<Box<Type>>| ty.as_ref().map(|ty| self.short(ty));
                match (side(ok), side(err)) {
                    (None, None) => "result".to_owned(),
                    (Some(ok), None) => format!("result<{ok}>"),
                    (ok, Some(err)) => {
                        format!("result<{}, {err}>", ok.unwrap_or_else(|| "_".to_owned()))
                    }
                }
            }
            Type::Record(record) => {
                let fields = record.fields.iter();
                let fields: Vec<String> = fields
                    .map(|field| format!("{}: {}", field.json_name(), self.short(&field.ty)))
                    .collect();
                format!("record {{ {} }}", fields.join(", "))
            }
            Type::Variant(variant) => {
                let cases = variant.cases.iter();
                let cases: Vec<String> = cases
                    .map(|case| match &case.ty {
                        Some(ty) => format!("{}({})", case.name, self.short(ty)),
                        None => case.name.clone(),
                    })
                    .collect();
                format!("variant {{ {} }}", cases.join(", "))
            }
            Type::Enum(cases) => format!("enum {{ {} }}", cases.cases.join(", ")),
            Type::Flags(flags) => format!("flags {{ {} }}", flags.flags.join(", ")),
            plain => plain.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{EnumType, Field, RecordType};

    fn record(name: &str, fields: Vec<(&str, Type)>) -> Type {
        let fields = fields.into_iter().map(|(name, ty)| Field {
            name: name.to_owned(),
            ty,
            docs: None,
        });
        Type::Record(RecordType {
            name: Some(name.to_owned()),
            fields: fields.collect(),
            docs: None,
        })
    }

    #[test]
    fn a_type_is_spelled_out_with_the_names_of_json_and_with_what_its_names_stand_for() {
        let currency = Type::Enum(EnumType {
            name: Some("currency".to_owned()),
            cases: vec!["eur".to_owned(), "us-dollar".to_owned()],
        });
        let money = record(
            "money",
            vec![("cents", Type::S64), ("of", currency.clone())],
        );
        let item = record("item", vec![("item-id", Type::U64), ("price", money)]);
        let order = record(
            "order",
            vec![
                ("order-id", Type::U64),
                ("items", Type::List(Box::new(item))),
                ("pay-in", Type::Option(Box::new(currency))),
            ],
        );
        assert_eq!(
            spelled_out(&order),
            "record { orderId: u64, items: list<item>, payIn: option<currency> }, where item is record { itemId: u64, price: money }, \
             currency is enum { eur, us-dollar }, money is record { cents: s64, of: currency }"
        );
        assert_eq!(spelled_out(&Type::Bytes), "list<u8>");
    }

    #[test]
    fn two_types_of_one_name_are_told_apart() {
        let one = record("part", vec![("a", Type::U8)]);
        let other = record("part", vec![("b", Type::U8)]);
        assert_eq!(
            spelled_out(&Type::Tuple(vec![one, other])),
            "tuple<part, record { b: u8 }>, where part is record { a: u8 }"
        );
    }
}
