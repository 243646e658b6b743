//! A forward proxy on 127.0.0.1 that knows CONNECT, as companies have one between a cluster and AWS.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A running proxy; it ends when dropped.
pub struct Proxy {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl Proxy {
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound socket has an address"));
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let remember = asked.clone();
        let serving = tokio::spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else { continue };
                let remember = remember.clone();
                tokio::spawn(async move {
                    // Who hangs up early is not the proxy's care.
                    let _ = tunnel(socket, &remember).await;
                });
            }
        });
        Self { url, asked, serving }
    }

    /// As `HTTPS_PROXY` takes it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The hosts with ports to which tunnels were asked for.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn tunnel(socket: TcpStream, asked: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut client = BufReader::new(socket);
    let mut first = String::new();
    client.read_line(&mut first).await?;
    let target = first.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    asked.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(target.to_owned());
    let mut line = String::new();
    while client.read_line(&mut line).await? > 2 {
        line.clear();
    }
    let mut server = TcpStream::connect(target).await?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
