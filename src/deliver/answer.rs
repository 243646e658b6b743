//! What a service's answer means, and what to do about it.

use std::fmt;

use super::shards::Shard;

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What the service decided.
    pub outcome: Outcome,
    /// The service's id of the request, for its support and for debug logs.
    pub request_id: Option<String>,
    /// For each entry the shard that took or refused it, as far as it is told. Only a data stream has shards.
    pub shards: Vec<Option<Shard>>,
}

/// What the service decided about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It looked at every entry: all were taken but these (by their place in the request, ascending).
    Judged(Vec<(usize, Failure)>),
    /// The request failed as a whole. Where the answer was lost, its entries may have been taken all the same.
    Failed(Failure),
}

impl Answer {
    /// Every entry was taken.
    pub fn taken() -> Self {
        Self::from(Outcome::Judged(Vec::new()))
    }

    /// What a service said about each of the entries that were sent, in their order. One that it said nothing
    /// about was not taken.
    pub(super) fn judged<'a>(
        sent: usize,
        verdicts: impl Iterator<Item = Verdict<'a>>,
        request_id: Option<&str>,
    ) -> Self {
        let verdicts = verdicts.map(Verdict::failure).chain(std::iter::repeat_with(|| {
            Some(Failure::local(Class::Retry, "Unanswered", "the answer has no result for it"))
        }));
        let failures = verdicts.take(sent).enumerate();
        Self {
            outcome: Outcome::Judged(failures.filter_map(|(index, it)| Some((index, it?))).collect()),
            request_id: request_id.map(str::to_owned),
            shards: Vec::new(),
        }
    }
}

/// What a service said about one entry.
pub(super) struct Verdict<'a> {
    /// The id or sequence number that it gave the entry: only with that it was taken.
    pub(super) id: Option<&'a str>,
    pub(super) code: Option<&'a str>,
    pub(super) message: Option<&'a str>,
}

impl Verdict<'_> {
    fn failure(self) -> Option<Failure> {
        match (self.code, self.id) {
            (Some(code), _) => Some(Failure::from_service(code, self.message.unwrap_or_default(), 200)),
            (None, Some(_)) => None,
            (None, None) => Some(Failure::local(Class::Retry, "Unanswered", "its result has no id")),
        }
    }
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, request_id: None, shards: Vec::new() }
    }
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        Self::from(Outcome::Failed(failure))
    }
}

/// Why something was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What to do about it.
    pub class: Class,
    /// The service's error code, or our own where no answer came (`Timeout`, `Connection`, …).
    pub code: String,
    /// What it said besides.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() {
            f.write_str(&self.code)
        } else {
            write!(f, "{}: {}", self.code, self.message)
        }
    }
}

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Slow down, then send it again.
    Throttled,
    /// Send it again.
    Retry,
    /// Nothing is wrong with the data: keep it, try again slowly and say it loudly, until a person or a
    /// token's renewal helps.
    Hold,
    /// It will never be taken as it is: find the record that is the cause and set it aside.
    Poison,
}

impl Failure {
    /// A failure that the service gave a code for. `status` is the HTTP status of the call; for an entry of an
    /// answer that is 200.
    pub fn from_service(code: &str, message: &str, status: u16) -> Self {
        let code = bare(code);
        Self {
            class: classify(code, message, status),
            code: if code.is_empty() { format!("Http{status}") } else { code.to_owned() },
            message: message.to_owned(),
        }
    }

    /// Whether it is the credentials that are of no use, or that there are none.
    pub(super) fn is_of_credentials(&self) -> bool {
        self.code == Self::CREDENTIALS || CREDENTIALS.contains(&listed(&self.code).as_str())
    }

    /// Our own code where nobody gave credentials.
    pub(super) const CREDENTIALS: &str = "Credentials";

    /// A failure in which no service had a say.
    pub fn local(class: Class, code: &str, message: impl Into<String>) -> Self {
        Self { class, code: code.to_owned(), message: message.into() }
    }
}

