//! Where things are: the data directory, what is inside it, and the directory of the socket.

use std::env;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use directories::ProjectDirs;
use nix::unistd::geteuid;
use sha2::{Digest, Sha256};

use crate::error::ClusterError;
use crate::user::ServerUser;

/// A socket's address is at most 107 bytes on Linux and 103 on macOS, and `/.s.PGSQL.65535` is part of it.
const SOCKET_DIR_BYTES_MAX: usize = 85;

/// Where the data is kept when nobody says otherwise: `DACAPO_DATA_DIR`, else `/var/lib/dacapo` for root, since the
/// user that Postgres runs as then cannot enter root's home, else the user's data directory.
pub fn default_data_dir() -> PathBuf {
    if let Some(chosen) = env::var_os("DACAPO_DATA_DIR").filter(|value| !value.is_empty()) {
        return chosen.into();
    }
    if geteuid().is_root() {
        return "/var/lib/dacapo".into();
    }
    match ProjectDirs::from("", "", "dacapo") {
        Some(directories) => directories.data_local_dir().to_owned(),
        None => ".dacapo".into(),
    }
}

/// The paths inside one data directory.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub data_dir: PathBuf,
    pub cluster: PathBuf,
    pub unfinished: PathBuf,
    pub log: PathBuf,
    pub lock: PathBuf,
}

impl Layout {
    /// Makes the data directory if there is none, and finds whom the server in it belongs to.
    pub fn open(data_dir: &Path) -> Result<(Layout, ServerUser), ClusterError> {
        fs::create_dir_all(data_dir).map_err(ClusterError::io("make directory", data_dir))?;
        let data_dir = fs::canonicalize(data_dir).map_err(ClusterError::io("find", data_dir))?;
        let layout = Layout {
            cluster: data_dir.join("cluster"),
            unfinished: data_dir.join("cluster.new"),
            log: data_dir.join("postgres.log"),
            lock: data_dir.join("start.lock"),
            data_dir,
        };
        let user = ServerUser::choose(&[&layout.cluster, &layout.data_dir])?;
        // Only an empty directory is surely meant for us alone: one that holds other things keeps its owner, since
        // root may have named a directory that others need.
        let empty = fs::read_dir(&layout.data_dir)
            .map_err(ClusterError::io("read directory", &layout.data_dir))?
            .next()
            .is_none();
        if empty {
            user.own_alone(&layout.data_dir)?;
        }
        Ok((layout, user))
    }

    /// The major version that wrote the data, if there is data.
    pub fn major(&self) -> Option<u32> {
        let text = fs::read_to_string(self.cluster.join("PG_VERSION")).ok()?;
        text.trim().parse().ok()
    }

    /// A directory for the server's socket, which only the server's user may enter. It cannot be in the data directory,
    /// whose path may be longer than a socket's address; it is in the temporary directory, and its name is a hash of
    /// the data directory's path, so that two data directories never share one.
    pub fn make_socket_dir(&self, user: &ServerUser) -> Result<PathBuf, ClusterError> {
        let digest = Sha256::digest(self.data_dir.as_os_str().as_bytes());
        let name: String = digest[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let candidates = [env::temp_dir(), PathBuf::from("/tmp")];
        let path = candidates
            .iter()
            .filter(|parent| parent.is_absolute() && user.closed_on_the_way(parent).is_none())
            .map(|parent| parent.join(format!("dacapo-{name}")))
            .find(|path| fits_a_socket(path))
            .ok_or_else(|| ClusterError::NoSocketDir {
                tried: match candidates[0] == candidates[1] {
                    true => "/tmp is".to_owned(),
                    false => format!("{} and /tmp are", candidates[0].display()),
                },
                user: user.name().to_owned(),
            })?;

        // The temporary directory is everybody's: what is there under our name is used only if it is ours already.
        match fs::create_dir(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !user.owns(&path) {
                    return Err(ClusterError::SocketDirTaken {
                        path,
                        user: user.name().to_owned(),
                    });
                }
            }
            Err(error) => return Err(ClusterError::io("make directory", &path)(error)),
        }
        user.own_alone(&path)?;
        Ok(path)
    }
}

/// Postgres reads its setting as a list in which commas part and quotes quote, and white space around is dropped.
fn fits_a_socket(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    bytes.len() <= SOCKET_DIR_BYTES_MAX
        && !bytes.iter().any(|byte| matches!(byte, b',' | b'"' | b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_or_ambiguous_path_holds_no_socket() {
        assert!(fits_a_socket(Path::new("/tmp/dacapo-0123456789abcdef")));
        assert!(!fits_a_socket(Path::new(
            "/tmp/a,b/dacapo-0123456789abcdef"
        )));
        assert!(!fits_a_socket(&Path::new("/tmp").join("x".repeat(90))));
    }
}
