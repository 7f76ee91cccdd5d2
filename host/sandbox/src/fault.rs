//! Why a guest ended without returning, in words that help whoever wrote it.

use std::collections::HashSet;

use dacapo_model::{Failure, Payload, StepKey};
use wasmtime::component::ResourceTableError;
use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::ending::BlockReason;
use crate::guest::Guest;
use crate::memory::TABLE_ELEMENTS_MAX;

/// Distinct functions among the innermost frames below which a wild memory access is taken for a recursion that ran through the stack that
/// the program keeps in its own memory. wasmtime captures 20 frames.
const RECURSION_FUNCTIONS_MAX: usize = 4;
const RECURSION_FRAMES_MIN: usize = 16;

/// The failure of a guest that trapped, in the body of a step if one is named.
pub(crate) fn failure(
    error: &wasmtime::Error,
    backtrace: &[String],
    guest: &Guest,
    step: Option<&StepKey>,
) -> Failure {
    let (code, message) = cause(error, guest);
    explained(Failure::new(code, message), backtrace, step)
}

/// Adds where it happened to a failure that says nothing of it yet.
pub(crate) fn explained(
    mut failure: Failure,
    backtrace: &[String],
    step: Option<&StepKey>,
) -> Failure {
    if failure.details.is_none() {
        let details = serde_json::json!({ "backtrace": backtrace, "step": step });
        failure.details = Some(Payload::from_trusted(details.to_string()));
    }
    failure
}

/// Adds where the code was to the reason why its run is blocked.
pub(crate) fn located(mut reason: BlockReason, backtrace: &[String]) -> BlockReason {
    let details = reason.details.as_ref().map(Payload::as_str);
    let mut details = match details.map(serde_json::from_str) {
        Some(Ok(serde_json::Value::Object(details))) => details,
        None => serde_json::Map::new(),
        // What is there is not ours to change.
        Some(_) => return reason,
    };
    if !backtrace.is_empty() {
        details.insert("backtrace".to_owned(), backtrace.into());
        let details = serde_json::Value::Object(details);
        reason.details = Some(Payload::from_trusted(details.to_string()));
    }
    reason
}

fn cause(error: &wasmtime::Error, guest: &Guest) -> (&'static str, String) {
    if guest.memory.refused() {
        return (
            dacapo_model::MEMORY_LIMIT,
            format!("memory limit of {} bytes reached", guest.memory.max_bytes()),
        );
    }
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return (
            dacapo_model::TRAP,
            format!("the workflow ended its program with exit code {}", exit.0),
        );
    }
    if guest.memory.refused_table() && error.is::<Trap>() {
        let message = format!("table limit of {TABLE_ELEMENTS_MAX} elements reached");
        return (dacapo_model::MEMORY_LIMIT, message);
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref::<ResourceTableError>() {
        let message = format!(
            "the workflow holds {} resources of the host, as many as it may (handles-max): drop those that it is done with",
            guest.config.handles_max
        );
        return (dacapo_model::MEMORY_LIMIT, message);
    }
    let Some(trap) = error.downcast_ref::<Trap>() else {
        let text = error.root_cause().to_string();
        // wasmtime keeps the type of this one to itself.
        if text.contains("fuel allocated for hostcalls") {
            let max = guest.config.payload.max_bytes;
            let message = format!(
                "the workflow handed over far more at once than the {max} bytes that a payload may have"
            );
            return (dacapo_model::PAYLOAD_LIMIT, message);
        }
        return (dacapo_model::TRAP, text);
    };
    match trap {
        Trap::StackOverflow => {
            let max = guest.config.stack_max_bytes;
            (dacapo_model::STACK_OVERFLOW, format!("stack overflow: the limit is {max} bytes"))
        }
        Trap::MemoryOutOfBounds if is_runaway_recursion(error) => (
            dacapo_model::STACK_OVERFLOW,
            "stack overflow: a recursion ran through the stack that the program keeps in its memory".to_owned(),
        ),
        trap => {
            let text = trap.to_string();
            let text = text.strip_prefix("wasm trap: ").unwrap_or(&text);
            let tail = guest.console.error_tail();
            let message = panic_text(&tail).unwrap_or_else(|| match tail.iter().rev().find(|line| !line.trim().is_empty()) {
                Some(line) => format!("{text} (the last line on its standard error: {line})"),
                None => text.to_owned(),
            });
            (dacapo_model::TRAP, message)
        }
    }
}

fn is_runaway_recursion(error: &wasmtime::Error) -> bool {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return false;
    };
    let functions: HashSet<u32> = backtrace
        .frames()
        .iter()
        .map(|frame| frame.func_index())
        .collect();
    backtrace.frames().len() >= RECURSION_FRAMES_MIN && functions.len() <= RECURSION_FUNCTIONS_MAX
}

/// What a program writes before it aborts, as one line.
fn panic_text(tail: &[String]) -> Option<String> {
    rust_panic(tail).or_else(|| go_panic(tail))
}

/// What Go says first, before the stacks of all its goroutines: `panic: no such order`, `fatal error: all goroutines are asleep - deadlock!`.
fn go_panic(tail: &[String]) -> Option<String> {
    let starts = ["panic: ", "fatal error: "];
    let said = |line: &&String| starts.iter().any(|start| line.starts_with(start));
    tail.iter()
        .find(said)
        .map(|line| line.trim_end().to_owned())
}

/// `panicked at src/lib.rs:3:5: no such order`.
fn rust_panic(tail: &[String]) -> Option<String> {
    const START: &str = "panicked at ";
    let (at, first) = tail
        .iter()
        .enumerate()
        .rev()
        .find_map(|(at, line)| Some((at, &line[line.find(START)?..])))?;
    let rest = tail[at + 1..]
        .iter()
        .take_while(|line| !line.starts_with("note:"))
        .map(|line| line.trim_end());
    let lines: Vec<&str> = std::iter::once(first)
        .chain(rest)
        .filter(|line| !line.is_empty())
        .collect();
    Some(lines.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_panic_is_one_line() {
        let tail = lines(
            "other\n\nthread 'main' panicked at src/lib.rs:3:5:\nno such order\nnote: run with more",
        );
        assert_eq!(
            panic_text(&tail).as_deref(),
            Some("panicked at src/lib.rs:3:5: no such order")
        );
    }

    #[test]
    fn what_go_says_comes_before_its_stacks() {
        let tail = lines(
            "other\nfatal error: all goroutines are asleep - deadlock!\n\ngoroutine 1 [chan receive]:\nmain.main()\n\tmain.go:7 +0x2",
        );
        assert_eq!(
            panic_text(&tail).as_deref(),
            Some("fatal error: all goroutines are asleep - deadlock!")
        );
    }

    #[test]
    fn without_a_panic_there_is_no_text() {
        assert_eq!(panic_text(&lines("warming up")), None);
    }
}
