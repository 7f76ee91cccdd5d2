//! Attacks on the worker that plays it, one for each workflow. `wit/` says what each of them does.

mod bystander;
mod floods;
mod forged;
mod greed;
mod nonsense;
mod requests;
mod texts;

dacapo_guest::workflows!(Hostile);

/// Implements every interface; each does so in a module of its own.
struct Hostile;
