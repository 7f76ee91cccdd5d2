//! Must be refused: a component without a workflow.

#[allow(missing_docs, unsafe_code, unused, clippy::all)]
mod bindings {
    wit_bindgen::generate!();
}
