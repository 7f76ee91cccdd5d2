//! A private Postgres server: what `dacapo dev`, the tests and the benches run on when nobody gave them a database.
//!
//! The server lives in a data directory of its own, listens on a Unix socket only, keeps `fsync` on, and ends with the
//! process that started it, however that process ends. Binaries are those of the system; nothing is downloaded.
//!
//! One data directory holds one server. [`Cluster::start`] on a directory whose server is already up returns a handle
//! to that server instead of a second one.
//!
//! What a data directory contains:
//!
//! | path | content |
//! |---|---|
//! | `cluster/` | Postgres' own data directory |
//! | `cluster.new/` | an initialisation that did not finish; the next start removes it |
//! | `postgres.log` | the server's log |
//! | `start.lock` | held by whoever is starting a server here |

mod binaries;
mod cluster;
mod error;
mod launch;
mod layout;
mod pidfile;
mod supervisor;
mod user;

pub use cluster::{Cluster, ClusterOptions};
pub use error::ClusterError;
pub use layout::default_data_dir;
