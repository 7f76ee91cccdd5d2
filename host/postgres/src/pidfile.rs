//! Reading `postmaster.pid`, by which a server says where it listens and whether it is ready.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// What a server wrote about itself. The lines that are not here do not matter to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PidFile {
    /// Line 1.
    pub pid: u32,
    /// Lines 4 and 5.
    pub endpoint: Endpoint,
    /// Line 8.
    pub ready: bool,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The directory of the socket.
    pub socket_dir: PathBuf,
    /// The number in the socket's name.
    pub port: u16,
}

impl Endpoint {
    /// Whether something accepts connections here.
    fn answers(&self) -> bool {
        UnixStream::connect(self.socket_dir.join(format!(".s.PGSQL.{}", self.port))).is_ok()
    }
}

/// Reads the file; none while there is no server, or while it is still writing its first lines.
pub(crate) fn read(cluster_dir: &Path) -> Option<PidFile> {
    parse(&fs::read_to_string(cluster_dir.join("postmaster.pid")).ok()?)
}

/// The server that is up in this directory, if there is one. A file that a killed server left behind does not count,
/// even if its process id now belongs to another process: the socket has to answer too.
pub(crate) fn live(cluster_dir: &Path) -> Option<PidFile> {
    read(cluster_dir).filter(|file| file.ready && file.endpoint.answers())
}

fn parse(text: &str) -> Option<PidFile> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let line = |number: usize| lines.get(number - 1).copied();
    Some(PidFile {
        // A server in single-user mode writes its id as a negative number; that is no server for us.
        pid: line(1)?.parse().ok()?,
        endpoint: Endpoint {
            port: line(4)?.parse().ok()?,
            socket_dir: line(5).filter(|dir| !dir.is_empty())?.into(),
        },
        ready: matches!(line(8), Some("ready" | "standby")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: &str =
        "4711\n/data/cluster\n1763880000\n5432\n/tmp/dacapo-1\n\n 12345 7\nready   \n";

    #[test]
    fn a_ready_server_is_read() {
        let file = parse(READY).expect("a complete file");
        assert_eq!(file.pid, 4711);
        assert_eq!(file.endpoint.socket_dir, Path::new("/tmp/dacapo-1"));
        assert_eq!(file.endpoint.port, 5432);
        assert!(file.ready);
    }

    #[test]
    fn a_replica_that_can_be_read_is_ready() {
        let file = parse(&READY.replace("ready  ", "standby")).expect("a complete file");
        assert!(file.ready);
    }

    #[test]
    fn a_starting_server_is_not_ready() {
        let file = parse(&READY.replace("ready   ", "starting")).expect("a complete file");
        assert!(!file.ready);
    }

    #[test]
    fn a_file_cut_off_anywhere_is_never_ready() {
        for end in 0..READY.len() - "ready   \n".len() {
            assert!(parse(&READY[..end]).is_none_or(|file| !file.ready));
        }
    }
}
