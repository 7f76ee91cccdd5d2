//! Imports of other packages: calling such a function is a durable child run of the workflow that goes by its name.

use std::sync::Arc;

use dacapo_model::{Failure, Field, Payload, RecordType, Type, Value, from_json, to_json};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, Val};
use wasmtime::{Engine, StoreContextMut};

use super::children::{Options, rejected};
use crate::guest::{Guest, cancelled};
use crate::interrupt::Interrupt;
use crate::value::{from_val, model_type, to_val};

/// Code of the failure of a run whose child failed in a way that the imported function has no value for.
const CHILD_FAILED: &str = "child-failed";

/// The case of an error type by which a child's failure arrives that is not one of its own errors.
const FAILED_CASE: &str = "failed";

/// One imported function.
struct Import {
    /// `interface.function`: the child's name in the journal.
    name: String,
    /// `ns:pkg/interface.function`
    workflow: String,
    param: Option<Type>,
    result: Option<Type>,
}

/// Whether an import is of another package than ours and WASI, and so of workflows.
pub(crate) fn is_foreign(import: &str) -> bool {
    !import.starts_with("wasi:") && !import.starts_with("dacapo:")
}

/// Links the component's imports of other packages. None: it has none.
pub(crate) fn linker_for(
    engine: &Engine,
    linker: &Linker<Guest>,
    component: &Component,
) -> wasmtime::Result<Option<Linker<Guest>>> {
    let mut own: Option<Linker<Guest>> = None;
    for (interface, item) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(instance) = item.ty else {
            continue;
        };
        if !is_foreign(interface) {
            continue;
        }
        let linker = own.get_or_insert_with(|| linker.clone());
        let mut linked = linker.instance(interface)?;
        let unversioned = interface.split('@').next().unwrap_or(interface);
        let short = unversioned.rsplit('/').next().unwrap_or(unversioned);
        for (function, item) in instance.exports(engine) {
            let ComponentItem::ComponentFunc(ty) = item.ty else {
                continue;
            };
            let import = Import {
                name: format!("{short}.{function}"),
                workflow: format!("{unversioned}.{function}"),
                param: ty
                    .params()
                    .next()
                    .map(|(_, ty)| model_type(&ty))
                    .transpose()?,
                result: ty.results().next().map(|ty| model_type(&ty)).transpose()?,
            };
            let import = Arc::new(import);
            linked.func_new_async(function, move |store, _ty, params, results| {
                Box::new(call(Arc::clone(&import), store, params, results))
            })?;
        }
    }
    Ok(own)
}

async fn call(
    import: Arc<Import>,
    mut store: StoreContextMut<'_, Guest>,
    params: &[Val],
    results: &mut [Val],
) -> wasmtime::Result<()> {
    let guest = store.data_mut();
    let input = match (params.first(), &import.param) {
        (Some(val), Some(ty)) => to_json(&from_val(val.clone(), ty)?, ty)
            .map_err(|error| Interrupt::misuse(format!("input of {}: {error}", import.workflow)))?,
        _ => "null".to_owned(),
    };
    let started = guest.start(&import.name, &import.workflow, &input, Options::default());
    let outcome = match started.await? {
        Ok(child) => {
            let name = format!("{}-end", import.name);
            match guest.wait_for_child(&name, child, None).await? {
                Ok(Some(outcome)) => outcome,
                // Only a wait with a time-out runs out of time.
                Ok(None) => Err(cancelled()),
                Err(failure) => Err(failure),
            }
        }
        Err(failure) => Err(failure),
    };
    let value = import.value(outcome, guest)?;
    if let (Some(result), Some(value), Some(ty)) = (results.first_mut(), value, &import.result) {
        *result = to_val(value, ty)?;
    }
    Ok(())
}

impl Import {
    /// What the function returns for how the child came out.
    fn value(
        &self,
        outcome: Result<Payload, Failure>,
        guest: &Guest,
    ) -> Result<Option<Value>, Interrupt> {
        let read =
            |text: &str, ty: &Type, what: &str| from_json(text, ty, what, &guest.config.payload);
        match (outcome, &self.result) {
            (Ok(_), None) => Ok(None),
            (Ok(output), Some(Type::Result { ok, .. })) => {
                let value = match ok {
                    Some(ty) => Some(Box::new(
                        read(output.as_str(), ty, "output").map_err(|error| self.misfit(&error))?,
                    )),
                    None => None,
                };
                Ok(Some(Value::Result(Ok(value))))
            }
            (Ok(output), Some(ty)) => read(output.as_str(), ty, "output")
                .map(Some)
                .map_err(|error| self.misfit(&error)),
            (Err(failure), Some(Type::Result { err, .. })) => {
                let own = match (err, &failure.details) {
                    // Its own error is in the details, as it was returned.
                    (Some(ty), Some(details)) => read(details.as_str(), ty, "error")
                        .ok()
                        .map(Box::new)
                        .map(Some),
                    (None, None) if failure.code == crate::result::ERROR_CODE => Some(None),
                    _ => None,
                };
                let told = || Some(Some(Box::new(told(&failure, err.as_deref()?)?)));
                match own.or_else(told) {
                    Some(value) => Ok(Some(Value::Result(Err(value)))),
                    None => Err(self.child_failed(failure)),
                }
            }
            (Err(failure), _) => Err(self.child_failed(failure)),
        }
    }

    fn misfit(&self, error: &dacapo_model::InputError) -> Interrupt {
        rejected(&format!(
            "the output of a child run of {} does not fit the type of the imported function: {error}",
            self.workflow
        ))
    }

    fn child_failed(&self, failure: Failure) -> Interrupt {
        if failure.code == dacapo_model::CANCELLED {
            return Interrupt::Failed(failure);
        }
        let message = format!("a child run of {} failed: {failure}", self.workflow);
        let mut whole = Failure::new(CHILD_FAILED, message);
        whole.details = Some(Payload::from_trusted(failure.to_json()));
        Interrupt::Failed(whole)
    }
}

/// The failure as the case of the error type that is made for it: `failed` with a record of `code`, `message`, `retryable` and
/// `details`, or some of them.
fn told(failure: &Failure, ty: &Type) -> Option<Value> {
    let Type::Variant(variant) = ty else {
        return None;
    };
    let index = variant
        .cases
        .iter()
        .position(|case| case.name == FAILED_CASE)?;
    let Some(Type::Record(RecordType { fields, .. })) = &variant.cases[index].ty else {
        return None;
    };
    let fields: Option<Vec<Value>> = fields.iter().map(|field| part(failure, field)).collect();
    Some(Value::Variant(
        u32::try_from(index).ok()?,
        Some(Box::new(Value::Record(fields?))),
    ))
}

fn part(failure: &Failure, field: &Field) -> Option<Value> {
    match (field.name.as_str(), &field.ty) {
        ("code", Type::String) => Some(Value::String(failure.code.clone())),
        ("message", Type::String) => Some(Value::String(failure.message.clone())),
        ("retryable", Type::Bool) => Some(Value::Bool(failure.retryable)),
        ("details", Type::Option(of)) if **of == Type::String => {
            let details = failure.details.as_ref();
            let details = details.map(|details| Box::new(Value::String(details.to_string())));
            Some(Value::Option(details))
        }
        _ => None,
    }
}
