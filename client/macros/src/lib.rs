//! The macro behind `dacapo_client::refs!`: from a directory of WIT to Rust types with serde forms, and a reference for each workflow.
//!
//! `dacapo-client-codegen` writes the Rust, as text: what it writes is regular, and what it reads is not Rust.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use proc_macro::{TokenStream, TokenTree};

/// Turns a directory of WIT into Rust modules, one for each interface: its types, and a `WorkflowRef` for each function.
///
/// The path is relative to the directory of the calling crate's `Cargo.toml`. Best put in a module of its own:
///
/// ```ignore
/// mod workflows {
///     dacapo_client::refs!("../process-payment/wit");
/// }
/// use workflows::payments::{PROCESS, Payment};
/// ```
///
/// A function `process: func(payment: payment) -> result<receipt, problem>` of the interface `payments` becomes
/// `payments::PROCESS`, a `WorkflowRef<Payment, Receipt>`; its error type goes by `payments::ProcessError` too.
/// The events that it declares, `variant events { … }` or `variant process-events { … }`, are an `Event`, which `Client::send` takes.
/// A workflow is a function of an interface that a world exports; where no world exports anything, of any interface of the package.
///
/// | WIT | Rust |
/// |---|---|
/// | `bool` `u8` .. `s64` `f32` `f64` `char` `string` | `bool` `u8` .. `i64` `f32` `f64` `char` `String` |
/// | `list<T>`, `list<T, N>`, `tuple<…>` | `Vec<T>`, `[T; N]`, a tuple |
/// | `option<T>`, `result<T, E>` | `Option<T>`, `Result<T, E>`; `()` for a side without a payload |
/// | `record` | a struct; its options may be absent in JSON |
/// | `variant`, `enum` | an enum |
/// | `flags` | a struct of `bool`s, none set by default |
///
/// Types that a workflow cannot have, such as resources, are errors that name their place.
#[proc_macro]
pub fn refs(input: TokenStream) -> TokenStream {
    let code = match path(input).and_then(|path| dacapo_client_codegen::from_path(&path)) {
        Ok(code) => code,
        Err(message) => format!("::core::compile_error!({message:?});"),
    };
    code.parse().unwrap_or_else(|error| {
        let message = format!("refs! wrote something that is not Rust: {error}");
        format!("::core::compile_error!({message:?});")
            .parse()
            .unwrap_or_default()
    })
}

/// The one argument, a string, as a path.
fn path(input: TokenStream) -> Result<PathBuf, String> {
    let usage = || {
        "refs! takes one string, the path of a directory of WIT: refs!(\"../greeter/wit\")"
            .to_owned()
    };
    let mut tokens = input.into_iter();
    let (Some(TokenTree::Literal(literal)), None) = (tokens.next(), tokens.next()) else {
        return Err(usage());
    };
    let text = literal.to_string();
    let text = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .ok_or_else(usage)?;
    if text.contains('\\') {
        return Err("refs! takes a path with forward slashes".to_owned());
    }
    let root = std::env::var("CARGO_MANIFEST_DIR")
        .map_err(|_| "refs! needs CARGO_MANIFEST_DIR, which cargo sets".to_owned())?;
    let path = Path::new(&root).join(text);
    if path.exists() {
        Ok(path)
    } else {
        Err(format!(
            "there is no {}: the path is relative to the directory of Cargo.toml, {root}",
            path.display()
        ))
    }
}
