//! A data stream: its state, its shards, its record size, its key.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::{
    EncryptionType, PutRecordsRequestEntry, StreamDescriptionSummary, StreamMode, StreamStatus,
};

use super::super::answer::Outcome;
use super::super::aws;
use super::super::gzip;
use super::super::kinesis::{DataStream, judge as judge_answer};
use super::super::settings::{Aggregation, Kinesis, PartitionKey};
use super::clock::ServiceClock;
use super::failure::{Where, unconnected};
use super::{Finding, TestRecord, ask};
use crate::units::ByteSize;

pub(super) async fn preflight(stream: &DataStream, record: &TestRecord) -> Vec<Finding> {
    let client = match stream.client().await {
        Ok(client) => client,
        Err(error) => return vec![unconnected(&error)],
    };
    let settings = stream.settings();
    let region = client.config().region().map(ToString::to_string).unwrap_or_default();
    let at = Where {
        kind: "data stream",
        stream: &settings.stream,
        region: &region,
        action: "kinesis:DescribeStreamSummary",
        endpoint: settings.aws.endpoint.as_deref(),
    };
    let describe = async |clock: ServiceClock| {
        let call = client.describe_stream_summary();
        let call = if settings.stream.starts_with("arn:") {
            call.stream_arn(&settings.stream)
        } else {
            call.stream_name(&settings.stream)
        };
        let answer = call.customize().interceptor(clock).send().await.map_err(|error| aws::failed(&error))?;
        Ok(answer.stream_description_summary().map(|stream| judge(stream, settings)).unwrap_or_default())
    };
    ask(at, "kinesis:PutRecords", record, describe, async |text| send(&client, settings, text).await).await
}

async fn send(client: &Client, settings: &Kinesis, text: &str) -> Outcome {
    let end = if settings.aggregation == Aggregation::None { "" } else { "\n" };
    let record = PutRecordsRequestEntry::builder()
        .data(gzip::as_sent(format!("{text}{end}").into_bytes(), settings.compression).into())
        .partition_key("kinetail-test-record")
        .build();
    let call = client.put_records().records(record.expect("it has data and a key"));
    let call = if settings.stream.starts_with("arn:") {
        call.stream_arn(&settings.stream)
    } else {
        call.stream_name(&settings.stream)
    };
    match call.send().await {
        Ok(answer) => judge_answer(&answer, 1).outcome,
        Err(error) => aws::failed(&error).outcome,
    }
}

/// What a description says about the destination's settings.
fn judge(summary: &StreamDescriptionSummary, settings: &Kinesis) -> Vec<Finding> {
    let mut findings = vec![state(summary)];
    findings.extend(record_size(summary, settings));
    let shards = summary.open_shard_count();
    if matches!(settings.partition_key, PartitionKey::Fixed(_)) && shards > 1 {
        findings.push(Finding::warning(
            "partition key",
            format!("a fixed key puts everything into one of {shards} shards"),
            "set `partition_key: random`, unless the order of all records matters",
        ));
    }
    if summary.encryption_type() == Some(&EncryptionType::Kms) {
        let key = summary.key_id().unwrap_or("a KMS key");
        // The service's own key needs no permission.
        findings.push(if key.ends_with("alias/aws/kinesis") {
            Finding::good("encryption", format!("with {key}"))
        } else {
            Finding::good("encryption", format!("with {key}, for which kms:GenerateDataKey must be allowed"))
        });
    }
    findings
}

fn state(summary: &StreamDescriptionSummary) -> Finding {
    let status = summary.stream_status();
    let on_demand =
        summary.stream_mode_details().is_some_and(|mode| *mode.stream_mode() == StreamMode::OnDemand);
    let mode = if on_demand { "on demand" } else { "provisioned" };
    let shards = summary.open_shard_count();
    let what = format!("the data stream is {status}, {mode}, with {shards} open shards");
    match status {
        StreamStatus::Active | StreamStatus::Updating => Finding::good("stream", what),
        StreamStatus::Creating => Finding::warning("stream", what, "records are kept until it is active"),
        _ => Finding::problem("stream", what, "create it anew, or name another"),
    }
}

/// Whether the stream takes records as large as we would send.
fn record_size(summary: &StreamDescriptionSummary, settings: &Kinesis) -> Option<Finding> {
    let theirs = u64::try_from(summary.max_record_size_in_kib()?).ok()? << 10;
    let (theirs, ours) = (ByteSize(theirs), settings.max_record_size);
    Some(if ours > theirs {
        Finding::problem(
            "record size",
            format!("max_record_size is {ours}, and the stream takes {theirs}"),
            format!(
                "set max_record_size to {theirs}, or raise the stream's (aws kinesis update-max-record-size)"
            ),
        )
    } else if ours < theirs {
        Finding::warning(
            "record size",
            format!(
                "the stream takes {theirs}, and max_record_size is {ours}: longer records become dead letters"
            ),
            format!("set max_record_size to {theirs}"),
        )
    } else {
        Finding::good("record size", format!("{ours}, as the stream's"))
    })
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::primitives::DateTime;
    use aws_sdk_kinesis::types::builders::StreamDescriptionSummaryBuilder;

    use super::super::super::testing;
    use super::super::Level;
    use super::*;

    fn summary() -> StreamDescriptionSummaryBuilder {
        StreamDescriptionSummary::builder()
            .stream_name("audit")
            .stream_arn("arn:aws:kinesis:eu-central-1:123456789012:stream/audit")
            .stream_status(StreamStatus::Active)
            .retention_period_hours(24)
            .stream_creation_timestamp(DateTime::from_secs(0))
            .set_enhanced_monitoring(Some(Vec::new()))
            .open_shard_count(4)
    }

    fn found(summary: StreamDescriptionSummaryBuilder, settings: &Kinesis) -> Vec<(Level, &'static str)> {
        let findings = judge(&summary.build().unwrap(), settings);
        findings.into_iter().map(|finding| (finding.level, finding.about)).collect()
    }

    #[test]
    fn a_stream_is_told_by_its_state() {
        let settings = testing::kinesis(Aggregation::None);
        for (status, level) in [
            (StreamStatus::Active, Level::Good),
            (StreamStatus::Updating, Level::Good),
            (StreamStatus::Creating, Level::Warning),
            (StreamStatus::Deleting, Level::Problem),
        ] {
            assert_eq!(found(summary().stream_status(status), &settings), [(level, "stream")]);
        }
    }

    #[test]
    fn record_sizes_must_agree() {
        let settings = testing::kinesis(Aggregation::None);
        for (theirs, level) in [(1024, Level::Good), (512, Level::Problem), (10_240, Level::Warning)] {
            let found = found(summary().max_record_size_in_kib(theirs), &settings);
            assert_eq!(found[1], (level, "record size"), "{theirs}");
        }
    }

    #[test]
    fn a_fixed_key_on_many_shards_and_a_key_of_the_users_are_told() {
        let mut settings = testing::kinesis(Aggregation::None);
        settings.partition_key = PartitionKey::Fixed("k".into());
        assert_eq!(found(summary(), &settings)[1], (Level::Warning, "partition key"));
        assert_eq!(found(summary().open_shard_count(1), &settings).len(), 1);
        let encrypted = summary().encryption_type(EncryptionType::Kms).key_id("arn:aws:kms:x:1:key/1");
        let findings = judge(&encrypted.build().unwrap(), &testing::kinesis(Aggregation::None));
        assert!(findings[1].what.contains("kms:GenerateDataKey"), "{findings:?}");
    }
}
