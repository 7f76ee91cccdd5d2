//! Values between the model's form and wasmtime's.

use dacapo_model::{Case, EnumType, Field, FlagsType, RecordType, Type, Value, VariantType};
use wasmtime::component::{self, Val};

/// A value and a type that do not belong together. Both come from the same description of the component, so this is either a component
/// that is not the one that was described, or a fault of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {found}")]
pub(crate) struct Misfit {
    expected: String,
    found: &'static str,
}

/// Turns a checked value into what wasmtime passes to a guest.
pub(crate) fn to_val(value: Value, ty: &Type) -> Result<Val, Misfit> {
    Ok(match (value, ty) {
        (Value::Bool(v), Type::Bool) => Val::Bool(v),
        (Value::U8(v), Type::U8) => Val::U8(v),
        (Value::U16(v), Type::U16) => Val::U16(v),
        (Value::U32(v), Type::U32) => Val::U32(v),
        (Value::U64(v), Type::U64) => Val::U64(v),
        (Value::S8(v), Type::S8) => Val::S8(v),
        (Value::S16(v), Type::S16) => Val::S16(v),
        (Value::S32(v), Type::S32) => Val::S32(v),
        (Value::S64(v), Type::S64) => Val::S64(v),
        (Value::F32(v), Type::F32) => Val::Float32(v),
        (Value::F64(v), Type::F64) => Val::Float64(v),
        (Value::Char(v), Type::Char) => Val::Char(v),
        (Value::String(v), Type::String) => Val::String(v),
        (Value::Bytes(v), Type::Bytes) => Val::List(v.into_iter().map(Val::U8).collect()),
        (Value::List(v), Type::List(item)) => Val::List(to_vals(v, item)?),
        (Value::List(v), Type::FixedList(item, len)) if v.len() == *len as usize => {
            Val::FixedLengthList(to_vals(v, item)?)
        }
        (Value::Tuple(v), Type::Tuple(types)) if v.len() == types.len() => Val::Tuple(
            v.into_iter()
                .zip(types)
                .map(|(v, ty)| to_val(v, ty))
                .collect::<Result<_, _>>()?,
        ),
        (Value::Record(v), Type::Record(record)) if v.len() == record.fields.len() => Val::Record(
            v.into_iter()
                .zip(&record.fields)
                .map(|(v, field)| Ok((field.name.clone(), to_val(v, &field.ty)?)))
                .collect::<Result<_, Misfit>>()?,
        ),
        (Value::Variant(index, payload), Type::Variant(variant)) => {
            match variant.cases.get(index as usize) {
                Some(case) => Val::Variant(
                    case.name.clone(),
                    to_payload(payload, case.ty.as_ref(), ty)?,
                ),
                None => return Err(misfit(ty, "a case that it does not have")),
            }
        }
        (Value::Enum(index), Type::Enum(cases)) => match cases.cases.get(index as usize) {
            Some(case) => Val::Enum(case.clone()),
            None => return Err(misfit(ty, "a case that it does not have")),
        },
        (Value::Flags(set), Type::Flags(flags)) if set.len() == flags.flags.len() => {
            let names = flags
                .flags
                .iter()
                .zip(set)
                .filter(|(_, set)| *set)
                .map(|(name, _)| name.clone());
            Val::Flags(names.collect())
        }
        (Value::Option(v), Type::Option(item)) => Val::Option(match v {
            Some(v) => Some(Box::new(to_val(*v, item)?)),
            None => None,
        }),
        (Value::Result(v), Type::Result { ok, err }) => Val::Result(match v {
            Ok(v) => Ok(to_payload(v, ok.as_deref(), ty)?),
            Err(v) => Err(to_payload(v, err.as_deref(), ty)?),
        }),
        (_, ty) => return Err(misfit(ty, "a value of another type")),
    })
}

/// Turns what a guest returned into the model's form.
pub(crate) fn from_val(val: Val, ty: &Type) -> Result<Value, Misfit> {
    Ok(match (val, ty) {
        (Val::Bool(v), Type::Bool) => Value::Bool(v),
        (Val::U8(v), Type::U8) => Value::U8(v),
        (Val::U16(v), Type::U16) => Value::U16(v),
        (Val::U32(v), Type::U32) => Value::U32(v),
        (Val::U64(v), Type::U64) => Value::U64(v),
        (Val::S8(v), Type::S8) => Value::S8(v),
        (Val::S16(v), Type::S16) => Value::S16(v),
        (Val::S32(v), Type::S32) => Value::S32(v),
        (Val::S64(v), Type::S64) => Value::S64(v),
        (Val::Float32(v), Type::F32) => Value::F32(v),
        (Val::Float64(v), Type::F64) => Value::F64(v),
        (Val::Char(v), Type::Char) => Value::Char(v),
        (Val::String(v), Type::String) => Value::String(v),
        (Val::List(v), Type::Bytes) => Value::Bytes(
            v.into_iter()
                .map(|byte| match byte {
                    Val::U8(byte) => Ok(byte),
                    _ => Err(misfit(ty, "a list of something else")),
                })
                .collect::<Result<_, _>>()?,
        ),
        (Val::List(v), Type::List(item)) | (Val::FixedLengthList(v), Type::FixedList(item, _)) => {
            Value::List(
                v.into_iter()
                    .map(|v| from_val(v, item))
                    .collect::<Result<_, _>>()?,
            )
        }
        (Val::Tuple(v), Type::Tuple(types)) if v.len() == types.len() => Value::Tuple(
            v.into_iter()
                .zip(types)
                .map(|(v, ty)| from_val(v, ty))
                .collect::<Result<_, _>>()?,
        ),
        // wasmtime gives fields in the order of the type.
        (Val::Record(v), Type::Record(record)) if v.len() == record.fields.len() => Value::Record(
            v.into_iter()
                .zip(&record.fields)
                .map(|((name, v), field)| {
                    if name == field.name {
                        from_val(v, &field.ty)
                    } else {
                        Err(misfit(ty, "a record with other fields"))
                    }
                })
                .collect::<Result<_, _>>()?,
        ),
        (Val::Variant(name, payload), Type::Variant(variant)) => {
            let Some(index) = variant.cases.iter().position(|case| case.name == name) else {
                return Err(misfit(ty, "a case that it does not have"));
            };
            Value::Variant(
                index as u32,
                from_payload(payload, variant.cases[index].ty.as_ref(), ty)?,
            )
        }
        (Val::Enum(name), Type::Enum(cases)) => {
            match cases.cases.iter().position(|case| *case == name) {
                Some(index) => Value::Enum(index as u32),
                None => return Err(misfit(ty, "a case that it does not have")),
            }
        }
        (Val::Flags(set), Type::Flags(flags)) => {
            Value::Flags(flags.flags.iter().map(|flag| set.contains(flag)).collect())
        }
        (Val::Option(v), Type::Option(item)) => Value::Option(match v {
            Some(v) => Some(Box::new(from_val(*v, item)?)),
            None => None,
        }),
        (Val::Result(v), Type::Result { ok, err }) => Value::Result(match v {
            Ok(v) => Ok(from_payload(v, ok.as_deref(), ty)?),
            Err(v) => Err(from_payload(v, err.as_deref(), ty)?),
        }),
        (_, ty) => return Err(misfit(ty, "a value of another type")),
    })
}

