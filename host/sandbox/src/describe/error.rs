//! What can be wrong with a component, said so that its author knows what to do.

use super::COMPONENT_MAX_BYTES;
use crate::contract::{CONTRACT_VERSION, Lack};

/// The bytes are not a component that can be deployed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DescribeError {
    /// The file is something else.
    #[error(
        "this is not wasm: it begins with {start}, a component with `\\0asm`; give the .wasm file that your toolchain writes"
    )]
    NotWasm {
        /// The first bytes, as text where they are.
        start: String,
    },
    /// More than can be stored.
    #[error(
        "expected a component of at most {} MiB, got {bytes} bytes; leave debug sections out, or have the code read its data in a step",
        COMPONENT_MAX_BYTES >> 20
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The file begins like wasm and is not.
    #[error("this is not a valid component: {message}")]
    Invalid {
        /// What the validator said, with the offset.
        message: String,
    },
    /// A core module that does not say what its functions mean.
    #[error(
        "this is a core module without component type information: build for the target `wasm32-wasip2`, or run \
         `wasm-tools component embed` and `wasm-tools component new` on it"
    )]
    NoTypeInfo,
    /// A core module that cannot be made into a component.
    #[error(
        "this core module cannot be made into a component: {message}; build for the target `wasm32-wasip2` instead"
    )]
    Componentize {
        /// What the encoder said.
        message: String,
    },
    /// A WIT package in binary form.
    #[error(
        "this is a WIT package, not a component: it has types and no code; give the component that was built from it"
    )]
    WitPackage,
    /// Nothing to run.
    #[error(
        "no workflows: the component exports {}; expected an interface with functions: write `export` and the name of an interface \
         of your package in its world{}",
        shown(.exports), if .exports.iter().any(|name| name.starts_with("wasi:cli/run")) {
            ", and build a library instead of a program with a main function"
        } else {
            ""
        }
    )]
    NoWorkflows {
        /// What it exports.
        exports: Vec<String>,
    },
    /// A workflow has one input.
    #[error(
        "workflow `{function}` has {count} parameters, it may have one: put them into a record"
    )]
    TooManyParameters {
        /// The workflow's full name.
        function: String,
        /// How many it has.
        count: usize,
    },
    /// A resource lives in one instance, and a run outlives its instances.
    #[error(
        "workflow `{function}` has a resource at `{path}`: a run outlives its instance, so only plain values can go in and out; \
         pass an id or a record"
    )]
    Resource {
        /// The workflow's full name.
        function: String,
        /// Where it is.
        path: String,
    },
    /// A type that cannot be recorded.
    #[error(
        "workflow `{function}` has a {what} at `{path}`, which has no form in JSON: use a list or a record"
    )]
    UnsupportedType {
        /// The workflow's full name.
        function: String,
        /// Where it is.
        path: String,
        /// The kind of type.
        what: &'static str,
    },
    /// A type that the model refuses.
    #[error("workflow `{function}`: type at `{path}`: {message}")]
    InvalidType {
        /// The workflow's full name.
        function: String,
        /// Where it is.
        path: String,
        /// What is wrong with it.
        message: String,
    },
    /// A type that is too large to be written down.
    #[error(
        "workflow `{function}` has a type of more than {max} parts when it is written out: make it smaller"
    )]
    TypeTooLarge {
        /// The workflow's full name.
        function: String,
        /// How many parts there may be.
        max: usize,
    },
    /// Workflows are synchronous functions.
    #[error(
        "workflow `{function}` is an async function, which is not offered yet: remove `async`; waiting blocks no thread as it is"
    )]
    Async {
        /// The workflow's full name.
        function: String,
    },
    /// Imports of ours or of WASI that the host does not have.
    #[error(
        "the component imports what this host does not offer: {}; offered are `dacapo:workflow@{CONTRACT_VERSION}` and the interfaces of \
         WASI 0.2 for clocks, random, io, cli, filesystem, sockets and outgoing http", .names.join(", ")
    )]
    UnknownImports {
        /// The imports' names.
        names: Vec<String>,
    },
    /// It wants what another version of the contract has.
    #[error("{0}")]
    OtherContract(Lack),
    /// Imports of another package that are no interface of its own.
    #[error(
        "the component imports {}, which is no interface of a package: to call another deployment's workflows import the interface that \
         it exports", .names.join(", ")
    )]
    ForeignImports {
        /// The imports' names.
        names: Vec<String>,
    },
    /// A function that belongs to no interface.
    #[error(
        "function `{function}` is exported by the world itself: put it into an interface of your package and export that"
    )]
    WorldFunction {
        /// The function.
        function: String,
    },
    /// An interface that belongs to no package.
    #[error(
        "interface `{name}` is written inside the world: give it a place in your package, outside of the world, and export that"
    )]
    UnnamedInterface {
        /// The name under which it is exported.
        name: String,
    },
    /// A deployment is of one package.
    #[error(
        "the component exports interfaces of two packages, {first} and {second}: a deployment is of one; move them together or build two"
    )]
    TwoPackages {
        /// One of them.
        first: String,
        /// Another.
        second: String,
    },
}

/// What a component exports, for people.
fn shown(exports: &[String]) -> String {
    match exports {
        [] => "nothing".to_owned(),
        exports => format!(
            "only {}",
            exports
                .iter()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ")
        ),
    }
}

impl DescribeError {
    pub(crate) fn invalid(error: &wasmparser::BinaryReaderError, bytes: &[u8]) -> DescribeError {
        let mut message = error.to_string();
        if message.starts_with("unexpected end") {
            let cut_short = format!(
                "; it has {} bytes, and is damaged or cut short: copy it again, or build it again",
                bytes.len()
            );
            message.push_str(&cut_short);
        }
        DescribeError::Invalid { message }
    }

    pub(crate) fn not_wasm(bytes: &[u8]) -> DescribeError {
        let start = &bytes[..bytes.len().min(16)];
        let start = match start {
            [] => "nothing (the file is empty)".to_owned(),
            start => format!("`{}`", start.escape_ascii()),
        };
        DescribeError::NotWasm { start }
    }
}
