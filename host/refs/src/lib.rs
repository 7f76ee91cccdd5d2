//! Types and references for the clients of workflows: what a service needs to start a workflow, send it events and read what it returns,
//! with the types of its WIT, in the service's own language.
//!
//! [`typescript`], [`python`] and [`json_schema`] write what a [`Descriptor`](dacapo_model::Descriptor) says; [`rust`] writes what
//! `dacapo_client::refs!` makes of the same [`Wit`]. All are pure: the same workflows give the same text.

#![forbid(unsafe_code)]

mod definitions;
mod error;
mod json_schema;
mod names;
mod python;
mod rust;
mod typescript;
mod wit;

pub use error::RefsError;
pub use json_schema::json_schema;
pub use python::python;
pub use rust::rust;
pub use typescript::typescript;
pub use wit::Wit;
