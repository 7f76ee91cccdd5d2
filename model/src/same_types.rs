//! Whether two descriptions of a workflow mean the same values.

use crate::{Param, Type, Workflow};

impl Workflow {
    /// Whether both take and return the same values in the same JSON form, whatever their types are called and what their WIT says about
    /// them.
    #[must_use]
    pub fn has_types_of(&self, other: &Workflow) -> bool {
        let param = |workflow: &Workflow| workflow.param.as_ref().map(|Param { ty, .. }| bare(ty));
        let result = |workflow: &Workflow| workflow.result.as_ref().map(bare);
        param(self) == param(other) && result(self) == result(other)
    }
}

/// The type without the names that the WIT gives to types, and without what it says about them.
fn bare(ty: &Type) -> Type {
    let mut ty = ty.clone();
    strip(&mut ty);
    ty
}

fn strip(ty: &mut Type) {
    match ty {
        Type::List(item) | Type::FixedList(item, _) | Type::Option(item) => strip(item),
        Type::Tuple(types) => types.iter_mut().for_each(strip),
        Type::Record(record) => {
            (record.name, record.docs) = (None, None);
            for field in &mut record.fields {
                field.docs = None;
                strip(&mut field.ty);
            }
        }
        Type::Variant(variant) => {
            (variant.name, variant.docs) = (None, None);
            for case in &mut variant.cases {
                case.docs = None;
                case.ty.iter_mut().for_each(strip);
            }
        }
        Type::Enum(cases) => cases.name = None,
        Type::Flags(flags) => flags.name = None,
        Type::Result { ok, err } => {
            for ty in [ok, err].into_iter().flatten() {
                strip(ty);
            }
        }
        Type::Bool
        | Type::U8
        | Type::U16
        | Type::U32
        | Type::U64
        | Type::S8
        | Type::S16
        | Type::S32
        | Type::S64
        | Type::F32
        | Type::F64
        | Type::Char
        | Type::String
        | Type::Bytes => {}
    }
}
