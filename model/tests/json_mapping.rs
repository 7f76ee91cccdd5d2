//! The JSON mapping over random types, values and texts.

#[path = "random/types.rs"]
mod random;

use dacapo_model::{
    Field, Param, PayloadLimits, Type, Value, Workflow, check_type, compatibility, from_json,
    json_schema, to_json,
};
use proptest::prelude::*;
use proptest::sample::Index;

use random::{any_json, any_type, count, replace, respelled, typed_value};

/// Deep random types must not run into the limit of payloads; that limit has tests of its own.
const LIMITS: PayloadLimits = PayloadLimits {
    max_bytes: 16 << 20,
    max_depth: 120,
};

/// Whatever was read has a canonical text, which reads back as the same.
fn reads_back(ty: &Type, value: &Value) -> Result<(), TestCaseError> {
    let canonical = to_json(value, ty).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let again = from_json(&canonical, ty, "input", &LIMITS);
    prop_assert_eq!(again.as_ref(), Ok(value), "{}", canonical);
    prop_assert_eq!(to_json(value, ty), Ok(canonical));
    Ok(())
}

/// A type that is near to another one, as the next deployment of a workflow may have it.
fn changed(ty: &Type, choices: &mut impl Iterator<Item = u8>) -> Type {
    let boxed = |ty: Type| Box::new(ty);
    match (choices.next().unwrap_or(u8::MAX), ty) {
        (0..30, ty) => return Type::Option(boxed(changed(ty, choices))),
        (30..60, Type::Option(inner)) => return changed(inner, choices),
        _ => {}
    }
    let choice = choices.next().unwrap_or(u8::MAX);
    match ty {
        Type::U8 if choice < 100 => Type::S16,
        Type::U8 if choice < 180 => Type::F64,
        Type::U32 if choice < 100 => Type::U64,
        Type::S8 if choice < 100 => Type::F32,
        Type::S64 if choice < 60 => Type::F64,
        Type::F32 if choice < 100 => Type::F64,
        Type::Char | Type::Enum(_) if choice < 80 => Type::String,
        Type::Option(inner) => Type::Option(boxed(changed(inner, choices))),
        Type::List(item) => Type::List(boxed(changed(item, choices))),
        Type::FixedList(item, length) => {
            let item = boxed(changed(item, choices));
            match choice {
                0..80 => Type::List(item),
                _ => Type::FixedList(item, *length),
            }
        }
        Type::Tuple(types) => Type::Tuple(types.iter().map(|ty| changed(ty, choices)).collect()),
        Type::Record(record) => {
            let mut record = record.clone();
            for field in &mut record.fields {
                field.ty = changed(&field.ty, choices);
            }
            match choice {
                0..40 => drop(record.fields.pop()),
                40..80 => record.fields.push(Field {
                    name: "new".to_owned(),
                    ty: Type::Option(boxed(Type::Bool)),
                    docs: None,
                }),
                _ => {}
            }
            match record.fields.is_empty() {
                true => ty.clone(),
                false => Type::Record(record),
            }
        }
        Type::Variant(variant) => {
            let mut variant = variant.clone();
            for case in &mut variant.cases {
                case.ty = case.ty.as_ref().map(|ty| changed(ty, choices));
            }
            variant.cases.reverse();
            Type::Variant(variant)
        }
        Type::Enum(cases) => {
            let mut cases = cases.clone();
            cases.cases.push("new".to_owned());
            Type::Enum(cases)
        }
        Type::Result { ok, err } => {
            let mut side =
                |ty: &Option<Box<Type>>| ty.as_ref().map(|ty| boxed(changed(ty, choices)));
            Type::Result {
                ok: side(ok),
                err: side(err),
            }
        }
        other => other.clone(),
    }
}

/// A workflow that takes this.
fn takes(ty: &Type) -> Workflow {
    Workflow {
        name: "a:b/c.d".to_owned(),
        interface: "a:b/c".to_owned(),
        function: "d".to_owned(),
        param: Some(Param {
            name: "it".to_owned(),
            ty: ty.clone(),
        }),
        result: None,
        events: Vec::new(),
        docs: None,
    }
}

