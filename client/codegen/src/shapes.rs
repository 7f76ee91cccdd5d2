//! The Rust type of a WIT type, and the form of its JSON.

use std::collections::BTreeSet;

use wit_parser::{InterfaceId, Resolve, Type, TypeDef, TypeDefKind, TypeId, TypeOwner};

use crate::names::{snake, upper_camel};

/// The most places of a tuple that has a form of its own.
const TUPLE_MAX: usize = 12;

/// A WIT type in Rust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    /// The type, by a path that holds inside any of the generated modules.
    pub(crate) ty: String,
    /// The form of its JSON; none if it is the type's own.
    pub(crate) form: Option<String>,
}

impl Shape {
    fn same(ty: impl Into<String>) -> Self {
        Self {
            ty: ty.into(),
            form: None,
        }
    }

    fn formed(ty: impl Into<String>, form: &str) -> Self {
        Self {
            ty: ty.into(),
            form: Some(format!("{JSON}{form}")),
        }
    }

    /// The form's type, also where it is the type's own.
    pub(crate) fn form(&self) -> String {
        self.form.clone().unwrap_or_else(|| format!("{JSON}Same"))
    }
}

/// Where forms are found.
pub(crate) const JSON: &str = "::dacapo_client::json::";

/// Gives types their shapes, and notes which named types it came by.
pub(crate) struct Shapes<'a> {
    pub(crate) resolve: &'a Resolve,
    main: wit_parser::PackageId,
    /// Named types that must be written, because something refers to them.
    pub(crate) needed: BTreeSet<TypeId>,
}

impl<'a> Shapes<'a> {
    pub(crate) fn new(resolve: &'a Resolve, main: wit_parser::PackageId) -> Self {
        Self {
            resolve,
            main,
            needed: BTreeSet::new(),
        }
    }

    /// The module of an interface: its name, and that of its package before it if it is not the package that the macro was given.
    pub(crate) fn module(&self, id: InterfaceId) -> Option<String> {
        let interface = &self.resolve.interfaces[id];
        let name = interface.name.as_ref()?;
        let package = interface.package?;
        if package == self.main {
            return Some(snake(name));
        }
        let package = &self.resolve.packages[package].name;
        Some(snake(&format!(
            "{}-{}-{name}",
            package.namespace, package.name
        )))
    }

    /// The shape of a type. `path` says where it is, for errors.
    pub(crate) fn shape(&mut self, ty: &Type, path: &str) -> Result<Shape, String> {
        Ok(match ty {
            Type::Bool => Shape::same("bool"),
            Type::U8 => Shape::same("u8"),
            Type::U16 => Shape::same("u16"),
            Type::U32 => Shape::same("u32"),
            Type::U64 => Shape::formed("u64", "Wide"),
            Type::S8 => Shape::same("i8"),
            Type::S16 => Shape::same("i16"),
            Type::S32 => Shape::same("i32"),
            Type::S64 => Shape::formed("i64", "Wide"),
            Type::F32 => Shape::formed("f32", "Single"),
            Type::F64 => Shape::formed("f64", "Double"),
            Type::Char => Shape::same("char"),
            Type::String => Shape::same("::std::string::String"),
            Type::ErrorContext => return Err(unsupported("error-context", path)),
            Type::Id(id) => {
                let def = &self.resolve.types[*id];
                match &def.name {
                    Some(name) => self.named(*id, def, name, path)?,
                    None => self.kind(&def.kind, path)?,
                }
            }
        })
    }

    fn named(
        &mut self,
        id: TypeId,
        def: &TypeDef,
        name: &str,
        path: &str,
    ) -> Result<Shape, String> {
        // What a resource or a stream is called does not make it a value.
        let shape = match &def.kind {
            TypeDefKind::Record(_)
            | TypeDefKind::Variant(_)
            | TypeDefKind::Enum(_)
            | TypeDefKind::Flags(_) => None,
            TypeDefKind::Type(ty) => Some(self.shape(ty, path)?),
            kind => Some(self.kind(kind, path)?),
        };
        let TypeOwner::Interface(owner) = def.owner else {
            return match shape {
                // A type that a world takes from an interface.
                Some(shape) => Ok(shape),
                None => Err(format!(
                    "{path}: type {name} is declared in a world; move it into an interface"
                )),
            };
        };
        let module = self.module(owner).ok_or_else(|| {
            format!("{path}: type {name} is declared in an interface without a name")
        })?;
        self.needed.insert(id);
        Ok(Shape {
            ty: format!("super::{module}::{}", upper_camel(name)),
            form: shape.and_then(|shape| shape.form),
        })
    }

