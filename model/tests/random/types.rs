//! Random types, values of them, and JSON that is near to them: for tests of the JSON mapping, wherever it is carried out.

use dacapo_model::{Case, EnumType, Field, FlagsType, RecordType, Type, Value, VariantType};
use proptest::prelude::*;

/// One to five names in kebab case, different also once they are in camel case.
fn names() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::btree_set("[a-z][a-z0-9]{0,4}", 1..6).prop_flat_map(|firsts| {
        let firsts: Vec<String> = firsts.into_iter().collect();
        let second = prop_oneof![
            Just(String::new()),
            "-[a-z][a-z0-9]{0,3}",
            "-[A-Z][A-Z0-9]{0,2}"
        ];
        proptest::collection::vec(second, firsts.len()).prop_map(move |seconds| {
            // The number keeps `a` + `-b` and `ab` apart whatever follows.
            let paired = firsts.iter().zip(seconds).enumerate();
            paired
                .map(|(index, (first, second))| format!("x{index}x{first}{second}"))
                .collect()
        })
    })
}

fn leaf_type() -> impl Strategy<Value = Type> {
    prop_oneof![
        Just(Type::Bool),
        Just(Type::U8),
        Just(Type::U16),
        Just(Type::U32),
        Just(Type::U64),
        Just(Type::S8),
        Just(Type::S16),
        Just(Type::S32),
        Just(Type::S64),
        Just(Type::F32),
        Just(Type::F64),
        Just(Type::Char),
        Just(Type::String),
        Just(Type::Bytes),
        names().prop_map(|cases| Type::Enum(EnumType { name: None, cases })),
        names().prop_map(|flags| Type::Flags(FlagsType {
            name: Some("some-flags".to_owned()),
            flags
        })),
        Just(Type::Result {
            ok: None,
            err: None
        }),
    ]
}

pub fn any_type() -> impl Strategy<Value = Type> {
    leaf_type().prop_recursive(6, 40, 5, |inner| {
        let record =
            (names(), proptest::collection::vec(inner.clone(), 5)).prop_map(|(names, types)| {
                let fields = names
                    .into_iter()
                    .zip(types)
                    .map(|(name, ty)| Field {
                        name,
                        ty,
                        docs: None,
                    })
                    .collect();
                Type::Record(RecordType {
                    name: None,
                    fields,
                    docs: None,
                })
            });
        let payloads = proptest::collection::vec(proptest::option::of(inner.clone()), 5);
        let variant = (names(), payloads).prop_map(|(names, types)| {
            let cases = names
                .into_iter()
                .zip(types)
                .map(|(name, ty)| Case {
                    name,
                    ty,
                    docs: None,
                })
                .collect();
            Type::Variant(VariantType {
                name: Some("choice".to_owned()),
                cases,
                docs: None,
            })
        });
        let side = proptest::option::of(inner.clone().prop_map(Box::new));
        prop_oneof![
            record,
            variant,
            inner.clone().prop_map(|item| match item {
                Type::U8 => Type::Bytes,
                item => Type::List(Box::new(item)),
            }),
            (inner.clone(), 1..4_u32)
                .prop_map(|(item, length)| Type::FixedList(Box::new(item), length)),
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Type::Tuple),
            inner
                .clone()
                .prop_map(|inner| Type::Option(Box::new(inner))),
            // Options in options are where the mapping is special.
            inner
                .clone()
                .prop_map(|inner| Type::Option(Box::new(Type::Option(Box::new(inner))))),
            (side.clone(), side).prop_map(|(ok, err)| Type::Result { ok, err }),
        ]
    })
}

fn boxed(ty: &Type) -> BoxedStrategy<Box<Value>> {
    value_of(ty).prop_map(Box::new).boxed()
}

fn maybe(ty: Option<&Type>) -> BoxedStrategy<Option<Box<Value>>> {
    match ty {
        Some(ty) => boxed(ty).prop_map(Some).boxed(),
        None => Just(None).boxed(),
    }
}

fn each<'t>(types: impl Iterator<Item = &'t Type>) -> BoxedStrategy<Vec<Value>> {
    types.map(value_of).collect::<Vec<_>>().boxed()
}

