use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::Request;
use hyper::body::Frame;
use kube::client::Body;
use kube::core::ObjectMeta;
use serde_json::{Value, json};
use tower::service_fn;

use super::*;
use crate::kubernetes::Pod;

fn pod(uid: &str) -> Value {
    json!({"metadata": {"namespace": "shop", "name": format!("web-{uid}"), "uid": uid, "resourceVersion": "7"}})
}

fn wanted(max_pods: usize) -> (Arc<KubernetesSettings>, String) {
    (Arc::new(KubernetesSettings { max_pods, ..KubernetesSettings::default() }), "node-1".into())
}

#[test]
fn what_a_list_gave_is_held_until_it_ends_and_changes_are_not_gathered() {
    let (settings, node) = wanted(10);
    let store = PodStore::default();
    store.follow(&Some((Arc::clone(&settings), node)));
    let object = |uid: &str| serde_json::from_value::<PodObject>(pod(uid)).unwrap();
    let namespace = |name: &str| PartialObjectMeta::<Namespace> {
        metadata: ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() },
        ..PartialObjectMeta::default()
    };
    let (mut pods, mut namespaces) = (Listing::default(), Listing::default());
    let mut held = |event: Event<&str>| {
        let (of_pod, of_namespace) = match event {
            Event::Init => (Event::Init, Event::Init),
            Event::InitApply(name) => (Event::InitApply(object(name)), Event::InitApply(namespace(name))),
            Event::InitDone => (Event::InitDone, Event::InitDone),
            Event::Apply(name) => (Event::Apply(object(name)), Event::Apply(namespace(name))),
            Event::Delete(name) => (Event::Delete(object(name)), Event::Delete(namespace(name))),
        };
        tell(&store, &settings, &mut pods, of_pod);
        tell_of_namespace(&store, &settings, &mut namespaces, of_namespace);
        let held = [&pods, &namespaces].map(|listing| listing.0.as_ref().map(HashSet::len));
        assert_eq!(held[0], held[1]);
        held[0]
    };
    assert_eq!(held(Event::Init), Some(0));
    assert_eq!((held(Event::InitApply("1")), held(Event::InitApply("2"))), (Some(1), Some(2)));
    // It broke off, and another begins.
    assert_eq!((held(Event::Init), held(Event::InitApply("1"))), (Some(0), Some(1)));
    assert_eq!(held(Event::InitDone), None);
    for number in 0..100 {
        let uid = number.to_string();
        assert_eq!((held(Event::Apply(&uid)), held(Event::Delete(&uid))), (None, None));
    }
    assert!(format!("{store:?}").contains("pods: 10"), "{store:?}");
}

/// Answers requests for lists in turn, and watches with these events, after which they tell nothing more.
fn api(lists: Vec<Vec<Value>>, events: Vec<Value>) -> (Client, Arc<Mutex<VecDeque<Vec<Value>>>>) {
    let lists = Arc::new(Mutex::new(VecDeque::from(lists)));
    let left = Arc::clone(&lists);
    let service = service_fn(move |request: Request<Body>| {
        let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let text = if watches {
            events.iter().map(|event| format!("{event}\n")).collect()
        } else {
            let items = lists.lock().unwrap().pop_front().expect("no more lists than these");
            json!({"metadata": {"resourceVersion": "5"}, "items": items}).to_string()
        };
        let told = stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from(text)))]);
        let rest = if watches { stream::pending().left_stream() } else { stream::empty().right_stream() };
        let body = StreamBody::new(told.chain(rest));
        async { Ok::<_, Infallible>(Response::new(body)) }
    });
    (Client::new(service, "default"), left)
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_found_no_room_is_asked_for_again_when_there_is_some_and_not_before() {
    let (settings, node) = wanted(1);
    for (events, lists) in [(vec![], 1), (vec![json!({"type": "DELETED", "object": pod("1")})], 2)] {
        let store = PodStore::default();
        store.follow(&Some((Arc::clone(&settings), node.clone())));
        let link = Link::new(store.clone());
        // More lists than these are a failure.
        let all = [vec![pod("1"), pod("2")], vec![pod("2")]];
        let (client, left) = api(all[..lists].to_vec(), events);
        // Shorter than a watch, which the API ends.
        let asked = tokio::time::timeout(
            Duration::from_secs(WATCH.into()) - Duration::from_secs(1),
            pods(&store, &client, &settings, &node, &link),
        );
        assert!(asked.await.is_err(), "it goes on asking");
        assert!(left.lock().unwrap().is_empty());
        let second = Pod::from_path(Path::new("/var/log/pods/shop_web-2_2/app/0.log")).unwrap();
        assert_eq!(store.find(&second).is_some(), lists == 2);
    }
}
