//! What a project of a guest is made of, in each language: its beginnings (`dacapo new`), the kit that it is written with, and the calls
//! of the language's own tools that make a component of it (`dacapo build`).
//!
//! A project holds its own WIT in `wit/`, its code, and a manifest whose table `[build]` names the language. What comes from Dacapo is
//! written to `.dacapo/` by each build: the contract (`.dacapo/wit`), the kit (`.dacapo/guest-sdk/<language>`) and, for tools that need
//! it in one piece, the project's world together with all that Dacapo offers (`.dacapo/world`). So a project is as new as the `dacapo`
//! that builds it, and nothing is fetched but what the language's own package manager fetches.

#![forbid(unsafe_code)]

mod assets;
mod docs;
mod error;
mod language;
mod languages;
mod project;
mod scaffold;
mod tool;
mod world;

pub use self::error::KitError;
pub use self::language::Language;
pub use self::project::{BuildSettings, Built, Engine, Project, SUPPORT};
pub use self::scaffold::{Scaffold, check_name};