/// A random value of the type.
pub fn value_of(ty: &Type) -> BoxedStrategy<Value> {
    // Half of the wide integers lie around the border between numbers and strings.
    let border = (1_i64 << 53) - 3..(1_i64 << 53) + 3;
    match ty {
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::U8 => any::<u8>().prop_map(Value::U8).boxed(),
        Type::U16 => any::<u16>().prop_map(Value::U16).boxed(),
        Type::U32 => any::<u32>().prop_map(Value::U32).boxed(),
        Type::U64 => prop_oneof![any::<u64>(), border.prop_map(i64::unsigned_abs)]
            .prop_map(Value::U64)
            .boxed(),
        Type::S8 => any::<i8>().prop_map(Value::S8).boxed(),
        Type::S16 => any::<i16>().prop_map(Value::S16).boxed(),
        Type::S32 => any::<i32>().prop_map(Value::S32).boxed(),
        Type::S64 => {
            let border =
                (border, any::<bool>()).prop_map(|(n, negative)| if negative { -n } else { n });
            prop_oneof![any::<i64>(), border]
                .prop_map(Value::S64)
                .boxed()
        }
        Type::F32 => any::<u32>()
            .prop_map(f32::from_bits)
            .prop_filter("finite", |float| float.is_finite())
            .prop_map(Value::F32)
            .boxed(),
        Type::F64 => any::<u64>()
            .prop_map(f64::from_bits)
            .prop_filter("finite", |float| float.is_finite())
            .prop_map(Value::F64)
            .boxed(),
        Type::Char => any::<char>().prop_map(Value::Char).boxed(),
        Type::String => proptest::collection::vec(any::<char>(), 0..8)
            .prop_map(|c| Value::String(c.into_iter().collect()))
            .boxed(),
        Type::Bytes => proptest::collection::vec(any::<u8>(), 0..8)
            .prop_map(Value::Bytes)
            .boxed(),
        Type::List(item) => proptest::collection::vec(value_of(item), 0..4)
            .prop_map(Value::List)
            .boxed(),
        Type::FixedList(item, length) => {
            proptest::collection::vec(value_of(item), *length as usize)
                .prop_map(Value::List)
                .boxed()
        }
        Type::Tuple(types) => each(types.iter()).prop_map(Value::Tuple).boxed(),
        Type::Record(record) => each(record.fields.iter().map(|field| &field.ty))
            .prop_map(Value::Record)
            .boxed(),
        Type::Variant(variant) => {
            let cases = variant.cases.iter().enumerate().map(|(index, case)| {
                maybe(case.ty.as_ref())
                    .prop_map(move |payload| Value::Variant(index as u32, payload))
                    .boxed()
            });
            proptest::strategy::Union::new(cases).boxed()
        }
        Type::Enum(cases) => (0..cases.cases.len() as u32).prop_map(Value::Enum).boxed(),
        Type::Flags(flags) => proptest::collection::vec(any::<bool>(), flags.flags.len())
            .prop_map(Value::Flags)
            .boxed(),
        Type::Option(inner) => prop_oneof![Just(None), boxed(inner).prop_map(Some)]
            .prop_map(Value::Option)
            .boxed(),
        Type::Result { ok, err } => prop_oneof![
            maybe(ok.as_deref()).prop_map(|payload| Value::Result(Ok(payload))),
            maybe(err.as_deref()).prop_map(|payload| Value::Result(Err(payload))),
        ]
        .boxed(),
    }
}

pub fn typed_value() -> impl Strategy<Value = (Type, Value)> {
    any_type().prop_flat_map(|ty| {
        let value = value_of(&ty);
        (Just(ty), value)
    })
}

/// Random JSON, with the words of the mapping in it more often than chance would have them.
pub fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let word = prop_oneof![
        Just("tag".to_owned()),
        Just("val".to_owned()),
        Just("some".to_owned()),
        Just("ok".to_owned()),
        Just("err".to_owned()),
        "[a-z]{0,3}",
        any::<String>(),
        any::<i64>().prop_map(|number| number.to_string()),
    ];
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        (0..300_u16).prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        word.clone().prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 30, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            proptest::collection::vec((word.clone(), inner), 0..4)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

/// The JSON as text in another spelling: members in the opposite order, white space, every character of a string escaped.
pub fn respelled(json: &serde_json::Value) -> String {
    match json {
        serde_json::Value::Array(items) => {
            let items: Vec<String> = items.iter().map(respelled).collect();
            format!(" [ {} ]\n", items.join(" ,\t"))
        }
        serde_json::Value::Object(members) => {
            let member =
                |(key, value): (&String, _)| format!("{} : {}", escaped(key), respelled(value));
            let members: Vec<String> = members.iter().rev().map(member).collect();
            format!("{{\r\n{} }} ", members.join(" , "))
        }
        serde_json::Value::String(text) => escaped(text),
        other => other.to_string(),
    }
}

fn escaped(text: &str) -> String {
    let units: String = text
        .encode_utf16()
        .map(|unit| format!("\\u{unit:04X}"))
        .collect();
    format!("\"{units}\"")
}

/// How many places there are in the JSON, itself included.
pub fn count(json: &serde_json::Value) -> usize {
    1 + match json {
        serde_json::Value::Array(items) => items.iter().map(count).sum(),
        serde_json::Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    }
}

/// Puts `new` at the place with this number, counted from the outside in.
pub fn replace(json: &mut serde_json::Value, place: &mut usize, new: &serde_json::Value) {
    if *place == 0 {
        *json = new.clone();
        // The rest of the walk must not meet the place again.
        *place = usize::MAX;
        return;
    }
    *place -= 1;
    match json {
        serde_json::Value::Array(items) => {
            items.iter_mut().for_each(|item| replace(item, place, new))
        }
        serde_json::Value::Object(members) => {
            members
                .values_mut()
                .for_each(|value| replace(value, place, new));
        }
        _ => {}
    }
}
