//! `wasi:cli/stdout` and `stderr`: into the run's log, line by line.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::bindings::io::streams::{self, Host as _, HostOutputStream as _};
use wasmtime_wasi::p2::{DynOutputStream, OutputStream, Pollable, StreamResult};

use crate::console::Console;
use crate::guest::Guest;
use crate::journal::LogSource;

/// Bytes that a guest may write before it asks again. It is told so whatever is under way: how fast the journal takes lines, and whether
/// this play writes any, is nothing that it may see.
const PERMIT_BYTES: usize = 64 << 10;

const STREAMS: &str = "wasi:io/streams@0.2.12";

type Written = Result<(), streams::StreamError>;

/// Guests that write too much wait within their writes, and not by a look at the stream.
pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut instance = linker.instance(STREAMS)?;
    instance.func_wrap_async(
        "[method]output-stream.write",
        |store: StoreContextMut<'_, Guest>,
         (stream, bytes): (Resource<DynOutputStream>, Vec<u8>)| {
            Box::new(async move { write(store, |table| table.write(stream, bytes)).await })
        },
    )?;
    instance.func_wrap_async(
        "[method]output-stream.write-zeroes",
        |store: StoreContextMut<'_, Guest>, (stream, count): (Resource<DynOutputStream>, u64)| {
            Box::new(async move { write(store, |table| table.write_zeroes(stream, count)).await })
        },
    )
}

async fn write(
    mut store: StoreContextMut<'_, Guest>,
    write: impl FnOnce(&mut ResourceTable) -> StreamResult<()>,
) -> wasmtime::Result<(Written,)> {
    let guest = store.data_mut();
    let written = match write(&mut guest.table) {
        Ok(()) => Ok(()),
        Err(error) => Err(guest.table.convert_stream_error(error)?),
    };
    // That the run has to stop is noticed at its next durable call; until then there is no point in holding it here.
    let _ = guest.console.relieve().await;
    Ok((written,))
}

/// One of a guest's two output streams.
#[derive(Clone)]
pub(super) struct Output {
    console: Console,
    source: LogSource,
}

impl Output {
    pub(super) fn new(console: Console, source: LogSource) -> Output {
        Output { console, source }
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.console.print(self.source, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT_BYTES)
    }

    async fn write_ready(&mut self) -> StreamResult<usize> {
        // As for a write by itself, and before and behind those that wait anyway.
        let _ = self.console.relieve().await;
        Ok(PERMIT_BYTES)
    }
}

/// Only WASI 0.1 writes this way; it is here because the trait asks for it.
impl AsyncWrite for Output {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.console.print(self.source, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
