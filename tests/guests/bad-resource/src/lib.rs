//! Must be refused: a workflow that takes a resource.

use bindings::exports::test::bad_resource::files::{FileBorrow, Guest, GuestFile};

#[allow(missing_docs, unsafe_code, unused, clippy::all, clippy::unwrap_used)]
mod bindings {
    wit_bindgen::generate!({ generate_all });
    use super::Bad;
    export!(Bad);
}

struct Bad;

struct File;

impl GuestFile for File {
    fn new() -> Self {
        Self
    }
}

impl Guest for Bad {
    type File = File;

    fn read(_file: FileBorrow<'_>) -> String {
        String::new()
    }
}
