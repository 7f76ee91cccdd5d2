//! Must be refused: an import in a reserved namespace that no host offers.

use bindings::dacapo::unknown::thing;
use bindings::exports::test::bad_import::work::Guest;

#[allow(missing_docs, unsafe_code, unused, clippy::all, clippy::unwrap_used)]
mod bindings {
    wit_bindgen::generate!({ generate_all });
    use super::Bad;
    export!(Bad);
}

struct Bad;

impl Guest for Bad {
    fn run() -> u32 {
        thing::do_it()
    }
}
