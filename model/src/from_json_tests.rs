//! What is said about input that does not fit, word for word.

use super::*;
use crate::schema::{Field, FlagsType};

fn record(name: &str, fields: Vec<(&str, Type)>) -> Type {
    let fields = fields
        .into_iter()
        .map(|(name, ty)| Field {
            name: name.to_owned(),
            ty,
            docs: None,
        })
        .collect();
    Type::Record(RecordType {
        name: Some(name.to_owned()),
        fields,
        docs: None,
    })
}

fn list(item: Type) -> Type {
    Type::List(Box::new(item))
}

fn option(inner: Type) -> Type {
    Type::Option(Box::new(inner))
}

fn order() -> Type {
    let item = record("item", vec![("sku", Type::String), ("price", Type::U32)]);
    record(
        "order",
        vec![
            ("id", Type::String),
            ("items", list(item)),
            ("gift-note", option(Type::String)),
        ],
    )
}

fn read(text: &str, ty: &Type) -> Result<Value, InputError> {
    from_json(text, ty, "input", &PayloadLimits::default())
}

#[track_caller]
fn says(text: &str, ty: &Type, message: &str) {
    assert_eq!(read(text, ty).unwrap_err().to_string(), message);
}

#[test]
fn errors_name_the_path() {
    says(
        r#"{"id":"a","items":[{"sku":"x","price":1},{"sku":"y","price":2},{"sku":"z","price":"4"}]}"#,
        &order(),
        r#"input.items[2].price: expected u32, got "4""#,
    );
    says(
        r#"{"id":"a","items":[],"foo":1}"#,
        &order(),
        "input.foo: unknown field; expected one of id, items, giftNote",
    );
    says(
        r#"{"items":[]}"#,
        &order(),
        "input.id: missing, expected string",
    );
    says("[]", &order(), "input: expected order (an object), got []");
    says(
        r#"{"id":"a","items":[],"":1,"a b\n":2}"#,
        &order(),
        "input[\"\"]: unknown field; expected one of id, items, giftNote\n\
         input[\"a b\\n\"]: unknown field; expected one of id, items, giftNote",
    );
}

