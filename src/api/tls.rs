//! One connection, with TLS or without. TLS begins when HTTP first reads, in the connection's own
//! task: nobody who greets slowly keeps others from being taken.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

/// A connection.
pub(super) enum Wire {
    /// Without TLS.
    Plain(TcpStream),
    /// Keys are being agreed upon, until the deadline.
    Greeting(Box<Accept<TcpStream>>, Pin<Box<Sleep>>),
    /// With TLS.
    Private(Box<TlsStream<TcpStream>>),
    /// No keys were agreed upon.
    Refused,
}

impl Wire {
    /// A connection whose other end has to speak TLS.
    pub(super) fn private(stream: TcpStream, acceptor: &TlsAcceptor) -> Self {
        let deadline = Box::pin(tokio::time::sleep(GREETING));
        Self::Greeting(Box::new(acceptor.accept(stream)), deadline)
    }

    /// Whether nobody on the way can read along.
    pub(super) fn is_private(&self) -> bool {
        !matches!(self, Self::Plain(_))
    }

    /// Brings the greeting forward; ready once it is over.
    fn poll_greeting(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self::Greeting(accept, deadline) = self else { return Poll::Ready(Ok(())) };
        let greeted = if deadline.as_mut().poll(context).is_ready() {
            Err(io::ErrorKind::TimedOut.into())
        } else {
            ready!(Pin::new(accept.as_mut()).poll(context))
        };
        let outcome = match greeted {
            Ok(stream) => {
                *self = Self::Private(Box::new(stream));
                Ok(())
            }
            Err(error) => {
                tracing::debug!(%error, "no TLS could be agreed upon with a client");
                *self = Self::Refused;
                Err(error)
            }
        };
        Poll::Ready(outcome)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_greeting(context))?;
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Private(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
            Self::Greeting(..) | Self::Refused => Poll::Ready(Err(not_connected())),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_greeting(context))?;
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Private(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
            Self::Greeting(..) | Self::Refused => Poll::Ready(Err(not_connected())),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_greeting(context))?;
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Private(stream) => Pin::new(stream.as_mut()).poll_write_vectored(context, slices),
            Self::Greeting(..) | Self::Refused => Poll::Ready(Err(not_connected())),
        }
    }

    /// As TLS has it: it takes many slices and makes records of them.
    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Before the greeting is over, nothing of HTTP is there to be flushed.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Private(stream) => Pin::new(stream.as_mut()).poll_flush(context),
            Self::Greeting(..) | Self::Refused => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Private(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
            Self::Greeting(..) | Self::Refused => Poll::Ready(Ok(())),
        }
    }
}

fn not_connected() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

/// How long a client may take to agree upon keys: two round trips, on any network.
const GREETING: Duration = Duration::from_secs(10);
