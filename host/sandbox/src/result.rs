//! From what a workflow's function returned to how its run ends.

use dacapo_model::{Failure, Payload, PayloadError, PayloadLimits, Type, Value, Workflow, to_json};
use wasmtime::component::Val;

use crate::ending::payload_code;
use crate::value::from_val;

/// Code of a workflow's own error that has no word for itself.
pub(crate) const ERROR_CODE: &str = "error";

/// The run's output, or the failure that the workflow returned or caused by what it returned.
pub(crate) fn conclude(
    returned: Option<Val>,
    workflow: &Workflow,
    limits: &PayloadLimits,
) -> Result<Payload, Failure> {
    let (Some(val), Some(ty)) = (returned, &workflow.result) else {
        return Ok(Payload::null());
    };
    let value = from_val(val, ty).map_err(|misfit| {
        Failure::new(
            dacapo_model::MISUSE,
            format!("the result does not have its type: {misfit}"),
        )
    })?;
    match (value, ty) {
        (Value::Result(Ok(value)), Type::Result { ok, .. }) => match (value, ok) {
            (Some(value), Some(ty)) => payload("result", &value, ty, limits),
            _ => Ok(Payload::null()),
        },
        (Value::Result(Err(value)), Type::Result { err, .. }) => Err(match (value, err) {
            (Some(value), Some(ty)) => workflow_error(&value, ty, limits),
            _ => Failure::new(ERROR_CODE, "the workflow returned an error without a value"),
        }),
        (value, ty) => payload("result", &value, ty, limits),
    }
}

/// A typed error as a failure: its own word as the code if it has one, its own text as the message, and all of it as details.
fn workflow_error(value: &Value, ty: &Type, limits: &PayloadLimits) -> Failure {
    let details = match payload("error", value, ty, limits) {
        Ok(details) => details,
        Err(failure) => return failure,
    };
    let code = match (value, ty) {
        (Value::Enum(index), Type::Enum(cases)) => cases.cases.get(*index as usize).cloned(),
        (Value::Variant(index, _), Type::Variant(variant)) => variant
            .cases
            .get(*index as usize)
            .map(|case| case.name.clone()),
        _ => field(value, ty, "code"),
    };
    let message = match (value, ty) {
        (Value::Variant(index, inner), Type::Variant(variant)) => {
            let case = variant.cases.get(*index as usize);
            match (inner, case.and_then(|case| case.ty.as_ref())) {
                (Some(inner), Some(ty)) => text(inner, ty),
                _ => case.map(|case| case.name.clone()).unwrap_or_default(),
            }
        }
        _ => text(value, ty),
    };
    let mut failure = Failure::new(code.unwrap_or_else(|| ERROR_CODE.to_owned()), message);
    failure.details = Some(details);
    failure
}

/// A value as a sentence for people, as well as can be.
fn text(value: &Value, ty: &Type) -> String {
    match (value, ty) {
        (Value::String(text), _) => text.clone(),
        (Value::Enum(index), Type::Enum(cases)) => cases
            .cases
            .get(*index as usize)
            .cloned()
            .unwrap_or_default(),
        _ => field(value, ty, "message").unwrap_or_else(|| to_json(value, ty).unwrap_or_default()),
    }
}

/// A record's field, if it is a string.
fn field(value: &Value, ty: &Type, name: &str) -> Option<String> {
    let (Value::Record(values), Type::Record(record)) = (value, ty) else {
        return None;
    };
    let at = record.fields.iter().position(|field| field.name == name)?;
    match values.get(at)? {
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

fn payload(
    what: &str,
    value: &Value,
    ty: &Type,
    limits: &PayloadLimits,
) -> Result<Payload, Failure> {
    let json = to_json(value, ty).map_err(|error| {
        Failure::new(
            dacapo_model::MISUSE,
            format!("the workflow's {what} cannot be written as JSON: {error}"),
        )
    })?;
    Payload::new(json, limits).map_err(|error: PayloadError| {
        Failure::new(
            payload_code(&error),
            format!("the workflow's {what} cannot be recorded: {error}"),
        )
    })
}
