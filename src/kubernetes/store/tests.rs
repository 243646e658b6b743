use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::kubernetes::{ContainerFacts, Owner};
use crate::units::ByteSize;

mod limits;

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

fn all(names: &[&str]) -> HashSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
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
    store.put(facts("1"));
    store.put(facts("2"));
    store.pods(&all(&["1", "2"]), start);
    store.failing();
    store.expire(start + settings().keep_deleted * 2);
    assert_eq!(known(&store, &["1", "2"]), [true, true]);
    store.put(facts("2"));
    store.pods(&all(&["2"]), start);
    store.expire(start + settings().keep_deleted);
    assert_eq!(known(&store, &["1", "2"]), [false, true]);
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

fn link(name: &str, id: &str) -> Pod {
    Pod::from_path(Path::new(&format!("/var/log/containers/{name}_shop_app-{id}.log"))).unwrap()
}

/// A pod whose container has had these starts.
fn started(uid: &str, name: &str, starts: [Option<&str>; 2]) -> PodFacts {
    let [id_before, id] = starts.map(|id| id.map(str::to_owned));
    let app = ContainerFacts { name: "app".into(), id, id_before, ..ContainerFacts::default() };
    PodFacts { name: name.into(), containers: vec![app], ..facts(uid) }
}

#[test]
fn a_link_is_found_by_its_containers_id_and_a_folder_cannot_borrow_anothers_labels() {
    let store = store_of(settings());
    let [first, second, third] = ["ab", "cd", "ef"].map(|id| id.repeat(32));
    store.put(started("1", "web-1", [Some(&first), Some(&second)]));
    for id in [&first, &second] {
        let link = link("web-1", id);
        let fields = store.find(&link).unwrap().fields(&link);
        assert_eq!((&fields["pod_id"], &fields["docker_id"]), (&json!("1"), &json!(id)));
    }
    assert!(store.find(&link("web-1", &third)).is_none());
    for path in ["/pods/other_web-1_1/app/0.log", "/pods/shop_other_1/app/0.log"] {
        assert!(store.find(&Pod::from_path(Path::new(path)).unwrap()).is_none());
    }
}

#[test]
fn a_file_of_a_pod_that_was_made_again_under_its_name_keeps_to_its_own() {
    let store = store_of(settings());
    let [before, now] = ["ab", "cd"].map(|id| id.repeat(32));
    let of = |id: &str| store.find(&link("db-0", id)).map(|known| known.pod.uid.clone());
    // The pod that wrote it was never known.
    store.put(started("2", "db-0", [None, None]));
    assert_eq!((of(&before), of(&now)), (None, None));
    assert!(matches!(store.first_labels(&link("db-0", &before)), Labels::Awaited));
    store.put(started("2", "db-0", [None, Some(&now)]));
    assert_eq!((of(&before), of(&now).as_deref()), (None, Some("2")));
    // It was known, and has been deleted.
    store.put(started("1", "db-0", [None, Some(&before)]));
    store.delete("1", Instant::now());
    assert_eq!((of(&before).as_deref(), of(&now).as_deref()), (Some("1"), Some("2")));
    store.expire(Instant::now() + settings().keep_deleted);
    assert_eq!((of(&before), of(&now).as_deref()), (None, Some("2")));
}

