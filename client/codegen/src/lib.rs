//! From WIT to Rust: types with serde forms, and a reference for each workflow, as text. `dacapo_client::refs!` puts it where the macro
//! stands, and `dacapo refs` into a file.

#![forbid(unsafe_code)]

mod generate;
mod items;
mod names;
mod shapes;

pub use generate::{code, from_path, workflow_interfaces};
