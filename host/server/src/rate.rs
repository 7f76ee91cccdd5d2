//! How fast one address may send requests.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::Limits;
use crate::guard::network;

/// Addresses that are remembered. When there are more, those with nothing to remember are forgotten, and all if that makes little room.
const KEPT_MAX: usize = 10_000;

/// Counts the requests of each address: it may be ahead of the average by as many as a burst has.
#[derive(Debug)]
pub(crate) struct Rate {
    /// The time that a request costs.
    cost: Duration,
    /// How far an address may be ahead.
    ahead_max: Duration,
    /// When what an address has sent is paid for.
    paid_at: Mutex<HashMap<IpAddr, Instant>>,
}

impl Rate {
    /// None: any number.
    pub(crate) fn new(limits: &Limits) -> Option<Self> {
        let cost = Duration::from_secs(1).checked_div(limits.requests_per_second)?;
        Some(Self {
            cost,
            ahead_max: cost * limits.requests_burst.max(1),
            paid_at: Mutex::default(),
        })
    }

    /// Takes note of a request, or says when to come back.
    pub(crate) fn take(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        // The map is whole whenever the lock is free, whoever panicked.
        let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        if paid_at.len() >= KEPT_MAX {
            paid_at.retain(|_, at| *at > now);
            // Looking through them all must not be what each request costs.
            if paid_at.len() > KEPT_MAX / 2 {
                paid_at.clear();
            }
        }
        let at = paid_at.entry(network(address)).or_insert(now);
        let next = (*at).max(now) + self.cost;
        let ahead = next - now;
        if ahead > self.ahead_max {
            return Err(ahead - self.ahead_max);
        }
        *at = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(requests_per_second: u32, requests_burst: u32) -> Option<Rate> {
        Rate::new(&Limits {
            requests_per_second,
            requests_burst,
            ..Limits::default()
        })
    }

    #[test]
    fn after_a_burst_an_address_waits_as_long_as_a_request_costs() {
        let rate = rate(10, 3).unwrap();
        let (now, one) = (Instant::now(), IpAddr::from([192, 0, 2, 1]));
        for _ in 0..3 {
            assert_eq!(rate.take(one, now), Ok(()));
        }
        assert_eq!(rate.take(one, now), Err(Duration::from_millis(100)));
        assert_eq!(rate.take(IpAddr::from([192, 0, 2, 2]), now), Ok(()));
        let later = now + Duration::from_millis(100);
        assert_eq!(rate.take(one, later), Ok(()));
        assert!(rate.take(one, later).is_err());
    }

    #[test]
    fn a_network_of_version_6_is_one_address() {
        let rate = rate(1, 1).unwrap();
        let now = Instant::now();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(rate.take(address("2001:db8::1"), now), Ok(()));
        assert!(rate.take(address("2001:db8::2"), now).is_err());
        assert_eq!(rate.take(address("2001:db8:0:1::1"), now), Ok(()));
        assert_eq!(rate.take(address("::ffff:192.0.2.1"), now), Ok(()));
        assert!(rate.take(address("192.0.2.1"), now).is_err());
    }

    #[test]
    fn no_more_than_so_many_addresses_are_remembered() {
        let rate = rate(1, 1).unwrap();
        let now = Instant::now();
        for address in 0..30_000_u32 {
            assert_eq!(rate.take(IpAddr::V4(address.into()), now), Ok(()));
            assert!(rate.paid_at.lock().unwrap().len() <= KEPT_MAX);
        }
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        assert!(rate(0, 1).is_none());
    }
}
