//! The OpenAPI document, and whether an answer fits it. As strict as a reader could be: what the document does not name must not be there.

use std::collections::BTreeSet;

use axum::http::Method;
use dacapo_tests::database;
use serde_json::Value;

use crate::api::{Answer, Api};

pub struct Document(Value);

impl Document {
    /// Nothing is known yet, and everything fits.
    pub fn none() -> Self {
        Self(Value::Null)
    }

    pub fn new(document: Value) -> Self {
        Self(document)
    }

    /// All operations: method, path, and what is said about it.
    pub fn operations(&self) -> Vec<(Method, String, &Value)> {
        let mut operations = Vec::new();
        for (path, item) in self.0["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let method = method.to_ascii_uppercase().parse().unwrap();
                operations.push((method, path.clone(), operation));
            }
        }
        operations
    }

    /// Panics if the document does not say that this may be answered.
    #[track_caller]
    pub fn check(&self, method: &Method, path: &str, answer: &Answer) {
        if self.0.is_null() {
            return;
        }
        let bare = path.split('?').next().unwrap();
        let operations = self.operations();
        let found = operations
            .iter()
            .filter(|(known, template, _)| known == method && fits(template, bare))
            // What is written out goes before what stands for anything.
            .min_by_key(|(_, template, _)| template.matches('{').count());
        let Some((_, template, operation)) = found else {
            panic!("{method} {path} is not in the document");
        };
        let status = answer.status.as_str();
        let what = format!(
            "{method} {template}: {status} {}",
            String::from_utf8_lossy(&answer.body)
        );
        let said = &operation["responses"][status];
        assert!(!said.is_null(), "{what} is not in the document");
        let Some(contents) = said["content"].as_object() else {
            assert!(answer.body.is_empty(), "{what}: expected no body");
            return;
        };
        let given = answer.headers["content-type"].to_str().unwrap();
        let Some(content) = contents.get(given) else {
            panic!("{what}: {given} is not in the document");
        };
        if given.ends_with("json")
            && let Err(problem) = self.fits(&content["schema"], &answer.json(), "body")
        {
            panic!("{what}: {problem}");
        }
    }

    fn fits(&self, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
        let bad = |expected: &str| Err(format!("{place}: expected {expected}, got {value}"));
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap();
            let schema = &self.0["components"]["schemas"][name];
            assert!(!schema.is_null(), "{place}: {reference} is not there");
            return self.fits(schema, value, place);
        }
        for schema in schema["allOf"].as_array().into_iter().flatten() {
            self.fits(schema, value, place)?;
        }
        if let Some(any) = schema["oneOf"].as_array() {
            let errors: Vec<String> = any
                .iter()
                .filter_map(|schema| self.fits(schema, value, place).err())
                .collect();
            if errors.len() + 1 != any.len() {
                return Err(format!(
                    "{place}: not one of several: {}",
                    errors.join("; or ")
                ));
            }
        }
        if let Some(words) = schema["enum"].as_array()
            && !words.contains(value)
        {
            return bad(&schema["enum"].to_string());
        }
        if let Some(constant) = schema.get("const")
            && constant != value
        {
            return bad(&constant.to_string());
        }
        let types: BTreeSet<&str> = match &schema["type"] {
            Value::String(one) => BTreeSet::from([one.as_str()]),
            Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
            _ => BTreeSet::new(),
        };
        let is = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let also = (is == "integer").then_some("number");
        if !types.is_empty() && !types.contains(is) && !also.is_some_and(|is| types.contains(is)) {
            return bad(&schema["type"].to_string());
        }
        if let (Some(text), Some(format)) = (value.as_str(), schema["format"].as_str()) {
            let is_so = match format {
                "uuid" => text.parse::<uuid::Uuid>().is_ok(),
                "date-time" => text.parse::<dacapo_model::Timestamp>().is_ok(),
                _ => true,
            };
            if !is_so {
                return bad(format);
            }
        }
        if let (Some(number), Some(minimum)) = (value.as_f64(), schema["minimum"].as_f64())
            && number < minimum
        {
            return bad(&format!("at least {minimum}"));
        }
        if let Some(items) = value.as_array() {
            for (index, item) in items.iter().enumerate() {
                self.fits(&schema["items"], item, &format!("{place}[{index}]"))?;
            }
        }
        if let Some(members) = value.as_object() {
            for name in schema["required"].as_array().into_iter().flatten() {
                if !members.contains_key(name.as_str().unwrap()) {
                    return Err(format!("{place}: {name} is missing"));
                }
            }
            let properties = schema["properties"].as_object();
            for (name, member) in members {
                let place = format!("{place}.{name}");
                match properties.and_then(|properties| properties.get(name)) {
                    Some(schema) => self.fits(schema, member, &place)?,
                    None if schema["additionalProperties"].is_object() => {
                        self.fits(&schema["additionalProperties"], member, &place)?;
                    }
                    // Nothing is said about what is in it.
                    None if properties.is_none() || types.is_empty() => {}
                    None => return Err(format!("{place} is not in the document")),
                }
            }
        }
        Ok(())
    }
}

/// Whether this is a path of the template.
fn fits(template: &str, path: &str) -> bool {
    let (template, path) = (template.split('/'), path.split('/'));
    template.clone().count() == path.clone().count()
        && template
            .zip(path)
            .all(|(part, given)| part.starts_with('{') || part == given)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_of_the_document_is_there_and_says_who_may_ask_for_it() {
    let database = database().await;
    let api = Api::on(&database).await;
    let document = api.document();
    assert!(document.0["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut ids = BTreeSet::new();
    for (method, path, operation) in document.operations() {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id.to_owned()), "{id} is there twice");
        let role = operation["x-role"].as_str().unwrap();
        assert!(["read", "operate", "deploy", "admin"].contains(&role));
        // Whatever is wrong with it, it is no path that nobody knows.
        let path = path
            .replace("{run}", "01938e60-5a1c-7cc0-9d2f-3b8f0a6c41d7")
            .replace("{number}", "1")
            .replace(['{', '}'], "");
        if path.ends_with("/stream") && !path.contains("01938e60") {
            continue;
        }
        let answer = api.ask(method.clone(), &path, &[], "").await;
        if answer.status.is_client_error() {
            let code = answer.json()["code"].as_str().unwrap().to_owned();
            assert!(
                code != "not-found" && code != "method-not-allowed",
                "{method} {path}: {code}"
            );
        }
        assert!(
            !answer.status.is_server_error(),
            "{method} {path}: {answer:?}"
        );
    }
    assert!(ids.len() > 60, "{}", ids.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reference_of_the_document_leads_somewhere() {
    let database = database().await;
    let api = Api::on(&database).await;
    let text = api.document().0.to_string();
    let mut references = 0;
    for part in text.split("\"$ref\":\"#/").skip(1) {
        let pointer = format!("/{}", part.split('"').next().unwrap());
        assert!(api.document().0.pointer(&pointer).is_some(), "{pointer}");
        references += 1;
    }
    assert!(references > 100, "{references}");
}
