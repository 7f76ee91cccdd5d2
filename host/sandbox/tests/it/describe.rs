//! What a component says of itself, and what is wrong with those that cannot be deployed.

use dacapo_sandbox::{DescribeError, describe};
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::support::{Guest, Run, guest, output, probe};

fn refusal(name: &str) -> DescribeError {
    describe(&guest(name)).expect_err("the guest is bad")
}

#[test]
fn the_probe_is_described_with_its_types() {
    let descriptor = &probe().described.descriptor;
    assert_eq!(
        (descriptor.package.as_str(), descriptor.version.as_deref()),
        ("test:probe", Some("1.0.0"))
    );
    let find = |name: &str| {
        descriptor
            .workflows
            .iter()
            .find(|workflow| workflow.name == name)
            .unwrap()
    };
    let naps = find("test:probe/durable.sleeps");
    assert_eq!(
        (naps.interface.as_str(), naps.function.as_str()),
        ("test:probe/durable", "sleeps")
    );
    assert_eq!(naps.param.as_ref().unwrap().name, "naps");
    assert_eq!(naps.param.as_ref().unwrap().ty.to_string(), "naps");
    assert_eq!(
        naps.result.as_ref().unwrap().to_string(),
        "result<_, string>"
    );
    assert!(find("test:probe/shapes.nothing").param.is_none());
    assert!(
        descriptor
            .imports
            .iter()
            .any(|import| import == "dacapo:workflow/steps@0.1.0"),
        "{:?}",
        descriptor.imports
    );
    assert_eq!(probe().described.digest.len(), 64);
}

#[test]
fn two_parameters_are_refused() {
    let error = refusal("bad_two_params");
    assert!(
        matches!(error, DescribeError::TooManyParameters { count: 2, .. }),
        "{error}"
    );
}

#[test]
fn resources_are_refused() {
    let error = refusal("bad_resource");
    assert!(matches!(error, DescribeError::Resource { .. }), "{error}");
}

#[test]
fn imports_that_the_host_does_not_have_are_named() {
    let error = refusal("bad_import");
    assert!(
        matches!(error, DescribeError::UnknownImports { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("`dacapo:"), "{error}");
}

#[test]
fn a_component_without_workflows_is_refused() {
    let refused = refusal("bad_empty");
    assert!(
        matches!(refused, DescribeError::NoWorkflows { .. }),
        "{refused}"
    );
}

#[test]
fn what_is_not_wasm_is_refused_with_its_first_bytes() {
    assert_eq!(
        describe(b"#!/bin/sh\necho").unwrap_err().to_string(),
        "this is not wasm: it begins with `#!/bin/sh\\necho`, a component with `\\0asm`; give the .wasm file that your toolchain \
         writes"
    );
    assert!(
        describe(b"")
            .unwrap_err()
            .to_string()
            .contains("the file is empty")
    );
}

#[test]
fn damaged_wasm_is_refused() {
    let mut bytes = guest("probe");
    bytes.truncate(bytes.len() / 2);
    let Err(DescribeError::Invalid { message }) = describe(&bytes) else {
        panic!("half a component was taken")
    };
    let says = format!("{} bytes, and is damaged or cut short", bytes.len());
    assert!(message.contains(&says), "{message}");
    let mut bytes = guest("probe");
    bytes[4] = 99;
    assert!(describe(&bytes).is_err());
}

#[test]
fn more_than_can_be_stored_is_refused_before_it_is_read() {
    let bytes = vec![0; (256 << 20) + 1];
    assert_eq!(
        describe(&bytes).unwrap_err().to_string(),
        "expected a component of at most 256 MiB, got 268435457 bytes; leave debug sections out, or have the code read its data in a step"
    );
}

#[test]
fn a_core_module_without_types_is_told_how_to_become_a_component() {
    let error = describe(b"\0asm\x01\0\0\0").unwrap_err();
    assert_eq!(error, DescribeError::NoTypeInfo);
    assert!(error.to_string().contains("wasm32-wasip2"), "{error}");
}

#[tokio::test]
async fn a_core_module_with_types_becomes_a_component_that_runs() {
    let mut resolve = Resolve::default();
    let wit = "package test:probe@1.0.0; interface tiny { answer: func() -> u32; } world tiny-world { export tiny; }";
    let package = resolve.push_str("tiny.wit", wit).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    let name = b"test:probe/tiny@1.0.0#answer";
    // One function of type () -> i32 that returns 42, exported under the name that the world gives it.
    let mut module = b"\0asm\x01\0\0\0\x01\x05\x01\x60\0\x01\x7f\x03\x02\x01\0".to_vec();
    module.extend([7, name.len() as u8 + 4, 1, name.len() as u8]);
    module.extend(name);
    module.extend(b"\0\0\x0a\x06\x01\x04\0\x41\x2a\x0b");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();

    let tiny = Guest::new(&module);
    assert_ne!(tiny.described.component, module);
    assert_eq!(
        output(Run::new("tiny.answer", "null").go_on(&tiny).await),
        "42"
    );
}
