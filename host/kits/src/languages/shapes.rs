//! What the values of workflows are made of, for kits whose languages do not look at types themselves: guests of JavaScript and Python hold
//! what a workflow returns against this, and say in its words what is wrong with it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use wit_parser::{Resolve, Type, TypeDefKind, WorldId, WorldItem};

/// How a language writes names that WIT has in kebab-case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// `orderId`
    Camel,
    /// `order_id`
    Snake,
}

impl Names {
    fn of(self, name: &str) -> String {
        match self {
            Self::Camel => camel(name),
            Self::Snake => name.replace('-', "_").to_lowercase(),
        }
    }
}

/// What workflows take, return and end with, by the names of their functions: `{"place": {"input": …, "output": …, "error": …}}`. One whose
/// name stands for several that differ is left out.
///
/// A type is `null` where anything will do; or the name of one of WIT's own types, where `bytes` are a `list<u8>`; or `{"list": …}`,
/// `{"option": …}`, `{"some": …}` for an option of an option, `{"tuple": […]}`, `{"record": name, "fields": {…}}`,
/// `{"variant": name, "cases": {…}}`, `{"enum": name, "cases": […]}`, `{"flags": name}`, `{"result": {"ok": …, "err": …}}`.
pub(crate) fn shapes(resolve: &Resolve, world: WorldId, names: Names) -> Map<String, Value> {
    let writer = Writer { resolve, names };
    let exports = resolve.worlds[world].exports.values();
    let functions = exports.filter_map(|item| match item {
        WorldItem::Interface { id, .. } => Some(resolve.interfaces[*id].functions.values()),
        _ => None,
    });
    let mut shapes = Map::new();
    let mut unclear = BTreeSet::new();
    for function in functions.flatten() {
        let (output, error) = match function.result {
            None => (None, None),
            Some(result) => match writer.kind(&result) {
                Some(TypeDefKind::Result(of)) => (of.ok, of.err),
                _ => (Some(result), None),
            },
        };
        let input = function.params.first().map(|param| param.ty);
        let parts = [("input", input), ("output", output), ("error", error)];
        let parts = parts
            .into_iter()
            .filter_map(|(part, ty)| Some((part.to_owned(), writer.shape(&ty?))));
        let parts = Value::Object(parts.collect());
        let name = names.of(&function.name);
        match shapes.get(&name) {
            Some(other) if *other != parts => drop(unclear.insert(name)),
            _ => drop(shapes.insert(name, parts)),
        }
    }
    shapes.retain(|name, _| !unclear.contains(name));
    shapes
}

/// Where a value of this shape has integers of 64 bits: the same shape with `null` for all else.
pub(crate) fn wide(shape: &Value) -> Value {
    let members = |of: &Value| -> Map<String, Value> {
        let members = of.as_object().into_iter().flatten();
        members
            .map(|(name, shape)| (name.clone(), wide(shape)))
            .collect()
    };
    let any = |members: &Map<String, Value>| members.values().any(|shape| !shape.is_null());
    let Value::Object(parts) = shape else {
        return match shape.as_str() {
            Some("u64" | "s64") => shape.clone(),
            _ => Value::Null,
        };
    };
    for word in ["list", "option", "some"] {
        if let Some(inner) = parts.get(word) {
            return match wide(inner) {
                Value::Null => Value::Null,
                inner => json!({ word: inner }),
            };
        }
    }
    if let Some(types) = parts.get("tuple").and_then(Value::as_array) {
        let types: Vec<Value> = types.iter().map(wide).collect();
        return match types.iter().all(Value::is_null) {
            true => Value::Null,
            false => json!({ "tuple": types }),
        };
    }
    for (word, of) in [("record", "fields"), ("variant", "cases")] {
        if let Some(name) = parts.get(word) {
            let members = members(&parts[of]);
            return match any(&members) {
                true => json!({ word: name, of: members }),
                false => Value::Null,
            };
        }
    }
    match parts.get("result").map(members) {
        Some(members) if any(&members) => json!({ "result": members }),
        _ => Value::Null,
    }
}

struct Writer<'a> {
    resolve: &'a Resolve,
    names: Names,
}

