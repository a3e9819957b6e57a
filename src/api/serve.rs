//! Serving over TCP, with a way to end any one connection from our side.
//!
//! A WebSocket that Socket.IO has left stays open on the wire for as long as the other side
//! likes, and the crate has no way to close it. So every accepted stream carries a [`Cut`], and
//! the request that opened a session knows the cut of its stream.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::certificate::Tls;
use super::tls::Wire;

/// Where clients come in.
#[derive(Debug)]
pub struct Door {
    /// Where they connect.
    pub listener: TcpListener,
    /// What they are to speak TLS with; none is plain HTTP.
    pub tls: Option<Tls>,
}

impl From<TcpListener> for Door {
    fn from(listener: TcpListener) -> Self {
        Self { listener, tls: None }
    }
}

/// Serves `router` until `shutdown` is over; then takes no more connections, lets requests under
/// way and farewells finish for a moment, and ends whatever is still open.
pub async fn serve(
    door: impl Into<Door>,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let every_connection = CancellationToken::new();
    let stopping = CancellationToken::new();
    let stop = stopping.clone();
    let (alive, mut all_gone) = mpsc::channel(1);
    let door = door.into();
    let listener = CuttableListener { door, every_connection: every_connection.clone(), alive };
    let served = axum::serve(listener, router.into_make_service_with_connect_info::<Peer>())
        .with_graceful_shutdown(async move {
            shutdown.await;
            stop.cancel();
        });
    let grace = async {
        stopping.cancelled().await;
        tokio::time::sleep(REQUESTS_GRACE).await;
    };
    let served = async {
        served.await?;
        // A connection that has become a WebSocket is none of HTTP's any more, and may still have
        // to say why it ends. Nothing is ever sent on this channel: its end is the message.
        all_gone.recv().await;
        Ok(())
    };
    let result = tokio::select! {
        result = served => result,
        () = grace => Ok(()),
    };
    every_connection.cancel();
    result
}

/// Ends one TCP connection: its reader sees the end, its writer a broken pipe.
#[derive(Clone, Debug)]
pub(super) struct Cut(CancellationToken);

impl Cut {
    /// Ends the connection, if it has not ended by itself.
    pub(super) fn now(&self) {
        self.0.cancel();
    }

    /// Whether the connection has ended, by whomever.
    pub(super) fn is_over(&self) -> bool {
        self.0.is_cancelled()
    }
}

/// What a request knows of the connection it came on.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// Ends it.
    pub(super) cut: Cut,
    /// Who is at its other end; perhaps a proxy.
    pub(super) address: SocketAddr,
    /// Whether it is encrypted.
    pub(super) is_private: bool,
}

impl Connected<IncomingStream<'_, CuttableListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, CuttableListener>) -> Self {
        let io = stream.io();
        let (cut, is_private) = (Cut(io.token.clone()), io.stream.is_private());
        Self { cut, address: *stream.remote_addr(), is_private }
    }
}

#[cfg(test)]
impl Peer {
    /// Somebody at this address.
    pub(super) fn at(ip: std::net::IpAddr, is_private: bool) -> Self {
        let cut = Cut(CancellationToken::new());
        Self { cut, address: SocketAddr::new(ip, 9), is_private }
    }
}

/// Accepts connections that can be cut.
struct CuttableListener {
    door: Door,
    every_connection: CancellationToken,
    /// Held by every stream for as long as it is open.
    alive: mpsc::Sender<()>,
}

impl Listener for CuttableListener {
    type Io = CuttableStream<Wire>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.door.listener.accept().await {
                Ok((stream, address)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "a connection will wait before small packets");
                    }
                    let token = self.every_connection.child_token();
                    let wire = match &self.door.tls {
                        Some(tls) => Wire::private(stream, &tls.acceptor),
                        None => Wire::Plain(stream),
                    };
                    return (CuttableStream::new(wire, token, self.alive.clone()), address);
                }
                // Out of file descriptors, or a peer gone before it was taken: neither is the
                // end of the listener.
                Err(error) => {
                    tracing::warn!(%error, "no connection could be accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.door.listener.local_addr()
    }
}

/// A stream that ends when its token is cancelled, and cancels the token when it ends.
struct CuttableStream<S> {
    stream: S,
    token: CancellationToken,
    // One for each direction: reader and writer may be polled by different tasks.
    read_cut: Pin<Box<WaitForCancellationFutureOwned>>,
    write_cut: Pin<Box<WaitForCancellationFutureOwned>>,
    _alive: mpsc::Sender<()>,
}

impl<S> CuttableStream<S> {
    fn new(stream: S, token: CancellationToken, alive: mpsc::Sender<()>) -> Self {
        let read_cut = Box::pin(token.clone().cancelled_owned());
        let write_cut = Box::pin(token.clone().cancelled_owned());
        Self { stream, token, read_cut, write_cut, _alive: alive }
    }
}

impl<S> Drop for CuttableStream<S> {
    fn drop(&mut self) {
        self.token.cancel();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for CuttableStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read_cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CuttableStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.write_cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.write_cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// How long requests under way may go on after a shutdown. By then every agent has already left
/// its call and told its clients, so nothing of worth is in flight.
const REQUESTS_GRACE: Duration = Duration::from_secs(2);

/// The wait after a failed accept, so that a lack of file descriptors does not spin a core.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn a_shutdown_ends_every_connection() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (asked, mut was_asked) = tokio::sync::mpsc::channel(1);
        let waiting = axum::routing::get(async move || {
            asked.send(()).await.expect("the test waits");
            std::future::pending::<()>().await;
        });
        let router = Router::new().route("/", waiting);
        let served = serve(listener, router, async {
            let _stopped = stopped.await;
        });
        let client = async {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
            was_asked.recv().await.expect("a request");
            stop.send(()).expect("it is served");
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.expect("an end");
        };
        let (served, ()) = tokio::join!(served, client);
        served.expect("no failure");
        TcpStream::connect(address).await.expect_err("nobody listens");
    }

    fn cuttable() -> (CuttableStream<tokio::io::DuplexStream>, tokio::io::DuplexStream, Cut) {
        let (ours, theirs) = tokio::io::duplex(4);
        let token = CancellationToken::new();
        (CuttableStream::new(ours, token.clone(), mpsc::channel(1).0), theirs, Cut(token))
    }

    #[tokio::test]
    async fn bytes_pass_until_the_cut() {
        let (mut ours, mut theirs, _cut) = cuttable();
        ours.write_all(b"ab").await.expect("written");
        theirs.write_all(b"cd").await.expect("written");
        let mut bytes = [0; 2];
        theirs.read_exact(&mut bytes).await.expect("read");
        assert_eq!(&bytes, b"ab");
        ours.read_exact(&mut bytes).await.expect("read");
        assert_eq!(&bytes, b"cd");
    }

    #[tokio::test]
    async fn a_waiting_reader_sees_the_end() {
        let (mut ours, _theirs, cut) = cuttable();
        let mut bytes = [0; 2];
        let (read, ()) = tokio::join!(ours.read(&mut bytes), async { cut.now() });
        assert_eq!(read.expect("an end, not an error"), 0);
    }

    #[tokio::test]
    async fn a_waiting_writer_sees_a_broken_pipe() {
        let (mut ours, _theirs, cut) = cuttable();
        let (written, ()) = tokio::join!(ours.write_all(b"more than fits"), async { cut.now() });
        assert_eq!(written.expect_err("cut").kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn a_dropped_stream_is_over() {
        let (ours, _theirs, cut) = cuttable();
        assert!(!cut.is_over());
        drop(ours);
        assert!(cut.is_over());
    }
}