#[test]
fn option_fields_may_be_absent_or_null_and_are_written_as_null() {
    for text in [
        r#"{"id":"a","items":[]}"#,
        r#"{"giftNote":null,"items":[],"id":"a"}"#,
    ] {
        let value = read(text, &order()).unwrap();
        let canonical = crate::to_json(&value, &order());
        assert_eq!(
            canonical.as_deref(),
            Ok(r#"{"id":"a","items":[],"giftNote":null}"#)
        );
    }
}

#[test]
fn kebab_names_are_unknown_fields() {
    says(
        r#"{"id":"a","items":[],"gift-note":"x"}"#,
        &order(),
        "input.gift-note: unknown field; expected one of id, items, giftNote",
    );
}

#[test]
fn several_mistakes_are_said_at_once_but_not_all() {
    let error = read(r#"["a","b","c","d","e","f","g"]"#, &list(Type::U8))
        .unwrap_err()
        .to_string();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[4], r#"input[4]: expected u8, got "e""#);
}

#[test]
fn what_was_got_is_shown_shortened() {
    let long = "x".repeat(500_000);
    let error = read(&format!("{{\"a\":[\"{long}\"]}}"), &Type::U8)
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        format!("input: expected u8, got {{\"a\":[\"{}…", "x".repeat(52))
    );
    let many = vec!["1"; 100_000].join(",");
    let error = read(&format!("[{many}]"), &Type::U8)
        .unwrap_err()
        .to_string();
    assert!(error.chars().count() < 100, "{error}");
}

#[test]
fn integers_are_written_as_integers() {
    let hint = "integers are written without fraction, exponent and negative zero";
    says(
        "4.0",
        &Type::U32,
        &format!("input: expected u32, got 4.0: {hint}"),
    );
    says(
        "1e2",
        &Type::U32,
        &format!("input: expected u32, got 100.0: {hint}"),
    );
    says(
        "-0",
        &Type::S32,
        &format!("input: expected s32, got -0.0: {hint}"),
    );
    says(
        "1e19",
        &Type::U64,
        &format!("input: expected u64, got 1e19: {hint}"),
    );
    says("256", &Type::U8, "input: expected u8 (0 to 255), got 256");
    says(
        "-129",
        &Type::S8,
        "input: expected s8 (-128 to 127), got -129",
    );
    says(
        "18446744073709551616",
        &Type::U64,
        "input: expected u64 (0 to 18446744073709551615), got 1.8446744073709552e19",
    );
    assert_eq!(
        read("18446744073709551615", &Type::U64),
        Ok(Value::U64(u64::MAX))
    );
    assert_eq!(
        read("-9223372036854775808", &Type::S64),
        Ok(Value::S64(i64::MIN))
    );
}

#[test]
fn wide_integers_are_numbers_or_digits() {
    assert_eq!(
        read("\"18446744073709551615\"", &Type::U64),
        Ok(Value::U64(u64::MAX))
    );
    assert_eq!(
        read("\"-9223372036854775808\"", &Type::S64),
        Ok(Value::S64(i64::MIN))
    );
    assert_eq!(read("\"7\"", &Type::U64), Ok(Value::U64(7)));
    for text in [
        "\"+7\"", "\"07\"", "\"-0\"", "\"7.0\"", "\"\"", "\" 7\"", "\"x\"",
    ] {
        says(
            text,
            &Type::S64,
            &format!("input: expected s64, got {text}"),
        );
    }
    says(
        "\"18446744073709551616\"",
        &Type::U64,
        "input: expected u64 (0 to 18446744073709551615), got \"18446744073709551616\"",
    );
    says("\"7\"", &Type::U32, "input: expected u32, got \"7\"");
}

#[test]
fn floats_take_any_number_that_stays_finite() {
    assert_eq!(read("4", &Type::F64), Ok(Value::F64(4.0)));
    assert_eq!(read("-0", &Type::F64), Ok(Value::F64(-0.0)));
    assert_eq!(read("-0.0", &Type::F32), Ok(Value::F32(-0.0)));
    assert_eq!(read("0.1", &Type::F32), Ok(Value::F32(0.1)));
    says(
        "1e39",
        &Type::F32,
        "input: expected f32 (-3.4028235e38 to 3.4028235e38), got 1e39",
    );
    says("\"NaN\"", &Type::F64, "input: expected f64, got \"NaN\"");
    says(
        "1e400",
        &Type::F64,
        "input: not JSON: number out of range (line 1, column 5)",
    );
}

#[test]
fn chars_are_one_scalar_value() {
    assert_eq!(read("\"🎉\"", &Type::Char), Ok(Value::Char('🎉')));
    assert_eq!(
        read("\"\\ud83c\\udf89\"", &Type::Char),
        Ok(Value::Char('🎉'))
    );
    says(
        "\"ab\"",
        &Type::Char,
        "input: expected char (a string of one character), got \"ab\"",
    );
    says(
        "\"\"",
        &Type::Char,
        "input: expected char (a string of one character), got \"\"",
    );
}

#[test]
fn bytes_are_padded_base64() {
    assert_eq!(
        read("\"AAEC\"", &Type::Bytes),
        Ok(Value::Bytes(vec![0, 1, 2]))
    );
    assert_eq!(read("\"\"", &Type::Bytes), Ok(Value::Bytes(vec![])));
    // Missing padding, the other alphabet, bits that belong to no byte.
    for text in ["\"AA\"", "\"_-==\"", "\"AB==\"", "[0,1]"] {
        says(
            text,
            &Type::Bytes,
            &format!("input: expected list<u8> (a string of padded base64), got {text}"),
        );
    }
}

#[test]
fn tuples_and_fixed_lists_have_their_length() {
    says(
        "[1]",
        &Type::Tuple(vec![Type::U8, Type::U8]),
        "input: expected tuple<u8, u8> (an array of 2), got [1]",
    );
    says(
        "[1,2]",
        &Type::FixedList(Box::new(Type::U8), 3),
        "input: expected list<u8, 3> (an array of 3), got [1,2]",
    );
}

#[test]
fn variants_are_tagged() {
    let case = |name: &str, ty| Case {
        name: name.to_owned(),
        ty,
        docs: None,
    };
    let ty = Type::Variant(VariantType {
        name: Some("pay-by".to_owned()),
        cases: vec![case("cash", None), case("credit-card", Some(Type::String))],
        docs: None,
    });
    assert_eq!(read(r#"{"tag":"cash"}"#, &ty), Ok(Value::Variant(0, None)));
    assert_eq!(
        read(r#"{"val":"4111","tag":"credit-card"}"#, &ty),
        Ok(Value::Variant(
            1,
            Some(Box::new(Value::String("4111".to_owned())))
        ))
    );
    for (text, message) in [
        (
            r#""cash""#,
            r#"input: expected pay-by (an object with `tag`), got "cash""#,
        ),
        (
            "{}",
            "input.tag: missing, expected one of cash, credit-card; got {}",
        ),
        (
            r#"{"tag":1}"#,
            "input.tag: expected one of cash, credit-card, got 1",
        ),
        (
            r#"{"tag":"creditCard"}"#,
            r#"input.tag: expected one of cash, credit-card, got "creditCard""#,
        ),
        (
            r#"{"tag":"cash","val":null}"#,
            "input.val: unknown field; case `cash` has no payload",
        ),
        (
            r#"{"tag":"credit-card"}"#,
            "input.val: missing, expected string",
        ),
        (
            r#"{"tag":"credit-card","val":4}"#,
            "input.val: expected string, got 4",
        ),
        (
            r#"{"tag":"cash","x":4}"#,
            "input.x: unknown field; expected one of tag, val",
        ),
    ] {
        says(text, &ty, message);
    }
}

#[test]
fn enums_and_flags_are_names() {
    let names = vec!["small".to_owned(), "extra-large".to_owned()];
    let size = Type::Enum(EnumType {
        name: Some("size".to_owned()),
        cases: names.clone(),
    });
    assert_eq!(read("\"extra-large\"", &size), Ok(Value::Enum(1)));
    says(
        "\"XL\"",
        &size,
        "input: expected one of small, extra-large, got \"XL\"",
    );
    says(
        "1",
        &size,
        "input: expected one of small, extra-large, got 1",
    );

    let flags = Type::Flags(FlagsType {
        name: Some("sizes".to_owned()),
        flags: names,
    });
    assert_eq!(
        read("[\"extra-large\"]", &flags),
        Ok(Value::Flags(vec![false, true]))
    );
    says(
        "[\"small\",\"small\"]",
        &flags,
        "input[1]: flag \"small\" is there twice",
    );
    says(
        "[\"XL\"]",
        &flags,
        "input[0]: expected one of small, extra-large, got \"XL\"",
    );
    says(
        "{}",
        &flags,
        "input: expected sizes (an array of names), got {}",
    );
}

#[test]
fn some_none_differs_from_none() {
    let some = |value| Value::Option(Some(Box::new(value)));
    let twice = option(option(Type::U8));
    assert_eq!(read("null", &twice), Ok(Value::Option(None)));
    assert_eq!(
        read("{\"some\":null}", &twice),
        Ok(some(Value::Option(None)))
    );
    assert_eq!(read("{\"some\":4}", &twice), Ok(some(some(Value::U8(4)))));
    assert_eq!(
        read("{\"some\":{\"some\":null}}", &option(twice.clone())),
        Ok(some(some(Value::Option(None))))
    );
    says(
        "4",
        &twice,
        "input: expected option<option<u8>> (null or an object with `some`), got 4",
    );
    says(
        "{\"some\":\"x\"}",
        &twice,
        "input.some: expected u8, got \"x\"",
    );
}

#[test]
fn results_have_one_side() {
    let ty = Type::Result {
        ok: None,
        err: Some(Box::new(Type::String)),
    };
    assert_eq!(read("{\"ok\":null}", &ty), Ok(Value::Result(Ok(None))));
    assert_eq!(
        read("{\"err\":\"no\"}", &ty),
        Ok(Value::Result(Err(Some(Box::new(Value::String(
            "no".to_owned()
        ))))))
    );
    says(
        "{\"ok\":1}",
        &ty,
        "input.ok: expected null, since `ok` has no payload, got 1",
    );
    for text in [
        "{}",
        "{\"ok\":null,\"err\":\"no\"}",
        "{\"Ok\":null}",
        "null",
    ] {
        says(
            text,
            &ty,
            &format!(
                "input: expected result<_, string> (an object with either `ok` or `err`), got {text}"
            ),
        );
    }
}

#[test]
fn strings_of_any_unicode_survive() {
    let text = "\"\\u0000 é 🎉 \\u2028 \\\\ \\\"\"";
    assert_eq!(
        read(text, &Type::String),
        Ok(Value::String("\0 é 🎉 \u{2028} \\ \"".to_owned()))
    );
}

#[test]
fn malformed_text_says_where() {
    let ty = Type::String;
    says(
        "",
        &ty,
        "input: not JSON: EOF while parsing a value (line 1, column 0)",
    );
    says(
        "\"a\" x",
        &ty,
        "input: not JSON: trailing characters (line 1, column 5)",
    );
    says(
        "\"a\0b\"",
        &ty,
        "input: not JSON: control character (\\u0000-\\u001F) found while parsing a string (line 1, column 3)",
    );
    for text in ["\"\\ud800\"", "\"\\ud800\\ud800\"", "\"\\udc00\""] {
        let error = read(text, &ty).unwrap_err().to_string();
        assert!(error.starts_with("input: not JSON: "), "{error}");
        assert!(
            error.contains("surrogate") || error.contains("hex escape"),
            "{error}"
        );
    }
    says(
        "{\n  \"a\": {\"b\": 1, \"b\": 2}}",
        &ty,
        "input: duplicate key \"b\" in an object (line 2, column 19)",
    );
}

#[test]
fn two_hundred_thousand_brackets_are_an_error_and_no_more() {
    for (open, column) in [("[", 101), ("{\"a\":", 501)] {
        says(
            &open.repeat(200_000),
            &Type::String,
            &format!("input: JSON nests deeper than 100 levels (line 1, column {column})"),
        );
    }
    let deep_limits = PayloadLimits {
        max_depth: usize::MAX,
        ..PayloadLimits::default()
    };
    let text = "[".repeat(200_000);
    let error = from_json(&text, &Type::String, "input", &deep_limits).unwrap_err();
    assert!(
        error.to_string().contains("deeper than 120 levels"),
        "{error}"
    );
}

#[test]
fn nesting_up_to_the_limit_is_read() {
    let text = format!("{}{}", "[".repeat(100), "]".repeat(100));
    assert!(crate::Payload::new(text.clone(), &PayloadLimits::default()).is_ok());
    assert!(crate::Payload::new(format!("[{text}]"), &PayloadLimits::default()).is_err());
    let limits = PayloadLimits {
        max_depth: 120,
        ..PayloadLimits::default()
    };
    let text = format!("{}{}", "[".repeat(120), "]".repeat(120));
    assert!(crate::Payload::new(text, &limits).is_ok());
}

#[test]
fn duplicate_keys_are_found_among_many() {
    let mut members: Vec<String> = (0..1000).map(|n| format!("\"k{n}\":0")).collect();
    let text = format!("{{{}}}", members.join(","));
    assert!(crate::Payload::new(text, &PayloadLimits::default()).is_ok());
    // The same key, written another way.
    members.push("\"\\u006b3\":0".to_owned());
    let text = format!("{{{}}}", members.join(","));
    let error = crate::Payload::new(text, &PayloadLimits::default())
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("duplicate key \"k3\""), "{error}");
}