impl Writer<'_> {
    fn shape(&self, ty: &Type) -> Value {
        let word = match ty {
            Type::Id(id) => {
                // A type with two names is told by that which it was defined with.
                return match &self.resolve.types[*id].kind {
                    TypeDefKind::Type(target) => self.shape(target),
                    kind => self.made(kind, self.resolve.types[*id].name.as_deref()),
                };
            }
            Type::Bool => "bool",
            Type::U8 => "u8",
            Type::U16 => "u16",
            Type::U32 => "u32",
            Type::U64 => "u64",
            Type::S8 => "s8",
            Type::S16 => "s16",
            Type::S32 => "s32",
            Type::S64 => "s64",
            Type::F32 => "f32",
            Type::F64 => "f64",
            Type::Char => "char",
            Type::String => "string",
            Type::ErrorContext => return Value::Null,
        };
        json!(word)
    }

    fn made(&self, kind: &TypeDefKind, name: Option<&str>) -> Value {
        let optional = |ty: &Option<Type>| ty.as_ref().map_or(Value::Null, |ty| self.shape(ty));
        match kind {
            TypeDefKind::List(ty) if self.is_byte(ty) => json!("bytes"),
            TypeDefKind::List(ty) => json!({ "list": self.shape(ty) }),
            TypeDefKind::Option(ty) => {
                let word = match self.kind(ty) {
                    Some(TypeDefKind::Option(_)) => "some",
                    _ => "option",
                };
                json!({ word: self.shape(ty) })
            }
            TypeDefKind::Tuple(tuple) => {
                let types: Vec<Value> = tuple.types.iter().map(|ty| self.shape(ty)).collect();
                json!({ "tuple": types })
            }
            TypeDefKind::Record(record) => {
                let fields = record.fields.iter();
                let fields: Map<String, Value> = fields
                    .map(|field| (self.names.of(&field.name), self.shape(&field.ty)))
                    .collect();
                json!({ "record": name, "fields": fields })
            }
            TypeDefKind::Variant(variant) => {
                let cases = variant.cases.iter();
                let cases: Map<String, Value> = cases
                    .map(|case| (case.name.clone(), optional(&case.ty)))
                    .collect();
                json!({ "variant": name, "cases": cases })
            }
            TypeDefKind::Enum(of) => {
                let cases: Vec<&str> = of.cases.iter().map(|case| case.name.as_str()).collect();
                json!({ "enum": name, "cases": cases })
            }
            TypeDefKind::Flags(_) => json!({ "flags": name }),
            TypeDefKind::Result(result) => {
                json!({ "result": { "ok": optional(&result.ok), "err": optional(&result.err) } })
            }
            // Of what else there is the tools know more than is written here.
            _ => Value::Null,
        }
    }

    fn is_byte(&self, ty: &Type) -> bool {
        match ty {
            Type::U8 => true,
            Type::Id(id) => match &self.resolve.types[*id].kind {
                TypeDefKind::Type(target) => self.is_byte(target),
                _ => false,
            },
            _ => false,
        }
    }

    fn kind(&self, ty: &Type) -> Option<&TypeDefKind> {
        let Type::Id(id) = ty else { return None };
        match &self.resolve.types[*id].kind {
            TypeDefKind::Type(target) => self.kind(target),
            kind => Some(kind),
        }
    }
}

/// `orderId` for `order-id`.
pub(crate) fn camel(name: &str) -> String {
    let mut words = name.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| name + &capital(word))
}

/// `Order` for `order`.
pub(crate) fn capital(word: &str) -> String {
    let mut chars = word.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes_of(wit: &str, names: Names) -> Map<String, Value> {
        let mut resolve = Resolve::default();
        let package = resolve.push_str("test.wit", wit).unwrap();
        let world = resolve.select_world(&[package], Some("w")).unwrap();
        shapes(&resolve, world, names)
    }

    const WIT: &str = "package a:b;
        interface i {
            variant v { one(u64), two(u32), three }
            enum colour { red, dark-green }
            flags rights { read }
            record r { order-id: u64, name: string, all: list<tuple<string, s64>>, v: v, o: option<u64>, oo: option<option<s64>>, raw: list<u8> }
            type id = u64;
            type other = colour;
            place: func(r: r) -> result<id, v>;
            cancel-it: func(id: u64);
            plain: func(n: u32) -> string;
            paint: func() -> list<other>;
            allow: func() -> result<rights>;
            twice: func(n: u64);
            nested: func() -> option<result<string, bool>>;
        }
        interface j { twice: func(); plain: func(n: u32) -> string; cancel-it: func(id: u64); }
        world w { export i; export j; }";

    #[test]
    fn a_type_is_told_with_all_that_it_is_made_of() {
        let v = json!({ "variant": "v", "cases": { "one": "u64", "two": "u32", "three": null } });
        let input = json!({ "record": "r", "fields": {
            "order_id": "u64", "name": "string", "all": { "list": { "tuple": ["string", "s64"] } }, "v": v, "o": { "option": "u64" },
            "oo": { "some": { "option": "s64" } }, "raw": "bytes",
        } });
        let paint =
            json!({ "output": { "list": { "enum": "colour", "cases": ["red", "dark-green"] } } });
        let expected = json!({
            "place": { "input": input, "output": "u64", "error": v },
            "cancel_it": { "input": "u64" },
            "plain": { "input": "u32", "output": "string" },
            "paint": paint,
            "allow": { "output": { "flags": "rights" } },
            "nested": { "output": { "option": { "result": { "ok": "string", "err": "bool" } } } },
        });
        assert_eq!(Value::Object(shapes_of(WIT, Names::Snake)), expected);
    }

    #[test]
    fn integers_of_64_bits_are_found_wherever_they_are() {
        let shapes = shapes_of(WIT, Names::Camel);
        let v = json!({ "variant": "v", "cases": { "one": "u64", "two": null, "three": null } });
        let fields = json!({
            "orderId": "u64", "name": null, "all": { "list": { "tuple": [null, "s64"] } }, "v": v, "o": { "option": "u64" },
            "oo": { "some": { "option": "s64" } }, "raw": null,
        });
        assert_eq!(
            wide(&shapes["place"]["input"]),
            json!({ "record": "r", "fields": fields })
        );
        assert_eq!(wide(&shapes["plain"]["input"]), Value::Null);
        assert_eq!(wide(&shapes["allow"]["output"]), Value::Null);
    }
}