fn to_vals(values: Vec<Value>, ty: &Type) -> Result<Vec<Val>, Misfit> {
    values.into_iter().map(|value| to_val(value, ty)).collect()
}

fn to_payload(
    value: Option<Box<Value>>,
    ty: Option<&Type>,
    whole: &Type,
) -> Result<Option<Box<Val>>, Misfit> {
    match (value, ty) {
        (Some(value), Some(ty)) => Ok(Some(Box::new(to_val(*value, ty)?))),
        (None, None) => Ok(None),
        _ => Err(misfit(whole, "a case with another payload")),
    }
}

fn from_payload(
    val: Option<Box<Val>>,
    ty: Option<&Type>,
    whole: &Type,
) -> Result<Option<Box<Value>>, Misfit> {
    match (val, ty) {
        (Some(val), Some(ty)) => Ok(Some(Box::new(from_val(*val, ty)?))),
        (None, None) => Ok(None),
        _ => Err(misfit(whole, "a case with another payload")),
    }
}

fn misfit(ty: &Type, found: &'static str) -> Misfit {
    Misfit {
        expected: ty.to_string(),
        found,
    }
}

/// The model's form of a type of wasmtime's, without what the WIT says about it.
pub(crate) fn model_type(ty: &component::Type) -> wasmtime::Result<Type> {
    use component::Type as Wasm;
    let boxed = |ty: &Wasm| model_type(ty).map(Box::new);
    let optional = |ty: Option<Wasm>| ty.as_ref().map(boxed).transpose();
    Ok(match ty {
        Wasm::Bool => Type::Bool,
        Wasm::U8 => Type::U8,
        Wasm::U16 => Type::U16,
        Wasm::U32 => Type::U32,
        Wasm::U64 => Type::U64,
        Wasm::S8 => Type::S8,
        Wasm::S16 => Type::S16,
        Wasm::S32 => Type::S32,
        Wasm::S64 => Type::S64,
        Wasm::Float32 => Type::F32,
        Wasm::Float64 => Type::F64,
        Wasm::Char => Type::Char,
        Wasm::String => Type::String,
        Wasm::List(list) if matches!(list.ty(), Wasm::U8) => Type::Bytes,
        Wasm::List(list) => Type::List(boxed(&list.ty())?),
        Wasm::FixedLengthList(list) => Type::FixedList(boxed(&list.ty())?, list.len()),
        Wasm::Tuple(tuple) => Type::Tuple(
            tuple
                .types()
                .map(|ty| model_type(&ty))
                .collect::<Result<_, _>>()?,
        ),
        Wasm::Record(record) => Type::Record(RecordType {
            name: None,
            fields: record
                .fields()
                .map(|field| {
                    Ok(Field {
                        name: field.name.to_owned(),
                        ty: model_type(&field.ty)?,
                        docs: None,
                    })
                })
                .collect::<wasmtime::Result<_>>()?,
            docs: None,
        }),
        Wasm::Variant(variant) => Type::Variant(VariantType {
            name: None,
            cases: variant
                .cases()
                .map(|case| {
                    Ok(Case {
                        name: case.name.to_owned(),
                        ty: case.ty.as_ref().map(model_type).transpose()?,
                        docs: None,
                    })
                })
                .collect::<wasmtime::Result<_>>()?,
            docs: None,
        }),
        Wasm::Enum(cases) => Type::Enum(EnumType {
            name: None,
            cases: cases.names().map(str::to_owned).collect(),
        }),
        Wasm::Flags(flags) => Type::Flags(FlagsType {
            name: None,
            flags: flags.names().map(str::to_owned).collect(),
        }),
        Wasm::Option(option) => Type::Option(boxed(&option.ty())?),
        Wasm::Result(result) => Type::Result {
            ok: optional(result.ok())?,
            err: optional(result.err())?,
        },
        // Refused when the component is described.
        Wasm::Map(_)
        | Wasm::Own(_)
        | Wasm::Borrow(_)
        | Wasm::Future(_)
        | Wasm::Stream(_)
        | Wasm::ErrorContext => wasmtime::bail!("a type that no workflow can have"),
    })
}
