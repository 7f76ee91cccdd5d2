use std::path::{Path, PathBuf};

use super::*;
use crate::describe::DescribeError;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The contract that stands in a directory.
fn read(directory: &Path) -> (String, BTreeMap<String, Items>) {
    let mut files = SourceMap::default();
    files.push_dir(directory).unwrap();
    let mut resolve = Resolve::default();
    let package = resolve.push_dir(directory).unwrap().0;
    let version = resolve.packages[package].name.version.as_ref().unwrap();
    (version.to_string(), interfaces(files).unwrap())
}

/// The released contracts, which are kept.
fn kept() -> Vec<PathBuf> {
    let at = root().join("tests/fixtures/contract");
    let entries = std::fs::read_dir(at).unwrap();
    let kept: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path().join("wit"))
        .collect();
    assert!(!kept.is_empty());
    kept
}

/// What a contract has taken away from an older one, or changed in it.
fn broken(
    version: &str,
    kept: &BTreeMap<String, Items>,
    today: &BTreeMap<String, Items>,
) -> Vec<String> {
    let none = Items::new();
    let mut broken = Vec::new();
    for (interface, items) in kept {
        let offered = today.get(interface).unwrap_or(&none);
        for (name, was) in items {
            let is = offered.get(name);
            if is != Some(was) {
                let is = is.cloned().flatten();
                broken.push(format!(
                    "{interface}.{name} was {} in {version} and is {}: components that were built for {version} must run for ever, so what is \
                     changed needs another version of the contract (0.2, or a major one) beside this one; leave it as it was and add something \
                     with another name",
                    was.as_deref().unwrap_or_default(),
                    is.as_deref().unwrap_or("not there any more")
                ));
            }
        }
    }
    broken
}

#[test]
fn the_contract_only_adds_to_what_was_released() {
    let (version, today) = read(&root().join("wit"));
    assert_eq!(version, CONTRACT_VERSION);
    for directory in kept() {
        let (kept_version, kept) = read(&directory);
        let (theirs, ours) = (numbers(&kept_version), numbers(&version));
        assert_eq!(
            theirs.map(track),
            ours.map(track),
            "{}",
            directory.display()
        );
        let broken = broken(&kept_version, &kept, &today);
        assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
    }
}

#[test]
fn a_release_that_adds_to_the_contract_has_another_version() {
    let (version, today) = read(&root().join("wit"));
    for directory in kept() {
        let (kept_version, kept) = read(&directory);
        if kept_version == version {
            let added = broken("today", &today, &kept);
            assert!(
                added.is_empty(),
                "{version} is released; the package in wit/ that adds to it is the next patch: \n{}\n",
                added.join("\n")
            );
        }
    }
}

#[test]
fn what_is_changed_in_a_contract_is_named() {
    let interfaces_of = |text: &str| {
        let mut files = SourceMap::default();
        files.push_str("changed.wit", format!("package a:b@0.1.0; {text}"));
        interfaces(files).unwrap()
    };
    let before = interfaces_of(
        "interface i {
            resource r { constructor(); set: func(of: u32); }
            record k { a: u8, b: option<string> }
            variant v { one(k), two }
            type t = v;
            run: func(k: k, r: borrow<r>) -> result<t, string>;
            stop: func();
        }
        interface gone { run: func(); }",
    );
    assert_eq!(broken("0.1.0", &before, &before), Vec::<String>::new());
    let added = interfaces_of(
        "interface i {
            resource r { constructor(); set: func(of: u32); set-more: func(of: u32); }
            record k { a: u8, b: option<string> }
            record more { a: u8 }
            variant v { one(k), two }
            type t = v;
            run: func(k: k, r: borrow<r>) -> result<t, string>;
            stop: func();
            go-on: func() -> more;
        }
        interface gone { run: func(); }
        interface come { run: func(); }",
    );
    assert_eq!(broken("0.1.0", &before, &added), Vec::<String>::new());
    let changed = interfaces_of(
        "interface i {
            resource r { constructor(); set: func(of: u64); }
            record k { a: u8, b: option<string>, c: bool }
            variant v { one(k), two }
            type t = v;
            run: func(k: k, r: borrow<r>) -> result<t, string>;
        }",
    );
    let broken = broken("0.1.0", &before, &changed);
    let named: Vec<&str> = broken
        .iter()
        .map(|one| one.split(' ').next().unwrap())
        .collect();
    // A field more is another type of everything that has it.
    assert_eq!(
        named,
        [
            "gone.run", "i.k", "i.r.set", "i.run", "i.stop", "i.t", "i.v"
        ]
    );
    assert!(
        broken[2].contains("of: u32") && broken[2].contains("of: u64"),
        "{}",
        broken[2]
    );
    assert!(broken[4].contains("not there any more"), "{}", broken[4]);
}

