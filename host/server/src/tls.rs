//! TLS: a certificate and its key out of files, read again when they change, and connections whose handshakes wait for nobody.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How often it is looked whether the files have changed.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How long a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Handshakes under way at a time, at most; whoever comes then waits for a place.
const HANDSHAKES_MAX: usize = 512;

/// A certificate that cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file holds something else than expected.
    #[error("{}: expected {expected}", .file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// Certificate and key do not go together, or cannot be used at all.
    #[error("the certificate and the key cannot be used")]
    Unusable(#[source] rustls::Error),
}

/// The certificate of a server and its key.
#[derive(Debug, Clone)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    current: Arc<Current>,
}

/// The certificate that new connections are shown.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // It is whole whenever the lock is free, whoever panicked.
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current))
    }
}

impl Tls {
    /// A certificate, with those that lead to its authority behind it, and its key, both in PEM.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let current = certified(certificate, key)?;
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            current: Arc::new(Current(RwLock::new(Arc::new(current)))),
        })
    }

    /// Reads both files again. If they cannot be used, all stays as it was.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn reload(&self) -> Result<(), TlsError> {
        let read = Arc::new(certified(&self.certificate, &self.key)?);
        *self
            .current
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }

    fn changed_at(&self) -> [Option<SystemTime>; 2] {
        let changed = |file: &Path| {
            std::fs::metadata(file)
                .and_then(|file| file.modified())
                .ok()
        };
        [changed(&self.certificate), changed(&self.key)]
    }

    /// Reads the files again whenever they have changed, for ever.
    async fn follow(self) {
        let mut seen = self.changed_at();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.changed_at();
            if now == seen {
                continue;
            }
            match self.reload() {
                Ok(()) => {
                    tracing::info!(
                        "the certificate has changed; new connections are shown the new one"
                    );
                    seen = now;
                }
                // One of the files may be written in a moment.
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the certificate has changed, and the new one cannot be used; the old one is shown"
                ),
            }
        }
    }

    fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Unusable)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn certified(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let read = |file: &Path| {
        std::fs::read(file).map_err(|source| TlsError::Read {
            file: file.to_owned(),
            source,
        })
    };
    let expected = |file: &Path, expected| TlsError::Content {
        file: file.to_owned(),
        expected,
    };
    let chain = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| expected(certificate, "certificates in PEM"))?;
    if chain.is_empty() {
        return Err(expected(certificate, "certificates in PEM"));
    }
    let key = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|_| expected(key, "a private key in PEM"))?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map_err(TlsError::Unusable)
}

/// Connections whose handshakes are done.
pub(crate) struct TlsListener {
    address: SocketAddr,
    done: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    accepting: JoinHandle<()>,
    following: JoinHandle<()>,
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        self.accepting.abort();
        self.following.abort();
    }
}

impl TlsListener {
    pub(crate) fn new(listener: TcpListener, tls: &Tls) -> Result<Self, TlsError> {
        let address = listener.local_addr().map_err(|source| TlsError::Read {
            file: PathBuf::new(),
            source,
        })?;
        let acceptor = tls.acceptor()?;
        let (sender, done) = mpsc::channel(HANDSHAKES_MAX);
        Ok(Self {
            address,
            done,
            accepting: tokio::spawn(accept(listener, acceptor, sender)),
            following: tokio::spawn(tls.clone().follow()),
        })
    }
}

/// Accepts for ever. Handshakes go on beside each other, so that one who says nothing keeps nobody else waiting.
async fn accept(
    mut listener: TcpListener,
    acceptor: TlsAcceptor,
    done: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let mut handshakes = JoinSet::new();
    loop {
        while handshakes.len() >= HANDSHAKES_MAX {
            handshakes.join_next().await;
        }
        // The listener of axum's own waits a moment where the system has no more sockets.
        let (stream, address) = Listener::accept(&mut listener).await;
        while handshakes.try_join_next().is_some() {}
        let (acceptor, done) = (acceptor.clone(), done.clone());
        handshakes.spawn(async move {
            match tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await {
                // Nobody takes it any more when the server stops.
                Ok(Ok(stream)) => drop(done.send((stream, address)).await),
                Ok(Err(error)) => tracing::debug!(%error, %address, "no TLS"),
                Err(_) => tracing::debug!(%address, "a handshake took too long"),
            }
        });
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        match self.done.recv().await {
            Some(connection) => connection,
            // Its task ends with us.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// Where a connection with TLS comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl Connected<IncomingStream<'_, TlsListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        Self(*stream.remote_addr())
    }
}
