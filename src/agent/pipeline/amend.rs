//! A person changes how far a file is, between two turns. What its next turn needs is made anew from there, as after a
//! restart.

use std::time::Instant;

use super::Pipeline;
use crate::tail::amend::{self, Amend};

impl Pipeline {
    /// Changes it, and returns what was done or why not, in words.
    pub(in crate::agent) fn amend(&mut self, change: &Amend, now: Instant) -> Result<String, String> {
        let incarnation = amend::find(self.tailer.entries(), change.file())?;
        let done = match change {
            Amend::Set { offset, destination, .. } => {
                if !self.tailer.reopen(incarnation, now) {
                    let file = change.file();
                    return Err(format!("what was read of {file} is not there any more; forget it instead"));
                }
                let Some(entry) = self.tailer.entry_mut(incarnation) else { return Err("it is gone".into()) };
                amend::set(entry, *offset, destination.as_ref())?
            }
            Amend::Forget { .. } => {
                let Some(entry) = self.tailer.forget_now(incarnation) else {
                    return Err("it is gone".into());
                };
                self.named.remove(&incarnation);
                self.nameless.remove(&incarnation);
                self.unread.remove(&incarnation);
                amend::forgotten(&entry)
            }
        };
        self.lanes.remove(&incarnation);
        self.leave(incarnation);
        self.enqueue(incarnation);
        Ok(done)
    }
}
