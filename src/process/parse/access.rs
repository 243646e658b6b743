//! Access logs of Apache httpd and nginx.
//!
//! The common log format is `%h %l %u %t "%r" %>s %b`, the combined one adds `"%{Referer}i" "%{User-agent}i"`
//! (httpd's mod_log_config); nginx's `combined` is the same under the names of its own variables. Inside of
//! quotes both servers write `\"` for a quote; the text stays as they wrote it.

use super::scan::{Scan, dashed};
use crate::event::Field;

/// Which access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// Apache's common log format.
    Common,
    /// Apache's combined log format.
    Combined,
    /// nginx's `combined`, with a quoted `$http_x_forwarded_for` behind it or without.
    Nginx,
}

/// The names of the fields in the order of the line.
const APACHE: [&str; 9] =
    ["host", "ident", "authuser", "datetime", "request", "response", "bytes", "referer", "agent"];
const NGINX: [&str; 9] = [
    "remote_addr",
    "ident",
    "remote_user",
    "time_local",
    "request",
    "status",
    "body_bytes_sent",
    "http_referer",
    "http_user_agent",
];

pub(super) fn parse<'t>(
    log: AccessLog,
    split: bool,
    text: &'t [u8],
    into: &mut Vec<Field<'t>>,
) -> Option<()> {
    let mut line = Scan(text);
    let host = line.word()?;
    let ident = line.word()?;
    // A user's name may hold blanks; what follows it is the time in brackets.
    let at = memchr::memmem::find(line.0, b" [")?;
    let user = &line.0[..at];
    line.0 = &line.0[at + 1..];
    let time = line.bracketed()?;
    line.literal(b" ")?;
    let request = line.quoted()?;
    line.literal(b" ")?;
    let status = line.word().filter(|status| is_number(status))?;
    let bytes = line.word().filter(|bytes| is_number(bytes))?;
    let (referer, agent) = match log {
        AccessLog::Common => (None, None),
        AccessLog::Combined | AccessLog::Nginx => {
            let referer = line.quoted()?;
            line.literal(b" ")?;
            (Some(referer), Some(line.quoted()?))
        }
    };
    let forwarded = match log {
        AccessLog::Nginx if line.end().is_none() => {
            line.literal(b" ")?;
            Some(line.quoted()?)
        }
        _ => None,
    };
    line.end()?;
    let names = if log == AccessLog::Nginx { NGINX } else { APACHE };
    let values = [host, ident, user, time, request, status, bytes].map(Some);
    for (name, value) in names.into_iter().zip(values) {
        // The second word of a line is always `-` with nginx.
        if log != AccessLog::Nginx || name != "ident" {
            into.push(dashed(name, value));
        }
    }
    if log != AccessLog::Common {
        into.push(dashed(names[7], referer));
        into.push(dashed(names[8], agent));
    }
    if forwarded.is_some() {
        into.push(dashed("http_x_forwarded_for", forwarded));
    }
    if split {
        split_request(request, into);
    }
    Some(())
}

fn is_number(text: &[u8]) -> bool {
    text == b"-" || text.iter().all(u8::is_ascii_digit)
}

/// `GET /path HTTP/1.1` as three fields more. A request that is not of that form, as scanners send, is left
/// as it is.
fn split_request<'t>(request: &'t [u8], into: &mut Vec<Field<'t>>) {
    let (Some(first), Some(last)) = (memchr::memchr(b' ', request), memchr::memrchr(b' ', request)) else {
        return;
    };
    if first == last || !request[last + 1..].starts_with(b"HTTP/") {
        return;
    }
    into.push(Field::text("method", &request[..first]));
    into.push(Field::text("path", &request[first + 1..last]));
    into.push(Field::text("protocol", &request[last + 1..]));
}
