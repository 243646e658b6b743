//! One file on its way: where each of its destinations reads, and what turns its lines into records.

use super::Plan;
use super::pods::PodOfLane;
use super::wishes::{Chosen, Joined};
use crate::agent::casualties::Stake;
use crate::decode::{Decoder, Decoding};
use crate::encode::Encoder;
use crate::source::Position;
use crate::tail::Bucket;
use crate::tail::identity::Proof;

/// One file. Usually all its destinations move together in one cursor.
pub(super) struct Lane {
    /// The index of its first route, which says how it is read.
    pub(super) route: usize,
    /// What makes records of its messages: one for each of the routes that it falls under.
    pub(super) branches: Vec<Branch>,
    /// The pod that writes it.
    pub(super) pod: Option<PodOfLane>,
    /// How its lines are joined, where the pod says so.
    pub(super) joined: Option<Joined>,
    /// For each of them who loses a message on its way through it.
    pub(super) stakes: Vec<Stake>,
    /// Where its header ends, once that was seen.
    pub(super) header_end: Option<u64>,
    pub(super) cursors: Vec<Cursor>,
    /// The last turn in which a buffer took something of it.
    pub(super) served: u64,
    /// This turn is also for cursors that wait for room.
    pub(super) retry: bool,
    /// What it may read, where its route limits each file.
    pub(super) bucket: Option<Bucket>,
}

/// A route of a file: what becomes of each message under it.
pub(super) struct Branch {
    /// The index of the route.
    pub(super) route: usize,
    pub(super) encoder: Encoder,
    /// What the pod says of its messages.
    pub(super) chosen: Chosen,
    /// The cursor whose turn it is has one of its destinations, or it has none at all.
    pub(super) wanted: bool,
    /// How many messages of the block went to none of its destinations.
    pub(super) nowhere: u64,
    /// How many of them were left out because the pod says so.
    pub(super) excluded: u64,
}

/// Destinations that read a file together.
pub(super) struct Cursor {
    /// The indices of the destinations.
    pub(super) to: Vec<usize>,
    /// Where they stand in their buffers.
    pub(super) position: Position,
    /// The bytes before the offset where reading goes on.
    pub(super) proof: Proof,
    pub(super) decoder: Decoder,
    /// Where it ends, for a part that is read once more.
    pub(super) until: Option<Position>,
    /// A destination took no frame: reading waits until there is room for so many bytes.
    pub(super) blocked: Option<u64>,
}

impl Cursor {
    /// At a position. What is open there is read again, so reading may begin before its offset.
    pub(super) fn at(to: Vec<usize>, position: Position, proof: Proof, decoding: &Decoding) -> Self {
        let proof = proof_at(position.reread_from(), proof);
        let decoder = Decoder::resume(decoding, &position);
        Self { to, position, proof, decoder, until: None, blocked: None }
    }

    /// Reads no further than to here: what was lost between this and its own position.
    pub(super) fn until(mut self, until: Position) -> Self {
        self.decoder = self.decoder.until(&until);
        self.until = Some(until);
        self
    }

    /// Whether an offset is where it ends.
    pub(super) fn ends_at(&self, offset: u64) -> bool {
        self.until.as_ref().is_some_and(|until| offset >= until.offset)
    }

    /// Reads again what is open at the position, of which the text was given up.
    pub(super) fn read_again(&mut self) {
        self.proof = proof_at(self.position.reread_from(), self.proof);
        self.decoder = self.decoder.again(&self.position);
    }

    /// Whether what is read now is in the buffer already, as far as it is not part of an open group.
    pub(super) fn is_rereading(&self) -> bool {
        self.proof.end < self.position.offset
    }

    /// Whether the buffered position moves by itself, outside the file's chain.
    pub(super) fn is_repair(&self) -> bool {
        self.until.is_some()
    }
}

/// A proof is of one offset; at another one the file as a whole has to be trusted.
fn proof_at(offset: u64, proof: Proof) -> Proof {
    if proof.end == offset { proof } else { Proof { end: offset, len: 0, hash: 0 } }
}

impl Lane {
    /// Prepares the branches for a block that is read for a cursor.
    pub(super) fn begin(&mut self, index: usize, plans: &[Plan]) {
        let to = &self.cursors[index].to;
        for branch in &mut self.branches {
            let plan = &plans[branch.route];
            branch.wanted = plan.to.is_empty() || plan.to.iter().any(|out| to.contains(out));
            (branch.nowhere, branch.excluded) = (0, 0);
        }
    }

    /// Whether a destination has no room for it.
    pub(super) fn is_blocked(&self) -> bool {
        self.cursors.iter().any(|cursor| cursor.blocked.is_some())
    }

    /// Whether a group is open.
    pub(super) fn is_open(&self) -> bool {
        self.cursors.iter().any(|cursor| cursor.decoder.last_part().is_some())
    }

    /// The bytes of text that open groups hold.
    pub(super) fn held(&self) -> usize {
        self.cursors.iter().map(|cursor| cursor.decoder.held()).sum()
    }

    /// Brings destinations together again that have come to stand at the same place.
    pub(super) fn merge(&mut self) {
        let mut index = 1;
        while index < self.cursors.len() {
            let (before, rest) = self.cursors.split_at_mut(index);
            let cursor = &mut rest[0];
            let twin = before.iter_mut().find(|other| {
                !other.is_repair()
                    && !cursor.is_repair()
                    && other.position == cursor.position
                    && other.proof.end == cursor.proof.end
            });
            match twin {
                Some(twin) => {
                    twin.to.append(&mut cursor.to);
                    twin.blocked = twin.blocked.max(cursor.blocked);
                    self.cursors.remove(index);
                }
                None => index += 1,
            }
        }
    }

    /// Leaves destinations of a cursor behind where it is, to wait for room for so many bytes; the others go on
    /// without them. Returns whether there are others.
    pub(super) fn leave_behind(
        &mut self,
        index: usize,
        waiting: &[usize],
        room: u64,
        plans: &[Plan],
    ) -> bool {
        if waiting.is_empty() {
            return true;
        }
        let cursor = &self.cursors[index];
        let decoding = self.decoding(plans);
        let mut behind = Cursor::at(waiting.to_owned(), cursor.position.clone(), cursor.proof, decoding);
        if let Some(until) = &cursor.until {
            behind = behind.until(until.clone());
        }
        behind.blocked = Some(room);
        let cursor = &mut self.cursors[index];
        cursor.to.retain(|out| !waiting.contains(out));
        if cursor.to.is_empty() {
            *cursor = behind;
            return false;
        }
        self.cursors.push(behind);
        true
    }

    /// Where the cursor must stop, because another stands there that it could join, or because it ends there.
    pub(super) fn limit(&self, index: usize) -> Option<u64> {
        let cursor = &self.cursors[index];
        match &cursor.until {
            Some(until) => Some(until.offset),
            None => self
                .cursors
                .iter()
                .filter(|other| !other.is_repair())
                .map(|other| other.position.offset)
                .filter(|offset| *offset > cursor.position.offset)
                .min(),
        }
    }
}
