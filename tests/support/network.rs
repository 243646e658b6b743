//! The networks of a node and of pods on it, apart from this machine's: what a test serves is found there under the addresses
//! and ports of a real cluster, and a pod is asked from outside of it, as kubelet does.

use std::cell::Cell;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// The node's own address, and the first of its pods'.
const NODE: Ipv4Addr = Ipv4Addr::new(10, 128, 0, 1);

/// A network namespace. Clones are the same.
#[derive(Clone, Debug)]
pub struct Network(Arc<File>);

/// The network of a node, with what can be reached from it.
pub struct NodeNetwork {
    network: Network,
    pods: Cell<u8>,
    leads: Vec<JoinHandle<()>>,
}

/// Where a pod is.
#[derive(Clone, Debug)]
pub struct PodNetwork {
    pub network: Network,
    pub address: Ipv4Addr,
}

impl Network {
    /// A fresh one, and a process that is in it until its input ends.
    fn make() -> (Self, Child) {
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", "ip link set lo up && echo up && read _"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut told = String::new();
        let output = child.stdout.take().expect("a pipe");
        BufReader::new(output).read_line(&mut told).expect("its output");
        assert_eq!(told, "up\n", "a network of its own");
        let namespace = File::open(format!("/proc/{}/ns/net", child.id())).expect("it lives");
        (Self(Arc::new(namespace)), child)
    }

    /// A file by which another process can enter it, as long as this process has it.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }

    /// Does something in it. Sockets stay where they were made.
    pub fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network)).expect("we are root");
            act()
        };
        std::thread::scope(|scope| scope.spawn(inside).join().expect("no panic"))
    }

    fn configure(&self, script: &str) {
        let done = self.within(|| Command::new("sh").args(["-euc", script]).output());
        let done = done.expect("a shell");
        assert!(done.status.success(), "{script}\n{}", String::from_utf8_lossy(&done.stderr));
    }
}

impl NodeNetwork {
    /// Without any pod.
    pub fn new() -> Self {
        let (network, child) = Network::make();
        end(child);
        network.configure(&format!("ip addr add {NODE}/32 dev lo"));
        Self { network, pods: Cell::new(0), leads: Vec::new() }
    }

    /// The network of another pod. It reaches the node and everything of 10.0.0.0/8, but not link-local addresses: to a
    /// metadata service with a hop limit of 1 it is one hop too far away.
    pub fn pod(&self) -> PodNetwork {
        self.pods.set(self.pods.get() + 1);
        let [a, b, c, node] = NODE.octets();
        let address = Ipv4Addr::new(a, b, c, node + self.pods.get());
        let cable = format!("pod{}", self.pods.get());
        let (network, child) = Network::make();
        self.network.configure(&format!(
            "ip link add {cable} type veth peer name eth0 netns {}\n\
             ip link set {cable} up\n\
             ip route add {address}/32 dev {cable} src {NODE}",
            child.id()
        ));
        network.configure(&format!(
            "ip addr add {address}/32 dev eth0\n\
             ip link set eth0 up\n\
             ip route add 10.0.0.0/8 via {NODE} dev eth0 onlink"
        ));
        end(child);
        PodNetwork { network, address }
    }

    /// The node's own, for pods that share it.
    pub fn host(&self) -> PodNetwork {
        PodNetwork { network: self.network.clone(), address: NODE }
    }

    /// Connects from the node.
    pub fn connect(&self, to: SocketAddr) -> std::io::Result<TcpStream> {
        self.network.within(|| TcpStream::connect(to))
    }

    /// From now on who comes to this address is led to another of the test's own network; with TLS, its end is here.
    pub fn lead(&mut self, at: (Ipv4Addr, u16), tls: Option<TlsAcceptor>, to: SocketAddr) {
        self.network.configure(&format!("ip addr replace {}/32 dev lo", at.0));
        let listener = self.network.within(|| {
            let listener = std::net::TcpListener::bind(at)?;
            listener.set_nonblocking(true)?;
            std::io::Result::Ok(listener)
        });
        let listener = TcpListener::from_std(listener.expect("a free port")).expect("a listener");
        self.leads.push(tokio::spawn(async move {
            loop {
                let Ok((from, _)) = listener.accept().await else { continue };
                tokio::spawn(led(from, tls.clone(), to));
            }
        }));
    }
}

impl Drop for NodeNetwork {
    fn drop(&mut self) {
        self.leads.iter().for_each(JoinHandle::abort);
    }
}

/// Either end may go away at any time.
async fn led(mut from: tokio::net::TcpStream, tls: Option<TlsAcceptor>, to: SocketAddr) {
    let Ok(mut to) = tokio::net::TcpStream::connect(to).await else { return };
    let _ = match tls {
        None => copy_bidirectional(&mut from, &mut to).await,
        Some(tls) => match tls.accept(from).await {
            Ok(mut from) => copy_bidirectional(&mut from, &mut to).await,
            Err(error) => Err(error),
        },
    };
}

/// A namespace lives as long as its file is open.
fn end(mut child: Child) {
    drop(child.stdin.take());
    child.wait().expect("our child");
}
