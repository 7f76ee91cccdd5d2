//! WIT types as plain data.

use dacapo_model::{Case, EnumType, Field, FlagsType, RecordType, Type, VariantType, check_type};
use wit_parser::{Docs, Resolve, Type as WitType, TypeDefKind, TypeId};

use super::error::DescribeError;

/// Parts of a type that is written out. Types refer to each other, so a short text can stand for a type without end.
const PARTS_MAX: usize = 10_000;

/// How deep types may nest.
const DEPTH_MAX: usize = 60;

/// Turns the types of one function into plain data.
pub(super) struct Types<'a> {
    resolve: &'a Resolve,
    function: &'a str,
    parts: usize,
    depth: usize,
}

impl<'a> Types<'a> {
    pub(super) fn new(resolve: &'a Resolve, function: &'a str) -> Types<'a> {
        Types {
            resolve,
            function,
            parts: 0,
            depth: 0,
        }
    }

    /// The type of a parameter or result. `path` says where it is, for errors.
    pub(super) fn lower(&mut self, ty: &WitType, path: &str) -> Result<Type, DescribeError> {
        let lowered = self.ty(ty, path)?;
        check_type(&lowered).map_err(|error| DescribeError::InvalidType {
            function: self.function.to_owned(),
            path: path.to_owned(),
            message: error.to_string(),
        })?;
        Ok(lowered)
    }

    fn ty(&mut self, ty: &WitType, path: &str) -> Result<Type, DescribeError> {
        self.parts += 1;
        if self.parts > PARTS_MAX || self.depth > DEPTH_MAX {
            return Err(DescribeError::TypeTooLarge {
                function: self.function.to_owned(),
                max: PARTS_MAX,
            });
        }
        Ok(match ty {
            WitType::Bool => Type::Bool,
            WitType::U8 => Type::U8,
            WitType::U16 => Type::U16,
            WitType::U32 => Type::U32,
            WitType::U64 => Type::U64,
            WitType::S8 => Type::S8,
            WitType::S16 => Type::S16,
            WitType::S32 => Type::S32,
            WitType::S64 => Type::S64,
            WitType::F32 => Type::F32,
            WitType::F64 => Type::F64,
            WitType::Char => Type::Char,
            WitType::String => Type::String,
            WitType::ErrorContext => return Err(self.unsupported("error-context", path)),
            WitType::Id(id) => {
                self.depth += 1;
                let defined = self.defined(*id, path)?;
                self.depth -= 1;
                defined
            }
        })
    }

    fn defined(&mut self, id: TypeId, path: &str) -> Result<Type, DescribeError> {
        let resolve = self.resolve;
        let def = &resolve.types[id];
        let name = || def.name.clone();
        Ok(match &def.kind {
            TypeDefKind::Type(ty) => self.ty(ty, path)?,
            TypeDefKind::List(item) if self.is_byte(item) => Type::Bytes,
            TypeDefKind::List(item) => Type::List(Box::new(self.ty(item, &format!("{path}[]"))?)),
            TypeDefKind::FixedLengthList(item, len) => {
                Type::FixedList(Box::new(self.ty(item, &format!("{path}[]"))?), *len)
            }
            TypeDefKind::Tuple(tuple) => {
                let types = tuple.types.iter().enumerate();
                Type::Tuple(
                    types
                        .map(|(at, ty)| self.ty(ty, &format!("{path}[{at}]")))
                        .collect::<Result<_, _>>()?,
                )
            }
            TypeDefKind::Option(item) => Type::Option(Box::new(self.ty(item, path)?)),
            TypeDefKind::Result(result) => Type::Result {
                ok: self
                    .payload(result.ok.as_ref(), &format!("{path}.ok"))?
                    .map(Box::new),
                err: self
                    .payload(result.err.as_ref(), &format!("{path}.err"))?
                    .map(Box::new),
            },
            TypeDefKind::Record(record) => {
                let mut fields = Vec::with_capacity(record.fields.len());
                for field in &record.fields {
                    let ty = self.ty(&field.ty, &format!("{path}.{}", field.name))?;
                    fields.push(Field {
                        name: field.name.clone(),
                        ty,
                        docs: docs(&field.docs),
                    });
                }
                Type::Record(RecordType {
                    name: name(),
                    fields,
                    docs: docs(&def.docs),
                })
            }
            TypeDefKind::Variant(variant) => {
                let mut cases = Vec::with_capacity(variant.cases.len());
                for case in &variant.cases {
                    let ty = self.payload(case.ty.as_ref(), &format!("{path}.{}", case.name))?;
                    cases.push(Case {
                        name: case.name.clone(),
                        ty,
                        docs: docs(&case.docs),
                    });
                }
                Type::Variant(VariantType {
                    name: name(),
                    cases,
                    docs: docs(&def.docs),
                })
            }
            TypeDefKind::Enum(cases) => Type::Enum(EnumType {
                name: name(),
                cases: cases.cases.iter().map(|case| case.name.clone()).collect(),
            }),
            TypeDefKind::Flags(flags) => Type::Flags(FlagsType {
                name: name(),
                flags: flags.flags.iter().map(|flag| flag.name.clone()).collect(),
            }),
            TypeDefKind::Resource | TypeDefKind::Handle(_) => {
                return Err(DescribeError::Resource {
                    function: self.function.to_owned(),
                    path: path.to_owned(),
                });
            }
            TypeDefKind::Map(..) => return Err(self.unsupported("map", path)),
            TypeDefKind::Future(_) => return Err(self.unsupported("future", path)),
            TypeDefKind::Stream(_) => return Err(self.unsupported("stream", path)),
            TypeDefKind::Unknown => return Err(self.unsupported("type of unknown kind", path)),
        })
    }

    /// Whether the type is `u8`, by whatever name.
    fn is_byte(&self, ty: &WitType) -> bool {
        match ty {
            WitType::U8 => true,
            WitType::Id(id) => {
                matches!(&self.resolve.types[*id].kind, TypeDefKind::Type(ty) if self.is_byte(ty))
            }
            _ => false,
        }
    }

    fn payload(&mut self, ty: Option<&WitType>, path: &str) -> Result<Option<Type>, DescribeError> {
        ty.map(|ty| self.ty(ty, path)).transpose()
    }

    fn unsupported(&self, what: &'static str, path: &str) -> DescribeError {
        DescribeError::UnsupportedType {
            function: self.function.to_owned(),
            path: path.to_owned(),
            what,
        }
    }
}

pub(super) fn docs(docs: &Docs) -> Option<String> {
    docs.contents
        .as_ref()
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
}
