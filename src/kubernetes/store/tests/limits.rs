//! What is kept where there is not room for all.

use super::*;
use crate::kubernetes::facts::weight_of;

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

/// What a pod of [`facts`] takes.
fn weight() -> u64 {
    (facts("1").weight() + weight_of(&facts("1").labels)) as u64
}

/// A store with room for so many tenths of a pod.
fn with_room_for(tenths: u64) -> PodStore {
    let max_memory = ByteSize(weight() * tenths / 10);
    store_of(KubernetesSettings { max_pods: 1000, max_memory, ..settings() })
}

#[test]
fn an_update_for_which_there_is_no_room_takes_nothing_that_was_known() {
    let store = with_room_for(25);
    let long = || PodFacts { labels: names(&[("team", &"b".repeat(4096))]), ..facts("1") };
    store.put(facts("1"));
    store.put(facts("2"));
    store.delete("2", Instant::now());
    let version = store.version();
    store.put(long());
    assert_eq!(store.metrics().refused.get(), 1);
    assert_eq!(known(&store, &["1", "2"]), [true, true], "a deleted pod goes only where that helps");
    assert_eq!(store.version(), version);
    store.put(PodFacts { labels: names(&[("team", "c")]), ..facts("1") });
    let Labels::Known(first) = store.first_labels(&pod("1")) else { panic!("it is known") };
    assert_eq!(first.get("team").map(String::as_str), Some("a"), "its files stay on their route");
    // It is there, though what it is now is not known.
    store.delete("1", Instant::now());
    store.put(long());
    store.expire(Instant::now() + settings().keep_deleted);
    assert_eq!(known(&store, &["1", "2"]), [true, false]);
}

#[test]
fn it_is_told_when_there_is_room_again_for_a_pod_that_found_none() {
    let now = Instant::now();
    let store = with_room_for(25);
    ["1", "2"].into_iter().for_each(|uid| store.put(facts(uid)));
    assert!(!store.has_room_again(), "nobody was refused");
    store.put(facts("3"));
    assert!(!store.has_room_again());
    store.delete("1", now);
    assert!(store.has_room_again(), "deleted pods make room");
    store.put(facts("3"));
    assert!(!store.has_room_again(), "it has it");
    assert_eq!(known(&store, &["1", "2", "3"]), [false, true, true]);

    // By the number of pods, and by the labels of namespaces.
    let store = store_of(settings());
    ["1", "2", "3", "4"].into_iter().for_each(|uid| store.put(facts(uid)));
    assert!(!store.has_room_again());
    store.pods(&all(&["1", "2", "4"]), now);
    assert!(store.has_room_again());
    let store = with_room_for(20);
    store.namespace("shop", Some(names(&[("a", "b")])));
    ["1", "2"].into_iter().for_each(|uid| store.put(facts(uid)));
    assert!(!store.has_room_again());
    store.namespace("shop", None);
    assert!(store.has_room_again());
    // Whoever is gone needs none.
    store.delete("2", now);
    assert!(!store.has_room_again());
}

#[test]
fn no_more_refused_pods_are_noted_than_may_be_known() {
    let store = store_of(settings());
    (0..100).for_each(|uid| store.put(facts(&uid.to_string())));
    assert_eq!(store.state().refused.len(), settings().max_pods);
    store.pods(&all(&["0", "1", "2", "4"]), Instant::now());
    assert_eq!(store.state().refused.keys().collect::<Vec<_>>(), ["4"]);
}
