//! Inputs and outputs.

use dacapo_model::PayloadLimits;
use dacapo_sandbox::{BlockCode, Ending, Sandbox, SandboxConfig};

use crate::support::{Run, config, details, failure, output, probe};

#[tokio::test]
async fn every_shape_comes_back_as_it_went_in() {
    let everything = concat!(
        r#"{"scalars":{"truth":true,"tiny":-128,"small":-32768,"middle":-2147483648,"large":"-9223372036854775808","#,
        r#""uTiny":255,"uSmall":65535,"uMiddle":4294967295,"uLarge":"18446744073709551615","single":0.1,"double":-0.0,"#,
        r#""letter":"ä","text":"a\u0000b"},"bytes":"AAEC/w==","words":["","x"],"table":[[1,2],[]],"pair":[7,"seven"],"#,
        r#""maybe":null,"maybeMaybe":{"some":null},"shape":{"tag":"circle","val":1.5},"#,
        r#""shapes":[{"tag":"empty"},{"tag":"polygon","val":[{"x":1,"y":-1}]},{"tag":"named","val":["p",{"x":0,"y":0}]}],"#,
        r#""colour":"dark-blue","permission":["read","run-it"],"outcome":{"err":"no"},"outcomeOk":{"ok":3},"#,
        r#""outcomeErr":{"ok":null},"outcomeBare":{"err":null}}"#
    );
    let run = Run::new("shapes.echo", everything);
    assert_eq!(output(run.go().await), everything);
}

#[tokio::test]
async fn a_run_without_input_and_output_completes_with_null() {
    assert_eq!(
        output(Run::new("shapes.nothing", "null").go().await),
        "null"
    );
}

#[tokio::test]
async fn an_input_of_another_shape_blocks_the_run() {
    let ending = Run::new("shapes.echo-string", "4").go().await;
    let Ending::Blocked(reason) = ending else {
        panic!("expected a block: {ending:?}")
    };
    assert_eq!(reason.code, BlockCode::Input);
    assert_eq!(reason.message, "input: expected string, got 4");
}

#[tokio::test]
async fn a_text_error_is_the_message() {
    let ending = Run::new("shapes.fail-with", r#""no such order""#)
        .go()
        .await;
    assert_eq!(details(&ending), "no such order");
    assert_eq!(
        failure(ending),
        ("error".to_owned(), "no such order".to_owned())
    );
}

#[tokio::test]
async fn a_variant_error_gives_its_case_as_the_code() {
    let ending = Run::new("shapes.variant-fail", "null").go().await;
    assert!(details(&ending)["tag"].is_string(), "{ending:?}");
    assert_eq!(failure(ending).0, "refused");
}

#[tokio::test]
async fn a_record_error_is_kept_as_details() {
    let ending = Run::new("shapes.typed-fail", "null").go().await;
    assert!(details(&ending)["reasons"].is_array(), "{ending:?}");
    assert_eq!(failure(ending).0, "error");
}

#[tokio::test]
async fn an_error_without_a_value_says_so() {
    let ending = Run::new("shapes.bare-fail", "null").go().await;
    assert_eq!(
        failure(ending),
        (
            "error".to_owned(),
            "the workflow returned an error without a value".to_owned()
        )
    );
}

#[tokio::test]
async fn an_output_over_the_limit_fails_the_run_and_names_the_limit() {
    let ending = Run::new("shapes.big-output", "2000000").go().await;
    let (code, message) = failure(ending);
    assert_eq!(code, "payload-limit");
    assert!(
        message.starts_with("the workflow's result cannot be recorded: payload is 2,000,002 bytes"),
        "{message}"
    );
    assert!(output(Run::new("shapes.big-output", "100000").go().await).len() > 100_000);
}

#[tokio::test]
async fn an_output_that_is_too_large_to_be_looked_at_fails_the_run() {
    let payload = PayloadLimits {
        max_bytes: 1_000,
        ..PayloadLimits::default()
    };
    let sandbox = Sandbox::new(SandboxConfig {
        payload,
        instances_max: 1,
        ..config()
    })
    .unwrap();
    let prepared = sandbox
        .prepare(&probe().described.digest, &probe().described.component)
        .unwrap();
    let run = Run::new("shapes.big-output", "20000000");
    let (code, message) = failure(run.go_in(&sandbox, probe(), &prepared).await);
    assert_eq!(code, "payload-limit");
    assert_eq!(
        message,
        "the workflow handed over far more at once than the 1000 bytes that a payload may have"
    );
}
