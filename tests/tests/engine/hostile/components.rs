//! Components that no compiler makes, from their text: below the canonical ABI a guest may say anything.

/// Its own memory: texts and lists at places that the functions answer with.
const CORE: &str = r#"
    (memory (export "memory") 1)
    (table $table 1 funcref)
    ;; A list at 0 that is as long as can be said.
    (data (i32.const 0) "\00\00\00\00\ff\ff\ff\ff")
    ;; A text behind the end of all memory.
    (data (i32.const 8) "\00\ff\ff\ff\10\00\00\00")
    ;; A text of four bytes that is none.
    (data (i32.const 16) "\18\00\00\00\04\00\00\00a\ff\fez")
    ;; A text of two bytes.
    (data (i32.const 32) "\28\00\00\00\02\00\00\00ok")

    (func $loops (export "loops") (loop $again (br $again)))
    (func $descends (result i32) (i32.add (call $descends) (i32.const 1)))
    (func $one (@name "LONG-NAME") unreachable)

    (func (export "harmless"))
    (func (export "four-g") (result i32) (i32.const 0))
    (func (export "text-beyond") (result i32) (i32.const 8))
    (func (export "malformed-text") (result i32) (i32.const 16))
    (func (export "answer-beyond") (result i32) (i32.const 0xffff_fffc))
    (func (export "no-such-char") (result i32) (i32.const 0x110000))
    (func (export "descends") (result i32) (call $descends))
    (func (export "long-names") (call $one))
    (func (export "cleanup-loops") (result i32) (i32.const 32))
    (func (export "loops-behind") (param i32) (call $loops))
    (func (export "takes-text") (param i32 i32))
    (func (export "allocates-never") (param i32 i32 i32 i32) (result i32) (call $loops) (i32.const 0))
    (func (export "allocates-beyond") (param i32 i32 i32 i32) (result i32) (i32.const 0xffff_ff00))
    (func (export "grows-memory")
        (loop $again
            (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
            (br $again)))
    (func (export "grows-table")
        (loop $again
            (if (i32.eq (table.grow $table (ref.null func) (i32.const 100)) (i32.const -1)) (then unreachable))
            (br $again)))
"#;

/// Workflows: name, type, core function, and options of its lifting.
const WORKFLOWS: &[(&str, &str, &str, &str)] = &[
    ("harmless", "", "harmless", ""),
    ("four-g", "(result (list u8))", "four-g", ""),
    ("text-beyond", "(result string)", "text-beyond", ""),
    ("malformed-text", "(result string)", "malformed-text", ""),
    ("answer-beyond", "(result string)", "answer-beyond", ""),
    ("no-such-char", "(result char)", "no-such-char", ""),
    ("descends", "(result u32)", "descends", ""),
    ("long-names", "", "long-names", ""),
    ("grows-memory", "", "grows-memory", ""),
    ("grows-table", "", "grows-table", ""),
    (
        "cleanup-loops",
        "(result string)",
        "cleanup-loops",
        r#"(post-return (func $core "loops-behind"))"#,
    ),
    (
        "allocator-loops",
        r#"(param "text" string)"#,
        "takes-text",
        r#"(realloc (func $core "allocates-never"))"#,
    ),
    (
        "allocator-answers-beyond",
        r#"(param "text" string)"#,
        "takes-text",
        r#"(realloc (func $core "allocates-beyond"))"#,
    ),
];

/// `test:forged/core`: answers, allocators and clean-ups that are not what they should be.
pub fn forged() -> Vec<u8> {
    let core = CORE.replace("LONG-NAME", &"name".repeat(250_000));
    component("test:forged/core@1.0.0", &core, WORKFLOWS)
}

/// `test:starts/core`: an instance of it is never ready.
pub fn starts() -> Vec<u8> {
    let core = r#"
        (memory (export "memory") 1)
        (func $loops (export "loops") (loop $again (br $again)))
        (start $loops)
    "#;
    component(
        "test:starts/core@1.0.0",
        core,
        &[("loops", "", "loops", "")],
    )
}

fn component(interface: &str, core: &str, workflows: &[(&str, &str, &str, &str)]) -> Vec<u8> {
    let mut text = format!(
        "(component (core module $module {core}) (core instance $core (instantiate $module))"
    );
    let mut exports = String::new();
    for (name, ty, function, options) in workflows {
        text += &format!(
            r#"(func ${name} {ty} (canon lift (core func $core "{function}") (memory $core "memory") {options}))"#
        );
        exports += &format!(r#"(export "{name}" (func ${name}))"#);
    }
    text += &format!(r#"(instance $api {exports}) (export "{interface}" (instance $api)))"#);
    wat::parse_str(&text).unwrap()
}
