//! JSON Schema, for languages that have neither a client nor a generator here.

use dacapo_model::{Descriptor, Type, json_schema as schema_of};
use serde_json::{Map, Value, json};

use crate::definitions::{Definitions, Reference};

/// One document: `$defs` has a schema for each value that goes in or out, and `workflows` says which is whose.
///
/// `orders.place.input`, `.output` (what a completed run returns), `.error` (the details of a run that its code let fail) and
/// `.event.<name>` (a payload).
#[must_use]
pub fn json_schema(descriptor: &Descriptor) -> Value {
    let definitions = Definitions::of(descriptor, &[]);
    let mut defs = Map::new();
    let mut workflows = Map::new();
    for reference in &definitions.workflows {
        let workflow = parts(reference, &mut defs);
        workflows.insert(reference.workflow.name.clone(), workflow);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": descriptor.package,
        "workflows": workflows,
        "$defs": defs,
    })
}

fn parts(reference: &Reference<'_>, defs: &mut Map<String, Value>) -> Value {
    let workflow = reference.workflow;
    // The package is the same for all.
    let stem = match workflow.name.split_once('/') {
        Some((_, rest)) => rest,
        None => workflow.name.as_str(),
    };
    let mut define = |part: &str, ty: Option<&Type>| {
        let name = format!("{stem}.{part}");
        let target = json!({ "$ref": format!("#/$defs/{name}") });
        defs.insert(name, bare(ty));
        target
    };
    let mut parts = Map::new();
    if let Some(docs) = &workflow.docs {
        parts.insert("description".to_owned(), json!(docs));
    }
    parts.insert("input".to_owned(), define("input", reference.input()));
    parts.insert("output".to_owned(), define("output", reference.output()));
    if let Some(error) = reference.error() {
        parts.insert("error".to_owned(), define("error", Some(error)));
    }
    if !reference.events().is_empty() {
        let events: Map<String, Value> = reference
            .events()
            .iter()
            .map(|case| {
                let target = define(&format!("event.{}", case.name), case.ty.as_ref());
                (case.name.clone(), target)
            })
            .collect();
        parts.insert("events".to_owned(), Value::Object(events));
    }
    Value::Object(parts)
}

/// The schema of a value, which is `null` where there is no type. What draft it is of stands at the top of the document.
fn bare(ty: Option<&Type>) -> Value {
    let Some(ty) = ty else {
        return json!({ "type": "null" });
    };
    let mut schema = schema_of(ty);
    if let Value::Object(members) = &mut schema {
        members.remove("$schema");
    }
    schema
}
