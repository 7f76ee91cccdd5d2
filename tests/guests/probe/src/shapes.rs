//! Values of every shape, and every way to return.

use crate::Probe;
use crate::bindings::exports::test::probe::shapes::{Everything, Guest, Problem, Refusal};

impl Guest for Probe {
    fn echo(value: Everything) -> Everything {
        value
    }

    fn echo_string(value: String) -> String {
        value
    }

    fn nothing() {}

    fn fail_with(message: String) -> Result<(), String> {
        Err(message)
    }

    fn typed_fail() -> Result<u32, Refusal> {
        Err(refusal())
    }

    fn variant_fail() -> Result<(), Problem> {
        Err(Problem::Refused(refusal()))
    }

    fn bare_fail() -> Result<(), ()> {
        Err(())
    }

    fn big_output(n: u32) -> String {
        "x".repeat(n as usize)
    }
}

fn refusal() -> Refusal {
    Refusal {
        code: 7,
        reasons: vec!["too late".to_owned(), "too little".to_owned()],
    }
}
