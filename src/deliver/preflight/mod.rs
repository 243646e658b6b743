//! The preflight: what would keep a destination of AWS from taking records, found by asking before records wait.
//!
//! ```text
//! connect (CA bundle, proxy, region) ─► Describe (credentials, network, existence, clock) ─► judge (state, sizes,
//! packing) ─► a test record, if it was asked for (permission to write)
//! ```
//!
//! It goes the way that records go: the same client, the same credentials. What a description says is judged by pure
//! functions. Nothing here changes what is delivered, or when.

mod clock;
mod data_stream;
mod delivery_stream;
mod failure;

use std::fmt;

use super::answer::{Answer, Outcome};
use super::aws;
use super::service::Service;
use clock::ServiceClock;
use failure::Where;

/// Something that was found out about a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What it is about, in a word or two.
    pub about: &'static str,
    /// What is so.
    pub what: String,
    /// What to do; nothing where all is well.
    pub remedy: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Good,
    /// It may be meant, or could not be found out.
    Warning,
    /// Records will not arrive, or not as they should.
    Problem,
}

/// Whether a record is sent to find out if records may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TestRecord {
    /// None.
    #[default]
    None,
    /// This one: a JSON object without a newline.
    Send(String),
}

impl Finding {
    fn good(about: &'static str, what: impl Into<String>) -> Self {
        Self { level: Level::Good, about, what: what.into(), remedy: String::new() }
    }

    fn warning(about: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Warning, about, what: what.into(), remedy: remedy.into() }
    }

    fn problem(about: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Problem, about, what: what.into(), remedy: remedy.into() }
    }
}

impl Finding {
    /// Whether it is the way to the service that is the problem, which may pass by itself.
    pub fn is_of_the_network(&self) -> bool {
        self.about == CONNECTION && self.level == Level::Problem
    }
}

/// What findings are about that say whether the service can be reached.
const CONNECTION: &str = "connection";

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.about, self.what)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

impl Service {
    /// Finds out whether the destination would take records. Empty for local files: the folder is made when it
    /// is needed.
    pub async fn preflight(&self, record: &TestRecord) -> Vec<Finding> {
        match self {
            Service::Firehose(stream) => delivery_stream::preflight(stream, record).await,
            Service::Kinesis(stream) => data_stream::preflight(stream, record).await,
            Service::Directory(_) => Vec::new(),
        }
    }
}

/// What both services are asked: `describe` for the stream, and `send` to take the test record if there is one, which needs
/// the permission `write`.
async fn ask(
    at: Where<'_>,
    write: &'static str,
    record: &TestRecord,
    describe: impl AsyncFnOnce(ServiceClock) -> Result<Vec<Finding>, Answer>,
    send: impl AsyncFnOnce(&str) -> Outcome,
) -> Vec<Finding> {
    let clock = ServiceClock::default();
    let mut findings = Vec::new();
    match describe(clock.clone()).await {
        Ok(found) => {
            findings.push(reached(at.region, aws::proxy_of(at.endpoint)));
            findings.extend(found);
        }
        Err(answer) => {
            if let Outcome::Failed(failure) = answer.outcome {
                findings.push(failure::explain(&failure, "stream", &at));
            }
        }
    }
    findings.extend(clock.finding());
    findings.push(match record {
        TestRecord::None => not_written(),
        TestRecord::Send(text) => written(&send(text).await, &Where { action: write, ..at }),
    });
    findings
}

/// What can be said once a service has answered at all.
fn reached(region: &str, proxy: Option<&str>) -> Finding {
    let through =
        proxy.map(|proxy| format!(", through {proxy} unless NO_PROXY names it")).unwrap_or_default();
    Finding::good(CONNECTION, format!("the service answers in {region}{through}"))
}

/// What became of the test record.
fn written(outcome: &Outcome, at: &Where<'_>) -> Finding {
    let failure = match outcome {
        Outcome::Judged(failures) => match failures.first() {
            None => return Finding::good("writing", "the test record was taken"),
            Some((_, failure)) => failure,
        },
        Outcome::Failed(failure) => failure,
    };
    failure::explain(failure, "writing", at)
}

fn not_written() -> Finding {
    Finding::good(
        "writing",
        "not tried; --send-test-record sends one record to find out whether it is allowed",
    )
}
