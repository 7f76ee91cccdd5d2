//! Ways out: the run's log, the network, the files.

use std::net::{Ipv4Addr, TcpStream, ToSocketAddrs, UdpSocket};

use dacapo_guest::step;
use dacapo_guest::tracing::{debug, error, info, trace, warn};

use crate::Probe;
use crate::bindings::exports::test::probe::outside::{Guest, Ports};
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

    fn network(ports: Ports) -> Vec<String> {
        reach_out(ports)
    }

    fn network_in_step(ports: Ports) -> Result<Vec<String>, String> {
        Ok(step("network").run(|| Ok(reach_out(ports)))?)
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

fn reach_out(ports: Ports) -> Vec<String> {
    let local = |port| (Ipv4Addr::LOCALHOST, port);
    let send = || UdpSocket::bind(local(0))?.send_to(b"probe", local(ports.udp));
    vec![
        told("tcp", TcpStream::connect(local(ports.tcp))),
        told("udp", send()),
        told("name", ("localhost", ports.tcp).to_socket_addrs()),
    ]
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
