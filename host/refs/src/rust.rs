//! Rust: what `dacapo_client::refs!` makes, as a file.

use std::fmt::Write as _;

use dacapo_client_codegen::code;

use crate::{RefsError, Wit};

/// A module of Rust for the workflows of the WIT that are `wanted` by their full names, over the crate `dacapo_client`.
///
/// # Errors
/// [`RefsError::Rust`] if a type has no form in Rust.
pub fn rust(wit: &Wit, wanted: &dyn Fn(&str) -> bool) -> Result<String, RefsError> {
    let text = code(&wit.resolve, wit.package, &wit.interfaces, wanted).map_err(RefsError::Rust)?;
    let file = syn::parse_file(&text)
        .map_err(|error| RefsError::Rust(format!("what was written is not Rust: {error}")))?;
    let name = &wit.resolve.packages[wit.package].name;
    let mut written = String::new();
    let _ = writeln!(
        written,
        "// Workflows of {}:{}: their types, and references to them. Written by `dacapo refs`.\n",
        name.namespace, name.name
    );
    written.push_str(&prettyplease::unparse(&file));
    Ok(written)
}
