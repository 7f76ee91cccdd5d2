//! A limit for those who try to sign in and cannot.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::guard::network;

/// Failures of one address within a time, at most.
const FAILURES_MAX: u32 = 10;

/// The time within which they count, and for which whoever had as many is kept waiting.
const WITHIN: Duration = Duration::from_secs(60);

/// Addresses that are kept in mind. When there are more, those whose time is over are forgotten, and then all.
const KEPT_MAX: usize = 10_000;

/// Counts the failures of addresses.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<HashMap<IpAddr, (Instant, u32)>>);

impl Failures {
    /// How long an address has to wait before it may try again. None: it may.
    pub(super) fn wait(&self, address: IpAddr) -> Option<Duration> {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = failures.get(&network(address))?;
        let rest = WITHIN.checked_sub(since.elapsed())?;
        let waits = *count >= FAILURES_MAX && !rest.is_zero();
        waits.then_some(rest.max(Duration::from_secs(1)))
    }

    /// Notes a failure.
    pub(super) fn note(&self, address: IpAddr) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= KEPT_MAX {
            failures.retain(|_, (since, _)| since.elapsed() < WITHIN);
        }
        if failures.len() >= KEPT_MAX {
            failures.clear();
        }
        let now = Instant::now();
        let (since, count) = failures.entry(network(address)).or_insert((now, 0));
        if since.elapsed() >= WITHIN {
            (*since, *count) = (now, 0);
        }
        *count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_fails_too_often_waits_and_nobody_else_does() {
        let failures = Failures::default();
        let (one, other): (IpAddr, IpAddr) =
            ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        for _ in 0..FAILURES_MAX {
            assert_eq!(failures.wait(one), None);
            failures.note(one);
        }
        assert!(failures.wait(one).is_some());
        assert_eq!(failures.wait(other), None);
        tokio::time::advance(WITHIN).await;
        assert_eq!(failures.wait(one), None);
        failures.note(one);
        assert_eq!(failures.wait(one), None);
    }

    #[tokio::test(start_paused = true)]
    async fn all_addresses_of_a_network_of_ipv6_are_one() {
        let failures = Failures::default();
        for host in 0..FAILURES_MAX {
            failures.note(format!("2001:db8::{host:x}").parse().unwrap());
        }
        assert!(failures.wait("2001:db8::ffff".parse().unwrap()).is_some());
        assert!(failures.wait("2001:db8:0:1::1".parse().unwrap()).is_none());
    }
}
