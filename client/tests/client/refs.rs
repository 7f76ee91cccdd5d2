//! Types and references from WIT, against the JSON forms that the host holds to.

use dacapo_client::WorkflowRef;
use dacapo_client::json::{As, Base64, Form};
use dacapo_model::{
    Case, EnumType, Field, FlagsType, PayloadLimits, RecordType, Type, VariantType, from_json,
    to_json,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

mod workflows {
    dacapo_client::refs!("tests/wit");
}

mod payment {
    dacapo_client::refs!("../examples-guests/process-payment/wit");
}

mod onboarding {
    dacapo_client::refs!("../examples-guests/onboard-user/wit");
}

mod approval {
    dacapo_client::refs!("../examples-guests/approval/wit/world.wit");
}

use workflows::kinds::{self, Everything, Permission, Shape};
use workflows::test_shared_money::Amount;
use workflows::words::{Colour, Point};

fn record(fields: Vec<(&str, Type)>) -> Type {
    let fields = fields
        .into_iter()
        .map(|(name, ty)| Field {
            name: name.to_owned(),
            ty,
            docs: None,
        })
        .collect();
    Type::Record(RecordType {
        name: None,
        fields,
        docs: None,
    })
}

fn variant(cases: Vec<(&str, Option<Type>)>) -> Type {
    let cases = cases
        .into_iter()
        .map(|(name, ty)| Case {
            name: name.to_owned(),
            ty,
            docs: None,
        })
        .collect();
    Type::Variant(VariantType {
        name: None,
        cases,
        docs: None,
    })
}

fn option(ty: Type) -> Type {
    Type::Option(Box::new(ty))
}

fn list(ty: Type) -> Type {
    Type::List(Box::new(ty))
}

fn result(ok: Option<Type>, err: Option<Type>) -> Type {
    Type::Result {
        ok: ok.map(Box::new),
        err: err.map(Box::new),
    }
}

fn words(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn shape_type() -> Type {
    let point = record(vec![("x", Type::S32), ("y", Type::S32)]);
    variant(vec![
        ("empty", None),
        ("circle", Some(Type::F64)),
        ("polygon", Some(list(point))),
        ("big", Some(Type::U64)),
        ("maybe", Some(option(Type::U32))),
        ("pair", Some(Type::Tuple(vec![Type::U64, Type::Bool]))),
    ])
}

/// The record `everything` of the WIT.
fn everything_type() -> Type {
    let colour = Type::Enum(EnumType {
        name: None,
        cases: words(&["red", "green", "dark-blue"]),
    });
    let permission = Type::Flags(FlagsType {
        name: None,
        flags: words(&["read", "write", "run-it"]),
    });
    record(vec![
        ("truth", Type::Bool),
        ("tiny", Type::S8),
        ("large", Type::S64),
        ("u-large", Type::U64),
        ("single", Type::F32),
        ("double", Type::F64),
        ("letter", Type::Char),
        ("text", Type::String),
        ("bytes", Type::Bytes),
        ("pin", Type::FixedList(Box::new(Type::U16), 3)),
        ("ids", list(Type::U64)),
        ("table", list(list(Type::U32))),
        ("photos", list(Type::Bytes)),
        ("pair", Type::Tuple(vec![Type::U32, Type::String])),
        ("wide-pair", Type::Tuple(vec![Type::U64, Type::Bytes])),
        ("maybe", option(Type::U32)),
        ("maybe-wide", option(Type::U64)),
        ("maybe-maybe", option(option(Type::String))),
        ("maybe-maybe-wide", option(option(option(Type::U64)))),
        ("shape", shape_type()),
        ("shapes", list(shape_type())),
        ("shade", colour),
        ("permission", permission),
        ("outcome", result(Some(Type::U64), Some(Type::String))),
        ("outcome-ok", result(Some(Type::U32), None)),
        ("outcome-err", result(None, Some(Type::Bytes))),
        ("outcome-bare", result(None, None)),
        (
            "type",
            record(vec![("cents", Type::S64), ("currency", Type::String)]),
        ),
    ])
}

fn plain() -> Everything {
    Everything {
        truth: true,
        tiny: -8,
        large: -1,
        u_large: 1,
        single: 0.1,
        double: -0.0,
        letter: 'ß',
        text: "a\0\"\u{1f389}".to_owned(),
        bytes: vec![0, 255, 7],
        pin: [1, 2, 3],
        ids: vec![1, u64::MAX],
        table: vec![vec![], vec![1, 2]],
        photos: vec![vec![], vec![1]],
        pair: (7, "seven".to_owned()),
        wide_pair: (u64::MAX, vec![9]),
        maybe: None,
        maybe_wide: None,
        maybe_maybe: None,
        maybe_maybe_wide: None,
        shape: Shape::Empty,
        shapes: Vec::new(),
        shade: Colour::DarkBlue,
        permission: Permission::default(),
        outcome: Ok(1),
        outcome_ok: Ok(1),
        outcome_err: Ok(()),
        outcome_bare: Ok(()),
        r#type: Amount {
            cents: 100,
            currency: "EUR".to_owned(),
        },
    }
}

fn special() -> Everything {
    Everything {
        large: i64::MIN,
        u_large: u64::MAX,
        single: f32::MIN_POSITIVE,
        double: f64::MAX,
        maybe: Some(0),
        maybe_wide: Some(u64::MAX),
        maybe_maybe: Some(None),
        maybe_maybe_wide: Some(Some(None)),
        shape: Shape::Circle(-0.5),
        shapes: vec![
            Shape::Empty,
            Shape::Circle(1e300),
            Shape::Polygon(vec![Point { x: -1, y: i32::MAX }]),
            Shape::Big((1 << 53) + 1),
            Shape::Maybe(None),
            Shape::Maybe(Some(3)),
            Shape::Pair((u64::MAX, false)),
        ],
        permission: Permission {
            run_it: true,
            read: true,
            ..Permission::default()
        },
        outcome: Err("no".to_owned()),
        outcome_ok: Err(()),
        outcome_err: Err(vec![1, 2, 3]),
        outcome_bare: Err(()),
        ..plain()
    }
}

fn deep() -> Everything {
    Everything {
        large: (1 << 53) + 1,
        u_large: 1 << 53,
        single: 16_777_216.0,
        maybe_maybe: Some(Some(String::new())),
        maybe_maybe_wide: Some(Some(Some(u64::MAX))),
        ..special()
    }
}

/// What Rust writes is what the host reads; what the host writes is what Rust reads; and nothing is lost on the way.
#[track_caller]
fn survives<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T, ty: &Type) {
    let text = serde_json::to_string(value).unwrap();
    let read = from_json(&text, ty, "value", &PayloadLimits::default())
        .unwrap_or_else(|error| panic!("{error}\n{text}"));
    let canonical = to_json(&read, ty).unwrap();
    assert_eq!(
        &serde_json::from_str::<T>(&canonical).unwrap(),
        value,
        "{canonical}"
    );
    let again = from_json(
        &serde_json::to_string(value).unwrap(),
        ty,
        "value",
        &PayloadLimits::default(),
    )
    .unwrap();
    assert_eq!(to_json(&again, ty).unwrap(), canonical);
}

