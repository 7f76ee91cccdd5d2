//! Programs of other people.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::KitError;

/// A program that a build needs.
pub(crate) struct Tool {
    program: PathBuf,
    command: Command,
    hint: Option<&'static str>,
}

impl Tool {
    /// Finds a program in these directories, then in PATH.
    pub(crate) fn find(
        name: &str,
        directories: &[PathBuf],
        purpose: &str,
        install: &str,
    ) -> Result<Self, KitError> {
        let in_path = std::env::var_os("PATH").unwrap_or_default();
        let places = directories
            .iter()
            .cloned()
            .chain(std::env::split_paths(&in_path));
        let mut found = places.map(|place| place.join(name));
        let program = found
            .find(|path| path.is_file())
            .ok_or_else(|| KitError::MissingTool {
                program: name.to_owned(),
                purpose: purpose.to_owned(),
                install: install.to_owned(),
            })?;
        // It is started in another directory.
        let program = std::path::absolute(&program).unwrap_or(program);
        let mut command = Command::new(&program);
        // Standard output is for what `dacapo` itself answers.
        command
            .stdin(Stdio::null())
            .stdout(Stdio::from(std::io::stderr()));
        Ok(Self {
            program,
            command,
            hint: None,
        })
    }

    /// What its messages may mean, if it fails.
    pub(crate) fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn directory(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(mut self) -> Result<(), KitError> {
        let status = self
            .command
            .status()
            .map_err(KitError::file("run", &self.program))?;
        self.ended(status)
    }

    /// Runs it to its end, and answers what it prints.
    pub(crate) fn output(mut self) -> Result<String, KitError> {
        let output = self
            .command
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .output()
            .map_err(KitError::file("run", &self.program))?;
        self.ended(output.status)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn ended(&self, status: std::process::ExitStatus) -> Result<(), KitError> {
        if status.success() {
            return Ok(());
        }
        Err(KitError::ToolFailed {
            program: self.program.display().to_string(),
            status: status.to_string(),
            hint: self.hint,
        })
    }
}
