//! What a file of references defines, with the names that it has there.

use std::collections::BTreeMap;

use dacapo_model::{Case, Descriptor, Type, Workflow};

use crate::names::{Taken, pascal, screaming};

/// All that is defined.
pub(crate) struct Definitions<'a> {
    /// Types with a name, each before those that have it as a part.
    pub(crate) types: Vec<Definition<'a>>,
    /// The workflows, in the order of the descriptor.
    pub(crate) workflows: Vec<Reference<'a>>,
    /// All names.
    pub(crate) taken: Taken,
}

/// A type that has a name in the file.
pub(crate) struct Definition<'a> {
    /// What it is called.
    pub(crate) name: String,
    /// The record, variant, enum or flags.
    pub(crate) ty: &'a Type,
}

/// A workflow that has a name in the file.
pub(crate) struct Reference<'a> {
    /// The constant.
    pub(crate) name: String,
    /// What its own types begin with: `Place` in `PlaceEvents`.
    pub(crate) stem: String,
    /// The workflow.
    pub(crate) workflow: &'a Workflow,
}

impl<'a> Reference<'a> {
    /// What it takes; none if it takes nothing.
    pub(crate) fn input(&self) -> Option<&'a Type> {
        self.workflow.param.as_ref().map(|param| &param.ty)
    }

    /// What a completed run returns; none if it returns nothing.
    pub(crate) fn output(&self) -> Option<&'a Type> {
        match self.workflow.result.as_ref()? {
            Type::Result { ok, .. } => ok.as_deref(),
            other => Some(other),
        }
    }

    /// What its code fails with; none if it says nothing.
    pub(crate) fn error(&self) -> Option<&'a Type> {
        match self.workflow.result.as_ref()? {
            Type::Result { err, .. } => err.as_deref(),
            _ => None,
        }
    }

    /// The events that it declares.
    pub(crate) fn events(&self) -> &'a [Case] {
        &self.workflow.events
    }
}

/// A type before it has a name.
struct Found<'a> {
    ty: &'a Type,
    /// As the WIT calls it, or by its place if the WIT does not.
    base: String,
    /// The interface in which it was met first.
    interface: &'a str,
}

impl<'a> Definitions<'a> {
    /// The definitions of a file in which the `reserved` words mean something else.
    ///
    /// Workflows have their names before types do. What would have the same name is told apart by its interface, and where that is the same
    /// by a number.
    pub(crate) fn of(descriptor: &'a Descriptor, reserved: &[&str]) -> Self {
        let mut taken = Taken::new(reserved);
        let workflows = name_workflows(&descriptor.workflows, &mut taken);
        let mut found = Vec::new();
        for reference in &workflows {
            let parts = [
                ("Input", reference.input()),
                ("Output", reference.output()),
                ("Problem", reference.error()),
            ];
            let interface = interface_of(reference.workflow);
            for (part, ty) in parts {
                if let Some(ty) = ty {
                    find(
                        ty,
                        &format!("{}{part}", reference.stem),
                        interface,
                        &mut found,
                    );
                }
            }
            for case in reference.events() {
                if let Some(ty) = &case.ty {
                    let place = format!("{}{}", reference.stem, pascal(&case.name));
                    find(ty, &place, interface, &mut found);
                }
            }
        }
        Self {
            types: name_types(found, &mut taken),
            workflows,
            taken,
        }
    }

    /// What a type with parts is called.
    pub(crate) fn name_of(&self, ty: &Type) -> &str {
        let found = self.types.iter().find(|one| one.ty == ty);
        found.map_or("", |one| one.name.as_str())
    }
}

fn name_workflows<'a>(workflows: &'a [Workflow], taken: &mut Taken) -> Vec<Reference<'a>> {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for workflow in workflows {
        *times.entry(screaming(&workflow.function)).or_default() += 1;
    }
    let named = workflows.iter().map(|workflow| {
        let plain = screaming(&workflow.function);
        let is_unique = times.get(&plain) == Some(&1);
        let kebab = match is_unique {
            true => workflow.function.clone(),
            false => format!("{}-{}", interface_of(workflow), workflow.function),
        };
        Reference {
            name: taken.take(&[screaming(&kebab)]),
            stem: pascal(&kebab),
            workflow,
        }
    });
    named.collect()
}

fn name_types<'a>(found: Vec<Found<'a>>, taken: &mut Taken) -> Vec<Definition<'a>> {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for one in &found {
        *times.entry(one.base.clone()).or_default() += 1;
    }
    let named = found.into_iter().map(|one| {
        let longer = format!("{}{}", pascal(one.interface), one.base);
        let names = match times.get(&one.base) {
            Some(1) => vec![one.base, longer],
            // Both are told apart, so that neither changes its name when the other one comes first.
            _ => vec![longer],
        };
        Definition {
            name: taken.take(&names),
            ty: one.ty,
        }
    });
    named.collect()
}

/// The interface's own name: `orders` of `shop:orders/orders@1.0.0`.
pub(crate) fn interface_of(workflow: &Workflow) -> &str {
    let path = workflow.interface.split('@').next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default()
}

/// Notes the types with parts that a type is made of, and then itself.
fn find<'a>(ty: &'a Type, place: &str, interface: &'a str, found: &mut Vec<Found<'a>>) {
    let inner = |ty: &'a Type, part: &str, found: &mut Vec<Found<'a>>| {
        find(ty, &format!("{place}{}", pascal(part)), interface, found);
    };
    let name = match ty {
        Type::List(item) | Type::FixedList(item, _) => return inner(item, "item", found),
        Type::Option(item) => return inner(item, "", found),
        Type::Tuple(items) => {
            for (at, item) in items.iter().enumerate() {
                inner(item, &format!("place-{at}"), found);
            }
            return;
        }
        Type::Result { ok, err } => {
            for (part, ty) in [("ok", ok), ("err", err)] {
                if let Some(ty) = ty {
                    inner(ty, part, found);
                }
            }
            return;
        }
        Type::Record(record) => &record.name,
        Type::Variant(variant) => &variant.name,
        Type::Enum(cases) => &cases.name,
        Type::Flags(flags) => &flags.name,
        _ => return,
    };
    if found.iter().any(|one| one.ty == ty) {
        return;
    }
    match ty {
        Type::Record(record) => {
            for field in &record.fields {
                inner(&field.ty, &field.name, found);
            }
        }
        Type::Variant(variant) => {
            for case in &variant.cases {
                if let Some(ty) = &case.ty {
                    inner(ty, &case.name, found);
                }
            }
        }
        _ => {}
    }
    found.push(Found {
        ty,
        base: name.as_deref().map_or_else(|| place.to_owned(), pascal),
        interface,
    });
}