#[test]
fn every_kind_of_value_survives_the_way_to_the_host_and_back() {
    for value in [plain(), special(), deep()] {
        survives(&value, &everything_type());
    }
}

#[test]
fn the_json_of_a_value_is_as_documented() {
    let json = serde_json::to_value(special()).unwrap();
    let field = |name: &str| json[name].clone();
    assert_eq!(field("uLarge"), "18446744073709551615");
    assert_eq!(field("bytes"), "AP8H");
    assert_eq!(field("pin"), serde_json::json!([1, 2, 3]));
    assert_eq!(field("maybeMaybe"), serde_json::json!({"some": null}));
    assert_eq!(
        field("maybeMaybeWide"),
        serde_json::json!({"some": {"some": null}})
    );
    assert_eq!(
        field("shape"),
        serde_json::json!({"tag": "circle", "val": -0.5})
    );
    assert_eq!(field("shapes")[0], serde_json::json!({"tag": "empty"}));
    assert_eq!(field("shade"), "dark-blue");
    assert_eq!(field("permission"), serde_json::json!(["read", "run-it"]));
    assert_eq!(field("outcomeErr"), serde_json::json!({"err": "AQID"}));
    assert_eq!(field("outcomeBare"), serde_json::json!({"err": null}));
    assert_eq!(
        field("type"),
        serde_json::json!({"cents": 100, "currency": "EUR"})
    );
    let plain = serde_json::to_value(plain()).unwrap();
    assert!(
        plain.get("maybe").is_none(),
        "an option that is none is left out"
    );
}

#[test]
fn references_bear_the_full_names_and_the_types() {
    let echo: WorkflowRef<Everything, Everything> = kinds::ECHO;
    assert_eq!(echo.name(), "test:kinds/kinds.echo");
    let nothing: WorkflowRef<(), ()> = kinds::NOTHING;
    assert_eq!(nothing.encode(&()).unwrap(), "null");
    let bare: WorkflowRef<(), ()> = kinds::BARE;
    assert_eq!(bare.decode("null").unwrap(), ());
    let keyword: WorkflowRef<Vec<u8>, ()> = kinds::LOOP;
    assert_eq!(
        (keyword.name(), keyword.encode(&vec![1]).unwrap().as_str()),
        ("test:kinds/kinds.loop", "\"AQ==\"")
    );
    let error: kinds::LoopError = Shape::Empty;
    assert_eq!(error, Shape::Empty);
    let error: kinds::SwapError = "a text".to_owned();
    assert_eq!(error, "a text");
}

