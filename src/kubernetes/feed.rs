//! Asks the API and tells the store.
//!
//! The pods of this node are listed once, from the API server's cache (`resourceVersion=0`), and watched from there on
//! with bookmarks, so that a lost connection goes on where it ended. Where the API has forgotten that place (410 Gone) they
//! are listed anew; so they are, now and then, as long as there is room again for one that had found none. Of namespaces only the metadata are asked for. The node is asked for now and then: nobody has to be
//! allowed to watch nodes.
//!
//! kube's `watcher` does the listing and watching. Its reflector is not used: that forgets a pod in the moment in which it
//! is deleted, and has no limit.

use std::collections::HashSet;
use std::future::pending;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use hyper::Response;
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::client::{ClientBuilder, DynBody};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Config};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tower::util::MapResponseLayer;

use super::facts::{Names, chosen};
use super::link::{Link, chain, explained, is_gone};
use super::object::PodObject;
use super::{ApiSettings, KubernetesSettings, PodFacts, PodStore, Wanted};

/// How long the API keeps a watch open, seconds. Also bounds how long a connection that died unnoticed is trusted.
const WATCH: u32 = 120;
/// How long the API may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the API may take for an answer, or between two parts of one.
const ANSWER: Duration = Duration::from_secs(WATCH as u64 + 10);
/// Between two looks at the node's labels.
const NODE: Duration = Duration::from_secs(600);
/// Between two looks for pods that were deleted too long ago, and for room that came free.
const TIDY: Duration = Duration::from_secs(30);

/// Keeps the store as the API tells, by the settings that count now. Ends with whoever changes them.
pub async fn keep(store: PodStore, mut wanted: watch::Receiver<Wanted>) {
    loop {
        let now = wanted.borrow_and_update().clone();
        store.follow(&now);
        let asking = async {
            match now {
                Some((settings, node)) => ask(&store, &settings, &node).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = asking => {}
            changed = wanted.changed() => if changed.is_err() { return },
        }
    }
}

/// Asks all there is to ask. Does not end.
async fn ask(store: &PodStore, settings: &KubernetesSettings, node: &str) {
    let link = Link::new(store.clone());
    loop {
        // Whether pods can be asked for is seen by what answers come to that.
        match client(&settings.api, Some(&link))
            .and_then(|of_pods| Ok((of_pods, client(&settings.api, None)?)))
        {
            Ok((of_pods, client)) => {
                let fields = &settings.fields;
                let namespaces =
                    when(!fields.namespace_labels.is_empty(), namespaces(store, &client, settings));
                let node_labels =
                    when(!fields.node_labels.is_empty(), node_labels(store, &client, settings, node));
                tokio::select! {
                    () = pods(store, &of_pods, settings, node, &link) => {}
                    () = namespaces => {}
                    () = node_labels => {}
                }
            }
            Err(error) => link.failed("pods", &error),
        }
        sleep(link.pause()).await;
    }
}

/// Does something if it is wanted, and else nothing for ever.
async fn when(wanted: bool, does: impl Future<Output = ()>) {
    if wanted { does.await } else { pending().await }
}

/// A client of the API, of which a link is told when it is answered. It reads its token and certificates again as their
/// files change.
fn client(api: &ApiSettings, link: Option<&Link>) -> Result<Client, String> {
    let mut config = match &api.url {
        Some(url) => Config::new(url.parse().map_err(|error| format!("kubernetes.api.url: {error}"))?),
        None => Config::incluster().map_err(|error| {
            format!("this process is in no pod of a cluster ({}); say kubernetes.api.url", chain(&error))
        })?,
    };
    if let Some(file) = &api.token_file {
        config.auth_info.token_file = Some(file.display().to_string());
    }
    if let Some(file) = &api.ca_file {
        config.root_cert_file = Some(file.clone());
    }
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(ANSWER);
    config.reset_reader_on_write = true;
    // Attempts are made here, with pauses of their own.
    config.default_retry = false;
    let link = link.cloned();
    // The watcher goes on after a failure without a word where nothing has changed meanwhile.
    let listen = MapResponseLayer::new(move |response: Response<Box<DynBody>>| {
        if let Some(link) = link.as_ref().filter(|_| response.status().is_success()) {
            link.answered();
        }
        response
    });
    let builder = ClientBuilder::try_from(config).map_err(|error| chain(&error))?;
    Ok(builder.with_layer(&listen).build())
}

/// Lists come from the API server's cache: whole, since a list in pages would be read from its storage.
fn from_cache() -> watcher::Config {
    let mut config = watcher::Config::default().any_semantic().timeout(WATCH);
    config.page_size = None;
    config
}

/// Lists and watches the pods of this node. Ends where a new client or a new list is needed.
async fn pods(store: &PodStore, client: &Client, settings: &KubernetesSettings, node: &str, link: &Link) {
    let api: Api<PodObject> = Api::all(client.clone());
    let config = from_cache().fields(&format!("spec.nodeName={node}"));
    let mut events = pin!(watcher::watcher(api.clone(), config.clone()));
    let mut listing = Listing::default();
    let mut tidy = interval(TIDY);
    tidy.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            _ = tidy.tick() => {
                store.expire(Instant::now());
                // A pod that found no room is told of by nobody else until it changes.
                if !listing.is_under_way() && store.has_room_again() {
                    events.set(watcher::watcher(api.clone(), config.clone()));
                }
                continue;
            }
        };
        match event {
            None => return,
            Some(Ok(event)) => tell(store, settings, &mut listing, event),
            // No failure: they are listed anew.
            Some(Err(error)) if is_gone(&error) => return,
            Some(Err(error)) => {
                link.failed("pods", &explained(&error, "list and watch pods"));
                if link.wants_renewal() {
                    return;
                }
                sleep(link.pause()).await;
            }
        }
    }
}

