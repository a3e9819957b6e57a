//! The runtime a leg's engine runs on: tokio, but with our sockets, and ending with the leg.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime,
    TokioRuntime,
};

use super::Share;
use super::arrivals::{Arrivals, Noting};
use crate::sys::clock;

/// One leg's runtime.
#[derive(Debug)]
pub(in crate::rooms) struct LegRuntime {
    /// Without a share, the engine's sockets are real ones of its own.
    share: Option<Arc<Share>>,
    arrivals: Arc<Arrivals>,
    /// Closed when the leg's owner has dropped it; then everything spawned here ends.
    owner: watch::Receiver<()>,
}

impl LegRuntime {
    /// A runtime for one leg, and what keeps it running: all of it ends when that is dropped.
    pub(in crate::rooms) fn new(share: Option<Arc<Share>>) -> (Arc<Self>, watch::Sender<()>) {
        let (alive, owner) = watch::channel(());
        (Arc::new(Self { share, arrivals: Arc::default(), owner }), alive)
    }

    /// When the leg's packets came, by any of its sockets.
    pub(in crate::rooms) const fn arrivals(&self) -> &Arc<Arrivals> {
        &self.arrivals
    }
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl Runtime for LegRuntime {
    fn spawn(&self, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        let mut owner = self.owner.clone();
        TokioRuntime.spawn(Box::pin(async move {
            tokio::select! {
                biased;
                _ = owner.changed() => {}
                () = future => {}
            }
        }))
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let socket = match &self.share {
            Some(share) => Arc::new(share.socket(socket.local_addr()?)?),
            None => TokioRuntime.wrap_udp_socket(socket)?,
        };
        Ok(Arc::new(Noting { socket, arrivals: Arc::clone(&self.arrivals) }))
    }

    fn wrap_tcp_listener(
        &self,
        listener: std::net::TcpListener,
    ) -> io::Result<Arc<dyn AsyncTcpListener>> {
        TokioRuntime.wrap_tcp_listener(listener)
    }

    fn connect_tcp(
        &self,
        remote_addr: SocketAddr,
    ) -> Boxed<'_, io::Result<Arc<dyn AsyncTcpStream>>> {
        TokioRuntime.connect_tcp(remote_addr)
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        TokioRuntime.resolve_host(host)
    }

    fn now(&self) -> Instant {
        clock::now()
    }

    fn sleep(&self, duration: Duration) -> Boxed<'static, ()> {
        TokioRuntime.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        TokioRuntime.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        TokioRuntime.block_on(future);
    }

    fn yield_now(&self) -> Boxed<'static, ()> {
        TokioRuntime.yield_now()
    }

    fn name(&self) -> &'static str {
        "callbridge"
    }
}
