//! A place on the network where nobody answers until it is opened.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

/// An address at which connections are refused; once opened, they are led to another. Closed for good when dropped.
pub struct Door {
    address: SocketAddr,
    closed: Option<TcpSocket>,
    serving: Option<JoinHandle<()>>,
}

impl Door {
    /// At a free port of 127.0.0.1, which nobody else gets: it is bound, and nobody listens.
    pub fn closed() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
        let address = socket.local_addr().expect("a bound socket has an address");
        Self { address, closed: Some(socket), serving: None }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on connections are led to this address.
    pub fn open(&mut self, to: SocketAddr) {
        let socket = self.closed.take().expect("it is closed");
        let listener = socket.listen(128).expect("nobody else listens there");
        self.serving = Some(tokio::spawn(async move {
            loop {
                let Ok((mut from, _)) = listener.accept().await else { continue };
                tokio::spawn(async move {
                    let Ok(mut to) = TcpStream::connect(to).await else { return };
                    // Either end may go away at any time.
                    let _ = copy_bidirectional(&mut from, &mut to).await;
                });
            }
        }));
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}