/// What a list that is under way has given so far. What is told beside lists is not noted: there is no end of it.
#[derive(Default)]
struct Listing(Option<HashSet<String>>);

impl Listing {
    fn begins(&mut self) {
        self.0 = Some(HashSet::new());
    }

    fn gives(&mut self, name: Option<&String>) {
        if let Some(listed) = &mut self.0 {
            listed.extend(name.cloned());
        }
    }

    fn is_under_way(&self) -> bool {
        self.0.is_some()
    }

    /// All that it gave; none where no list was under way.
    fn ends(&mut self) -> Option<HashSet<String>> {
        self.0.take()
    }
}

fn tell(store: &PodStore, settings: &KubernetesSettings, listing: &mut Listing, event: Event<PodObject>) {
    let keep = |pod: PodObject| {
        let wanted = |name: &str| settings.keeps_annotation(name);
        if let Some((facts, left_out)) = PodFacts::of(pod, wanted) {
            store.metrics().annotations_left_out.inc_by(left_out);
            store.put(facts);
        }
    };
    match event {
        Event::Init => listing.begins(),
        Event::InitApply(pod) => {
            listing.gives(pod.metadata.uid.as_ref());
            keep(pod);
        }
        Event::Apply(pod) => keep(pod),
        Event::InitDone => {
            if let Some(there) = listing.ends() {
                store.pods(&there, Instant::now());
            }
        }
        Event::Delete(pod) => {
            if let Some(uid) = pod.metadata.uid {
                store.delete(&uid, Instant::now());
            }
        }
    }
}

/// Lists and watches the namespaces' labels. Ends where a new list is needed.
async fn namespaces(store: &PodStore, client: &Client, settings: &KubernetesSettings) {
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
    let mut events = pin!(watcher::watcher(api, from_cache()));
    let link = Link::aside(store.clone());
    let mut listing = Listing::default();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if matches!(event, Event::InitApply(_) | Event::Apply(_)) {
                    link.answered();
                }
                tell_of_namespace(store, settings, &mut listing, event);
            }
            Err(error) if is_gone(&error) => return,
            Err(error) => {
                link.failed("namespaces", &explained(&error, "list and watch namespaces"));
                sleep(link.pause()).await;
            }
        }
    }
}

fn tell_of_namespace(
    store: &PodStore,
    settings: &KubernetesSettings,
    listing: &mut Listing,
    event: Event<PartialObjectMeta<Namespace>>,
) {
    let keep = |name: Option<String>, labels: Option<Names>| {
        let labels = labels.unwrap_or_default();
        let chosen = chosen(&labels, &settings.fields.namespace_labels);
        let chosen = chosen.map(|(name, value)| (name.clone(), value.clone())).collect();
        if let Some(name) = name {
            store.namespace(&name, Some(chosen));
        }
    };
    match event {
        Event::Init => listing.begins(),
        Event::InitApply(namespace) => {
            listing.gives(namespace.metadata.name.as_ref());
            keep(namespace.metadata.name, namespace.metadata.labels);
        }
        Event::Apply(namespace) => keep(namespace.metadata.name, namespace.metadata.labels),
        Event::InitDone => {
            if let Some(there) = listing.ends() {
                store.namespaces(&there);
            }
        }
        Event::Delete(namespace) => {
            if let Some(name) = namespace.metadata.name {
                store.namespace(&name, None);
            }
        }
    }
}

/// Asks for this node's labels, again and again. Does not end.
async fn node_labels(store: &PodStore, client: &Client, settings: &KubernetesSettings, node: &str) {
    let api: Api<Node> = Api::all(client.clone());
    let link = Link::aside(store.clone());
    loop {
        match api.get_metadata(node).await {
            Ok(found) => {
                let labels = found.metadata.labels.unwrap_or_default();
                let chosen = chosen(&labels, &settings.fields.node_labels);
                store.node_labels(chosen.map(|(name, value)| (name.clone(), value.clone())).collect());
                link.answered();
                sleep(NODE.mul_f64(1.0 + fastrand::f64() / 4.0)).await;
            }
            Err(error) => {
                link.failed("nodes", &explained(&error, "get the node"));
                sleep(link.pause()).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
