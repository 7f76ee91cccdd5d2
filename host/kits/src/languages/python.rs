//! To come.

use crate::error::KitError;
use crate::languages::ProjectWords;
use crate::project::Project;
use crate::world::World;

/// Builds the component and answers its bytes.
pub(crate) fn build(_project: &Project, _world: &World) -> Result<Vec<u8>, KitError> {
    Err(KitError::Wit("this language has no kit yet".to_owned()))
}

pub(crate) const IMPORTS: &[&str] = &["wasi:random/random@0.2.0", "wasi:clocks/wall-clock@0.2.0"];

pub(crate) const PROJECT: ProjectWords = ProjectWords {
    name: "Python",
    entry: "workflows.py",
    setup: "",
    ignored: &[],
};
