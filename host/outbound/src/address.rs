//! Which addresses are those of the public internet, and looking names up so that no others come of it.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::Name;
use tokio::sync::Semaphore;
use tower_service::Service;

/// Names that are looked up at the same time: each takes a thread for as long as the name server likes.
static LOOK_UPS: Semaphore = Semaphore::const_new(32);

/// Where a cloud answers its machines, at an address that looks like any other.
const CLOUD_SERVICE: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

/// Whether an address is one of the public internet: no private, local, shared, reserved or multicast one, and no way around to one.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || address == CLOUD_SERVICE
        || a == 0
        || a >= 240
        // Shared by the customers of a provider.
        || (a == 100 && (64..128).contains(&b))
        // Of the protocol itself, and an old way into IPv6.
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        // For measuring.
        || (a == 198 && (18..20).contains(&b)))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    match segments {
        // A network that speaks IPv6 alone reaches IPv4 by these.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            is_public_v4(Ipv4Addr::new(a, b, c, d))
        }
        // Of the protocol itself, Teredo among it; 6to4; documentation.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x2002, ..] => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        // All that was ever handed out for the internet.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

/// A name stands for addresses that requests may not be sent to.
#[derive(Debug, thiserror::Error)]
#[error("{name} stands for {address}, which is not an address of the public internet")]
pub(crate) struct NotPublic {
    name: String,
    address: IpAddr,
}

/// Looks names up. What it answers is what is connected to, so nobody can give another answer in between.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resolver {
    may_be_private: bool,
    look_up: fn(Name) -> LookUp,
}

type LookUp = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

impl Resolver {
    /// As the system has them.
    pub(crate) fn new(may_be_private: bool) -> Resolver {
        Resolver {
            may_be_private,
            look_up: |name| Box::pin(look_up(name)),
        }
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let Resolver {
            may_be_private,
            look_up,
        } = *self;
        Box::pin(async move {
            let found = look_up(name.clone()).await?;
            let refused = found
                .iter()
                .find(|found| !may_be_private && !is_public(found.ip()));
            // One that may be connected to does not make up for another one: nobody who means well answers both.
            match refused {
                Some(refused) => Err(io::Error::other(NotPublic {
                    name: name.as_str().to_owned(),
                    address: refused.ip(),
                })),
                None => Ok(found.into_iter()),
            }
        })
    }
}

/// What the system knows of a name.
async fn look_up(name: Name) -> io::Result<Vec<SocketAddr>> {
    let place = LOOK_UPS.acquire().await.map_err(io::Error::other)?;
    let look_up = tokio::task::spawn_blocking(move || {
        // It is kept until the thread is free again, whoever still waits for it.
        let _place = place;
        Ok((name.as_str(), 0).to_socket_addrs()?.collect())
    });
    look_up.await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn addresses_that_are_not_public_are_known_in_all_their_forms() {
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.0.1",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2002:7f00:1::",
            "3fff::1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "2606:4700::1111",
            "2a00:1450:4001::1",
            "64:ff9b::101:101",
            "::ffff:8.8.8.8",
            "2001:4860:4860::8888",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[tokio::test]
    async fn a_name_for_a_local_address_is_refused_unless_it_may_be_private() {
        let look_up =
            |may_be_private| Resolver::new(may_be_private).call("localhost".parse().unwrap());
        assert!(look_up(true).await.unwrap().next().is_some());
        let error = look_up(false).await.unwrap_err();
        let refused = error
            .get_ref()
            .and_then(|cause| cause.downcast_ref::<NotPublic>());
        assert_eq!(refused.unwrap().name, "localhost");
    }

    /// Whoever answers for this name answers something else each time.
    fn rebound(_: Name) -> LookUp {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let answers: [&[&str]; 4] = [
            &["1.1.1.1:0"],
            &["169.254.169.254:0"],
            &["1.1.1.1:0", "[::ffff:10.0.0.1]:0"],
            &["[2606:4700::1111]:0"],
        ];
        let answer = answers[ASKED.fetch_add(1, Ordering::Relaxed)];
        let answer = answer.iter().map(|address| address.parse().unwrap());
        let answer = answer.collect();
        Box::pin(async move { Ok(answer) })
    }

    #[tokio::test]
    async fn a_name_that_is_bound_to_a_private_address_later_is_refused_then() {
        let mut resolver = Resolver {
            may_be_private: false,
            look_up: rebound,
        };
        let mut answers = Vec::new();
        for _ in 0..4 {
            let found = resolver.call("rebound.example.com".parse().unwrap()).await;
            answers.push(match found {
                Ok(found) => format!("{:?}", found.collect::<Vec<_>>()),
                Err(error) => error.to_string(),
            });
        }
        assert_eq!(
            answers,
            [
                "[1.1.1.1:0]",
                "rebound.example.com stands for 169.254.169.254, which is not an address of the public internet",
                "rebound.example.com stands for ::ffff:10.0.0.1, which is not an address of the public internet",
                "[[2606:4700::1111]:0]",
            ]
        );
    }
}
