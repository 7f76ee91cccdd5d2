//! Calls of the host without end.

use std::hint::black_box;
use std::time::Duration;

use dacapo_guest::raw::context;
use dacapo_guest::raw::log::{self, Level};
use dacapo_guest::{map, sleep, step};
use wasip2::clocks::{monotonic_clock, wall_clock};
use wasip2::random::random;
use wasip2::sockets::network::IpAddressFamily;
use wasip2::sockets::{tcp_create_socket, udp_create_socket};

use crate::Hostile;
use crate::bindings::exports::test::hostile::floods::Guest;

impl Guest for Hostile {
    fn clocks() {
        loop {
            black_box((wall_clock::now(), monotonic_clock::now(), context::now()));
        }
    }

    fn contexts() {
        loop {
            black_box((context::run_id(), context::workflow(), context::labels()));
        }
    }

    fn randomness() {
        loop {
            black_box(random::get_random_bytes(16 << 20));
        }
    }

    fn too_random() {
        black_box(random::get_random_bytes(u64::MAX));
    }

    fn progress() {
        let note = "far ".repeat(10_000);
        let mut done = 0;
        loop {
            context::set_progress(done, u64::MAX, Some(&note));
            done += 1;
        }
    }

    fn logs() {
        let line = "x".repeat(1_000);
        loop {
            log::log(Level::Error, &line, &[]);
        }
    }

    fn empty_lines() {
        let lines = [b'\n'; 4096];
        let stdout = wasip2::cli::stdout::get_stdout();
        loop {
            let _ = stdout.blocking_write_and_flush(&lines);
        }
    }

    fn empty_logs() {
        loop {
            log::log(Level::Trace, "", &[]);
        }
    }

    fn logs_in_branches(branches: u32) -> Result<u32, String> {
        let numbers: Vec<u32> = (0..branches).collect();
        let line = "x".repeat(1_000);
        let done = map("log", &numbers).run(|_| {
            for _ in 0..100 {
                log::log(Level::Error, &line, &[]);
            }
            Ok(())
        });
        Ok(u32::try_from(done?.len()).unwrap_or(u32::MAX))
    }

    fn steps() -> Result<(), String> {
        loop {
            step("s").run(|| Ok(()))?;
        }
    }

    fn sleeps() {
        loop {
            let _ = sleep("s", Duration::ZERO);
        }
    }

    fn long_outcomes() -> Result<(), String> {
        let text = "x".repeat(200_000);
        loop {
            let _: String = step("s").run(|| Ok(text.clone()))?;
        }
    }

    fn changes() {
        let mut number = 0_u64;
        loop {
            context::changed(&format!("change {number}"));
            number += 1;
        }
    }

    fn sockets() -> u32 {
        let mut got = Vec::new();
        for _ in 0..1_000 {
            got.extend(tcp_create_socket::create_tcp_socket(IpAddressFamily::Ipv4).ok());
        }
        let mut more = Vec::new();
        for _ in 0..1_000 {
            more.extend(udp_create_socket::create_udp_socket(IpAddressFamily::Ipv6).ok());
        }
        u32::try_from(got.len() + more.len()).unwrap_or(u32::MAX)
    }
}
