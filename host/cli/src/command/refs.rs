//! `dacapo refs`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use dacapo_client::{Client, ClientError, WorkflowInfo};
use dacapo_model::{Descriptor, is_short_for, similar_workflows};
use dacapo_refs::{RefsError, Wit};
use dacapo_sandbox::{DescribeError, describe, describe_interfaces, wit_of};
use serde_json::json;

use crate::arguments::Global;
use crate::command::deploy::cannot_read;
use crate::connect;
use crate::error::{Failed, Kind, Result, chain};
use crate::ui::Ui;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A file or directory of WIT, a project with a dacapo.toml, a component, or the name of a workflow or package that is deployed
    #[arg(value_name = "WIT_OR_COMPONENT_OR_NAME")]
    of: String,
    /// What to write
    #[arg(long, short, value_enum)]
    lang: Lang,
    /// Write it there instead of printing it; a file that says the same already is left alone
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Only the workflows that this world of the WIT exports
    #[arg(long)]
    world: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Lang {
    /// A module over the crate dacapo-client, as its macro `refs!` makes it
    Rust,
    /// A module over the package dacapo-client of clients/typescript
    #[value(alias = "typescript")]
    Ts,
    /// A module over the package dacapo-client of clients/python
    Python,
    /// One document with the schemas of all inputs, outputs, errors and events
    JsonSchema,
}

/// Where workflows are declared.
struct Source {
    wit: Wit,
    descriptor: Descriptor,
}

/// Writes types and references for clients.
pub(crate) async fn run(args: Args, global: &Global, ui: Ui) -> Result<ExitCode> {
    let source = find(&args, global).await?;
    let text = match args.lang {
        Lang::Rust => {
            let workflows = &source.descriptor.workflows;
            let wanted = |name: &str| workflows.iter().any(|one| one.name == name);
            dacapo_refs::rust(&source.wit, &wanted)?
        }
        Lang::Ts => dacapo_refs::typescript(&source.descriptor),
        Lang::Python => dacapo_refs::python(&source.descriptor),
        Lang::JsonSchema => format!("{:#}\n", dacapo_refs::json_schema(&source.descriptor)),
    };
    let Some(file) = args.to else {
        ui.data(&json!({ "text": text }), |_| text.trim_end().to_owned());
        return Ok(ExitCode::SUCCESS);
    };
    let is_new = std::fs::read_to_string(&file).map_or(true, |there| there != text);
    if is_new {
        std::fs::write(&file, &text).map_err(|error| {
            Failed::request(format!("cannot write {}: {error}", file.display()))
        })?;
    }
    ui.data(
        &json!({ "file": file, "written": is_new }),
        |_| match is_new {
            true => format!("wrote {}", file.display()),
            false => format!("nothing changed: {}", file.display()),
        },
    );
    Ok(ExitCode::SUCCESS)
}

async fn find(args: &Args, global: &Global) -> Result<Source> {
    let path = Path::new(&args.of);
    if path.exists() {
        return if is_wit(path) {
            of_wit(path, args.world.as_deref())
        } else {
            no_world(args, "a component is built from one world already")?;
            let bytes = std::fs::read(path).map_err(|error| cannot_read(path, &error))?;
            of_component(&bytes).map_err(|failed| in_file(failed, path))
        };
    }
    let looks_like_a_file = path
        .extension()
        .is_some_and(|extension| extension == "wit" || extension == "wasm")
        || args.of.starts_with(['.', '/'])
        || args.of.ends_with('/');
    if looks_like_a_file {
        return Err(
            Failed::usage(format!("there is no {}", path.display())).hint(
                "give a file or directory of WIT, a component, or the name of a workflow or package that is deployed",
            ),
        );
    }
    no_world(args, "what is deployed was built from one world already")?;
    of_deployed(&connect::client(global).await?, &args.of).await
}

fn no_world(args: &Args, why: &str) -> Result<()> {
    match args.world {
        Some(_) => Err(Failed::usage(format!(
            "--world is for WIT, and {why}: leave it out"
        ))),
        None => Ok(()),
    }
}

fn is_wit(path: &Path) -> bool {
    path.is_dir() || path.extension().is_some_and(|extension| extension == "wit")
}

