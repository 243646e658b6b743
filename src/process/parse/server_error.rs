//! Error logs of Apache httpd and nginx.

use memchr::memmem;

use super::scan::{Scan, dashed};
use crate::event::Field;

/// `[time] [module:severity] [pid 1:tid 2] [client address] message` as httpd 2.4 writes it, and
/// `[time] [severity] [client address] message` of 2.2.
pub(super) fn apache<'t>(text: &'t [u8], into: &mut Vec<Field<'t>>) -> Option<()> {
    let mut line = Scan(text);
    let time = line.bracketed()?;
    line.blanks();
    let level = line.bracketed()?;
    let (module, severity) = match memchr::memchr(b':', level) {
        Some(at) => (Some(&level[..at]), &level[at + 1..]),
        None => (None, level),
    };
    if severity.is_empty() || !severity.iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    let (mut process, mut thread, mut client) = (None, None, None);
    loop {
        line.blanks();
        let before = line;
        let Some(part) = line.bracketed() else { break };
        if let (Some(ids), None) = (part.strip_prefix(b"pid "), process) {
            let at = memmem::find(ids, b":tid ");
            process = Some(&ids[..at.unwrap_or(ids.len())]);
            thread = at.map(|at| &ids[at + 5..]);
        } else if let (Some(address), None) = (part.strip_prefix(b"client "), client) {
            client = Some(whole_address(before.0, address, &mut line));
        } else {
            // The message itself begins with a bracket.
            line = before;
            break;
        }
    }
    into.push(Field::text("timestamp", time));
    into.push(dashed("module", module));
    into.push(Field::text("severity", severity));
    into.push(dashed("processid", process));
    into.push(dashed("threadid", thread));
    into.push(dashed("client", client));
    into.push(Field::text("message", line.0));
    Some(())
}

/// `[client [::1]:80]`: an address in brackets of its own.
fn whole_address<'t>(before: &'t [u8], address: &'t [u8], line: &mut Scan<'t>) -> &'t [u8] {
    if !address.starts_with(b"[") {
        return address;
    }
    match line.before(b']') {
        Some(rest) => {
            let start = b"[client ".len();
            &before[start..start + address.len() + 1 + rest.len()]
        }
        None => address,
    }
}

/// What nginx adds to a message, in this order, each as `, name: value`.
const NGINX_TAIL: [&str; 8] =
    ["client", "server", "request", "subrequest", "upstream", "host", "referrer", "login"];

/// `2026/01/02 03:04:05 [error] 12#34: *56 message, client: 10.0.0.1, server: _, request: "GET / HTTP/1.1"`
pub(super) fn nginx<'t>(text: &'t [u8], into: &mut Vec<Field<'t>>) -> Option<()> {
    let mut line = Scan(text);
    let time = text.get(..19).filter(|time| time[4] == b'/' && time[10] == b' ' && time[16] == b':')?;
    line.0 = &text[19..];
    line.literal(b" ")?;
    let severity = line.bracketed()?;
    line.literal(b" ")?;
    let process = line.digits()?;
    line.literal(b"#")?;
    let thread = line.digits()?;
    line.literal(b": ")?;
    let mut connection = None;
    let mut after = line;
    if after.literal(b"*").is_some()
        && let Some(number) = after.digits()
        && after.literal(b" ").is_some()
    {
        connection = Some(number);
        line = after;
    }
    into.push(Field::text("timestamp", time));
    into.push(Field::text("severity", severity));
    into.push(Field::text("processid", process));
    into.push(Field::text("threadid", thread));
    into.push(dashed("connection", connection));
    let before = into.len();
    let tail = memmem::rfind(line.0, b", client: ").unwrap_or(line.0.len());
    into.push(Field::text("message", &line.0[..tail]));
    if tail_fields(&line.0[tail..], into).is_none() {
        // Not in nginx's form: nothing of it is to be lost.
        into.truncate(before);
        into.push(Field::text("message", line.0));
    }
    Some(())
}

/// `, name: value` or `, name: "value"`, one after the other.
fn tail_fields<'t>(tail: &'t [u8], into: &mut Vec<Field<'t>>) -> Option<()> {
    let mut rest = tail;
    while !rest.is_empty() {
        let name = next_name(rest)?;
        rest = &rest[name.len() + 4..];
        let value = match rest.strip_prefix(b"\"") {
            Some(inside) => {
                // nginx writes quotes inside of a value as they are.
                let mut ends = memchr::memchr_iter(b'"', inside);
                let end = ends.find(|end| {
                    let after = &inside[end + 1..];
                    after.is_empty() || next_name(after).is_some()
                })?;
                rest = &inside[end + 1..];
                &inside[..end]
            }
            None => {
                let end = memmem::find(rest, b", ").unwrap_or(rest.len());
                let (value, after) = rest.split_at(end);
                rest = after;
                value
            }
        };
        into.push(Field::text(name, value));
    }
    Some(())
}

/// The name in `, name: ` with which a text begins.
fn next_name(text: &[u8]) -> Option<&'static str> {
    let text = text.strip_prefix(b", ")?;
    let begins =
        |name: &&str| text.strip_prefix(name.as_bytes()).is_some_and(|after| after.starts_with(b": "));
    NGINX_TAIL.into_iter().find(begins)
}
