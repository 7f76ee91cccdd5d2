//! What is written, against files that were accepted, and in front of the languages' own compilers and type checkers.
//!
//! `INSTA_UPDATE=always` accepts what is written now.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use dacapo_model::Descriptor;
use dacapo_refs::{RefsError, Wit, json_schema, python, rust, typescript};
use dacapo_sandbox::describe_interfaces;

/// The accepted Rust is Rust, and what it says is of the types that it should be.
mod accepted {
    pub mod kinds {
        include!("golden/kinds.rs");
    }
    pub mod clashes {
        include!("golden/clashes.rs");
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(wit: &str, world: Option<&str>) -> Result<(Wit, Descriptor), RefsError> {
    let wit = Wit::read(&root().join(wit), world)?;
    let interfaces = wit.interfaces.iter().copied();
    let descriptor = describe_interfaces(&wit.resolve, wit.package, interfaces).unwrap();
    Ok((wit, descriptor))
}

const KINDS: &str = "client/tests/wit";
const CLASHES: &str = "host/refs/tests/wit/clashes.wit";
const ORDER: &str = "examples-guests/order/wit";

#[track_caller]
fn is_accepted(file: &str, text: &str) {
    let path = root().join(file);
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(&path, text).unwrap();
    }
    let accepted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        text, accepted,
        "{file} says something else; INSTA_UPDATE=always accepts what is written now"
    );
}

#[test]
fn every_kind_of_type_is_written_as_it_was_accepted() {
    for (name, wit, world) in [("kinds", KINDS, None), ("clashes", CLASHES, Some("both"))] {
        let (wit, descriptor) = read(wit, world).unwrap();
        let golden = |end: &str| format!("host/refs/tests/golden/{name}.{end}");
        is_accepted(&golden("ts"), &typescript(&descriptor));
        is_accepted(&golden("py"), &python(&descriptor));
        is_accepted(
            &golden("json"),
            &format!("{:#}\n", json_schema(&descriptor)),
        );
        is_accepted(&golden("rs"), &rust(&wit, &|_| true).unwrap());
    }
}

#[test]
fn the_examples_have_the_references_of_their_workflow() {
    let (_, descriptor) = read(ORDER, None).unwrap();
    is_accepted(
        "clients/typescript/examples/orders.ts",
        &typescript(&descriptor),
    );
    is_accepted("clients/python/examples/orders.py", &python(&descriptor));
}

#[test]
fn the_rust_that_is_written_says_what_the_macro_says() {
    use accepted::{clashes, kinds};
    let echo: dacapo_client::WorkflowRef<kinds::kinds::Everything, kinds::kinds::Everything> =
        kinds::kinds::ECHO;
    assert_eq!(echo.name(), "test:kinds/kinds.echo");
    let take: dacapo_client::WorkflowRef<clashes::stock::Item, clashes::stock::Ref> =
        clashes::stock::TAKE;
    assert_eq!(take.name(), "test:clashes/stock.take");
    let item = clashes::stock::Item {
        sku: "tea".to_owned(),
        from: "Assam".to_owned(),
        class: Some(None),
    };
    assert_eq!(
        take.encode(&item).unwrap(),
        r#"{"sku":"tea","from":"Assam","class":{"some":null}}"#
    );
    let wait: dacapo_client::WorkflowRef<(), _> = clashes::billing::AWAIT;
    let (sequence, literal) = wait.decode(r#"[["last"], null]"#).unwrap();
    assert!(sequence.last && !sequence.first && literal.is_none());
}

#[test]
fn only_what_is_wanted_is_written() {
    let (wit, _) = read(CLASHES, Some("both")).unwrap();
    let text = rust(&wit, &|name| name == "test:clashes/stock.why").unwrap();
    assert!(
        text.contains("stock.why") && !text.contains("billing.take"),
        "{text}"
    );
    let (_, stock) = read(CLASHES, Some("only-stock")).unwrap();
    let text = typescript(&stock);
    // With one interface nothing needs to be told apart.
    assert!(
        text.contains("export const TAKE = ref<Item, Ref, AnyEvents>(\"test:clashes/stock.take\")"),
        "{text}"
    );
}

#[test]
fn the_schemas_of_values_can_be_followed() {
    let (_, descriptor) = read(CLASHES, Some("both")).unwrap();
    let schema = json_schema(&descriptor);
    for (name, parts) in schema["workflows"].as_object().unwrap() {
        let refs = parts
            .as_object()
            .unwrap()
            .iter()
            .filter(|(part, _)| *part != "description" && *part != "events")
            .map(|(_, target)| target["$ref"].as_str().unwrap());
        for target in refs {
            let pointer = target.strip_prefix('#').unwrap();
            assert!(schema.pointer(pointer).is_some(), "{name}: {target}");
        }
    }
    let paid = &schema["workflows"]["test:clashes/billing.take"]["events"]["paid"]["$ref"];
    assert_eq!(paid, "#/$defs/billing.take.event.paid");
}

#[test]
fn worlds_that_are_not_there_and_wit_without_workflows_are_errors_that_help() {
    let says =
        |wit: &str, world: Option<&str>| read(wit, world).map(|_| ()).unwrap_err().to_string();
    let unknown = says(CLASHES, Some("none"));
    assert!(
        unknown.contains("has no world none; it has both, only-stock, nothing"),
        "{unknown}"
    );
    let empty = says(CLASHES, Some("nothing"));
    assert!(
        empty.contains("no workflows: the world nothing of") && empty.contains("write `export`"),
        "{empty}"
    );
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("broken.wit");
    std::fs::write(&file, "package a:b; interface i { f: fun(); }").unwrap();
    let broken = Wit::read(&file, None).unwrap_err().to_string();
    assert!(
        broken.contains("broken.wit") && broken.contains("expected"),
        "{broken}"
    );
}

/// Tests that cannot be made here say so past the capture of their output, and do not fail, unless all languages are required.
#[track_caller]
fn skipped(what: &str, because: &str) {
    let required = std::env::var("DACAPO_LANGUAGES").is_ok_and(|value| value == "required");
    assert!(!required, "{what}: {because}; type: ./x setup");
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what}: {because}");
}

