//! JSON against types.

use std::panic::{AssertUnwindSafe, catch_unwind};

use dacapo_model::{PayloadLimits, Type, check_type, from_json, json_schema, to_json};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;

use crate::check::panic_text;
use crate::{Random, Target};

#[allow(dead_code, reason = "the model's tests use more of it")]
#[path = "../../../model/tests/random/types.rs"]
mod types;

/// Random types, and texts that are values of them, or nearly so. What is read has one text, and that is read as the same value again.
#[derive(Debug, Default)]
pub struct Json;

impl Target for Json {
    const NAME: &'static str = "json";

    fn generate(&self, random: &mut Random) -> Vec<u8> {
        let seed = random.bytes(32);
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let (ty, value) = types::typed_value()
            .new_tree(&mut runner)
            .unwrap()
            .current();
        let mut text = match random.below(4) {
            0 => random.json(3).to_string(),
            1 => types::any_json()
                .new_tree(&mut runner)
                .unwrap()
                .current()
                .to_string(),
            _ => to_json(&value, &ty).unwrap(),
        }
        .into_bytes();
        if random.one_in(2) {
            random.mutate(&mut text);
        }
        let text = String::from_utf8_lossy(&text);
        json!({ "type": ty, "text": text }).to_string().into_bytes()
    }

    async fn check(&mut self, input: &[u8]) -> Result<(), String> {
        let outcome = catch_unwind(AssertUnwindSafe(|| checked(input)));
        outcome.map_err(|panic| format!("it panics: {}", panic_text(panic)))?
    }
}

fn checked(input: &[u8]) -> Result<(), String> {
    let input: serde_json::Value = serde_json::from_slice(input).map_err(|e| e.to_string())?;
    let ty: Type = serde_json::from_value(input["type"].clone()).map_err(|e| e.to_string())?;
    let text = input["text"].as_str().unwrap_or_default();
    let limits = PayloadLimits::default();
    if check_type(&ty).is_err() {
        return Ok(());
    }
    let _ = json_schema(&ty);
    let value = match from_json(text, &ty, "input", &limits) {
        Ok(value) => value,
        Err(error) => {
            let words = error.to_string();
            let fits = (1..=64 << 10).contains(&words.len());
            return match fits {
                true => Ok(()),
                false => Err(format!("refused with {} bytes of words", words.len())),
            };
        }
    };
    let canonical = to_json(&value, &ty)
        .map_err(|error| format!("what was read cannot be written: {error}"))?;
    let wide = PayloadLimits {
        max_bytes: usize::MAX,
        ..limits
    };
    match from_json(&canonical, &ty, "input", &wide) {
        Ok(again) if again == value => Ok(()),
        Ok(again) => Err(format!(
            "read as {value:?}, written as {canonical}, read as {again:?}"
        )),
        Err(error) => Err(format!(
            "written as {canonical}, which cannot be read: {error}"
        )),
    }
}
