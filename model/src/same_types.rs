//! Whether two descriptions of a workflow mean the same values.

use crate::{Descriptor, Param, Type, Workflow};

impl Workflow {
    /// Whether both take and return the same values in the same JSON form, whatever their types are called and what their WIT says about
    /// them.
    #[must_use]
    pub fn has_types_of(&self, other: &Workflow) -> bool {
        let param = |workflow: &Workflow| workflow.param.as_ref().map(|Param { ty, .. }| bare(ty));
        let result = |workflow: &Workflow| workflow.result.as_ref().map(bare);
        param(self) == param(other) && result(self) == result(other)
    }

    fn has_events_of(&self, other: &Workflow) -> bool {
        let events = |workflow: &Workflow| -> Vec<(String, Option<Type>)> {
            let events = workflow.events.iter();
            events
                .map(|event| (event.name.clone(), event.ty.as_ref().map(bare)))
                .collect()
        };
        events(self) == events(other)
    }
}

impl Descriptor {
    /// How this descriptor, which somebody gave with a component, contradicts what the component says of itself. None: it does not; what
    /// the WIT says about things may differ.
    #[must_use]
    pub fn contradicts(&self, actual: &Descriptor) -> Option<String> {
        if self.package != actual.package {
            return Some(format!(
                "it names the package {}, the component is of {}",
                self.package, actual.package
            ));
        }
        let sides = [
            (&self.workflows, &actual.workflows, "export"),
            (&self.children, &actual.children, "call"),
        ];
        for (said, there, verb) in sides {
            for one in said {
                let Some(same) = there.iter().find(|other| other.name == one.name) else {
                    return Some(format!(
                        "it names {}, which the component does not {verb}",
                        one.name
                    ));
                };
                if !one.has_types_of(same) || !one.has_events_of(same) {
                    return Some(format!(
                        "it has other types for {} than the component",
                        one.name
                    ));
                }
            }
            let left_out = there
                .iter()
                .find(|other| !said.iter().any(|one| one.name == other.name));
            if let Some(left_out) = left_out {
                return Some(format!(
                    "it leaves out {}, which the component does {verb}",
                    left_out.name
                ));
            }
        }
        None
    }
}

/// The type without the names that the WIT gives to types, and without what it says about them.
pub(crate) fn bare(ty: &Type) -> Type {
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