#[track_caller]
fn succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn works(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

#[test]
fn the_typescript_passes_its_compiler() {
    let local = root().join("clients/typescript/node_modules/.bin/tsc");
    let tsc = if local.exists() {
        local
    } else {
        PathBuf::from("tsc")
    };
    if !works(Command::new(&tsc).arg("--version")) {
        return skipped(
            "type checking the TypeScript",
            "tsc is neither in PATH nor in clients/typescript; `npm install` there brings it",
        );
    }
    let directory = tempfile::tempdir().unwrap();
    for name in ["kinds", "clashes"] {
        let from = root().join(format!("host/refs/tests/golden/{name}.ts"));
        std::fs::copy(from, directory.path().join(format!("{name}.ts"))).unwrap();
    }
    std::fs::copy(
        root().join("clients/typescript/examples/orders.ts"),
        directory.path().join("orders.ts"),
    )
    .unwrap();
    std::fs::write(directory.path().join("uses.ts"), USES_TS).unwrap();
    let client = root().join("clients/typescript/src/index.ts");
    std::fs::copy(client, directory.path().join("client.ts")).unwrap();
    let config = r#"{
        "compilerOptions": {
            "target": "es2022", "lib": ["es2022"], "module": "nodenext", "moduleResolution": "nodenext", "strict": true,
            "noUnusedLocals": true, "noEmit": true, "types": [], "paths": { "dacapo-client": ["./client.ts"] }
        },
        "include": ["*.ts"]
    }"#;
    std::fs::write(directory.path().join("tsconfig.json"), config).unwrap();
    std::fs::write(
        directory.path().join("package.json"),
        r#"{"type": "module"}"#,
    )
    .unwrap();
    succeeds(Command::new(&tsc).arg("-p").arg(directory.path()));
}

/// What fits passes, and what does not fit does not.
const USES_TS: &str = r#"
import { Dacapo, type Queryable } from "dacapo-client";
import { AWAIT, BILLING_TAKE, STOCK_TAKE, WHY } from "./clashes.js";
import { COUNT, ECHO, NOTHING, type Everything, type Shape } from "./kinds.js";
import { PLACE } from "./orders.js";

