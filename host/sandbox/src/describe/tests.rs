use wit_parser::Resolve;

use super::{DescribeError, descriptor};
use dacapo_model::{Descriptor, Type};

/// Describes the world of a WIT text.
fn described(wit: &str) -> Result<Descriptor, DescribeError> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("test.wit", wit).expect("the WIT is valid");
    let world = resolve
        .select_world(&[package], Some("w"))
        .expect("there is a world `w`");
    descriptor(&resolve, world)
}

/// Describes a workflow `run` of an interface with these types.
fn of_interface(items: &str) -> Result<Descriptor, DescribeError> {
    described(&format!(
        "package a:b@1.2.3; interface i {{ {items} }} world w {{ export i; }}"
    ))
}

#[test]
fn names_have_no_version_and_docs_are_kept() {
    let descriptor = of_interface(
        "/// Orders it.
         run: func(order: string) -> u32;",
    )
    .unwrap();
    assert_eq!(
        (descriptor.package.as_str(), descriptor.version.as_deref()),
        ("a:b", Some("1.2.3"))
    );
    let workflow = &descriptor.workflows[0];
    assert_eq!(
        (workflow.name.as_str(), workflow.interface.as_str()),
        ("a:b/i.run", "a:b/i")
    );
    assert_eq!(workflow.docs.as_deref(), Some("Orders it."));
    assert_eq!(workflow.param.as_ref().unwrap().name, "order");
}

#[test]
fn bytes_are_bytes_by_any_name() {
    let descriptor =
        of_interface("type byte = u8; type blob = list<byte>; run: func(b: blob) -> list<u8>;")
            .unwrap();
    let workflow = &descriptor.workflows[0];
    assert_eq!(workflow.param.as_ref().unwrap().ty, Type::Bytes);
    assert_eq!(workflow.result, Some(Type::Bytes));
}

#[test]
fn types_that_have_no_json_form_are_named_with_their_place() {
    for (items, what, path) in [
        (
            "record r { s: list<stream<u8>> } run: func(x: r);",
            "stream",
            "x.s[]",
        ),
        (
            "run: func() -> tuple<u8, future<u8>>;",
            "future",
            "result[1]",
        ),
        ("run: func(x: option<error-context>);", "error-context", "x"),
    ] {
        let expected = DescribeError::UnsupportedType {
            function: "a:b/i.run".to_owned(),
            path: path.to_owned(),
            what,
        };
        assert_eq!(of_interface(items), Err(expected), "{items}");
    }
}

#[test]
fn resources_are_found_wherever_they_are() {
    for items in [
        "resource r; run: func(x: list<borrow<r>>);",
        "resource r; run: func() -> result<own<r>, string>;",
        "resource r { total: func() -> u32; } run: func();",
    ] {
        assert!(
            matches!(of_interface(items), Err(DescribeError::Resource { .. })),
            "{items}"
        );
    }
}

#[test]
fn events_are_the_cases_of_a_variant_of_that_name() {
    let names = |items: &str| -> Vec<Vec<(String, Option<Type>)>> {
        let workflows = of_interface(items).unwrap().workflows.into_iter();
        let events = workflows.map(|workflow| workflow.events.into_iter());
        events
            .map(|events| events.map(|event| (event.name, event.ty)).collect())
            .collect()
    };
    let event = |name: &str, ty| (name.to_owned(), ty);
    assert_eq!(
        names(
            "variant events { paid(u32), nudge } enum stop-events { hurry } run: func(); stop: func();"
        ),
        [
            vec![event("paid", Some(Type::U32)), event("nudge", None)],
            vec![event("hurry", None)],
        ],
        "its own come before those of the interface"
    );
    // Such a name may mean something else.
    assert_eq!(
        names("type events = list<string>; run: func(all: events);"),
        [vec![]]
    );
}

#[test]
fn an_event_of_a_type_without_a_json_form_is_refused_with_its_place() {
    let error = of_interface("variant events { paid(stream<u8>) } run: func();").unwrap_err();
    let expected = DescribeError::UnsupportedType {
        function: "a:b/i.run".to_owned(),
        path: "events.paid".to_owned(),
        what: "stream",
    };
    assert_eq!(error, expected);
}

#[test]
fn async_functions_are_refused() {
    assert_eq!(
        of_interface("run: async func();"),
        Err(DescribeError::Async {
            function: "a:b/i.run".to_owned()
        })
    );
}

