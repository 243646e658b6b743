//! Giving up everything that waits in a queue that is in use.

use std::collections::HashMap;
use std::io;
use std::slice;

use super::queue::Queue;
use super::walk::heads;
use crate::source::{Incarnation, Position};

/// What was given up.
#[derive(Debug, Default)]
pub struct GivenUp {
    /// Records that were neither delivered nor under way.
    pub records: u64,
    /// That it could not be noted on disk: after a restart they might be delivered all the same.
    pub not_noted: Option<io::Error>,
}

impl Queue {
    /// Gives up every record that is in the queue at this moment and was not acknowledged; what is appended later is not
    /// concerned. Noted on disk like an acknowledgement, and durable, when it returns.
    ///
    /// The caller has nothing under way, and forgets what it has read: its [`Reader`](super::Reader) hands out none of these
    /// records any more once its [`forget`](super::Reader::forget) was called. Reads the heads of all frames; meanwhile the queue
    /// can be appended to.
    pub fn give_up(&self) -> GivenUp {
        let shared = &self.shared;
        let mut given_up = GivenUp::default();
        let chunks: Vec<(u64, u32)> =
            shared.lock().chunks.iter().map(|chunk| (chunk.number, chunk.records)).collect();
        for (number, records) in chunks {
            let look = {
                let mut state = shared.lock();
                let chunk = state.chunk_mut(number);
                chunk.filter(|it| it.sealed && !it.read).map(|it| (it.path.clone(), it.salt, it.len))
            };
            let looked = look.is_some();
            let mut ends: HashMap<Incarnation, Position> = HashMap::new();
            let heads = look.map_or(Ok(()), |(path, salt, len)| {
                heads(&path, salt, len, |frame| {
                    if !frame.repair {
                        ends.insert(frame.incarnation, frame.to.clone());
                    }
                })
            });
            let mut state = shared.lock();
            let Some(chunk) = state.chunk_mut(number).filter(|chunk| !chunk.done) else { continue };
            // Nothing was appended to it meanwhile, and it is known how far it moved its files.
            let whole = chunk.sealed && chunk.records == records && (chunk.read || looked);
            let before = chunk.acked.count();
            chunk.acked.insert(0..records);
            let len = chunk.acks.len();
            let mut noted = chunk.acks.append(&*shared.disk, slice::from_ref(&(0..records)));
            let records = u64::from(chunk.acked.count() - before);
            let grown = chunk.acks.len() - len;
            let acks = chunk.acks.take_unsynced();
            let mut bytes = 0;
            let mut skipped = Vec::new();
            if whole {
                chunk.damaged |= heads.is_err();
                if !chunk.read {
                    skipped.extend(ends.iter().map(|(incarnation, to)| (*incarnation, to.clone())));
                    chunk.ends.extend(ends);
                }
                (chunk.done, chunk.read, bytes) = (true, true, chunk.len);
            }
            // A reader that comes to the next chunk goes on from there.
            state.skipped.extend(skipped);
            state.purged_records += records;
            state.purged_bytes += bytes;
            shared.grow(&mut state, grown);
            let full = state.full;
            drop(state);
            if full {
                (shared.wake)();
            }
            if let Some(acks) = acks {
                noted = noted.and_then(|()| acks.sync());
            }
            given_up.records += records;
            given_up.not_noted = given_up.not_noted.or(noted.err());
        }
        if let Err(error) = shared.disk.sync_folder(&shared.folder) {
            given_up.not_noted.get_or_insert(error);
        }
        given_up
    }
}