#[test]
fn a_pod_that_is_made_again_under_its_name_is_waited_for_again() {
    let store = store_of(KubernetesSettings { max_pods: 10, ..settings() });
    let (start, wait) = (Instant::now(), settings().wait);
    let again = |uid: &str| Pod { uid: Some(uid.into()), ..pod("1") };
    let later = start + wait * 3;
    assert_eq!(store.patience(&pod("1"), start), Some(start + wait));
    store.put(facts("1"));
    assert_eq!(store.patience(&again("2"), later), Some(later + wait));
    store.put(facts("2"));
    let [one, other] = ["ab", "cd"].map(|id| link("web-1", &id.repeat(32)));
    let last = later + wait * 3;
    assert_eq!(store.patience(&one, later), Some(later + wait));
    store.put(facts("3"));
    assert_eq!(store.patience(&other, last), Some(last + wait), "another start of its container");
    store.put(facts("3"));
    assert_eq!(store.patience(&one, last), None, "each is waited for once");
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
    store.pods(&all(&[]), now);
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
        store.pods(&all(&[]), start + wait);
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
fn every_change_is_told_and_nothing_else() {
    let told = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&told);
    let store = PodStore::new(Metrics::default(), move || {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let tells = |does: &dyn Fn()| {
        let before = (store.version(), told.load(Ordering::Relaxed));
        does();
        let now = (store.version(), told.load(Ordering::Relaxed));
        assert_eq!(before.0 == now.0, before.1 == now.1, "who is told finds another version");
        before != now
    };
    let now = Instant::now();
    let over = now + settings().keep_deleted;
    assert!(tells(&|| store.follow(&Some((Arc::new(settings()), "node-1".into())))));
    for first in [true, false] {
        assert_eq!(tells(&|| store.put(facts("1"))), first);
        assert_eq!(tells(&|| store.node_labels(names(&[("a", "b")]))), first);
        assert_eq!(tells(&|| store.namespace("shop", Some(names(&[("a", "b")])))), first);
        assert_eq!(tells(&|| store.namespaces(&all(&["shop"]))), first);
        assert!(!tells(&|| store.goes_without("nodes")), "they were told");
        // The wait of those that are not known is over.
        assert_eq!(tells(&|| store.failing()), first);
    }
    for first in [true, false] {
        assert_eq!(tells(&|| store.pods(&all(&["1"]), now)), first);
        assert!(!tells(&|| store.answers()) && !tells(&|| store.expire(now)));
    }
    assert!(!tells(&|| store.delete("1", now)), "what it wrote last is still read");
    for first in [true, false] {
        assert_eq!(tells(&|| store.expire(over)), first);
        assert_eq!(tells(&|| store.namespace("shop", None)), first);
    }
}

#[test]
fn who_waits_is_told_at_once_of_an_outage_and_of_what_will_not_come() {
    let store = store_of(settings());
    store.put(facts("1"));
    let changes = |does: &dyn Fn()| {
        let before = store.version();
        does();
        store.version() != before
    };
    assert!(changes(&|| store.goes_without("namespaces")) && changes(&|| store.goes_without("nodes")));
    assert!(store.find(&pod("1")).unwrap().complete);
    assert!(changes(&|| store.failing()));
    assert_eq!(store.patience(&pod("2"), Instant::now()), None);
}

#[test]
fn labels_of_namespaces_that_other_patterns_chose_are_forgotten() {
    let chosen = |patterns: &[&str]| {
        let namespace_labels = patterns.iter().map(|text| NamePattern::new(text).unwrap()).collect();
        KubernetesSettings {
            fields: RecordFields { namespace_labels, node_labels: Vec::new(), ..settings().fields },
            ..settings()
        }
    };
    let store = store_of(chosen(&["team"]));
    store.put(facts("1"));
    let of_pods = store.state().bytes;
    store.namespace("shop", Some(names(&[("team", "a")])));
    let follow = |settings| store.follow(&Some((Arc::new(settings), "node-1".into())));
    let complete = || store.find(&pod("1")).unwrap().complete;
    // As long as they are chosen in the same way they stay.
    follow(KubernetesSettings { wait: Duration::from_secs(7), ..chosen(&["team"]) });
    assert!(complete() && store.state().bytes > of_pods);
    follow(chosen(&["*"]));
    assert!(!complete() && store.state().bytes == of_pods, "they are listed by the next patterns");
    store.namespace("shop", Some(names(&[("team", "a"), ("tier", "gold")])));
    assert!(complete());
    follow(chosen(&[]));
    assert!(complete(), "none are wanted");
    assert_eq!((store.state().bytes, store.metrics().memory.get()), (of_pods, of_pods as i64));
}
