//! A wire between the gateway and a model that can be cut.

use std::net::SocketAddr;

use callbridge::sys::tasks::{self, Task};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Passes bytes until it is dropped.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    scissors: mpsc::Sender<()>,
    _passing: Task,
}

impl Relay {
    /// A wire to the server at this address.
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (scissors, mut cuts) = mpsc::channel(1);
        let passing = tasks::spawn("relay", async move {
            let mut wires: Vec<Task> = Vec::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let (near, _) = accepted.expect("a connection");
                        wires.push(tasks::spawn("wire", pass(near, server)));
                    }
                    // A task that is dropped drops its sockets: the connection is gone.
                    Some(()) = cuts.recv() => wires.clear(),
                }
            }
        });
        Self { address, scissors, _passing: passing }
    }

    /// Cuts every connection there is, without a word to either side.
    pub(crate) async fn cut(&self) {
        self.scissors.send(()).await.expect("the relay runs");
    }
}

async fn pass(mut near: TcpStream, server: SocketAddr) {
    let Ok(mut far) = TcpStream::connect(server).await else { return };
    // The end of either side ends both.
    let _ = copy_bidirectional(&mut near, &mut far).await;
}