/// Whoever started the old workflow can start the new one, as far as is said.
fn is_compatible(old: &Type, new: &Type) -> bool {
    !compatibility(&takes(old), &takes(new))
        .iter()
        .any(|change| change.breaking)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_value_survives_its_json_form((ty, value) in typed_value()) {
        prop_assert_eq!(check_type(&ty), Ok(()));
        reads_back(&ty, &value)?;
    }

    /// Another spelling of the same JSON, with white space and members in another order, has the same canonical text.
    #[test]
    fn every_spelling_has_the_same_canonical_text((ty, value) in typed_value()) {
        let canonical = to_json(&value, &ty).unwrap();
        let tree: serde_json::Value = serde_json::from_str(&canonical).unwrap();
        let spelling = respelled(&tree);
        let read = from_json(&spelling, &ty, "input", &LIMITS).unwrap();
        prop_assert_eq!(to_json(&read, &ty).unwrap(), canonical);
    }

    #[test]
    fn a_type_survives_its_stored_form(ty in any_type()) {
        let stored = serde_json::to_string(&ty).unwrap();
        prop_assert_eq!(serde_json::from_str::<Type>(&stored).unwrap(), ty);
    }

    #[test]
    fn random_json_is_read_or_refused_with_a_path(ty in any_type(), json in any_json()) {
        match from_json(&json.to_string(), &ty, "input", &LIMITS) {
            Ok(value) => reads_back(&ty, &value)?,
            Err(error) => prop_assert!(error.to_string().starts_with("input"), "{}", error),
        }
        prop_assert!(json_schema(&ty).is_object());
    }

    /// Mistakes near to valid input reach further into the reader than random JSON does.
    #[test]
    fn valid_input_with_one_place_replaced_never_panics(
        (ty, value) in typed_value(),
        place in any::<Index>(),
        json in any_json(),
    ) {
        let mut tree: serde_json::Value = serde_json::from_str(&to_json(&value, &ty).unwrap()).unwrap();
        let place = place.index(count(&tree));
        replace(&mut tree, &mut { place }, &json);
        if let Ok(value) = from_json(&tree.to_string(), &ty, "input", &LIMITS) {
            reads_back(&ty, &value)?;
        }
    }

    /// What is said not to break anybody does not: what was written for the old type is read by the new one.
    #[test]
    fn what_fits_a_compatible_type_is_read_by_it(
        (ty, value) in typed_value(),
        choices in proptest::collection::vec(any::<u8>(), 40),
    ) {
        let new = changed(&ty, &mut choices.into_iter());
        if is_compatible(&ty, &new) {
            let text = to_json(&value, &ty).unwrap();
            let read = from_json(&text, &new, "input", &LIMITS);
            prop_assert!(read.is_ok(), "{} of {} is not read as {}: {:?}", text, ty, new, read);
        }
    }

    #[test]
    fn a_broken_text_never_panics(
        (ty, value) in typed_value(),
        place in any::<Index>(),
        junk in any::<Vec<u8>>(),
    ) {
        let mut bytes = to_json(&value, &ty).unwrap().into_bytes();
        let place = place.index(bytes.len());
        bytes.splice(place..place, junk.iter().copied());
        for bytes in [bytes, junk] {
            if let Ok(value) = from_json(&String::from_utf8_lossy(&bytes), &ty, "input", &LIMITS) {
                reads_back(&ty, &value)?;
            }
        }
    }

    /// The strict reader and serde_json agree on what is JSON, as far as neither nests too deep nor repeats a key.
    #[test]
    fn the_reader_takes_what_is_json(json in any_json()) {
        let payload = dacapo_model::Payload::new(json.to_string(), &LIMITS);
        prop_assert_eq!(payload.map(dacapo_model::Payload::into_string), Ok(json.to_string()));
    }
}
