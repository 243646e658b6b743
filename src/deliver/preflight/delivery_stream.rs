//! A delivery stream: its state, its source, and whether `packing` fits where it delivers to.

use aws_sdk_firehose::Client;
use aws_sdk_firehose::types::{
    CompressionFormat, DeliveryStreamDescription, DeliveryStreamStatus, DeliveryStreamType,
    DestinationDescription, ProcessingConfiguration, ProcessorType, Record,
};

use super::super::answer::Outcome;
use super::super::aws;
use super::super::firehose::{DeliveryStream, judge as judge_answer};
use super::super::gzip;
use super::super::settings::{Compression, Firehose, Packing};
use super::clock::ServiceClock;
use super::failure::{Where, unconnected};
use super::{Finding, TestRecord, ask};

/// The most sub-records that are taken out of one record (Firehose developer guide, "dynamic partitioning").
const MOST_SUB_RECORDS: usize = 500;

pub(super) async fn preflight(stream: &DeliveryStream, record: &TestRecord) -> Vec<Finding> {
    let client = match stream.client().await {
        Ok(client) => client,
        Err(error) => return vec![unconnected(&error)],
    };
    let settings = stream.settings();
    let region = client.config().region().map(ToString::to_string).unwrap_or_default();
    let at = Where {
        kind: "delivery stream",
        stream: &settings.stream,
        region: &region,
        action: "firehose:DescribeDeliveryStream",
        endpoint: settings.aws.endpoint.as_deref(),
    };
    let describe = async |clock: ServiceClock| {
        let call = client.describe_delivery_stream().delivery_stream_name(&settings.stream);
        let answer = call.customize().interceptor(clock).send().await.map_err(|error| aws::failed(&error))?;
        Ok(answer.delivery_stream_description().map(|stream| judge(stream, settings)).unwrap_or_default())
    };
    ask(at, "firehose:PutRecordBatch", record, describe, async |text| send(&client, settings, text).await)
        .await
}

async fn send(client: &Client, settings: &Firehose, text: &str) -> Outcome {
    let end = if settings.packing == Packing::None { "" } else { "\n" };
    let data = gzip::as_sent(format!("{text}{end}").into_bytes(), settings.compression);
    let record = Record::builder().data(data.into()).build();
    let record = record.expect("it has data");
    let call = client.put_record_batch().delivery_stream_name(&settings.stream).records(record);
    match call.send().await {
        Ok(answer) => judge_answer(&answer, 1).outcome,
        Err(error) => aws::failed(&error).outcome,
    }
}

/// What a description says about the destination's settings.
fn judge(description: &DeliveryStreamDescription, settings: &Firehose) -> Vec<Finding> {
    let mut findings = vec![state(description)];
    if *description.delivery_stream_type() != DeliveryStreamType::DirectPut {
        findings.push(Finding::problem(
            "stream",
            format!(
                "the delivery stream takes its records from a source of its own ({}), not from us",
                description.delivery_stream_type()
            ),
            "deliver to that source (a data stream is `type: kinesis`), or to a delivery stream with direct put",
        ));
    }
    for to in description.destinations() {
        findings.extend(packing(to, settings.packing));
        if settings.compression == Compression::Gzip {
            findings.push(compression(to));
        }
    }
    findings
}

fn state(description: &DeliveryStreamDescription) -> Finding {
    let status = description.delivery_stream_status();
    let why = description
        .failure_description()
        .map(|why| format!(" ({}: {})", why.r#type(), why.details()))
        .unwrap_or_default();
    let what = format!("the delivery stream is {status}{why}");
    match status {
        DeliveryStreamStatus::Active => Finding::good("stream", what),
        DeliveryStreamStatus::Creating => {
            Finding::warning("stream", what, "records are kept until it is active")
        }
        _ => Finding::problem("stream", what, "create it anew, or name another"),
    }
}

/// How records must look like for where the delivery stream puts them.
struct Target<'a> {
    name: &'static str,
    needs: Needs,
    processing: Option<&'a ProcessingConfiguration>,
    /// Dynamic partitioning is on.
    partitioned: bool,
}

/// What a target makes of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// One JSON object.
    OneObject,
    /// Lines, which records are only glued together from.
    Lines,
    /// Whatever the receiver makes of it.
    Anything,
}

impl<'a> Target<'a> {
    fn of(to: &'a DestinationDescription) -> Option<Self> {
        let target = |name, needs, processing| Some(Self { name, needs, processing, partitioned: false });
        if let Some(it) = to.amazonopensearchservice_destination_description() {
            return target("Amazon OpenSearch Service", Needs::OneObject, it.processing_configuration());
        }
        if let Some(it) = to.amazon_open_search_serverless_destination_description() {
            return target("Amazon OpenSearch Serverless", Needs::OneObject, it.processing_configuration());
        }
        if let Some(it) = to.elasticsearch_destination_description() {
            return target("Elasticsearch", Needs::OneObject, it.processing_configuration());
        }
        if let Some(it) = to.snowflake_destination_description() {
            return target("Snowflake", Needs::OneObject, it.processing_configuration());
        }
        if let Some(it) = to.iceberg_destination_description() {
            return target("Apache Iceberg tables", Needs::OneObject, it.processing_configuration());
        }
        if let Some(it) = to.redshift_destination_description() {
            return target("Amazon Redshift", Needs::Lines, it.processing_configuration());
        }
        if let Some(it) = to.splunk_destination_description() {
            return target("Splunk", Needs::Lines, it.processing_configuration());
        }
        if let Some(it) = to.http_endpoint_destination_description() {
            return target("an HTTP endpoint", Needs::Anything, it.processing_configuration());
        }
        if let Some(it) = to.extended_s3_destination_description() {
            let partitioned =
                it.dynamic_partitioning_configuration().is_some_and(|it| it.enabled() == Some(true));
            let mut target = target("Amazon S3", Needs::Lines, it.processing_configuration())?;
            target.partitioned = partitioned;
            return Some(target);
        }
        to.s3_destination_description()?;
        target("Amazon S3", Needs::Lines, None)
    }

