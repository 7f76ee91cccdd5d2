//! A listening socket and the loop behind it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::map_request;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::tls::{Peer, TlsListener};
use crate::{Tls, TlsError};

/// How long connections that are open at the end may take to finish. Streams end by themselves then, but a client may keep its connection
/// open for ever.
const CLOSE_GRACE: Duration = Duration::from_millis(500);

/// The server could not listen, or had to stop.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The address cannot be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Accepting connections failed for good.
    #[error("the HTTP server stopped")]
    Serve(#[source] io::Error),
}

/// A server that listens already, and answers once it is told to [`serve`](Server::serve).
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Tls>,
}

impl Server {
    /// Listens on an address. Port 0 takes any free one; [`Server::address`] tells which.
    ///
    /// # Errors
    /// [`ServerError::Listen`] if the address is taken or not ours.
    pub async fn bind(address: SocketAddr) -> Result<Self, ServerError> {
        let listen = |source| ServerError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(Self {
            listener,
            address,
            tls: None,
        })
    }

    /// The same server, which speaks TLS and nothing else.
    #[must_use]
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it speaks TLS.
    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Answers until `stop` is ready, then closes within half a second.
    ///
    /// # Errors
    /// [`ServerError::Serve`] if no connection can be accepted any more.
    pub async fn serve(
        self,
        routes: Router,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServerError> {
        let (stopping, stopped) = oneshot::channel();
        let shutdown = async move {
            stop.await;
            // The receiver is gone only if nobody waits for the end any more.
            let _ = stopping.send(());
        };
        let serving: Pin<Box<dyn Future<Output = io::Result<()>> + Send>> = match &self.tls {
            None => {
                let routes = routes.into_make_service_with_connect_info::<SocketAddr>();
                let serving = axum::serve(self.listener, routes).with_graceful_shutdown(shutdown);
                Box::pin(serving.into_future())
            }
            Some(tls) => {
                let listener = TlsListener::new(self.listener, tls)?;
                // Handlers find an address where they always do.
                let routes = routes.layer(map_request(with_address));
                let routes = routes.into_make_service_with_connect_info::<Peer>();
                let serving = axum::serve(listener, routes).with_graceful_shutdown(shutdown);
                Box::pin(serving.into_future())
            }
        };
        let grace = async {
            if stopped.await.is_err() {
                // The server ended by itself; its result is the answer.
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(CLOSE_GRACE).await;
        };
        tokio::select! {
            result = serving => result.map_err(ServerError::Serve),
            () = grace => Ok(()),
        }
    }
}

/// Says where a connection with TLS comes from as it is said of others.
async fn with_address(mut request: Request) -> Request {
    if let Some(ConnectInfo(Peer(address))) = request.extensions().get() {
        let address = ConnectInfo(*address);
        request.extensions_mut().insert(address);
    }
    request
}
