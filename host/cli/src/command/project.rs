//! `dacapo new` and `dacapo build`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use dacapo_kits::{KitError, Language, Project, Scaffold, check_name};
use serde_json::json;

use crate::arguments::NoRuns;
use crate::command::deploy::{self, ManifestArgs};
use crate::error::{Failed, Kind, Result, chain};
use crate::manifest;
use crate::ui::Ui;

#[derive(Debug, clap::Args)]
pub(crate) struct NewArgs {
    /// Words of lower-case letters and digits with - between them; the directory and the WIT package are called so
    #[arg(value_name = "NAME", value_parser = name)]
    name: String,
    /// What the workflow is written in: rust, ts, python, go or c
    #[arg(long, short, value_name = "LANGUAGE", value_parser = language)]
    lang: Language,
    /// Where the project is written to [default: a directory NAME]
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
    #[command(flatten)]
    _no_runs: NoRuns,
}

#[derive(Debug, clap::Args)]
pub(crate) struct BuildArgs {
    /// The project: a directory with a dacapo.toml
    #[arg(default_value = ".", value_name = "DIRECTORY")]
    project: PathBuf,
    /// Only write what comes from Dacapo into .dacapo/, for editors and type checkers
    #[arg(long)]
    prepare: bool,
    #[command(flatten)]
    _no_runs: NoRuns,
}

fn name(text: &str) -> std::result::Result<String, String> {
    check_name(text).map(|()| text.to_owned())
}

fn language(text: &str) -> std::result::Result<Language, String> {
    text.parse()
}

/// Begins a project.
pub(crate) fn new(args: NewArgs, ui: Ui) -> Result<ExitCode> {
    let directory = args.directory.unwrap_or_else(|| PathBuf::from(&args.name));
    let scaffold = Scaffold {
        name: args.name,
        language: args.lang,
    };
    let files = scaffold.write(&directory)?;
    // An editor that opens it at once should find the kit.
    project(&directory)?.prepare()?;
    let data = json!({ "directory": directory, "language": args.lang.name(), "files": files });
    ui.data(&data, |_| {
        let files = files
            .iter()
            .map(|file| directory.join(file).display().to_string());
        files.collect::<Vec<_>>().join("\n")
    });
    ui.say(&format!(
        "next: cd {0}, read README.md, then `dacapo build` and `dacapo test`",
        directory.display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// Builds a project's component, and looks whether it can be deployed.
pub(crate) async fn build(args: BuildArgs, ui: Ui) -> Result<ExitCode> {
    let project = project(&args.project)?;
    if args.prepare {
        project.prepare()?;
        return Ok(ExitCode::SUCCESS);
    }
    let built = tokio::task::spawn_blocking(move || project.build()).await;
    let built = built.map_err(Failed::new)??;
    let one = deploy::read(&built.component, &ManifestArgs::default())?;
    let descriptor = &one.described.descriptor;
    let data =
        json!({ "component": built.component, "bytes": built.bytes, "descriptor": descriptor });
    ui.data(&data, |_| {
        let mut lines = vec![format!(
            "{} ({})",
            built.component.display(),
            bytesize::ByteSize(built.bytes).display().iec()
        )];
        lines.extend(deploy::workflow_lines(descriptor));
        lines.join("\n")
    });
    Ok(ExitCode::SUCCESS)
}

/// The project in a directory.
pub(crate) fn project(directory: &Path) -> Result<Project> {
    Ok(Project::new(
        directory,
        manifest::build_settings(directory)?,
    ))
}

impl From<KitError> for Failed {
    fn from(error: KitError) -> Self {
        let (kind, code) = match &error {
            KitError::MissingTool { .. } => (Kind::Request, "missing-tool"),
            KitError::ToolFailed { .. } => (Kind::Request, "build-failed"),
            KitError::Wit(_) => (Kind::Usage, "bad-wit"),
            KitError::Project { .. } => (Kind::Usage, "bad-project"),
            KitError::File { .. } => (Kind::Request, "failed"),
        };
        Self {
            kind,
            code: code.to_owned(),
            message: chain(&error),
            hint: error.hint().map(str::to_owned),
        }
    }
}