    fn has(&self, kind: ProcessorType) -> bool {
        let processing = self.processing.filter(|it| it.enabled() == Some(true));
        processing.is_some_and(|it| it.processors().iter().any(|processor| *processor.r#type() == kind))
    }
}

/// Whether `packing` fits where records go.
fn packing(to: &DestinationDescription, packing: Packing) -> Vec<Finding> {
    let Some(target) = Target::of(to) else { return Vec::new() };
    let name = target.name;
    let split = target.has(ProcessorType::RecordDeAggregation);
    let lambda = target.has(ProcessorType::Lambda);
    let mut findings = Vec::new();
    match packing {
        Packing::Newline { max_lines, .. } => {
            if target.needs == Needs::OneObject && !split {
                let what =
                    format!("`packing: newline` puts many objects into a record, and {name} takes one");
                findings.push(if lambda {
                    let remedy = "see that the transformation of the delivery stream gives single objects, or set \
                                  `packing: none`";
                    Finding::warning("packing", what, remedy)
                } else {
                    Finding::problem("packing", what, "set `packing: none`")
                });
            } else if target.partitioned && !split {
                findings.push(Finding::problem(
                    "packing",
                    "dynamic partitioning looks at a record's first object, and `packing: newline` puts many into one",
                    "turn on the delivery stream's multi-record deaggregation (JSON), or set `packing: none`",
                ));
            } else if split && max_lines > MOST_SUB_RECORDS {
                findings.push(Finding::problem(
                    "packing",
                    format!("the delivery stream takes at most {MOST_SUB_RECORDS} objects out of a record"),
                    format!("set packed_record.max_lines to {MOST_SUB_RECORDS} or less, not {max_lines}"),
                ));
            } else if lambda {
                findings.push(Finding::warning(
                    "packing",
                    "the delivery stream's transformation gets records of many lines",
                    "see that its function splits them at newlines, or set `packing: none`",
                ));
            } else if target.needs == Needs::Anything {
                findings.push(Finding::warning(
                    "packing",
                    format!("{name} gets records of many lines"),
                    "see that it splits them at newlines, or set `packing: none`",
                ));
            }
        }
        Packing::None => {
            let ended = target.has(ProcessorType::AppendDelimiterToRecord) || lambda;
            if target.needs == Needs::Lines && !ended {
                findings.push(Finding::warning(
                    "packing",
                    format!("`packing: none` writes no newline, and {name} gets records glued together"),
                    "set `packing: newline`, which also costs a fraction, or let the delivery stream append a newline",
                ));
            }
        }
    }
    if findings.is_empty() {
        findings.push(Finding::good("packing", format!("fits {name}")));
    }
    findings
}

/// Whether what the delivery stream delivers to takes records that are members of gzip.
fn compression(to: &DestinationDescription) -> Finding {
    const LEAVE: &str = "leave `compression` out, or let the delivery stream compress";
    let Some(target) = Target::of(to) else {
        return Finding::good("compression", "what the delivery stream delivers to is not known here");
    };
    let s3 = to.extended_s3_destination_description();
    let converted = s3
        .and_then(|s3| s3.data_format_conversion_configuration())
        .is_some_and(|conversion| conversion.enabled() != Some(false));
    let again = s3.is_some_and(|s3| *s3.compression_format() != CompressionFormat::Uncompressed);
    let processors = target.processing.filter(|it| it.enabled() == Some(true));
    let processed = processors.is_some_and(|it| !it.processors().is_empty());
    if converted || target.partitioned {
        let what = "format conversion and dynamic partitioning cannot read records that are compressed";
        Finding::problem("compression", what, LEAVE)
    } else if processed {
        let what = "the delivery stream's transformation gets records that are compressed";
        Finding::warning("compression", what, format!("see that its function unpacks them, or {LEAVE}"))
    } else if again {
        let what = "the delivery stream compresses what is compressed already";
        Finding::warning(
            "compression",
            what,
            "let one of the two do it: set its format to UNCOMPRESSED, or leave `compression` out",
        )
    } else {
        match target.name {
            "Amazon S3" => Finding::good("compression", "fits Amazon S3: objects are valid gzip files"),
            "Amazon Redshift" => Finding::warning(
                "compression",
                "Amazon Redshift loads what is compressed only if it is told so",
                format!("add GZIP to the options of COPY, or {LEAVE}"),
            ),
            name => Finding::problem(
                "compression",
                format!("{name} cannot read records that are compressed"),
                LEAVE,
            ),
        }
    }
}

#[cfg(test)]
mod tests;
