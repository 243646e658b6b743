//! Inputs made of others at random.

use fastrand::Rng;

/// Texts on which readers turn.
const WORDS: &[&[u8]] = &[
    b"\n",
    b"\r\n",
    b"\0",
    b"\xff",
    b"\xc3\xa9",
    b"\"",
    b"\\",
    b"\\ud800",
    b"\\u0000",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"{}",
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b" stdout F ",
    b" stderr P ",
    b"2026-01-02T03:04:05.123456789Z",
    b"\"log\":",
    b"\"stream\":\"stderr\"",
    b"\"time\":",
    b"record_id",
    b"log_time",
    b"- ",
    b"  ",
    b"&a ",
    b"*a",
    b"<<: ",
    b"!!",
    b"${env:SET}",
    b"${env:X:-",
    b"64MiB",
    b"*",
    b"**",
    b"/",
    b"{a,b}",
    b"..",
    b"\xffKFR",
    b"\xff\xff\xff\xff",
    b"\0\0\0\x80",
];

/// An input of the corpus, changed in a few places.
pub(crate) fn input(corpus: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut input = corpus[rng.usize(..corpus.len())].clone();
    for _ in 0..rng.usize(1..8) {
        let at = rng.usize(..=input.len());
        let end = (at + length(rng)).min(input.len());
        match rng.u8(..8) {
            0 if at < input.len() => input[at] ^= 1 << rng.u8(..8),
            1 if at < input.len() => input[at] = rng.u8(..),
            2 => drop(input.drain(at..end)),
            3 => insert(&mut input, at, WORDS[rng.usize(..WORDS.len())]),
            4 => {
                let part = input[at..end].to_vec();
                let to = rng.usize(..=input.len());
                insert(&mut input, to, &part);
            }
            5 => {
                let word = WORDS[rng.usize(..WORDS.len())].repeat(length(rng));
                insert(&mut input, at, &word);
            }
            6 => {
                let other = &corpus[rng.usize(..corpus.len())];
                let from = rng.usize(..=other.len());
                let to = (from + length(rng)).min(other.len());
                insert(&mut input, at, &other[from..to]);
            }
            _ => {
                let bytes: Vec<u8> = (0..rng.usize(..16)).map(|_| rng.u8(..)).collect();
                insert(&mut input, at, &bytes);
            }
        }
    }
    input
}

/// Mostly short, seldom long.
fn length(rng: &mut Rng) -> usize {
    let most = 1 << rng.u32(..11);
    rng.usize(..=most)
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}
