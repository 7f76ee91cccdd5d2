//! What wasmtime generates from `wit/`, fenced off: the rules for our own code do not hold here.
#![allow(missing_docs, unsafe_code, clippy::all, clippy::unwrap_used)]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "imports",
    imports: {
        "dacapo:workflow/steps.step-run": async | trappable,
        "dacapo:workflow/steps.step-end": async | trappable,
        "dacapo:workflow/waits": async | trappable,
        "dacapo:workflow/forks.fork": async | trappable,
        "dacapo:workflow/children.start-child": async | trappable,
        "dacapo:workflow/children.await-child": async | trappable,
        "dacapo:workflow/http.fetch": async | trappable,
        "dacapo:workflow/log": async | trappable,
        "dacapo:workflow/sql": async | trappable,
        default: trappable,
    },
    with: {
        "dacapo:workflow/steps.attempt": super::steps::Attempt,
        "dacapo:workflow/steps.options": super::steps::Options,
        "dacapo:workflow/forks.options": super::forks::Options,
        "dacapo:workflow/children.options": super::children::Options,
        "dacapo:workflow/http.options": super::http::Options,
    },
});
