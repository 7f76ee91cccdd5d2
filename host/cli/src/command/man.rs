//! `dacapo man`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Command;
use clap_mangen::Man;
use serde_json::json;

use crate::error::{Failed, Result};
use crate::help;
use crate::ui::Ui;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The command whose page is printed, such as `runs list` [default: the first page, dacapo(1)]
    #[arg(conflicts_with = "to")]
    command: Vec<String>,
    /// Write the pages of all commands there, such as ~/.local/share/man/man1
    #[arg(long, value_name = "DIRECTORY")]
    to: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, ui: Ui) -> Result<ExitCode> {
    let mut command = help::command();
    // The page of a command has the options of all commands, and its whole name.
    command.build();
    if let Some(directory) = &args.to {
        let mut pages = Vec::new();
        write_all(&command, directory, &mut pages)?;
        ui.data(&json!({ "directory": directory, "pages": pages }), |_| {
            format!("wrote {} pages to {}", pages.len(), directory.display())
        });
        return Ok(ExitCode::SUCCESS);
    }
    ui.bytes(&page(help::find(&command, &args.command)?)?);
    Ok(ExitCode::SUCCESS)
}

/// The page of a command and those of the commands below it, in files.
fn write_all(command: &Command, directory: &Path, pages: &mut Vec<String>) -> Result<()> {
    std::fs::create_dir_all(directory)
        .map_err(|error| Failed::usage(format!("cannot make {}: {error}", directory.display())))?;
    let name = Man::new(command.clone()).get_filename();
    let file = directory.join(&name);
    std::fs::write(&file, page(command)?)
        .map_err(|error| Failed::usage(format!("cannot write {}: {error}", file.display())))?;
    pages.push(name);
    command
        .get_subcommands()
        .try_for_each(|inner| write_all(inner, directory, pages))
}

/// A page in the language of `man`.
fn page(command: &Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    let man = Man::new(command.clone()).manual("Dacapo");
    man.render(&mut page).map_err(Failed::new)?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(command: &Command) -> usize {
        1 + command.get_subcommands().map(count).sum::<usize>()
    }

    #[test]
    fn each_command_has_a_page_with_its_examples() {
        let mut command = help::command();
        command.build();
        let directory = tempfile::tempdir().unwrap();
        let mut pages = Vec::new();
        write_all(&command, directory.path(), &mut pages).unwrap();
        assert_eq!(pages.len(), count(&command));
        assert_eq!(
            std::fs::read_dir(directory.path()).unwrap().count(),
            pages.len()
        );
        for name in pages {
            let page = std::fs::read_to_string(directory.path().join(&name)).unwrap();
            assert!(page.contains("Examples:"), "{name}: {page}");
            assert!(!page.contains('\x1b'), "{name}: {page}");
        }
    }
}
