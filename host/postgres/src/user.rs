//! Whom the server runs as. Postgres refuses root, so root has to lend it another user.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{Uid, User, chown, geteuid};

use crate::error::ClusterError;

/// The user that Postgres' processes run as.
#[derive(Debug, Clone)]
pub(crate) struct ServerUser {
    user: User,
    /// Whether this process is root and has to become that user first.
    lent: bool,
}

impl ServerUser {
    /// This process's own user; for root, the owner of the first of `directories` that exists and is not root's, else
    /// `postgres`, else `nobody`.
    pub fn choose(directories: &[&Path]) -> Result<ServerUser, ClusterError> {
        let us = geteuid();
        if !us.is_root() {
            let user = by_id(us).ok_or(ClusterError::NoServerUser)?;
            return Ok(ServerUser { user, lent: false });
        }
        directories
            .iter()
            .filter_map(|directory| fs::metadata(directory).ok())
            .map(|metadata| Uid::from_raw(metadata.uid()))
            .filter(|uid| !uid.is_root())
            .find_map(by_id)
            .or_else(|| by_name("postgres"))
            .or_else(|| by_name("nobody"))
            .map(|user| ServerUser { user, lent: true })
            .ok_or(ClusterError::NoServerUser)
    }

    pub fn name(&self) -> &str {
        &self.user.name
    }

    /// A command that runs as this user.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if self.lent {
            command
                .uid(self.user.uid.as_raw())
                .gid(self.user.gid.as_raw());
        }
        // PGDATA, PGPORT and their like are meant for servers other than this one.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        // What is read in the log before the configuration applies must be in English.
        command.env("LC_ALL", "C");
        command
    }

    /// Makes a file or a directory this user's own.
    pub fn own(&self, path: &Path) -> Result<(), ClusterError> {
        if self.lent {
            chown(path, Some(self.user.uid), Some(self.user.gid))
                .map_err(|errno| ClusterError::io("change the owner of", path)(errno.into()))?;
        }
        Ok(())
    }

    /// Makes a directory this user's own, and nobody else's to look into.
    pub fn own_alone(&self, directory: &Path) -> Result<(), ClusterError> {
        self.own(directory)?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
            .map_err(ClusterError::io("set the mode of", directory))
    }

    /// Whether a directory, itself and not what a link points to, belongs to this user, or to root lending itself out,
    /// who may have been killed before it could hand the directory over.
    pub fn owns(&self, directory: &Path) -> bool {
        fs::symlink_metadata(directory).is_ok_and(|metadata| {
            let owner = Uid::from_raw(metadata.uid());
            metadata.is_dir() && (owner == self.user.uid || self.lent && owner.is_root())
        })
    }

    /// The first directory on the way to `path` (which is absolute), or `path` itself, that this user may not enter.
    /// Read from the mode bits, so an access control list may make it wrong; it is for choosing and for messages.
    pub fn closed_on_the_way(&self, path: &Path) -> Option<PathBuf> {
        let mut ancestors: Vec<&Path> = path.ancestors().collect();
        ancestors.reverse();
        ancestors
            .into_iter()
            .find(|directory| fs::metadata(directory).is_ok_and(|found| !self.may_enter(&found)))
            .map(Path::to_owned)
    }

    fn may_enter(&self, directory: &fs::Metadata) -> bool {
        let bit = if directory.uid() == self.user.uid.as_raw() {
            0o100
        } else if directory.gid() == self.user.gid.as_raw() {
            0o010
        } else {
            0o001
        };
        directory.mode() & bit != 0
    }
}

fn by_id(uid: Uid) -> Option<User> {
    User::from_uid(uid).ok().flatten()
}

fn by_name(name: &str) -> Option<User> {
    User::from_name(name).ok().flatten()
}
