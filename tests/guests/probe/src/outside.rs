//! Ways out: the run's log, the network, the files.

use std::net::{SocketAddr, TcpStream};

use dacapo_guest::step;
use dacapo_guest::tracing::{debug, error, info, trace, warn};

use crate::Probe;
use crate::bindings::exports::test::probe::outside::Guest;
use crate::durable::wait_for_text;

impl Guest for Probe {
    fn print() -> Result<(), String> {
        print("before");
        step("print").run(|| {
            print("inside");
            Ok(())
        })?;
        wait_for_text("go")?;
        print("after");
        Ok(())
    }

    fn logs() -> Result<(), String> {
        log("before");
        step("log").run(|| {
            log("inside");
            Ok(())
        })?;
        wait_for_text("go")?;
        log("after");
        Ok(())
    }

    fn network() -> String {
        connect()
    }

    fn network_in_step() -> Result<String, String> {
        Ok(step("connect").run(|| Ok(connect()))?)
    }

    fn files() -> Vec<String> {
        touch_files()
    }

    fn files_in_step() -> Result<Vec<String>, String> {
        Ok(step("files").run(|| Ok(touch_files()))?)
    }
}

fn print(place: &str) {
    println!("out {place}");
    eprintln!("err {place}");
}

fn log(place: &str) {
    let (n, who) = (7, "probe");
    trace!(n, who, "trace {place}");
    debug!(n, who, "debug {place}");
    info!(n, who, "info {place}");
    warn!(n, who, "warn {place}");
    error!(n, who, "error {place}");
}

fn connect() -> String {
    match TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], 9))) {
        Ok(_) => "connected".to_owned(),
        Err(error) => format!("error: {error}"),
    }
}

fn touch_files() -> Vec<String> {
    vec![
        told("read", std::fs::read("/etc/hostname")),
        told("write", std::fs::write("probe.txt", "probe")),
        told("list", std::fs::read_dir("/")),
    ]
}

fn told<T>(what: &str, result: std::io::Result<T>) -> String {
    match result {
        Ok(_) => format!("{what}: done"),
        Err(error) => format!("{what}: error: {error}"),
    }
}
