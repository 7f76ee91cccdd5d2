//! What the code that [`workflows!`](crate::workflows) generates needs at run time. Not part of the public interface.

pub use wit_bindgen::rt::*;

/// Generated code calls this at the start of every exported function, on WebAssembly only. It is the one place that every
/// workflow passes before its first line, so logging is connected here; the name shadows the runtime's own function.
#[cfg(target_arch = "wasm32")]
pub fn run_ctors_once() {
    wit_bindgen::rt::run_ctors_once();
    #[cfg(feature = "tracing")]
    crate::logging::connect();
}

/// Generated code declares the flags of a WIT package through this macro. Flags are recorded as text, `READ | WRITE`.
pub mod bitflags {
    pub use crate::__flags as bitflags;
}

#[doc(hidden)]
pub use ::bitflags as flags;

#[doc(hidden)]
#[macro_export]
macro_rules! __flags {
    ($(#[$attribute:meta])* pub struct $($rest:tt)*) => {
        $crate::rt::flags::bitflags! {
            $(#[$attribute])*
            #[derive($crate::serde::Serialize, $crate::serde::Deserialize)]
            pub struct $($rest)*
        }
    };
}
