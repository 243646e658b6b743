//! A disk that is full, read-only or broken for a while: reading pauses, nothing is lost or doubled, and it goes
//! on by itself.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::super::bell::Bell;
use super::super::drive::Drive;
use super::super::glance::Glance;
use super::super::keeper::Keeper;
use super::account::Account;
use super::node::Node;
use super::story::{Context, End, ROOMY, Story, TIGHT};
use crate::buffer::Durability;
use crate::disk::sim::Weather;
use crate::source::DestinationName;
use crate::tail::checkpoint::Loaded;
use crate::tail::{Checkpoint, TailSettings, Watch, Watcher, checkpoint};
use crate::telemetry::Liveness;

const EVERY: Durability = Durability::Every(Duration::from_secs(1));

/// How many steps the story has.
fn steps() -> u32 {
    let mut story = Story::new(1, EVERY);
    story.tell();
    story.steps
}

#[test]
fn a_disk_that_refuses_for_a_while_at_any_step_loses_no_line_and_doubles_none() {
    for weather in [Weather::Full, Weather::ReadOnly, Weather::Broken, Weather::SyncsFail] {
        for (seed, step) in (1..=steps()).enumerate() {
            for length in [1, 6] {
                let _context = Context(format!("{weather:?} from step {step}, {length} steps long"));
                let mut story = Story::new(seed as u64, EVERY);
                story.storm(step..step + length, weather);
                story.tell();
                story.end();
            }
        }
    }
}

#[test]
fn a_message_larger_than_a_destinations_buffer_still_gets_through() {
    let mut story = Story::new(1, EVERY);
    story.write(2);
    story.start();
    story.look();
    story.write_long();
    story.write(2);
    story.look();
    story.end();
}

#[test]
fn a_power_loss_after_syncs_have_failed_loses_no_line() {
    for (seed, step) in (1..=steps()).enumerate() {
        let mut story = Story::new(seed as u64, EVERY);
        story.storm(step..step + 3, Weather::SyncsFail);
        let operation = story.rng.u64(1..400);
        story.ends(operation, &[End::PowerLoss], 0);
        story.tell();
        story.end();
    }
}

#[test]
fn what_a_failed_sync_may_have_dropped_is_not_called_durable_before_it_was_delivered() {
    let mut story = Story::new(1, EVERY);
    story.write(2);
    story.start();
    story.look();
    story.checkpoint();
    let before = position(&story, TIGHT);
    let tight = story.config.data_dir.join("buffer/tight");
    story.write(2);
    story.look();
    story.disk.fail_syncs_below(Some(&tight));
    story.checkpoint();
    // From here on the disk would say that all is well.
    story.disk.fail_syncs_below(None);
    let roomy = position(&story, ROOMY);
    for _ in 0..3 {
        story.write(2);
        story.look();
        story.checkpoint();
    }
    assert_eq!(position(&story, TIGHT), before);
    assert!(position(&story, ROOMY) > roomy, "the other destination goes on");
    story.send(TIGHT);
    story.answer(TIGHT, usize::MAX);
    story.checkpoint();
    assert!(position(&story, TIGHT) > roomy, "all of it was delivered, so it counts again");
}

#[test]
fn no_checkpoint_is_written_after_a_failed_sync_while_the_last_one_cannot_be_read() {
    let mut story = Story::new(1, EVERY);
    story.write(2);
    story.start();
    story.look();
    story.checkpoint();
    let path = checkpoint::path_in(&story.config.data_dir);
    let last = fs::read(&path).unwrap();
    fs::write(&path, "garbage").unwrap();
    story.disk.fail_syncs_below(Some(&story.config.data_dir.join("buffer/tight")));
    story.write(2);
    story.look();
    story.checkpoint();
    story.disk.fail_syncs_below(None);
    story.write(2);
    story.look();
    story.checkpoint();
    assert_eq!(fs::read(&path).unwrap(), b"garbage");
    fs::write(&path, last).unwrap();
    let before = [ROOMY, TIGHT].map(|destination| position(&story, destination));
    story.checkpoint();
    assert!(position(&story, ROOMY) > before[ROOMY], "it can be told again what was durable");
    assert_eq!(position(&story, TIGHT), before[TIGHT]);
}