    /// The shape of a type by its parts.
    pub(crate) fn kind(&mut self, kind: &TypeDefKind, path: &str) -> Result<Shape, String> {
        Ok(match kind {
            TypeDefKind::Type(ty) => self.shape(ty, path)?,
            TypeDefKind::List(item) if self.is_byte(item) => {
                Shape::formed("::std::vec::Vec<u8>", "Base64")
            }
            TypeDefKind::List(item) => {
                let item = self.shape(item, &format!("{path}[]"))?;
                Shape {
                    ty: format!("::std::vec::Vec<{}>", item.ty),
                    form: wrapped("List", &item),
                }
            }
            TypeDefKind::FixedLengthList(item, length) => {
                let item = self.shape(item, &format!("{path}[]"))?;
                // Serde's own forms of arrays end at 32.
                Shape {
                    ty: format!("[{}; {length}]", item.ty),
                    form: Some(format!("{JSON}Array<{}>", item.form())),
                }
            }
            TypeDefKind::Tuple(tuple) => {
                if tuple.types.len() > TUPLE_MAX {
                    return Err(format!(
                        "{path}: tuples have at most {TUPLE_MAX} places here; use a record"
                    ));
                }
                let shapes = tuple
                    .types
                    .iter()
                    .enumerate()
                    .map(|(at, ty)| self.shape(ty, &format!("{path}[{at}]")));
                let shapes: Vec<Shape> = shapes.collect::<Result<_, _>>()?;
                let list = |part: fn(&Shape) -> String| {
                    shapes
                        .iter()
                        .map(|shape| part(shape) + ", ")
                        .collect::<String>()
                };
                Shape {
                    ty: format!("({})", list(|shape| shape.ty.clone())),
                    form: shapes
                        .iter()
                        .any(|shape| shape.form.is_some())
                        .then(|| format!("{JSON}Tuple<({})>", list(Shape::form))),
                }
            }
            TypeDefKind::Option(item) => {
                let nested = self.is_option(item);
                let item = self.shape(item, path)?;
                let form = if nested {
                    Some(format!("{JSON}Nested<{}>", item.form()))
                } else {
                    wrapped("Maybe", &item)
                };
                Shape {
                    ty: format!("::std::option::Option<{}>", item.ty),
                    form,
                }
            }
            TypeDefKind::Result(result) => {
                let ok = self.payload(result.ok.as_ref(), &format!("{path}.ok"))?;
                let err = self.payload(result.err.as_ref(), &format!("{path}.err"))?;
                Shape {
                    ty: format!("::std::result::Result<{}, {}>", ok.ty, err.ty),
                    form: Some(format!("{JSON}Outcome<{}, {}>", ok.form(), err.form())),
                }
            }
            TypeDefKind::Record(_)
            | TypeDefKind::Variant(_)
            | TypeDefKind::Enum(_)
            | TypeDefKind::Flags(_) => {
                return Err(format!("{path}: a {} without a name", kind.as_str()));
            }
            TypeDefKind::Resource | TypeDefKind::Handle(_) => {
                return Err(unsupported("resource", path));
            }
            TypeDefKind::Map(..) => return Err(unsupported("map", path)),
            TypeDefKind::Future(_) => return Err(unsupported("future", path)),
            TypeDefKind::Stream(_) => return Err(unsupported("stream", path)),
            TypeDefKind::Unknown => return Err(unsupported("type of unknown kind", path)),
        })
    }

    /// The shape of what may be absent, which is `()` then.
    pub(crate) fn payload(&mut self, ty: Option<&Type>, path: &str) -> Result<Shape, String> {
        ty.map_or_else(|| Ok(Shape::same("()")), |ty| self.shape(ty, path))
    }

    /// Whether the type is an option, by whatever name.
    pub(crate) fn is_option(&self, ty: &Type) -> bool {
        matches!(self.bare(ty), Some(TypeDefKind::Option(_)))
    }

    fn is_byte(&self, ty: &Type) -> bool {
        match ty {
            Type::U8 => true,
            Type::Id(id) => {
                matches!(&self.resolve.types[*id].kind, TypeDefKind::Type(ty) if self.is_byte(ty))
            }
            _ => false,
        }
    }

    /// What stands behind all names of a type. None: a primitive type.
    pub(crate) fn bare(&self, ty: &Type) -> Option<&'a TypeDefKind> {
        let Type::Id(id) = ty else { return None };
        match &self.resolve.types[*id].kind {
            TypeDefKind::Type(ty) => self.bare(ty),
            kind => Some(kind),
        }
    }

    /// Whether a float is among the parts of a type, so that it has no total equality.
    pub(crate) fn has_float(&self, ty: &Type) -> bool {
        let of = |ty: &Option<Type>| ty.as_ref().is_some_and(|ty| self.has_float(ty));
        match ty {
            Type::F32 | Type::F64 => true,
            Type::Id(id) => match &self.resolve.types[*id].kind {
                TypeDefKind::Type(ty)
                | TypeDefKind::List(ty)
                | TypeDefKind::FixedLengthList(ty, _)
                | TypeDefKind::Option(ty) => self.has_float(ty),
                TypeDefKind::Tuple(tuple) => tuple.types.iter().any(|ty| self.has_float(ty)),
                TypeDefKind::Result(result) => of(&result.ok) || of(&result.err),
                TypeDefKind::Record(record) => {
                    record.fields.iter().any(|field| self.has_float(&field.ty))
                }
                TypeDefKind::Variant(variant) => variant.cases.iter().any(|case| of(&case.ty)),
                _ => false,
            },
            _ => false,
        }
    }
}

/// The form around another one; none where serde's own does for both.
fn wrapped(form: &str, item: &Shape) -> Option<String> {
    item.form
        .as_ref()
        .map(|inner| format!("{JSON}{form}<{inner}>"))
}

fn unsupported(what: &str, path: &str) -> String {
    format!("{path}: a workflow cannot take or return a {what}")
}