/// Error codes that mean that the destination takes less than it is sent.
const THROTTLED: &[&str] = &[
    "provisionedthroughputexceeded",
    "serviceunavailable",
    "throttling",
    "throttled",
    "kmsthrottling",
    "requestthrottled",
    "requestlimitexceeded",
    "limitexceeded",
    "bandwidthlimitexceeded",
    "toomanyrequests",
    "slowdown",
];

/// Error codes of a moment's trouble inside the service, or on the way to it.
const RETRY: &[&str] = &[
    "internalfailure",
    "internalservererror",
    "internalserver",
    "internalerror",
    "requesttimeout",
    "priorrequestnotcomplete",
];

/// Error codes that mean that the credentials are of no use. One who is known and may not is not among them: other
/// credentials of the same identity would not help.
const CREDENTIALS: &[&str] = &[
    "authfailure",
    "expiredtoken",
    "tokenrefreshrequired",
    "requestexpired",
    "signaturedoesnotmatch",
    "invalidsignature",
    "incompletesignature",
    "missingauthenticationtoken",
    "unrecognizedclient",
    "invalidclienttokenid",
    "invalidaccesskeyid",
];

/// Other error codes that a change of the records' content cannot cure: the stream, the permissions, the clock or
/// the key are not as they must be. Codes that begin with `kms` belong here too.
const HOLD: &[&str] = &[
    "resourcenotfound",
    "resourceinuse",
    "accessdenied",
    "unauthorized",
    "notauthorized",
    "unauthorizedoperation",
    "optinrequired",
    "requesttimetooskewed",
    "requestinthefuture",
    "invalidkmsresource",
    "unknownoperation",
];

/// Error codes about the content of the request.
const POISON: &[&str] = &[
    "invalidargument",
    "invalidparametervalue",
    "validation",
    "validationerror",
    "serialization",
    "recordtoolarge",
    "requesttoolarge",
    "requestentitytoolarge",
];

/// What to do about an error code. Case and a trailing `Exception` make no difference: the services are not
/// of one mind about them.
pub fn classify(code: &str, message: &str, status: u16) -> Class {
    let code = listed(code);
    let is = |list: &[&str]| list.contains(&code.as_str());
    if is(THROTTLED) {
        Class::Throttled
    } else if is(RETRY) {
        Class::Retry
    } else if is(CREDENTIALS) || is(HOLD) || code.starts_with("kms") {
        Class::Hold
    } else if is(POISON) {
        // The same codes complain about the stream; then every record would be refused, one by one.
        if is_about_the_stream(message) { Class::Hold } else { Class::Poison }
    } else {
        match status {
            413 => Class::Poison,
            429 => Class::Throttled,
            408 | 500.. => Class::Retry,
            // An entry's code that nobody knows yet: the call as such was fine.
            200 => Class::Retry,
            // Better late than thrown away: what nobody knows is not the record's fault.
            _ => Class::Hold,
        }
    }
}

/// Whether a complaint about the request's content names the stream and not a record: a malformed name, or a
/// delivery stream that reads from a data stream and takes no direct puts.
fn is_about_the_stream(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    let names_records = message.contains("'record");
    !names_records && ["streamname", "streamarn", "streamassource"].iter().any(|name| message.contains(name))
}

/// A code as the lists here have it.
pub(super) fn listed(code: &str) -> String {
    let code = bare(code).to_ascii_lowercase();
    code.strip_suffix("exception").unwrap_or(&code).to_owned()
}

