//! To come.

use crate::error::KitError;
use crate::languages::ProjectWords;
use crate::project::Project;
use crate::world::World;

/// Builds the component and answers its bytes.
pub(crate) fn build(_project: &Project, _world: &World) -> Result<Vec<u8>, KitError> {
    Err(KitError::Wit("this language has no kit yet".to_owned()))
}

pub(crate) const PROJECT: ProjectWords = ProjectWords {
    name: "C",
    entry: "workflows.c",
    setup: "",
    ignored: &[],
};