#[test]
fn all_of_the_contract_is_built_in() {
    let files = std::fs::read_dir(root().join("wit")).unwrap();
    let files: BTreeSet<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    let built_in: BTreeSet<String> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(files, built_in);
    assert_eq!(OFFERED.as_ref().unwrap(), &read(&root().join("wit")).1);
}

#[test]
fn versions_that_fit_are_linked_and_others_are_not() {
    for name in [
        "dacapo:workflow/steps@0.1.0",
        "dacapo:workflow/nothing@7.0.1",
    ] {
        assert!(is_of_contract(name), "{name}");
    }
    for name in [
        "dacapo:workflow/steps",
        "dacapo:workflow/steps@0.1",
        "dacapo:workflow/steps@0.1.0-rc",
        "dacapo:other/steps@0.1.0",
    ] {
        assert!(!is_of_contract(name), "{name}");
    }
    assert_eq!(track([0, 1, 9]), track([0, 1, 0]));
    assert_eq!(track([2, 1, 9]), track([2, 0, 0]));
    assert_ne!(track([0, 2, 0]), track([0, 1, 0]));
}

/// What is wrong with a world that imports these interfaces.
fn lack_of(interfaces: &str, world: &str) -> Option<Lack> {
    let mut resolve = Resolve::default();
    let wit = format!(
        "package a:b; {interfaces} interface i {{ run: func(); }} world w {{ {world} export i; }}"
    );
    let package = resolve.push_str("test.wit", &wit).unwrap();
    let world = resolve.select_world(&[package], Some("w")).unwrap();
    lack_of_world(&resolve, &resolve.worlds[world])
}

#[test]
fn what_a_later_release_has_added_is_named_with_both_versions() {
    // A later one of which nothing is wanted that is not here.
    let same = lack_of(
        "package dacapo:workflow@0.1.9 { interface context { created-at: func() -> u64; } }",
        "import dacapo:workflow/context@0.1.9;",
    );
    assert_eq!(same, None);

    let added = lack_of(
        "package dacapo:workflow@0.1.9 {
            interface steps { resource attempt { cost: func() -> u32; } step-batch: func(n: u32); }
            interface agents { ask: func(); }
            interface log { enum level { trace, debug, info, warn, error, fatal } }
        }",
        "import dacapo:workflow/steps@0.1.9; import dacapo:workflow/agents@0.1.9; import dacapo:workflow/log@0.1.9;",
    );
    let expected = Lack {
        wanted: "0.1.9".to_owned(),
        missing: ["agents", "steps.attempt.cost", "steps.step-batch"]
            .map(str::to_owned)
            .to_vec(),
        other: vec!["log.level".to_owned()],
    };
    assert_eq!(added, Some(expected.clone()));
    assert_eq!(
        DescribeError::OtherContract(expected).to_string(),
        "the component was built for dacapo:workflow 0.1.9, and this dacapo offers 0.1.0, without `agents`, `steps.attempt.cost`, \
         `steps.step-batch`, where `log.level` has another type; use a newer dacapo for it, or build it with this one, whose WIT \
         `dacapo build` brings along"
    );
}

#[test]
fn a_contract_that_is_not_compatible_is_named_with_both_versions() {
    let other = |version: &str| {
        let lack = lack_of(
            &format!("package dacapo:workflow@{version} {{ interface log {{ log: func(); }} }}"),
            &format!("import dacapo:workflow/log@{version};"),
        );
        lack.unwrap().to_string()
    };
    for (version, advice) in [
        ("0.2.0", "use a newer dacapo"),
        ("1.0.0", "use a newer dacapo"),
        ("0.0.9", "build it again with this dacapo"),
    ] {
        let said = other(version);
        let built =
            format!("built for dacapo:workflow {version}, and this dacapo offers 0.1.0; {advice}");
        assert!(said.contains(&built), "{said}");
    }
}

#[test]
fn a_type_that_grows_without_end_is_compared_in_no_time() {
    let mut types = "record r0 { a: u8, b: u8 }".to_owned();
    for n in 1..40 {
        types += &format!(" record r{n} {{ a: r{}, b: r{} }}", n - 1, n - 1);
    }
    let lack = lack_of(
        &format!(
            "package dacapo:workflow@0.1.0 {{ interface log {{ {types} log: func(of: r39); }} }}"
        ),
        "import dacapo:workflow/log@0.1.0;",
    );
    assert_eq!(lack.unwrap().other, ["log.log"]);
}