/// How far the durable checkpoint says that the log is in a destination's buffer.
fn position(story: &Story, destination: usize) -> u64 {
    let Loaded::Checkpoint(checkpoint) = checkpoint::load(&story.config.data_dir).unwrap() else {
        panic!("there is one");
    };
    let Checkpoint { files, .. } = *checkpoint;
    let name: &DestinationName = &story.config.destinations[destination].name;
    let progress = files[0].progress.iter().find(|progress| progress.to == *name);
    progress.expect("the file goes there").position.offset
}

#[test]
fn what_was_read_is_on_the_disk_before_more_is_read_where_sync_is_always() {
    let mut story = Story::new(1, Durability::Always);
    story.write(30);
    let thread = Thread::start(&story, true);
    thread.join();
    story.logs_are_gone();
    story.disk.lose_power(7);
    let mut node = Node::start(&story.config, &story.disk).unwrap();
    let mut account = std::mem::replace(&mut story.account, Account::new());
    for destination in [ROOMY, TIGHT] {
        node.send(destination, &mut account);
    }
    assert!(account.missing(ROOMY).is_empty(), "{:?}", account.missing(ROOMY));
}

#[test]
fn nothing_is_read_before_the_first_checkpoint_is_durable_and_then_it_goes_on_by_itself() {
    let mut story = Story::new(1, EVERY);
    story.write(3);
    let thread = Thread::prepare(&story, false);
    story.disk.set(Weather::Full);
    let thread = thread.run();
    let failed = |failures: u64| move |seen: &crate::disk::sim::Seen| seen.failures >= failures;
    // One try, and then another.
    story.disk.wait_until(failed(2));
    assert_eq!(thread.waiting(ROOMY), 0);
    story.disk.set(Weather::Fine);
    thread.records(ROOMY, 3);
    thread.stop();
}

#[test]
fn reading_pauses_below_min_disk_free_and_goes_on_by_itself() {
    let mut story = Story::new(1, EVERY);
    story.config.buffer.min_disk_free = crate::units::ByteSize(1000);
    story.disk.set_free(999);
    story.write(3);
    let thread = Thread::start(&story, false);
    story.disk.wait_until(|seen| seen.looks >= 2);
    assert_eq!(thread.waiting(ROOMY), 0);
    story.disk.set_free(1000);
    thread.records(ROOMY, 3);
    thread.stop();
}

/// The reading thread as it runs in the agent.
struct Thread {
    drive: Option<Drive>,
    handle: Option<JoinHandle<()>>,
    queues: Vec<crate::buffer::Queue>,
    stop: Arc<AtomicBool>,
    bell: Bell,
}

impl Thread {
    fn prepare(story: &Story, once: bool) -> Self {
        let bell = Bell::default();
        let node = Node::open(&story.config, &story.disk).unwrap();
        let (pipeline, work, data_dir, queues) = node.into_parts();
        let keeper =
            Keeper::start(work, bell.clone(), Liveness::default().task("writing checkpoints", Duration::MAX))
                .unwrap();
        let ring = bell.clone();
        let watcher = Watcher::new(Watch::Poll, move || ring.ring());
        let stop = Arc::new(AtomicBool::new(false));
        // Nobody asks for another configuration.
        let (_, rewires) = std::sync::mpsc::channel();
        let drive = Drive::new(
            pipeline,
            keeper,
            watcher,
            bell.clone(),
            Glance::new(bell.clone()),
            Arc::clone(&stop),
            story.disk.shared(),
            Arc::new(data_dir),
            story.config.buffer.clone(),
            &TailSettings {
                watch: Watch::Poll,
                poll_interval: Duration::from_millis(10),
                ..TailSettings::default()
            },
            once,
            rewires,
        );
        Self { drive: Some(drive), handle: None, queues, stop, bell }
    }

    fn start(story: &Story, once: bool) -> Self {
        Self::prepare(story, once).run()
    }

    fn run(mut self) -> Self {
        let mut drive = self.drive.take().expect("it is run once");
        self.handle = Some(thread::spawn(move || {
            let heart = Liveness::default().task("reading", Duration::MAX);
            drive.begin(&heart);
            drive.run(&heart);
        }));
        self
    }

    fn waiting(&self, destination: usize) -> u64 {
        self.queues[destination].stats().records
    }

    /// Waits until so many records are in a destination's buffer.
    fn records(&self, destination: usize, records: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let reader = crate::buffer::reader(&self.queues[destination], Default::default());
        while self.waiting(destination) < records {
            runtime.block_on(reader.readable());
        }
    }

    fn join(mut self) {
        self.handle.take().expect("it runs").join().unwrap();
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Release);
        self.bell.alarm();
        self.join();
    }
}
