use tokio::time::Instant;

use super::super::answer::{Answer, Outcome};
use super::super::dispatch::Next;
use super::super::refusal::Reason;
use super::super::retry::Backoff;
use super::super::settings::Packing;
use super::super::shape::Shape;
use super::super::testing::{firehose, sized};
use super::*;

#[test]
fn an_answer_is_counted_entry_by_entry() {
    let metrics = Metrics::default();
    let mut registry = Registry::with_prefix("kinetail");
    metrics.register(&mut registry);
    let archive = metrics.of(&"archive".into());

    let backoff = Backoff::new(Duration::ZERO, Duration::ZERO);
    let shape = Shape::firehose(&firehose(Packing::None));
    let mut dispatcher = Dispatcher::new(shape, 1, backoff, fastrand::Rng::with_seed(1));
    dispatcher.drain();
    let now = Instant::now();
    dispatcher.offer(sized(0, &[10; 5]), Duration::ZERO, now);
    let Next::Send(request) = dispatcher.next(now) else {
        panic!("nothing to send");
    };
    archive.sent(dispatcher.fill(&request));
    archive.watch(&mut dispatcher);
    let throttled = Failure::from_service("ServiceUnavailableException", "", 200);
    let answer = Answer::from(Outcome::Judged(vec![(1, throttled.clone()), (2, throttled)]));
    let settled = dispatcher.answered(request.id, answer, now);
    archive.answered(&request, &settled, Duration::from_millis(30));
    archive.refused(&[Refused { run: sized(9, &[1]), reason: Reason::TooLarge { size: 2, limit: 1 } }]);

    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        r#"kinetail_delivered_records_total{destination="archive"} 3"#,
        r#"kinetail_delivered_bytes_total{destination="archive"} 30"#,
        r#"kinetail_delivered_entries_total{destination="archive"} 3"#,
        r#"kinetail_service_errors_total{destination="archive"} 0"#,
        r#"kinetail_billed_units_total{destination="archive"} 3"#,
        r#"kinetail_billed_on_demand_bytes_total{destination="archive"} 0"#,
        r#"kinetail_retried_records_total{destination="archive"} 2"#,
        r#"kinetail_throttled_entries_total{destination="archive"} 2"#,
        r#"kinetail_failed_entries_total{destination="archive",code="ServiceUnavailableException"} 2"#,
        r#"kinetail_refused_records_total{destination="archive",code="RecordTooLarge"} 1"#,
        r#"kinetail_requests_total{destination="archive",outcome="partial"} 1"#,
        r#"kinetail_requests_total{destination="archive",outcome="failed"} 0"#,
        r#"kinetail_request_duration_seconds_bucket{le="0.05",destination="archive"} 1"#,
        r#"kinetail_request_fill_ratio_bucket{le="0.01",destination="archive"} 1"#,
        r#"kinetail_requests_in_flight{destination="archive"} 1"#,
        r#"kinetail_requests_allowed{destination="archive"} 1"#,
        r#"kinetail_learned_rate_bytes_per_second{destination="archive"} 0"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
    }
}

#[test]
fn a_request_that_fails_as_a_whole_is_a_service_error_unless_it_is_throttled() {
    let archive = Metrics::default().of(&"archive".into());
    for (code, status, errors, throttled) in [
        ("InternalFailure", 500, 1, 0),
        ("ThrottlingException", 400, 1, 5),
        ("AccessDeniedException", 400, 2, 5),
    ] {
        let shape = Shape::firehose(&firehose(Packing::None));
        let backoff = Backoff::new(Duration::ZERO, Duration::ZERO);
        let mut dispatcher = Dispatcher::new(shape, 1, backoff, fastrand::Rng::with_seed(1));
        dispatcher.drain();
        let now = Instant::now();
        dispatcher.offer(sized(0, &[10; 5]), Duration::ZERO, now);
        let Next::Send(request) = dispatcher.next(now) else {
            panic!("nothing to send");
        };
        let failure = Failure::from_service(code, "", status);
        let settled = dispatcher.answered(request.id, Outcome::Failed(failure).into(), now);
        archive.answered(&request, &settled, Duration::ZERO);
        assert_eq!(
            (archive.series.service_errors.get(), archive.series.throttled.get()),
            (errors, throttled),
            "{code}"
        );
    }
    assert_eq!(archive.series.delivered_entries.get(), 0);
}

#[test]
fn a_strange_code_makes_no_time_series_of_its_own() {
    let archive = Metrics::default().of(&"archive".into());
    assert_eq!(archive.by_code("<html> no code").code, "other");
    assert_eq!(archive.by_code("InternalFailure").code, "InternalFailure");
}
