//! Going over the frames of a chunk that is not being read: for positions at a start, and for reports.

use std::fs::File;
use std::io;
use std::path::Path;

use super::frame::{self, CHUNK_HEADER, ChunkHeader, FRAME_HEADER, FormatError, FrameHeader};
use super::queue::Shared;
use crate::disk::{is_damage, read_exact_at};

/// What is searched at once for the next frame behind damage.
const STRIDE: u64 = 1 << 20;

/// How far the frames of a chunk are unbroken.
pub(super) enum Walked {
    /// It is no chunk of this queue that this version can read.
    Unreadable(FormatError),
    /// Up to `len`.
    To { salt: u32, len: u64, records: u32, oldest: u64 },
}

/// The header of a chunk of this queue.
pub(super) fn header(
    shared: &Shared,
    number: u64,
    path: &Path,
) -> io::Result<Result<ChunkHeader, FormatError>> {
    let file = File::open(path)?;
    if file.metadata()?.len() < CHUNK_HEADER as u64 {
        return Ok(Err(FormatError::Short));
    }
    let mut bytes = [0; CHUNK_HEADER];
    if !read(&file, &mut bytes, 0)? {
        return Ok(Err(FormatError::Unreadable));
    }
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(Err(FormatError::Short));
    }
    Ok(match ChunkHeader::decode(&bytes) {
        Ok(header) if header.number == number && header.destination == shared.destination_hash() => {
            Ok(header)
        }
        Ok(_) => Err(FormatError::NotAChunk),
        Err(reason) => Err(reason),
    })
}

/// Walks frames from `from` up to the first that is not whole.
pub(super) fn walk(
    shared: &Shared,
    number: u64,
    path: &Path,
    from: u64,
    mut visit: impl FnMut(&FrameHeader, &[u8]),
) -> io::Result<Walked> {
    let header = match header(shared, number, path)? {
        Ok(header) => header,
        Err(reason) => return Ok(Walked::Unreadable(reason)),
    };
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut at = from.max(CHUNK_HEADER as u64);
    let mut body = Vec::new();
    let mut records = 0;
    let mut oldest = None;
    while let Some(frame) = frame_at(&file, at, len, header.salt, &mut body)? {
        visit(&frame, &body[..frame.source_len as usize]);
        at += frame.frame_len();
        records = frame.first + frame.records;
        oldest.get_or_insert(frame.appended);
    }
    Ok(Walked::To { salt: header.salt, len: at, records, oldest: oldest.unwrap_or(header.created) })
}

/// Visits the heads of frames up to `len`, those behind damage too. Whether what follows a head is whole is not looked at.
pub(super) fn heads(path: &Path, salt: u32, len: u64, mut visit: impl FnMut(&FrameHeader)) -> io::Result<()> {
    let file = File::open(path)?;
    let mut at = CHUNK_HEADER as u64;
    while at + FRAME_HEADER as u64 <= len {
        let mut bytes = [0; FRAME_HEADER];
        let head = read(&file, &mut bytes, at)?.then(|| FrameHeader::decode(&bytes, salt).ok()).flatten();
        at = match head {
            Some(head) => {
                visit(&head);
                at + head.frame_len()
            }
            None => match next_header(&file, at + 1, len, salt)? {
                Some(next) => next,
                None => return Ok(()),
            },
        };
    }
    Ok(())
}

/// Visits every whole frame, those behind damage too.
pub(super) fn salvage(path: &Path, salt: u32, mut visit: impl FnMut(&FrameHeader, &[u8])) -> io::Result<()> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut body = Vec::new();
    let mut at = CHUNK_HEADER as u64;
    loop {
        match frame_at(&file, at, len, salt, &mut body)? {
            Some(frame) => {
                visit(&frame, &body[..frame.source_len as usize]);
                at += frame.frame_len();
            }
            None => match next_header(&file, at + 1, len, salt)? {
                Some(next) => at = next,
                None => return Ok(()),
            },
        }
    }
}

pub(super) fn frame_at(
    file: &File,
    at: u64,
    len: u64,
    salt: u32,
    body: &mut Vec<u8>,
) -> io::Result<Option<FrameHeader>> {
    if at.saturating_add(FRAME_HEADER as u64) > len {
        return Ok(None);
    }
    let mut bytes = [0; FRAME_HEADER];
    if !read(file, &mut bytes, at)? {
        return Ok(None);
    }
    let Ok(frame) = FrameHeader::decode(&bytes, salt) else { return Ok(None) };
    if at + frame.frame_len() > len {
        return Ok(None);
    }
    body.resize(frame.body_len as usize, 0);
    let whole = read(file, body, at + FRAME_HEADER as u64)? && frame::check_body(&frame, body).is_ok();
    Ok(whole.then_some(frame))
}

/// Reads bytes. Returns whether they are to be had: a bad sector is damage like any other.
pub(super) fn read(file: &File, bytes: &mut [u8], at: u64) -> io::Result<bool> {
    match read_exact_at(file, bytes, at) {
        Ok(()) => Ok(true),
        Err(error) if is_damage(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

pub(super) fn next_header(file: &File, mut from: u64, len: u64, salt: u32) -> io::Result<Option<u64>> {
    let mut bytes = Vec::new();
    while from + FRAME_HEADER as u64 <= len {
        let end = len.min(from + STRIDE);
        bytes.resize((end - from) as usize, 0);
        if !read(file, &mut bytes, from)? {
            bytes.fill(0);
        }
        if let Some(at) = frame::find_frame(&bytes, salt) {
            return Ok(Some(from + at as u64));
        }
        if end == len {
            break;
        }
        // A header may lie across the end of what was searched.
        from = end - FRAME_HEADER as u64 + 1;
    }
    Ok(None)
}
