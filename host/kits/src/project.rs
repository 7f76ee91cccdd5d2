//! A project: where it is, how it is built.

use std::path::{Path, PathBuf};

use crate::assets;
use crate::docs;
use crate::error::KitError;
use crate::language::Language;
use crate::languages;
use crate::world::{self, World};

/// The directory of a project that each build writes, and that is in no repository.
pub const SUPPORT: &str = ".dacapo";

/// The engine that TypeScript and JavaScript run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Engine {
    /// Small and quick to compile.
    #[default]
    QuickJs,
    /// Faster at computing, seven times the size.
    SpiderMonkey,
}

/// How a project is built: the table `[build]` of its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildSettings {
    /// The language that it is written in.
    pub language: Language,
    /// The world of `wit/` that it implements; may be left out if there is one only.
    pub world: Option<String>,
    /// The file that the language's tool begins with, from the project's root; without it the language's usual one.
    pub entry: Option<PathBuf>,
    /// The file that is made, from the project's root; without it the directory's name with `.wasm`.
    pub component: Option<PathBuf>,
    /// For TypeScript and JavaScript.
    pub engine: Engine,
}

/// The directory of a guest's source.
#[derive(Debug, Clone)]
pub struct Project {
    root: PathBuf,
    settings: BuildSettings,
}

/// What a build has made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The component's file.
    pub component: PathBuf,
    /// Its size, in bytes.
    pub bytes: u64,
}

impl Project {
    /// The project in this directory.
    #[must_use]
    pub fn new(root: &Path, settings: BuildSettings) -> Self {
        Self {
            root: root.to_owned(),
            settings,
        }
    }

    /// The file that a build makes.
    #[must_use]
    pub fn component(&self) -> PathBuf {
        match &self.settings.component {
            Some(component) => self.root.join(component),
            None => {
                let root = std::path::absolute(&self.root).unwrap_or_else(|_| self.root.clone());
                let name = root.file_name().map(|name| name.to_string_lossy());
                self.root
                    .join(format!("{}.wasm", name.as_deref().unwrap_or("workflow")))
            }
        }
    }

    /// Writes what comes from Dacapo into the project: the contract, the kit, and the world.
    ///
    /// # Errors
    /// The project's WIT does not make sense, or files cannot be written.
    pub fn prepare(&self) -> Result<(), KitError> {
        self.prepared().map(drop)
    }

    /// Builds the component, by the language's own tools, whose output goes to standard error.
    ///
    /// # Errors
    /// The project's WIT does not make sense, a tool is missing or refuses the code, or files cannot be written.
    pub fn build(&self) -> Result<Built, KitError> {
        let world = self.prepared()?;
        let made = match self.settings.language {
            Language::Rust => languages::rust::build(self),
            Language::TypeScript => languages::typescript::build(self, &world),
            Language::Python => languages::python::build(self, &world),
            Language::Go => languages::go::build(self, &world),
            Language::C => languages::c::build(self, &world),
        }?;
        let made = docs::put_into(made, &world);
        let component = self.component();
        // In one go: somebody may be waiting for the file to change.
        let directory = component.parent().unwrap_or(&self.root);
        std::fs::create_dir_all(directory).map_err(KitError::file("create", directory))?;
        let mut file = tempfile::NamedTempFile::new_in(directory)
            .map_err(KitError::file("write to", directory))?;
        std::io::Write::write_all(&mut file, &made).map_err(KitError::file("write", &component))?;
        // Such files are the owner's alone, and this one is for whoever deploys it.
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(file.path(), readable)
            .map_err(KitError::file("write", &component))?;
        file.persist(&component)
            .map_err(|error| KitError::file("write", &component)(error.error))?;
        Ok(Built {
            bytes: made.len() as u64,
            component,
        })
    }

    fn prepared(&self) -> Result<World, KitError> {
        let support = self.support();
        let language = self.settings.language;
        assets::write_file(&support.join(".gitignore"), b"*\n")?;
        assets::write(assets::contract(), &support.join("wit"))?;
        assets::write(
            assets::kit(language),
            &support.join("guest-sdk").join(language.name()),
        )?;
        let world = world::write(
            &self.root.join("wit"),
            &support.join("world"),
            self.settings.world.as_deref(),
            languages::extra_imports(language),
        )?;
        if language == Language::TypeScript {
            languages::typescript::prepare(self, &world)?;
        }
        if language == Language::Go {
            languages::go::prepare(self, &world)?;
        }
        Ok(world)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn settings(&self) -> &BuildSettings {
        &self.settings
    }

    /// What is written anew by each build.
    pub(crate) fn support(&self) -> PathBuf {
        self.root.join(SUPPORT)
    }

    /// The kit of the project's language.
    pub(crate) fn kit(&self) -> PathBuf {
        let language = self.settings.language.name();
        self.support().join("guest-sdk").join(language)
    }

    /// Where the language's tool begins.
    pub(crate) fn entry(&self, usual: &str) -> Result<PathBuf, KitError> {
        let entry = self.settings.entry.as_deref().unwrap_or(Path::new(usual));
        let path = self.root.join(entry);
        if path.exists() {
            return Ok(path);
        }
        Err(KitError::Project {
            message: format!(
                "there is no {}, with which the build begins",
                path.display()
            ),
            hint: format!(
                "write it, or name another one in dacapo.toml: [build] entry = \"{usual}\""
            ),
        })
    }
}