#[test]
fn a_type_that_grows_without_end_is_refused() {
    let mut items = "record r0 { a: u8, b: u8 }".to_owned();
    for n in 1..40 {
        items += &format!(" record r{n} {{ a: r{}, b: r{} }}", n - 1, n - 1);
    }
    items += " run: func(x: r39);";
    assert!(matches!(
        of_interface(&items),
        Err(DescribeError::TypeTooLarge { .. })
    ));
}

#[test]
fn functions_without_an_interface_are_refused_with_a_hint() {
    let error = described("package a:b; world w { export run: func(); }").unwrap_err();
    assert_eq!(
        error,
        DescribeError::WorldFunction {
            function: "run".to_owned()
        }
    );
    let error =
        described("package a:b; world w { export i: interface { run: func(); } }").unwrap_err();
    assert!(
        matches!(error, DescribeError::UnnamedInterface { .. }),
        "{error}"
    );
}

#[test]
fn what_toolchains_leave_behind_is_no_workflow() {
    let left = "export init: func(shim: string, script: string) -> result<_, string>;
        export exports: interface { init: func(app-name: string) -> result<_, string>; }";
    let descriptor = described(&format!(
        "package a:b; interface i {{ run: func(); }} world w {{ {left} export i; }}"
    ))
    .unwrap();
    let names: Vec<&str> = descriptor
        .workflows
        .iter()
        .map(|workflow| workflow.name.as_str())
        .collect();
    assert_eq!(names, ["a:b/i.run"]);
    // Only what these tools are known to leave.
    described(
        "package a:b; interface i { run: func(); } world w { export init: func(order: string); export i; }",
    )
    .unwrap_err();
}

#[test]
fn interfaces_of_types_alone_are_no_workflows() {
    let error =
        described("package a:b; interface i { type t = u8; } world w { export i; }").unwrap_err();
    let exports = vec!["a:b/i".to_owned()];
    assert_eq!(error, DescribeError::NoWorkflows { exports });
}

#[test]
fn a_component_without_workflows_says_what_it_exports() {
    let program = "package a:b; package wasi:cli@0.2.0 { interface run { run: func() -> result; } }
               world w { export wasi:cli/run@0.2.0; }";
    let nothing = "package a:b; world w {}";
    let in_world = "package a:b; world w { export run: func(); }";
    for (wit, says) in [
        (program, "exports only `wasi:cli/run@0.2.0`"),
        (program, "build a library instead of a program"),
        (nothing, "exports nothing; expected an interface"),
        (in_world, "function `run` is exported by the world itself"),
    ] {
        let said = described(wit).unwrap_err().to_string();
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn two_packages_are_refused() {
    let wit =
        "package a:b; package c:d { interface j { run: func(); } } interface i { run: func(); }
               world w { export i; export c:d/j; }";
    assert!(matches!(
        described(wit),
        Err(DescribeError::TwoPackages { .. })
    ));
}

#[test]
fn what_a_runtime_exports_for_itself_is_no_workflow() {
    let wit = "package a:b; package wasi:cli@0.2.0 { interface run { run: func() -> result; } } interface i { go: func(); }
               world w { export i; export wasi:cli/run@0.2.0; }";
    let descriptor = described(wit).unwrap();
    assert_eq!(descriptor.workflows.len(), 1);
}

#[test]
fn functions_of_other_packages_are_workflows_that_it_calls() {
    let wit = "package a:b; package c:d@1.0.0 { interface j { run: func(of: u32) -> string; } } interface i { run: func(); }
               world w { import c:d/j@1.0.0; export i; }";
    let children = described(wit).unwrap().children;
    assert_eq!(children.len(), 1);
    assert_eq!(children[0].name, "c:d/j.run");
    assert_eq!(children[0].param.as_ref().unwrap().ty, Type::U32);
    assert_eq!(children[0].result, Some(Type::String));
}

#[test]
fn imports_that_can_be_no_workflows_are_named() {
    for (import, expected) in [
        ("import loose: func();", "loose"),
        ("import inline: interface { run: func(); }", "inline"),
        ("import c:d/j;", "it may have one"),
    ] {
        let wit = format!(
            "package a:b; package c:d {{ interface j {{ run: func(a: u32, b: u32); }} }} interface i {{ run: func(); }}
             world w {{ {import} export i; }}"
        );
        let error = described(&wit).unwrap_err().to_string();
        assert!(error.contains(expected), "{import}: {error}");
    }
}
