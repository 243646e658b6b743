//! What pods talk to, under the names and addresses that their manifests count on: delivery streams and STS by the names of
//! their region, the API server by the address of its service, the metadata service by its own.

use std::fs;
use std::net::Ipv4Addr;

use crate::support::endpoint::{Certificates, Endpoint, Settings, Stream};
use crate::support::identity::Identities;
use crate::support::kubernetes::Api;
use crate::support::network::NodeNetwork;

const FIREHOSE: (&str, Ipv4Addr) = ("firehose.eu-central-1.amazonaws.com", Ipv4Addr::new(10, 20, 0, 1));
const STS: (&str, Ipv4Addr) = ("sts.eu-central-1.amazonaws.com", Ipv4Addr::new(10, 20, 0, 2));
/// The first address of most clusters' services.
const API_SERVER: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// Only nodes reach it, and pods that share their network.
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// AWS and the cluster's API server, for one node.
pub(crate) struct Cloud {
    pub(crate) endpoint: Endpoint,
    pub(crate) identities: Identities,
    pub(crate) api: Api,
    pub(crate) network: NodeNetwork,
    authorities: Vec<u8>,
}

impl Cloud {
    /// With these delivery streams.
    pub(crate) async fn with(streams: &[&str], endpoint: impl FnOnce(Settings) -> Settings) -> Self {
        let settings = Endpoint::tls_for(FIREHOSE.0);
        let settings = streams.iter().fold(settings, |all, stream| all.stream(Stream::firehose(*stream)));
        let endpoint = endpoint(settings).start().await;
        let (identities, api) = (Identities::start().await, Api::tls_for(&API_SERVER.to_string()).await);
        let sts = Certificates::make(STS.0);
        let mut network = NodeNetwork::new();
        network.lead((FIREHOSE.1, 443), None, endpoint.address());
        network.lead((STS.1, 443), Some(sts.acceptor()), identities.address());
        network.lead((API_SERVER, 443), None, api.address());
        network.lead((METADATA, 80), None, identities.address());
        let bundles =
            [endpoint.ca_bundle(), sts.ca_bundle()].map(|bundle| fs::read(bundle).expect("a certificate"));
        Self { endpoint, identities, api, network, authorities: bundles.concat() }
    }

    /// What the image and the runtime put into a container's root: who is trusted, and who is where.
    pub(crate) fn files(&self) -> Vec<(&'static str, Vec<u8>)> {
        let known = [("localhost", Ipv4Addr::LOCALHOST), FIREHOSE, STS];
        let hosts: String = known.iter().map(|(name, address)| format!("{address} {name}\n")).collect();
        vec![
            ("/etc/ssl/certs/ca-certificates.crt", self.authorities.clone()),
            ("/etc/nsswitch.conf", b"hosts: files dns\n".to_vec()),
            ("/etc/hosts", hosts.into_bytes()),
        ]
    }

    /// What the image and kubelet put into each container's environment.
    pub(crate) fn variables() -> [(String, String); 3] {
        [
            ("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt".to_owned()),
            ("KUBERNETES_SERVICE_HOST", API_SERVER.to_string()),
            ("KUBERNETES_SERVICE_PORT", "443".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
    }
}
