//! Tries every way out of the sandbox, and looks at all that WASI shows. `wit/` says what each workflow does.

mod files;
mod limits;
mod requests;
mod sights;
mod wasi;

dacapo_guest::workflows!(Gate);

/// Implements every interface; each does so in a module of its own.
struct Gate;