export async function uses(database: Queryable, everything: Everything): Promise<void> {
  const dacapo = new Dacapo(database);
  await dacapo.start(NOTHING, null);
  const shape: Shape = { tag: "polygon", val: [{ x: 1, y: 2 }] };
  const echoed: Everything = await dacapo.output(await dacapo.start(ECHO, { ...everything, shape, maybe: null }));
  const pin: [number, number, number] = echoed.pin;
  await dacapo.start(COUNT, pin.length > 2 ? "18446744073709551615" : 7);
  await dacapo.start(STOCK_TAKE, { sku: "tea", from: "Assam", class: { some: null } });
  await dacapo.start(WHY, { str: 1, text: "because" });
  const billed = await dacapo.start(BILLING_TAKE, { cents: 7 });
  await dacapo.sendEvent(billed, "paid", { cents: 7 });
  await dacapo.sendEvent(billed, "not-paid", null);
  const [flags, literal] = await dacapo.output(AWAIT.run("x"));
  if (flags.includes("first") && literal?.tag === "some") literal.val.toFixed();
  const receipt = await dacapo.output(PLACE.run("x"));
  receipt.tracking.length;
  // @ts-expect-error
  await dacapo.start(NOTHING, 7);
  // @ts-expect-error
  await dacapo.start(STOCK_TAKE, { sku: "tea" });
  // @ts-expect-error
  await dacapo.sendEvent(billed, "not-paid", 7);
  // @ts-expect-error
  await dacapo.sendEvent(billed, "refunded", null);
  // @ts-expect-error
  receipt.trackings;
}
"#;

#[test]
fn the_python_passes_its_compiler_and_its_type_checker() {
    let version = "import sys; sys.exit(sys.version_info < (3, 11))";
    if !works(Command::new("python3").args(["-c", version])) {
        return skipped(
            "compiling the Python",
            "python3 is not in PATH, or is older than 3.11",
        );
    }
    let directory = tempfile::tempdir().unwrap();
    for name in ["kinds", "clashes"] {
        let from = root().join(format!("host/refs/tests/golden/{name}.py"));
        std::fs::copy(from, directory.path().join(format!("{name}.py"))).unwrap();
    }
    std::fs::copy(
        root().join("clients/python/examples/orders.py"),
        directory.path().join("orders.py"),
    )
    .unwrap();
    std::fs::write(directory.path().join("uses.py"), USES_PY).unwrap();
    let client = root().join("clients/python");
    let python = || {
        let mut command = Command::new("python3");
        command
            .current_dir(directory.path())
            .env("PYTHONPATH", &client)
            .env("MYPYPATH", &client)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .arg("-m");
        command
    };
    for name in ["kinds", "clashes", "orders"] {
        succeeds(python().args(["py_compile", &format!("{name}.py")]));
    }
    // What a TypedDict is made of is only looked at when the module runs.
    succeeds(python().arg("uses"));
    if !works(python().args(["mypy", "--version"])) {
        return skipped("type checking the Python", "python3 has no mypy");
    }
    succeeds(python().args([
        "mypy",
        "--strict",
        "--warn-unused-ignores",
        "--cache-dir=cache",
        "uses.py",
    ]));
}

const USES_PY: &str = r#"
from dacapo_client import Dacapo
from clashes import AWAIT, BILLING_TAKE, BILLING_TAKE_NOT_PAID, BILLING_TAKE_PAID, STOCK_TAKE, WHY
from kinds import COUNT, ECHO, NOTHING, Everything, Shape
from orders import PLACE


def uses(dacapo: Dacapo, everything: Everything) -> None:
    dacapo.start(NOTHING(None))
    shape: Shape = {"tag": "polygon", "val": [{"x": 1, "y": 2}]}
    everything["shape"] = shape
    echoed: Everything = dacapo.output(dacapo.start(ECHO(everything)))
    dacapo.start(COUNT(echoed["uLarge"]))
    dacapo.start(STOCK_TAKE({"sku": "tea", "from": "Assam", "class": {"some": None}}))
    dacapo.start(STOCK_TAKE({"sku": "tea", "from": "Assam"}))
    dacapo.start(WHY({"str": 1, "text": "because"}))
    billed = dacapo.start(BILLING_TAKE({"cents": 7}))
    dacapo.send_event(billed, BILLING_TAKE_PAID({"cents": 7}))
    dacapo.send_event(billed, BILLING_TAKE_NOT_PAID(None))
    first, *_ = dacapo.output(AWAIT.run("x"))
    str(first)
    receipt = dacapo.output(PLACE.run("x"))
    receipt["tracking"].upper()
    dacapo.start(NOTHING(7))  # type: ignore[arg-type]
    dacapo.start(STOCK_TAKE({"sku": "tea"}))  # type: ignore[typeddict-item]
    dacapo.send_event(billed, BILLING_TAKE_NOT_PAID(7))  # type: ignore[arg-type]
    receipt["trackings"]  # type: ignore[typeddict-item]
"#;
