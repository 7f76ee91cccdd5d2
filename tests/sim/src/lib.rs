//! Several workers in one thread against a real Postgres, under a seed.
//!
//! The workers are those that are released, with all their tasks, and play real guests; what is simulated is what they stand on. Each has a
//! runtime of its own, which is driven a turn at a time and dropped when the worker dies. Their clocks are Tokio's, paused; the database's is a
//! function `sim.clock_timestamp` that its search path finds before Postgres' own. Their connections end in this process, which carries
//! their statements out on the real server, one after the other, in an order, with delays and with losses that the seed decides
//! (`world`). After each commit the database is looked at (`ledger`), and at the end each run must have come to what its script says
//! (`script`).

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod ledger;
mod mutants;
mod plan;
mod script;
mod server;
mod wire;
mod world;

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use dacapo_client::Client;
use dacapo_model::{Manifest, SqlGrant};
use dacapo_postgres::{Cluster, ClusterOptions};
use dacapo_sandbox::SandboxConfig;
use dacapo_store::Store;
use dacapo_worker::sim::House;

use crate::mutants::Of;
pub use crate::mutants::{MUTANTS, Mutant};
use crate::server::Server;
pub use crate::world::{Deaths, KILLED, KILLED_ASKING, Report};

pub(crate) const DATABASE: &str = "sim";

/// What guests' statements are sent as, and what they write to. It is created once the database is there.
pub(crate) const GUESTS: &str = "guest";
const EFFECTS: &str = "
    create role guest login;
    create table public.effect (run text not null, step text not null);
    grant insert on public.effect to guest;
    select dacapo.allow_sql_steps('guest');
";

/// Workers have their sockets here, each under a port of its own.
const FIRST_PORT: usize = 6_000;

/// The database's clock: a microsecond that the simulation has set, and the real one until then.
const CLOCK: &str = "
    create schema sim;
    create function sim.clock_timestamp() returns timestamptz language sql stable parallel safe as $$
        select case when coalesce(current_setting('sim.now', true), '') = '' then pg_catalog.clock_timestamp()
            else 'epoch'::timestamptz + current_setting('sim.now')::bigint * interval '1 microsecond' end
    $$;
    create function sim.statement_timestamp() returns timestamptz language sql stable parallel safe as $$ select sim.clock_timestamp() $$;
    create function sim.transaction_timestamp() returns timestamptz language sql stable parallel safe as $$ select sim.clock_timestamp() $$;
    create function sim.now() returns timestamptz language sql stable parallel safe as $$ select sim.clock_timestamp() $$;
";

/// Where seeds are played, one after the other: a server of its own, and the guest, ready to be played.
pub struct Theatre {
    server: Server,
    house: House,
    listeners: Vec<UnixListener>,
    directory: PathBuf,
    /// What makes the database as it was at the beginning.
    clear: String,
    played: u32,
    /// What mends the function that is changed.
    mends: Option<String>,
    /// The simulation itself broke in a seed: nobody knows what it has left behind.
    broken: bool,
    _cluster: Cluster,
    _runtime: tokio::runtime::Runtime,
}

impl Theatre {
    /// Starts a server with its data in this directory, which is to be short and not to be there.
    pub fn new(directory: &Path, guest: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        std::fs::create_dir_all(directory)?;
        let settings = [
            ("fsync", "off"),
            ("synchronous_commit", "off"),
            ("full_page_writes", "off"),
            ("autovacuum", "off"),
            ("max_connections", "300"),
            ("shared_buffers", "64MB"),
            ("jit", "off"),
        ];
        let options = ClusterOptions {
            data_dir: directory.join("data"),
            settings: settings
                .into_iter()
                .chain(server::SAYS_WHO_WAITS)
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            binaries: None,
        };
        let component = std::fs::read(guest)
            .with_context(|| format!("{}: run `./x guests` first", guest.display()))?;
        let described = dacapo_sandbox::describe(&component)?;
        let cluster = runtime.block_on(async {
            let cluster = Cluster::start(options).await?;
            set_up(&cluster, &described).await?;
            anyhow::Ok(cluster)
        })?;
        let socket = socket_of(&cluster.url(DATABASE))?;
        let mut server = Server::new(socket, DATABASE)?;
        let clear = clearing(&mut server)?;
        ledger::prepare(&mut server)?;
        let house = House::new(SandboxConfig {
            // Nothing is to depend on how long anything takes.
            tick_ms: 3_600_000,
            instances_max: 256,
            ..SandboxConfig::default()
        })?;
        house.prepare(&described.digest, &described.component)?;
        Ok(Self {
            server,
            house,
            listeners: Vec::new(),
            directory: directory.to_owned(),
            clear,
            played: 0,
            mends: None,
            broken: false,
            _cluster: cluster,
            _runtime: runtime,
        })
    }

    /// Plays a seed. With `traced` it is told what happened.
    pub fn play(&mut self, seed: u64, traced: bool) -> Result<Report> {
        ensure!(
            !self.broken,
            "the simulation broke in a seed before; begin anew behind that"
        );
        world::play(self, seed, traced)
    }

