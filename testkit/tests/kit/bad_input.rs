//! Mistakes, each with one message that says what to do.

use dacapo_testkit::{Component, Error, PayloadLimits, SandboxConfig, Value, json};

use crate::support::{guest, guest_path, probe};

fn message(error: Error) -> String {
    format!("{error:?}")
}

#[test]
fn files_that_are_no_workflows_are_refused_with_a_reason() {
    let missing = message(Component::load("/nowhere/x.wasm").unwrap_err());
    assert_eq!(
        missing,
        "cannot read /nowhere/x.wasm: No such file or directory (os error 2)"
    );
    let text = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(text.path(), "hello, world").unwrap();
    let text = message(Component::load(text.path()).unwrap_err());
    assert!(
        text.contains("this is not wasm: it begins with `hello, world`"),
        "{text}"
    );
    let empty = message(Component::load(guest_path("bad_empty")).unwrap_err());
    assert!(empty.contains("bad_empty.wasm: no workflows"), "{empty}");
}

#[test]
fn names_that_are_not_there_or_not_unique_are_said_with_those_that_are() {
    let payments = guest("process_payment");
    let error = message(payments.run("proces", Value::Null).unwrap_err());
    assert!(
        error.starts_with("there is no workflow \"proces\" in "),
        "{error}"
    );
    assert!(
        error.ends_with("; did you mean payments:processing/payments.process?"),
        "{error}"
    );
    let error = message(payments.run("bake-bread", Value::Null).unwrap_err());
    assert!(
        error.ends_with("; it has payments:processing/payments.process"),
        "{error}"
    );
    let error = message(guest("forgetful").run("counts", Value::Null).unwrap_err());
    assert_eq!(
        error,
        "the name \"counts\" is ambiguous; it stands for test:forgetful/memory.counts and test:forgetful/more.counts: use a full name"
    );
}

#[test]
fn input_that_does_not_fit_names_the_place() {
    let payments = guest("process_payment");
    let input = json!({ "orderId": 1, "amountCents": 1, "currency": "eur", "items": [{ "sku": "a", "price": "4" }] });
    assert_eq!(
        message(payments.run("process", input).unwrap_err()),
        "input.items[0].price: expected u32, got \"4\"\npayments:processing/payments.process takes record { orderId: u64, \
         amountCents: u64, currency: currency, items: list<item>, settleWithinMs: option<u64> }, where currency is enum { eur, gbp, usd }, \
         item is record { sku: string, price: u32 }"
    );
    let error = message(payments.run_json("process", "{").unwrap_err());
    assert!(error.starts_with("input: not JSON"), "{error}");
    let limits = SandboxConfig {
        payload: PayloadLimits {
            max_bytes: 10,
            ..Default::default()
        },
        ..Component::default_limits()
    };
    let small = Component::load_with(guest_path("process_payment"), limits).unwrap();
    let error = message(small.run("process", "0123456789").unwrap_err());
    assert!(error.contains("the limit is 10 bytes"), "{error}");
}

#[tokio::test]
async fn scripts_that_cannot_be_are_refused_when_the_run_is_played() {
    let mut run = probe("effects", json!(1));
    run.send_event("a/b", 1);
    let error = message(run.run_to_completion().await.unwrap_err());
    assert!(
        error.starts_with("event: the name \"a/b\" contains '/'"),
        "{error}"
    );

    let mut run = probe("effects", json!(1));
    run.script_step("s#x", Ok(Value::Null));
    let error = message(run.run_to_completion().await.unwrap_err());
    assert!(
        error.starts_with("step: the name \"s#x\" contains '#'"),
        "{error}"
    );

    let mut run = probe("effects", json!(1));
    run.script_step("s", Ok(Value::Null))
        .script_step("s", Ok(Value::Null));
    assert_eq!(
        message(run.run_to_completion().await.unwrap_err()),
        "step `s` is scripted twice; to tell uses of a name apart, script keys: `name#1`, `name#2`"
    );

    let mut run = probe("effects", json!(1));
    run.send_event("go", "x".repeat(1 << 20));
    let error = message(run.run_to_completion().await.unwrap_err());
    assert!(
        error.starts_with("event `go`: payload is 1,048,578 bytes"),
        "{error}"
    );

    let mut run = probe("effects", json!(1));
    run.send_event("go", std::collections::HashMap::from([((1, 2), 3)]));
    let error = message(run.run_to_completion().await.unwrap_err());
    assert_eq!(error, "event `go` has no JSON form: key must be a string");
}

#[tokio::test]
async fn a_workflow_that_never_ends_is_ended_by_its_limits() {
    let limits = SandboxConfig {
        steps_max: 50,
        ..Component::default_limits()
    };
    let probe = Component::load_with(guest_path("probe"), limits).unwrap();
    let mut run = probe
        .run("sleeps", json!({ "ms": 1, "times": 4_000_000_000_u32 }))
        .unwrap();
    let outcome = run.run_to_completion().await.unwrap();
    assert!(
        outcome
            .to_string()
            .starts_with("is blocked with journal-limit"),
        "{outcome}"
    );
}

#[tokio::test]
async fn an_output_of_another_type_is_shown() {
    let mut run = probe("counted-steps", json!(1));
    let outcome = run.run_to_completion().await.unwrap();
    let error = message(outcome.output::<bool>().unwrap_err());
    assert!(
        error.starts_with("the run's output is not of the expected type: 1: invalid type"),
        "{error}"
    );
}
