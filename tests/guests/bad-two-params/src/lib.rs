//! Must be refused: a workflow with two parameters.

use bindings::exports::test::bad_two_params::sums::Guest;

#[allow(missing_docs, unsafe_code, unused, clippy::all, clippy::unwrap_used)]
mod bindings {
    wit_bindgen::generate!({ generate_all });
    use super::Bad;
    export!(Bad);
}

struct Bad;

impl Guest for Bad {
    fn add(a: u32, b: u32) -> u32 {
        a.wrapping_add(b)
    }
}