    /// Makes the database as it was at the beginning.
    fn reset(&mut self) -> Result<()> {
        self.server.ask(&self.clear)?;
        if self.played.is_multiple_of(50) {
            self.server.ask("vacuum")?;
        }
        self.played += 1;
        self.server.hear();
        Ok(())
    }

    /// Where a worker connects to.
    fn listener(&mut self, at: usize) -> Result<(UnixListener, String)> {
        let port = FIRST_PORT + at;
        if self.listeners.len() <= at {
            let path = self.directory.join(format!(".s.PGSQL.{port}"));
            server::check_socket(&path)?;
            let listener = UnixListener::bind(&path)
                .with_context(|| format!("cannot listen at {}", path.display()))?;
            listener.set_nonblocking(true)?;
            self.listeners.push(listener);
        }
        let url = format!(
            "postgres://postgres@localhost/{DATABASE}?host={}&port={port}&sslmode=disable",
            self.directory.display().to_string().replace('/', "%2F")
        );
        Ok((self.listeners[at].try_clone()?, url))
    }

    /// A session for somebody from outside.
    fn outside(&mut self) -> Result<usize> {
        self.server.take_own(DATABASE)
    }

    /// From now on all is as the mutant says. None: it is whole again.
    pub fn change(&mut self, mutant: Option<&Mutant>) -> Result<()> {
        if let Some(whole) = self.mends.take() {
            self.server.ask(&whole)?;
        }
        let mut change = None;
        match mutant {
            Some(mutant) if matches!(mutant.of, Of::Statements) => {
                change = Some((mutant.text.to_owned(), mutant.by.to_owned()));
            }
            Some(Mutant {
                name,
                of: Of::Function(function),
                text,
                by,
                ..
            }) => {
                let definition = format!("select pg_get_functiondef('{function}'::regprocedure)");
                let rows = self.server.ask(&definition)?;
                let whole = rows[0][0].clone().unwrap_or_default();
                ensure!(
                    whole.contains(text),
                    "{name}: {function} does not have the text that is to be changed"
                );
                self.server.ask(&whole.replace(text, by))?;
                self.mends = Some(whole);
            }
            _ => {}
        }
        self.server.change(change);
        Ok(())
    }

    /// Whether what was asked to be changed last was met with at all.
    pub fn has_changed(&self) -> bool {
        self.mends.is_some() || self.server.has_changed()
    }

    /// Sessions of the server that were needed so far.
    pub fn sessions(&self) -> usize {
        self.server.sessions()
    }
}

async fn set_up(cluster: &Cluster, described: &dacapo_sandbox::Described) -> Result<()> {
    let admin = Store::new(&cluster.url("postgres"), 1)?;
    for sql in [
        "create database sim",
        // Before Postgres' own, and known while the tables are made: their defaults keep what they meant then.
        "alter database sim set search_path = sim, pg_catalog, public",
    ] {
        sqlx::query(sql).execute(admin.pool()).await?;
    }
    admin.pool().close().await;
    let store = Store::new(&cluster.url(DATABASE), 2)?;
    sqlx::raw_sql(CLOCK).execute(store.pool()).await?;
    dacapo_store::migrate(&store).await?;
    // It waits for no longer than it takes to see that it waits at all, so that it is not left to chance whether it does.
    sqlx::query(
        "alter function dacapo.promote_singleton(text, text, text) set lock_timeout = '1ms'",
    )
    .execute(store.pool())
    .await?;
    let client = Client::new(store.clone());
    sqlx::raw_sql(EFFECTS).execute(store.pool()).await?;
    let manifest = Manifest {
        sql: Some(SqlGrant::new(DATABASE)),
        ..Manifest::default()
    };
    client
        .deploy_with(
            &described.descriptor,
            &described.digest,
            &described.component,
            &manifest,
        )
        .await?;
    // As a worker would that has compared the two.
    sqlx::query("update dacapo.deployment set verified = true")
        .execute(store.pool())
        .await?;
    sqlx::query("vacuum analyze").execute(store.pool()).await?;
    store.pool().close().await;
    Ok(())
}

/// The socket that a URL names.
fn socket_of(url: &str) -> Result<PathBuf> {
    let part = |name: &str| {
        let (_, rest) = url.split_once(&format!("{name}="))?;
        Some(rest.split('&').next().unwrap_or(rest).replace("%2F", "/"))
    };
    let (host, port) = (part("host"), part("port"));
    let directory = host.context("the URL names no socket")?;
    let port = port.context("the URL names no port")?;
    Ok(Path::new(&directory).join(format!(".s.PGSQL.{port}")))
}

/// Deletes what is in all tables that are empty now.
fn clearing(server: &mut Server) -> Result<String> {
    let tables = server.ask(
        "select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'dacapo' and c.relkind = 'r' order by 1",
    )?;
    let mut clear = String::new();
    for row in tables {
        let table = row[0].clone().unwrap_or_default();
        let found = server.ask(&format!("select exists (select from dacapo.{table})"))?;
        if found[0][0].as_deref() == Some("f") {
            clear.push_str(&format!("delete from dacapo.{table};"));
        }
    }
    clear.push_str(
        "delete from public.effect; update dacapo.retention_turn set next_at = 'epoch'; delete from dacapo.retention where namespace <> '*';",
    );
    Ok(clear)
}
