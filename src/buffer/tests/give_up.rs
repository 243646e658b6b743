//! Everything that waits is given up, in a queue that is in use.

use super::*;

#[test]
fn what_is_given_up_is_handed_out_no_more_and_what_comes_later_is() {
    let bench = Bench::new(400);
    let mut live = bench.open(None, Chain::default());
    for step in 0..10 {
        live.append(1, step * 3, step * 3 + 3);
    }
    // One chunk is read and acknowledged in part; most were never looked at.
    let first = live.reader.next_run().unwrap().unwrap();
    let ordinals = first.ordinals();
    live.opened.queue.ack(first.chunk(), &[ordinals.start..ordinals.start + 1]).unwrap();
    live.reader.forget();
    let given_up = live.opened.queue.give_up();
    assert!(given_up.not_noted.is_none());
    assert_eq!(given_up.records, 29, "what was delivered is not counted");
    assert!(live.read().is_empty());
    live.append(1, 30, 33);
    assert_eq!(live.read(), lines(1, 30..33));
    assert_eq!(live.opened.queue.take_lost(), [], "nothing of it is taken for lost");
    let stats = live.opened.queue.stats();
    assert_eq!((stats.records, stats.purged_records, stats.dropped_records), (3, 29, 0));
    assert!(stats.purged_bytes > 0);
    drop(live);
    assert_eq!(bench.open(None, Chain::default()).read(), lines(1, 30..33), "it is noted on disk");
}

#[test]
fn chunks_that_were_given_up_are_let_go_like_those_that_were_delivered() {
    let mut bench = Bench::new(400);
    bench.settings.max_size = ByteSize(3000);
    let mut live = bench.open(None, Chain::default());
    let mut line = 0;
    while let Append::Done = live.append(1, line, line + 1) {
        line += 1;
    }
    assert_eq!(live.opened.queue.give_up().records, line);
    let point = live.opened.queue.sync_point();
    assert_eq!(point.release.len(), bench.chunks().len(), "the last one was closed when it was full");
    let delivered: HashMap<_, _> = point.delivered.into_iter().collect();
    assert!(delivered[&Incarnation(1)].offset > 0, "files need not be kept for them");
    live.opened.queue.release(&point.release);
    assert!(matches!(live.append(1, line, line + 1), Append::Done), "there is room again");
    assert_eq!(live.read(), lines(1, line..line + 1));
}
