//! The table `[build]`: how a project's component is made.

use std::path::{Path, PathBuf};

use dacapo_kits::{BuildSettings, Engine, Language};
use serde::de::{Deserialize, Deserializer, Error};

use super::{NAME, in_our_words, position};
use crate::error::{Failed, Kind, Result};

#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Build {
    #[serde(deserialize_with = "language")]
    language: Language,
    world: Option<String>,
    entry: Option<PathBuf>,
    component: Option<PathBuf>,
    #[serde(default, deserialize_with = "engine")]
    engine: Engine,
}

/// The rest of the manifest is read when its component is there.
#[derive(serde::Deserialize)]
struct OnlyBuild {
    build: Option<Build>,
}

/// How the project in this directory is built.
pub(crate) fn build_settings(project: &Path) -> Result<BuildSettings> {
    let file = project.join(NAME);
    let text = std::fs::read_to_string(&file).map_err(|error| {
        Failed::usage(format!("cannot read {}: {error}", file.display()))
            .hint("a project has a dacapo.toml with a table [build]: `dacapo new` begins one")
    })?;
    let bad = |message: String| Failed {
        kind: Kind::Usage,
        code: "bad-manifest".to_owned(),
        message,
        hint: Some("docs/manifest.md has all that it may say".to_owned()),
    };
    let read: OnlyBuild = toml::from_str(&text).map_err(|error| {
        let (line, column) = position(&text, error.span().map_or(text.len(), |span| span.start));
        bad(format!(
            "{}:{line}:{column}: {}",
            file.display(),
            in_our_words(error.message())
        ))
    })?;
    let build = read.build.ok_or_else(|| {
        bad(format!(
            "{} does not say how the project is built: expected a table [build] with `language = \"rust\"`, or another one that has a kit",
            file.display()
        ))
    })?;
    Ok(BuildSettings {
        language: build.language,
        world: build.world,
        entry: build.entry,
        component: build.component,
        engine: build.engine,
    })
}

fn language<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Language, D::Error> {
    String::deserialize(deserializer)?
        .parse()
        .map_err(D::Error::custom)
}

fn engine<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Engine, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "quickjs" => Ok(Engine::QuickJs),
        "spidermonkey" => Ok(Engine::SpiderMonkey),
        other => Err(D::Error::custom(format!(
            "expected \"quickjs\" or \"spidermonkey\", got {other:?}"
        ))),
    }
}