fn of_wit(path: &Path, world: Option<&str>) -> Result<Source> {
    let of_project = path.join("wit");
    let is_project = path.join(crate::manifest::NAME).is_file() && of_project.is_dir();
    let wit = Wit::read(if is_project { &of_project } else { path }, world)?;
    let interfaces = wit.interfaces.iter().copied();
    let descriptor = describe_interfaces(&wit.resolve, wit.package, interfaces)
        .map_err(|error| in_file(error.into(), path))?;
    Ok(Source { wit, descriptor })
}

fn of_component(bytes: &[u8]) -> Result<Source> {
    let descriptor = describe(bytes)?.descriptor;
    Ok(Source {
        wit: wit(bytes, &descriptor)?,
        descriptor,
    })
}

fn wit(bytes: &[u8], descriptor: &Descriptor) -> Result<Wit> {
    let (resolve, world) = wit_of(bytes)?;
    let is_workflow = |interface: &str| {
        let interface = interface.split('@').next().unwrap_or_default();
        let mut workflows = descriptor.workflows.iter();
        workflows.any(|workflow| workflow.interface.split('@').next() == Some(interface))
    };
    Ok(Wit::of_component(resolve, world, &is_workflow)?)
}

/// A workflow by its name, or all workflows of a package by its: in full, or an end of it where that is unique.
async fn of_deployed(client: &Client, name: &str) -> Result<Source> {
    client.needs_no_server("to read the component of what is deployed")?;
    let deployed = client.workflows().await?;
    let by = |is_meant: &dyn Fn(&WorkflowInfo) -> bool| -> Vec<&WorkflowInfo> {
        deployed.iter().filter(|info| is_meant(info)).collect()
    };
    let named = by(&|info| is_short_for(name, &info.name));
    let exact = by(&|info| info.name == name);
    let packaged = by(&|info| is_short_for(name, &info.deployment.package));
    let infos = match (named.as_slice(), packaged.as_slice()) {
        _ if !exact.is_empty() => exact,
        ([_], []) => named,
        ([], [first, rest @ ..])
            if rest
                .iter()
                .all(|info| info.deployment.package == first.deployment.package) =>
        {
            packaged
        }
        ([], []) => {
            let known = deployed.iter().map(|info| info.name.as_str());
            return Err(ClientError::UnknownWorkflow {
                name: name.to_owned(),
                similar: similar_workflows(name, known),
                any: !deployed.is_empty(),
            }
            .into());
        }
        _ => {
            let mut full_names: Vec<String> = named.iter().map(|info| info.name.clone()).collect();
            full_names.extend(packaged.iter().map(|info| info.deployment.package.clone()));
            full_names.dedup();
            return Err(ClientError::AmbiguousWorkflow {
                name: name.to_owned(),
                full_names,
            }
            .into());
        }
    };
    let first = infos[0];
    let bytes = dacapo_store::component_bytes(client.store(), &first.digest).await?;
    let bytes = bytes.ok_or_else(|| {
        Failed::request(format!(
            "the component of deployment {} of {} is not in the database",
            first.deployment.number, first.deployment.package
        ))
        .hint("deploy it again")
    })?;
    let mut source = of_component(&bytes)?;
    source
        .descriptor
        .workflows
        .retain(|workflow| infos.iter().any(|info| info.name == workflow.name));
    Ok(source)
}

fn in_file(failed: Failed, path: &Path) -> Failed {
    Failed {
        message: format!("{}: {}", path.display(), failed.message),
        ..failed
    }
}

impl From<DescribeError> for Failed {
    fn from(error: DescribeError) -> Self {
        Self {
            kind: Kind::Usage,
            code: "bad-component".to_owned(),
            message: chain(&error),
            hint: None,
        }
    }
}

impl From<RefsError> for Failed {
    fn from(error: RefsError) -> Self {
        Self {
            kind: Kind::Usage,
            code: match error {
                RefsError::UnknownWorld { .. } => "unknown-world",
                _ => "bad-wit",
            }
            .to_owned(),
            message: chain(&error),
            hint: None,
        }
    }
}
