//! This machine's clock beside the service's.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::DateTime;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::date_time::Format;

use super::Finding;

/// AWS refuses signatures that are further off (Signature Version 4, "time stamp").
const REFUSED: Duration = Duration::from_secs(300);
/// An answer takes a while, and its date is of whole seconds; more than this is worth a word.
const WORTH_A_WORD: Duration = Duration::from_secs(30);

/// Takes note of the date of a service's answer, whatever the answer is.
#[derive(Clone, Debug, Default)]
pub(super) struct ServiceClock(Arc<Mutex<Option<Skew>>>);

/// How far this machine's clock is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Skew {
    Behind(Duration),
    Ahead(Duration),
}

impl Intercept for ServiceClock {
    fn name(&self) -> &'static str {
        "ServiceClock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let date = date.and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
        if let Some(date) = date.and_then(|date| SystemTime::try_from(date).ok()) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Skew::of(SystemTime::now(), date));
        }
        Ok(())
    }
}

impl Skew {
    fn of(ours: SystemTime, theirs: SystemTime) -> Self {
        match ours.duration_since(theirs) {
            Ok(ahead) => Skew::Ahead(ahead),
            Err(behind) => Skew::Behind(behind.duration()),
        }
    }

    fn finding(self) -> Finding {
        let (off, word) = match self {
            Skew::Behind(off) => (off, "behind"),
            Skew::Ahead(off) => (off, "ahead of"),
        };
        let what = format!("this machine's clock is {} s {word} the service's", off.as_secs());
        let remedy = "set the clock of this machine (chrony, systemd-timesyncd): AWS refuses requests that are more \
                      than 5 minutes off";
        if off > REFUSED {
            Finding::problem("clock", what, remedy)
        } else if off > WORTH_A_WORD {
            Finding::warning("clock", what, remedy)
        } else {
            Finding::good("clock", "agrees with the service's")
        }
    }
}

impl ServiceClock {
    /// None before an answer came, or where it had no date.
    pub(super) fn finding(&self) -> Option<Finding> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).map(Skew::finding)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn a_clock_is_told_by_how_far_it_is_off() {
        let now = SystemTime::now();
        let of = |seconds: i64| {
            let off = Duration::from_secs(seconds.unsigned_abs());
            Skew::of(if seconds < 0 { now - off } else { now + off }, now).finding()
        };
        for (seconds, level) in [
            (0, Level::Good),
            (-20, Level::Good),
            (31, Level::Warning),
            (-299, Level::Warning),
            (301, Level::Problem),
            (-7200, Level::Problem),
        ] {
            assert_eq!(of(seconds).level, level, "{seconds}");
        }
        assert!(of(-7200).what.contains("7200 s behind"));
        assert!(of(600).what.contains("600 s ahead of") && of(600).remedy.contains("chrony"));
    }
}