/// The code without a namespace before it (`com.amazonaws.kinesis#…`) or a URL behind it.
fn bare(code: &str) -> &str {
    let code = code.rsplit('#').next().unwrap_or(code);
    code.split(':').next().unwrap_or(code).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_answer_has_its_class() {
        let table: &[(&str, u16, Class)] = &[
            ("ProvisionedThroughputExceededException", 200, Class::Throttled),
            ("ProvisionedThroughputExceededException", 400, Class::Throttled),
            ("ServiceUnavailableException", 503, Class::Throttled),
            ("ServiceUnavailable", 200, Class::Throttled),
            ("serviceUnavailable", 200, Class::Throttled),
            ("ThrottlingException", 400, Class::Throttled),
            ("KMSThrottlingException", 400, Class::Throttled),
            ("LimitExceededException", 400, Class::Throttled),
            ("InternalFailure", 200, Class::Retry),
            ("InternalFailure", 500, Class::Retry),
            ("internalFailureException", 500, Class::Retry),
            ("ResourceNotFoundException", 400, Class::Hold),
            ("AccessDeniedException", 400, Class::Hold),
            ("AccessDenied", 403, Class::Hold),
            ("ExpiredTokenException", 400, Class::Hold),
            ("ExpiredToken", 403, Class::Hold),
            ("InvalidSignatureException", 400, Class::Hold),
            ("SignatureDoesNotMatch", 403, Class::Hold),
            ("RequestTimeTooSkewed", 403, Class::Hold),
            ("UnrecognizedClientException", 400, Class::Hold),
            ("KMSAccessDeniedException", 400, Class::Hold),
            ("KMSDisabledException", 400, Class::Hold),
            ("KMSSomethingNewException", 400, Class::Hold),
            ("InvalidKMSResourceException", 400, Class::Hold),
            ("InvalidArgumentException", 400, Class::Poison),
            ("ValidationException", 400, Class::Poison),
            ("SerializationException", 400, Class::Poison),
            ("RequestEntityTooLarge", 413, Class::Poison),
            ("com.amazonaws.kinesis#ValidationException", 400, Class::Poison),
            ("ValidationException:http://internal.amazon.com/coral/", 400, Class::Poison),
            ("", 413, Class::Poison),
            ("", 429, Class::Throttled),
            ("", 500, Class::Retry),
            ("", 502, Class::Retry),
            ("", 504, Class::Retry),
            ("", 403, Class::Hold),
            ("", 404, Class::Hold),
            ("", 301, Class::Hold),
            ("SomethingNewException", 400, Class::Hold),
            ("SomethingNewException", 500, Class::Retry),
            ("SomethingNew", 200, Class::Retry),
        ];
        for (code, status, class) in table {
            assert_eq!(classify(code, "", *status), *class, "{code} {status}");
        }
    }

    #[test]
    fn a_refusal_of_the_stream_never_costs_a_record() {
        for message in [
            "1 validation error detected: Value 'a b' at 'streamName' failed to satisfy constraint",
            "1 validation error detected: Value 'a b' at 'deliveryStreamName' failed to satisfy constraint",
            "This operation is not permitted on KinesisStreamAsSource delivery stream type.",
        ] {
            assert_eq!(classify("ValidationException", message, 400), Class::Hold, "{message}");
        }
        let message =
            "1 validation error detected: Value at 'records.1.member.data' failed to satisfy constraint";
        assert_eq!(classify("ValidationException", message, 400), Class::Poison);
    }

    #[test]
    fn an_entry_is_taken_only_if_the_answer_says_so() {
        let verdict = |id, code| Verdict { id, code, message: None };
        let verdicts =
            [verdict(Some("1"), None), verdict(None, None), verdict(Some("2"), Some("InternalFailure"))];
        let answer = Answer::judged(5, verdicts.into_iter(), Some("id"));
        let Outcome::Judged(failures) = answer.outcome else {
            panic!("the call went well");
        };
        let failed: Vec<usize> = failures.iter().map(|(index, _)| *index).collect();
        assert_eq!(failed, [1, 2, 3, 4]);
    }

    #[test]
    fn a_failure_without_a_code_is_named_by_its_status() {
        assert_eq!(Failure::from_service("", "", 502).to_string(), "Http502");
    }
}
