//! What a guest can see through each interface of WASI.

use std::collections::BTreeSet;

use dacapo_guest::{Failure, step, wait_for};
use wasip2::cli::{environment, stdin, stdout, terminal_stderr, terminal_stdin, terminal_stdout};
use wasip2::clocks::{monotonic_clock, wall_clock};
use wasip2::filesystem::preopens;
use wasip2::random::{insecure, insecure_seed, random};
use wasip2::sockets::network::{IpAddressFamily, IpSocketAddress, Ipv4SocketAddress};
use wasip2::sockets::{instance_network, ip_name_lookup, tcp_create_socket, udp_create_socket};

use crate::Gate;
use crate::bindings::exports::test::gate::sights::{Guest, Ports, Printed, Sightings};

impl Guest for Gate {
    fn look() -> Result<Sightings, String> {
        let again = look();
        let first = step("first").run(|| Ok(again.clone()))?;
        let inside = step("inside").run(|| Ok(look()))?;
        wait_for::<()>("go").recv()?;
        let after_again = look();
        let after_first = step("after").run(|| Ok(after_again.clone()))?;
        wait_for::<()>("go").recv()?;
        Ok(Sightings {
            first,
            again,
            inside,
            after_first,
            after_again,
        })
    }

    fn prints(kib: u32) -> Result<Printed, String> {
        let again = print(kib)?;
        let first = step("first").run(|| Ok(again.clone()))?;
        wait_for::<()>("go").recv()?;
        Ok(Printed { first, again })
    }

    fn break_out(ports: Ports) -> Result<Vec<String>, String> {
        let mut seen = break_out(ports);
        let inside: Vec<String> = step("break-out").run(|| Ok(break_out(ports)))?;
        seen.extend(inside);
        Ok(seen)
    }

    fn read_clocks(times: u32) -> u32 {
        let seen: BTreeSet<_> = (0..times)
            .map(|_| {
                let wall = wall_clock::now();
                (wall.seconds, wall.nanoseconds, monotonic_clock::now())
            })
            .collect();
        u32::try_from(seen.len()).unwrap_or(u32::MAX)
    }

    fn environment() -> Result<Vec<String>, String> {
        let look = || {
            let mut lines: Vec<String> = std::env::vars()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            lines.sort();
            lines
        };
        let mut lines = look();
        let inside: Result<Vec<String>, Failure> = step("inside").run(|| Ok(look()));
        lines.extend(inside?);
        Ok(lines)
    }
}

fn print(kib: u32) -> Result<Vec<String>, String> {
    let stdout = stdout::get_stdout();
    let writable = stdout.subscribe();
    let mut line = vec![b'x'; 1023];
    line.push(b'\n');
    let mut seen = Vec::new();
    for _ in 0..kib {
        let permit = stdout.check_write().map_err(|error| error.to_string())?;
        seen.push(format!("{permit} {}", writable.ready()));
        stdout.write(&line).map_err(|error| error.to_string())?;
    }
    Ok(seen)
}

fn look() -> Vec<String> {
    let (wall, resolution) = (wall_clock::now(), wall_clock::resolution());
    let stdin = match stdin::get_stdin().blocking_read(64) {
        Ok(bytes) => format!("{bytes:?}"),
        Err(error) => format!("{error:?}"),
    };
    let directories: Vec<String> = preopens::get_directories()
        .into_iter()
        .map(|(_, name)| name)
        .collect();
    vec![
        format!("wall-clock.now={}.{:09}", wall.seconds, wall.nanoseconds),
        format!(
            "wall-clock.resolution={}.{:09}",
            resolution.seconds, resolution.nanoseconds
        ),
        format!("monotonic-clock.now={}", monotonic_clock::now()),
        format!(
            "monotonic-clock.resolution={}",
            monotonic_clock::resolution()
        ),
        format!("random.bytes={:?}", random::get_random_bytes(8)),
        format!("random.u64={}", random::get_random_u64()),
        format!(
            "insecure.bytes={:?}",
            insecure::get_insecure_random_bytes(8)
        ),
        format!("insecure.u64={}", insecure::get_insecure_random_u64()),
        format!("insecure-seed={:?}", insecure_seed::insecure_seed()),
        format!("environment={:?}", environment::get_environment()),
        format!("arguments={:?}", environment::get_arguments()),
        format!("initial-cwd={:?}", environment::initial_cwd()),
        format!("stdin={stdin}"),
        format!(
            "terminals={}",
            terminal_stdin::get_terminal_stdin().is_some()
                || terminal_stdout::get_terminal_stdout().is_some()
                || terminal_stderr::get_terminal_stderr().is_some()
        ),
        format!("preopens={directories:?}"),
    ]
}

fn break_out(ports: Ports) -> Vec<String> {
    let local = |port| {
        IpSocketAddress::Ipv4(Ipv4SocketAddress {
            port,
            address: (127, 0, 0, 1),
        })
    };
    let network = instance_network::instance_network();
    let mut seen = Vec::new();
    let mut tell = |what: &str, error: Option<String>| match error {
        Some(error) => seen.push(format!("{what}: {error}")),
        None => seen.push(format!("{what} got out")),
    };
    tell(
        "tcp",
        match tcp_create_socket::create_tcp_socket(IpAddressFamily::Ipv4) {
            Err(error) => Some(error.to_string()),
            Ok(socket) => socket
                .start_connect(&network, local(ports.tcp))
                .and_then(|()| {
                    socket.subscribe().block();
                    socket.finish_connect()
                })
                .err()
                .map(|error| error.to_string()),
        },
    );
    tell(
        "tcp-listen",
        match tcp_create_socket::create_tcp_socket(IpAddressFamily::Ipv4) {
            Err(error) => Some(error.to_string()),
            Ok(socket) => socket
                .start_bind(&network, local(0))
                .and_then(|()| socket.finish_bind())
                .err()
                .map(|error| error.to_string()),
        },
    );
    tell(
        "udp",
        match udp_create_socket::create_udp_socket(IpAddressFamily::Ipv4) {
            Err(error) => Some(error.to_string()),
            Ok(socket) => socket
                .start_bind(&network, local(0))
                .and_then(|()| socket.finish_bind())
                .and_then(|()| socket.stream(Some(local(ports.udp))).map(drop))
                .err()
                .map(|error| error.to_string()),
        },
    );
    tell(
        "name",
        match ip_name_lookup::resolve_addresses(&network, "localhost") {
            Err(error) => Some(error.to_string()),
            Ok(stream) => {
                stream.subscribe().block();
                stream
                    .resolve_next_address()
                    .err()
                    .map(|error| error.to_string())
            }
        },
    );
    let files = [
        ("read", std::fs::read("/etc/hostname").err()),
        ("write", std::fs::write("gate.txt", "gate").err()),
        ("list", std::fs::read_dir("/").err()),
        ("current", std::fs::read_dir(".").err()),
    ];
    for (what, error) in files {
        tell(what, error.map(|error| error.to_string()));
    }
    seen
}
