use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::kubernetes::facts::weight_of;
use crate::kubernetes::{ContainerFacts, Owner};
use crate::units::ByteSize;

fn settings() -> KubernetesSettings {
    KubernetesSettings { max_pods: 3, ..KubernetesSettings::default() }
}

fn store_of(settings: KubernetesSettings) -> PodStore {
    let store = PodStore::default();
    store.follow(&Some((Arc::new(settings), "node-1".into())));
    store
}

fn names(pairs: &[(&str, &str)]) -> Names {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn facts(uid: &str) -> PodFacts {
    PodFacts {
        namespace: "shop".into(),
        name: format!("web-{uid}"),
        uid: uid.into(),
        labels: names(&[("app", "web"), ("team", "a")]),
        ..PodFacts::default()
    }
}

fn pod(uid: &str) -> Pod {
    Pod::from_path(Path::new(&format!("/var/log/pods/shop_web-{uid}_{uid}/app/0.log"))).unwrap()
}

fn known(store: &PodStore, uids: &[&str]) -> Vec<bool> {
    uids.iter().map(|uid| store.find(&pod(uid)).is_some()).collect()
}

#[test]
fn a_deleted_pod_stays_known_for_a_while() {
    let store = store_of(settings());
    let start = Instant::now();
    let keep = settings().keep_deleted;
    store.put(facts("1"));
    store.put(facts("2"));
    store.delete("1", start);
    store.expire(start + keep / 2);
    assert_eq!(known(&store, &["1", "2"]), [true, true]);
    store.expire(start + keep);
    assert_eq!(known(&store, &["1", "2"]), [false, true]);
}

#[test]
fn who_is_not_in_a_list_any_more_is_gone_and_an_outage_takes_nobody() {
    let store = store_of(settings());
    let start = Instant::now();
    store.list_begins();
    store.put(facts("1"));
    store.put(facts("2"));
    store.list_ends(start);
    store.failing();
    store.expire(start + settings().keep_deleted * 2);
    assert_eq!(known(&store, &["1", "2"]), [true, true]);
    store.list_begins();
    store.put(facts("2"));
    store.list_ends(start);
    store.expire(start + settings().keep_deleted);
    assert_eq!(known(&store, &["1", "2"]), [false, true]);
}

#[test]
fn there_are_never_more_than_max_pods_and_the_longest_deleted_go_first() {
    let store = store_of(settings());
    let start = Instant::now();
    ["1", "2", "3"].into_iter().for_each(|uid| store.put(facts(uid)));
    store.put(facts("4"));
    assert_eq!(known(&store, &["1", "2", "3", "4"]), [true, true, true, false]);
    assert_eq!(store.metrics().refused.get(), 1);
    store.delete("3", start);
    store.delete("2", start + Duration::from_secs(1));
    store.put(facts("4"));
    assert_eq!(known(&store, &["1", "2", "3", "4"]), [true, true, false, true]);
    assert_eq!(store.metrics().pods.get(), 3);
}

#[test]
fn what_is_known_takes_no_more_than_max_memory() {
    let one = (facts("1").weight() + weight_of(&facts("1").labels)) as u64;
    let store =
        store_of(KubernetesSettings { max_pods: 1000, max_memory: ByteSize(one * 5 / 2), ..settings() });
    for round in 0..50 {
        for uid in 0..10 {
            store
                .put(PodFacts { labels: names(&[("round", &round.to_string())]), ..facts(&uid.to_string()) });
        }
        store.namespace(&format!("namespace-{round}"), Some(names(&[("a", "b")])));
        assert!(store.state().bytes as u64 <= one * 5 / 2);
    }
    assert!(store.metrics().pods.get() > 0 && store.metrics().refused.get() > 0);
    // What is counted is what is there.
    let uids: Vec<String> = store.state().pods.keys().cloned().collect();
    uids.iter().for_each(|uid| drop(store.state().forget(uid)));
    store.namespaces(&HashSet::new());
    assert_eq!(store.state().bytes, 0);
}

#[test]
fn the_labels_of_very_many_namespaces_leave_half_of_the_memory_to_pods() {
    let one = (facts("1").weight() + weight_of(&facts("1").labels)) as u64;
    let store = store_of(KubernetesSettings { max_pods: 1000, max_memory: ByteSize(one * 20), ..settings() });
    let name = |number: usize| format!("namespace-{number:04}");
    let labels = || Some(names(&[("a", "b")]));
    (0..1000).for_each(|number| store.namespace(&name(number), labels()));
    let kept = store.state().namespaces.len();
    assert!(kept > 0 && store.state().bytes as u64 <= one * 10);
    assert_eq!(store.metrics().namespaces_refused.get(), 1000 - kept as u64);
    (0..10).for_each(|uid| store.put(facts(&uid.to_string())));
    assert_eq!((store.metrics().pods.get(), store.metrics().refused.get()), (10, 0));
    // One that goes makes room for another.
    store.namespace(&name(0), None);
    store.namespace(&name(2000), labels());
    assert!(store.state().namespaces.contains_key(&name(2000)));
}

#[test]
fn a_static_pod_is_found_by_the_hash_in_its_path() {
    let store = store_of(settings());
    let hash = "9d1f0b3c0a7e4f58b6d2c1a0e9f8d7c6";
    store.put(PodFacts { config_hash: Some(hash.into()), ..facts("1") });
    let path = format!("/var/log/pods/shop_web-1_{hash}/app/0.log");
    let found = store.find(&Pod::from_path(Path::new(&path)).unwrap()).unwrap();
    assert_eq!(found.pod.uid, "1");
}

#[test]
fn a_link_is_found_by_names_and_a_folder_cannot_borrow_anothers_labels() {
    let store = store_of(settings());
    store.put(facts("1"));
    let id = "ab".repeat(32);
    let link = format!("/var/log/containers/web-1_shop_app-{id}.log");
    let link = Pod::from_path(Path::new(&link)).unwrap();
    let fields = store.find(&link).unwrap().fields(&link);
    assert_eq!((&fields["pod_id"], &fields["docker_id"]), (&json!("1"), &json!(id)));
    for path in ["/pods/other_web-1_1/app/0.log", "/pods/shop_other_1/app/0.log"] {
        assert!(store.find(&Pod::from_path(Path::new(path)).unwrap()).is_none());
    }
}

#[test]
fn records_carry_what_is_chosen() {
    let fields = RecordFields {
        labels: vec![NamePattern::new("app*").unwrap()],
        annotations: vec![NamePattern::new("example.com/*").unwrap()],
        ..settings().fields
    };
    let store = store_of(KubernetesSettings { fields, ..settings() });
    let container = ContainerFacts {
        name: "app".into(),
        image: Some("shop:1".into()),
        image_id: Some("shop@sha256:ab".into()),
        ..ContainerFacts::default()
    };
    store.put(PodFacts {
        annotations: names(&[("example.com/a", "1"), ("other", "2")]),
        owner: Some(Owner { kind: "Deployment".into(), name: "web".into() }),
        containers: vec![container],
        ..facts("1")
    });
    store.namespace("shop", Some(names(&[("tier", "gold")])));
    store.node_labels(names(&[("topology.kubernetes.io/zone", "a"), ("other", "b")]));
    let found = store.find(&pod("1")).unwrap().fields(&pod("1"));
    let expected = json!({
        "namespace_name": "shop",
        "pod_name": "web-1",
        "pod_id": "1",
        "container_name": "app",
        "container_restart_count": 0,
        "container_image": "shop:1",
        "container_hash": "shop@sha256:ab",
        "host": "node-1",
        "owner_kind": "Deployment",
        "owner_name": "web",
        "labels": {"app": "web"},
        "annotations": {"example.com/a": "1"},
        "namespace_labels": {"tier": "gold"},
        "node_labels": {"topology.kubernetes.io/zone": "a"},
    });
    assert_eq!(Value::Object(found), expected);
}

#[test]
fn an_answer_has_another_stamp_exactly_if_it_is_another() {
    let store = store_of(settings());
    let stamp = || store.find(&pod("1")).unwrap().stamp;
    store.put(facts("1"));
    let first = stamp();
    store.put(facts("1"));
    store.put(facts("2"));
    store.namespace("other", Some(names(&[("a", "b")])));
    assert_eq!(stamp(), first);
    let mut seen = vec![first];
    let mut is_new = || {
        let stamp = stamp();
        assert!(!seen.contains(&stamp));
        seen.push(stamp);
    };
    store.put(PodFacts { labels: names(&[("app", "other")]), ..facts("1") });
    is_new();
    store.namespace("shop", Some(names(&[("a", "b")])));
    is_new();
    store.node_labels(names(&[("a", "b")]));
    is_new();
    let fields = RecordFields { owner: false, ..settings().fields };
    store.follow(&Some((Arc::new(KubernetesSettings { fields, ..settings() }), "node-1".into())));
    is_new();
}

#[test]
fn nobody_waits_for_what_cannot_come() {
    let now = Instant::now();
    let waits = |store: &PodStore| store.patience(&pod("9"), now).is_some();
    let store = PodStore::default();
    assert!(!waits(&store), "it is not asked");
    store.follow(&Some((Arc::new(settings()), "node-1".into())));
    assert!(waits(&store));
    store.failing();
    assert!(!waits(&store), "an outage");
    store.answers();
    assert!(!waits(&store), "it answers, but has not told of pods");
    store.list_begins();
    store.list_ends(now);
    assert!(waits(&store));
    store.failing();
    store.answers();
    assert!(waits(&store), "an outage is over");
}

#[test]
fn as_long_as_the_api_tells_nothing_all_waits_end_with_the_first() {
    let (start, wait) = (Instant::now(), settings().wait);
    let store = store_of(KubernetesSettings { max_pods: 10, ..settings() });
    let until = |uid: &str, now: Instant| store.patience(&pod(uid), now);
    for synced in [false, true] {
        let (first, second, third) = if synced { ("1", "2", "3") } else { ("4", "5", "6") };
        assert_eq!(until(first, start), Some(start + wait));
        assert_eq!(until(second, start + wait / 2), Some(start + wait));
        assert_eq!(until(first, start + wait), None);
        assert_eq!(until(third, start + wait), None);
        store.list_begins();
        store.list_ends(start + wait);
    }
    // It tells something again.
    store.put(facts("7"));
    let later = start + wait * 3;
    assert_eq!(until("8", later), Some(later + wait));
    store.put(facts("7"));
    assert_eq!(until("8", later + wait), None, "a pod is waited for once, whatever it is that is not known");
}

#[test]
fn what_is_expected_of_namespace_and_node_completes_an_answer() {
    let complete = |store: &PodStore| store.find(&pod("1")).unwrap().complete;
    let store = store_of(settings());
    store.put(facts("1"));
    assert!(!complete(&store));
    store.node_labels(Names::new());
    assert!(!complete(&store));
    store.namespace("shop", Some(Names::new()));
    assert!(complete(&store));
    let store = store_of(settings());
    store.put(facts("1"));
    store.goes_without("namespaces");
    store.goes_without("nodes");
    assert!(complete(&store), "they are refused");
}

#[test]
fn the_labels_that_decide_are_those_that_were_known_first() {
    let store = store_of(settings());
    let team = || match store.first_labels(&pod("1")) {
        Labels::Known(labels) => labels.get("team").cloned(),
        other => panic!("{other:?}"),
    };
    store.put(facts("1"));
    store.put(PodFacts { labels: names(&[("team", "b")]), ..facts("1") });
    assert_eq!(team().as_deref(), Some("a"));
    store.delete("1", Instant::now());
    assert_eq!(team().as_deref(), Some("a"));
}

#[test]
fn labels_are_awaited_only_for_a_while_and_not_in_an_outage() {
    let of = |store: &PodStore| store.first_labels(&pod("1"));
    assert!(matches!(of(&PodStore::default()), Labels::Missing));
    let store = store_of(settings());
    assert!(matches!(of(&store), Labels::Awaited) && store.awaits(&pod("1")));
    store.failing();
    assert!(matches!(of(&store), Labels::Missing));
    let store = store_of(KubernetesSettings { wait: Duration::ZERO, ..settings() });
    assert!(matches!(of(&store), Labels::Missing));
    // However many are asked for, no more are remembered than may be known.
    let store = store_of(settings());
    let awaited = (0..100).filter(|uid| store.awaits(&pod(&uid.to_string()))).count();
    assert_eq!((awaited, store.state().asked.len()), (settings().max_pods, settings().max_pods));
}

#[test]
fn every_change_is_told() {
    let told = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&told);
    let store = PodStore::new(Metrics::default(), move || {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    store.follow(&Some((Arc::new(settings()), "node-1".into())));
    let (version, before) = (store.version(), told.load(Ordering::Relaxed));
    store.put(facts("1"));
    assert!(store.version() > version && told.load(Ordering::Relaxed) > before);
}