#[test]
fn bare_inputs_and_outputs_take_their_forms_too() {
    let count: WorkflowRef<kinds::OrderId, u64> = kinds::COUNT;
    assert_eq!(count.encode(&u64::MAX).unwrap(), "\"18446744073709551615\"");
    assert_eq!(
        (
            count.decode("7").unwrap(),
            count.decode("\"18446744073709551615\"").unwrap()
        ),
        (7, u64::MAX)
    );
    let swap: WorkflowRef<(u64, u64), (u64, u64)> = kinds::SWAP;
    assert_eq!(
        swap.encode(&(1, u64::MAX)).unwrap(),
        "[1,\"18446744073709551615\"]"
    );
    assert_eq!(swap.decode("[\"1\",2]").unwrap(), (1, 2));
}

#[test]
fn what_has_no_json_form_is_an_error_and_not_null() {
    for (single, double) in [(f32::NAN, 0.0), (0.0, f64::INFINITY)] {
        let value = Everything {
            single,
            double,
            ..plain()
        };
        let error = serde_json::to_string(&value).unwrap_err().to_string();
        assert!(error.contains("must be finite"), "{error}");
    }
}

#[test]
fn what_is_not_of_the_type_is_not_read() {
    let wrong = |json: &str| serde_json::from_str::<Shape>(json).unwrap_err().to_string();
    assert!(wrong(r#"{"tag": "square"}"#).contains("unknown variant"));
    wrong(r#"{"tag": "circle"}"#);
    wrong(r#"{"tag": "big", "val": -1}"#);
    wrong(r#"{"tag": "pair", "val": [1]}"#);
    assert!(serde_json::from_str::<Permission>(r#"["read", "read"]"#).is_err());
    assert!(serde_json::from_str::<Permission>(r#"["fly"]"#).is_err());
    assert!(<As<Base64>>::deserialize::<Vec<u8>, _>(serde_json::json!("%")).is_err());
    assert!(
        Base64::deserialize(serde_json::json!([1]))
            .map(|_: Vec<u8>| ())
            .is_err()
    );
}

#[test]
fn a_field_that_a_newer_deployment_adds_is_passed_over() {
    let point: Point = serde_json::from_str(r#"{"x": 1, "y": 2, "z": 3}"#).unwrap();
    assert_eq!(point, Point { x: 1, y: 2 });
}

#[test]
fn the_examples_have_types_that_the_host_takes() {
    use payment::payments::{Currency, Item, PROCESS, Payment, ProcessError, Receipt};
    let item = record(vec![("sku", Type::String), ("price", Type::U32)]);
    let currency = Type::Enum(EnumType {
        name: None,
        cases: words(&["eur", "gbp", "usd"]),
    });
    let payment_type = record(vec![
        ("order-id", Type::U64),
        ("amount-cents", Type::U64),
        ("currency", currency),
        ("items", list(item)),
        ("settle-within-ms", option(Type::U64)),
    ]);
    let payment = Payment {
        order_id: u64::MAX,
        amount_cents: 1250,
        currency: Currency::Eur,
        items: vec![Item {
            sku: "tea".to_owned(),
            price: 1250,
        }],
        settle_within_ms: None,
    };
    survives(&payment, &payment_type);
    survives(
        &Payment {
            settle_within_ms: Some(u64::MAX),
            ..payment
        },
        &payment_type,
    );
    let process: WorkflowRef<Payment, Receipt> = PROCESS;
    assert_eq!(process.name(), "payments:processing/payments.process");
    let problem = variant(vec![
        ("declined", Some(Type::String)),
        ("not-settled", None),
        ("stopped", Some(Type::String)),
    ]);
    for error in [
        ProcessError::Declined("no".to_owned()),
        ProcessError::NotSettled,
    ] {
        survives(&error, &problem);
    }

    use onboarding::accounts::{Account, NewUser, ONBOARD};
    let onboard: WorkflowRef<NewUser, Account> = ONBOARD;
    assert_eq!(onboard.name(), "users:onboarding/accounts.onboard");

    use approval::approvals::{APPROVE, Decision, Request};
    let approve: WorkflowRef<Request, Decision> = APPROVE;
    assert_eq!(approve.name(), "hr:approvals/approvals.approve");
    let decision = variant(vec![
        ("approved", Some(list(Type::String))),
        ("refused", Some(Type::String)),
    ]);
    survives(&Decision::Approved(vec!["Ada".to_owned()]), &decision);
}
