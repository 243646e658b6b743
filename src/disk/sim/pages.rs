//! The bytes of one file: what a live process sees, and what of it is durable.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use fastrand::Rng;

pub(super) const PAGE: u64 = 4096;

#[derive(Debug)]
pub(super) struct Inode {
    pub(super) file: Arc<File>,
    pub(super) durable: Vec<u8>,
    /// Pages that the kernel will still write.
    pub(super) dirty: BTreeSet<u64>,
    pub(super) len_dirty: bool,
    pub(super) reserved: u64,
}

impl Inode {
    pub(super) fn len(&self) -> u64 {
        self.file.metadata().expect("an open file").len()
    }

    fn page(&self, page: u64) -> Vec<u8> {
        let mut bytes = vec![0; PAGE as usize];
        let read = self.file.read_at(&mut bytes, page * PAGE).expect("an open file");
        bytes.truncate(read);
        bytes
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        self.file.write_all_at(bytes, offset).expect("the folder of the test takes it");
        if !bytes.is_empty() {
            self.dirty.extend(offset / PAGE..=(offset + bytes.len() as u64 - 1) / PAGE);
            self.len_dirty = true;
        }
    }

    pub(super) fn sync(&mut self) {
        let len = self.len() as usize;
        self.durable.resize(len, 0);
        for page in std::mem::take(&mut self.dirty) {
            let bytes = self.page(page);
            overlay(&mut self.durable, &bytes, page);
        }
        self.len_dirty = false;
    }

    /// A failed sync: the pages count as clean, and are not on the disk.
    pub(super) fn drop_pages(&mut self) {
        self.dirty.clear();
    }

    pub(super) fn after_power_loss(&self, rng: &mut Rng) -> Vec<u8> {
        let mut content = self.durable.clone();
        if self.len_dirty && rng.bool() {
            content.resize(self.len() as usize, 0);
        }
        for page in &self.dirty {
            if rng.bool() {
                overlay(&mut content, &self.page(*page), *page);
            }
        }
        content
    }
}

/// Puts a page into content, as far as that reaches.
fn overlay(content: &mut [u8], bytes: &[u8], page: u64) {
    let start = content.len().min((page * PAGE) as usize);
    let len = bytes.len().min(content.len() - start);
    content[start..start + len].copy_from_slice(&bytes[..len]);
}
