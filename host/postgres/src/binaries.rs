//! Finding the server's programs on this machine.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::ClusterError;

/// The oldest major version that we run on.
const MAJOR_MIN: u32 = 14;

/// Directories below which packages put one directory for each version: Debian and PGDG's apt, PGDG's yum, Homebrew.
const VERSIONED: &[(&str, &str)] = &[
    ("/usr/lib/postgresql", "bin"),
    ("/usr", "bin"),
    ("/opt/homebrew/opt", "bin"),
    ("/usr/local/opt", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "bin"),
];

/// A directory with a server's programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binaries {
    bin: PathBuf,
    major: u32,
}

impl Binaries {
    /// The programs in `chosen`, or the first fitting ones of those installed. They fit when their major version is
    /// the one that wrote the data, or, where there is no data yet, one that is not too old.
    pub fn find(
        chosen: Option<&Path>,
        data_dir: &Path,
        data_major: Option<u32>,
    ) -> Result<Binaries, ClusterError> {
        let (directories, searched) = match chosen {
            Some(directory) => (vec![directory.to_owned()], directory.display().to_string()),
            None => (
                installed(),
                "PATH, pg_config's directory and the usual places of packages".to_owned(),
            ),
        };
        let found: Vec<Binaries> = directories
            .iter()
            .filter_map(|directory| Binaries::at(directory))
            .filter(|binaries| binaries.major >= MAJOR_MIN)
            .collect();
        if found.is_empty() {
            return Err(ClusterError::BinariesMissing { searched });
        }
        let majors: BTreeSet<u32> = found.iter().map(|binaries| binaries.major).collect();
        let fitting = match data_major {
            None => found.into_iter().next(),
            Some(major) => found.into_iter().find(|binaries| binaries.major == major),
        };
        fitting.ok_or_else(|| ClusterError::BinariesOfOtherMajor {
            data_dir: data_dir.to_owned(),
            major: data_major.unwrap_or_default(),
            found: majors
                .iter()
                .map(u32::to_string)
                .collect::<Vec<_>>()
                .join(", "),
        })
    }

    pub fn postgres(&self) -> PathBuf {
        self.bin.join("postgres")
    }

    pub fn initdb(&self) -> PathBuf {
        self.bin.join("initdb")
    }

    /// Whether an extension's library is installed with this server.
    pub fn has_library(&self, name: &str) -> bool {
        let Some(prefix) = self.bin.parent() else {
            return false;
        };
        ["lib", "lib/postgresql", "lib64", "lib64/pgsql"]
            .iter()
            .flat_map(|lib| {
                ["so", "dylib"].map(|end| prefix.join(lib).join(format!("{name}.{end}")))
            })
            .any(|file| file.exists())
    }

    /// The programs in one directory, if they are there and can say their version.
    fn at(directory: &Path) -> Option<Binaries> {
        // A link's own directory does not do: initdb looks for its templates relative to where the real program is.
        let bin = fs::canonicalize(directory.join("postgres"))
            .ok()?
            .parent()?
            .to_owned();
        if !bin.join("initdb").exists() {
            return None;
        }
        let output = Command::new(bin.join("postgres"))
            .arg("--version")
            .output()
            .ok()?;
        let major = parse_major(&String::from_utf8_lossy(&output.stdout))?;
        Some(Binaries { bin, major })
    }
}

/// Every directory that may hold a server, best first.
fn installed() -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = Vec::new();
    if let Some(path) = env::var_os("PATH") {
        directories.extend(env::split_paths(&path));
    }
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        directories.push(String::from_utf8_lossy(&output.stdout).trim().into());
    }
    for (parent, bin) in VERSIONED {
        let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(parent)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let version = version_in_name(&entry.file_name().to_string_lossy())?;
                Some((version, entry.path().join(bin)))
            })
            .collect();
        versions.sort_by(|left, right| right.cmp(left));
        directories.extend(versions.into_iter().map(|(_, directory)| directory));
    }
    directories
}

/// The version in a package's directory name: `15`, `pgsql-15`, `postgresql@15`.
fn version_in_name(name: &str) -> Option<u32> {
    ["pgsql-", "postgresql@"]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .unwrap_or(name)
        .parse()
        .ok()
}

/// The major version in `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, or in `… 19beta1`.
fn parse_major(text: &str) -> Option<u32> {
    let (_, version) = text.split_once("(PostgreSQL) ")?;
    let digits = version.find(|letter: char| !letter.is_ascii_digit());
    version[..digits.unwrap_or(version.len())].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_releases_and_betas() {
        let debian = "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
        assert_eq!(parse_major(debian), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 19beta1\n"), Some(19));
        assert_eq!(parse_major("postgres: command not found"), None);
    }

    #[test]
    fn the_version_is_read_from_package_directories() {
        assert_eq!(version_in_name("16"), Some(16));
        assert_eq!(version_in_name("pgsql-16"), Some(16));
        assert_eq!(version_in_name("postgresql@16"), Some(16));
        assert_eq!(version_in_name("local"), None);
    }
}
