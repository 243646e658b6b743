//! Signatures: AWS Signature Version 4 in the `Authorization` header (AWS General Reference, "Signing AWS API
//! requests"). Its form is always checked; its value too, where the endpoint knows the access key's secret.

use std::collections::HashMap;
use std::fmt::Write as _;

use aws_lc_rs::{digest, hmac};
use hyper::http::request::Parts;

use super::protocol::{ErrorAnswer, header};

/// The secrets of the access keys whose signatures are held against them.
pub(super) type Secrets = HashMap<String, String>;

/// Checks that a request is signed for this service, and returns the id of the access key.
pub(super) fn check(
    head: &Parts,
    body: &[u8],
    service: &str,
    secrets: &Secrets,
) -> Result<String, ErrorAnswer> {
    let authorization = header(head, "authorization").ok_or_else(|| {
        ErrorAnswer::new(400, "MissingAuthenticationTokenException", "Missing Authentication Token")
    })?;
    let signed = Signed::read(authorization).ok_or_else(|| incomplete(authorization))?;
    let time = header(head, "x-amz-date")
        .filter(|time| is_timestamp(time))
        .ok_or_else(|| incomplete("no valid X-Amz-Date"))?;
    if signed.date != &time[..8] {
        return Err(mismatch("Date in Credential scope does not match X-Amz-Date"));
    }
    if signed.service != service {
        return Err(mismatch("Credential should be scoped to correct service"));
    }
    let mut required = vec!["host", "x-amz-date"];
    if head.headers.contains_key("x-amz-security-token") {
        required.push("x-amz-security-token");
    }
    if let Some(missing) =
        required.iter().find(|name| !signed.headers.split(';').any(|header| header == **name))
    {
        return Err(mismatch(&format!("'{missing}' must be a signed header")));
    }
    if let Some(secret) = secrets.get(signed.access_key) {
        let expected = signed.expected(head, body, time, secret)?;
        if expected != signed.signature {
            return Err(mismatch(
                "The request signature we calculated does not match the signature you provided.",
            ));
        }
    } else if !secrets.is_empty() {
        return Err(ErrorAnswer::new(
            400,
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        ));
    }
    Ok(signed.access_key.to_owned())
}

/// The parts of an `Authorization` header.
struct Signed<'a> {
    access_key: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    headers: &'a str,
    signature: &'a str,
}

impl<'a> Signed<'a> {
    fn read(authorization: &'a str) -> Option<Self> {
        let mut fields = authorization.strip_prefix("AWS4-HMAC-SHA256 ")?.split(',');
        let mut field = |name: &str| fields.next()?.trim().strip_prefix(name)?.strip_prefix('=');
        let mut scope = field("Credential")?.split('/');
        let headers = field("SignedHeaders")?;
        let signature = field("Signature")?;
        let (access_key, date) = (scope.next()?, scope.next()?);
        let (region, service) = (scope.next()?, scope.next()?);
        let whole = scope.next() == Some("aws4_request") && scope.next().is_none() && fields.next().is_none();
        let hex = signature.len() == 64 && signature.bytes().all(|byte| byte.is_ascii_hexdigit());
        (whole && hex && !access_key.is_empty() && !region.is_empty()).then_some(Self {
            access_key,
            date,
            region,
            service,
            headers,
            signature,
        })
    }

    /// The signature that the secret's owner makes for this request.
    fn expected(&self, head: &Parts, body: &[u8], time: &str, secret: &str) -> Result<String, ErrorAnswer> {
        let mut canonical = format!("POST\n{}\n\n", head.uri.path());
        for name in self.headers.split(';') {
            let value = header(head, name)
                .ok_or_else(|| mismatch(&format!("'{name}' is signed but not in the request")))?;
            let value: Vec<&str> = value.split_whitespace().collect();
            writeln!(canonical, "{name}:{}", value.join(" ")).expect("a string takes it");
        }
        write!(canonical, "\n{}\n{}", self.headers, hex(sha256(body).as_ref())).expect("a string takes it");

        let scope = format!("{}/{}/{}/aws4_request", self.date, self.region, self.service);
        let to_sign =
            format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(sha256(canonical.as_bytes()).as_ref()));
        let mut key = format!("AWS4{secret}").into_bytes();
        for part in [self.date, self.region, self.service, "aws4_request", &to_sign] {
            let signing = hmac::Key::new(hmac::HMAC_SHA256, &key);
            key = hmac::sign(&signing, part.as_bytes()).as_ref().to_vec();
        }
        Ok(hex(&key))
    }
}

/// `YYYYMMDDTHHMMSSZ`.
fn is_timestamp(text: &str) -> bool {
    text.len() == 16
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 => byte == b'T',
            15 => byte == b'Z',
            _ => byte.is_ascii_digit(),
        })
}

fn sha256(data: &[u8]) -> digest::Digest {
    digest::digest(&digest::SHA256, data)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes it");
        text
    })
}

fn incomplete(what: &str) -> ErrorAnswer {
    ErrorAnswer::new(
        400,
        "IncompleteSignatureException",
        format!("The request signature does not conform to AWS standards: {what}"),
    )
}

fn mismatch(why: &str) -> ErrorAnswer {
    ErrorAnswer::new(400, "InvalidSignatureException", why)
}
