//! One workflow for each behaviour that the engine is tested for. `wit/` says what each of them does.

mod branches;
mod changes;
mod children;
mod durable;
mod going_back;
mod limits;
mod outside;
mod progress;
mod protocol;
mod shapes;
mod typed;
mod visible;

dacapo_guest::workflows!(Probe);

/// Implements every interface; each does so in a module of its own.
struct Probe;
