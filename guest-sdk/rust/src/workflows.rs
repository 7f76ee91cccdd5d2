//! The macro that turns a guest's `wit/` folder into traits to implement, and exports the implementation.

/// Generates the module `bindings` from the crate's `wit/` folder and exports the given type as the implementation of every
/// interface that the world exports.
///
/// For each exported interface `ns:pkg/name` there is a trait `bindings::exports::ns::pkg::name::Guest`, with one function for
/// each workflow; the types beside it are plain Rust types that implement serde's traits, so that they may be used as outcomes of
/// steps. Their field names in such JSON are the Rust ones; payloads that come from outside usually want a type of their own
/// with `#[serde(rename_all = "camelCase")]`.
///
/// ```ignore
/// dacapo_guest::workflows!(Shop);
/// // A folder with several worlds, or another folder than `wit`:
/// dacapo_guest::workflows!(Shop, world: "orders");
/// dacapo_guest::workflows!(Shop, world: "orders", path: "../shared-wit");
/// ```
///
/// The world need not mention Dacapo: this crate brings those imports itself, and they are merged when the guest is linked.
#[macro_export]
macro_rules! workflows {
    ($guest:ident $(, world: $world:literal)? $(, path: $path:literal)? $(,)?) => {
        #[allow(missing_docs, unsafe_code, unused, clippy::all, clippy::unwrap_used)]
        mod bindings {
            $crate::wit_bindgen::generate!({
                $(world: $world,)?
                $(path: $path,)?
                runtime_path: "::dacapo_guest::rt",
                additional_derives: [::dacapo_guest::serde::Serialize, ::dacapo_guest::serde::Deserialize],
                generate_all,
            });
            use super::$guest;
            export!($guest);
        }
    };
}
