use aws_sdk_firehose::types::builders::DeliveryStreamDescriptionBuilder;
use aws_sdk_firehose::types::{
    AmazonopensearchserviceDestinationDescription, BufferingHints, CompressionFormat,
    DynamicPartitioningConfiguration, EncryptionConfiguration, ExtendedS3DestinationDescription,
    HttpEndpointDestinationDescription, Processor, SplunkDestinationDescription,
};

use super::super::super::testing;
use super::super::Level;
use super::*;
use crate::units::ByteSize;

const PACKED: Packing = Packing::Newline { max_size: ByteSize(1 << 20), max_lines: 500 };

fn stream() -> DeliveryStreamDescriptionBuilder {
    DeliveryStreamDescription::builder()
        .delivery_stream_name("archive")
        .delivery_stream_arn("arn:aws:firehose:eu-central-1:123456789012:deliverystream/archive")
        .delivery_stream_status(DeliveryStreamStatus::Active)
        .delivery_stream_type(DeliveryStreamType::DirectPut)
        .version_id("1")
        .set_destinations(Some(Vec::new()))
        .has_more_destinations(false)
}

fn processing(kinds: &[ProcessorType]) -> ProcessingConfiguration {
    let processors = kinds.iter().map(|kind| Processor::builder().r#type(kind.clone()).build().unwrap());
    ProcessingConfiguration::builder().enabled(true).set_processors(Some(processors.collect())).build()
}

fn s3(partitioned: bool, kinds: &[ProcessorType]) -> DestinationDescription {
    let partitioning = DynamicPartitioningConfiguration::builder().enabled(partitioned).build();
    let s3 = ExtendedS3DestinationDescription::builder()
        .role_arn("r")
        .bucket_arn("b")
        .buffering_hints(BufferingHints::builder().build())
        .compression_format(CompressionFormat::Uncompressed)
        .encryption_configuration(EncryptionConfiguration::builder().build())
        .dynamic_partitioning_configuration(partitioning)
        .processing_configuration(processing(kinds))
        .build()
        .unwrap();
    to(|to| to.extended_s3_destination_description(s3))
}

fn to(
    set: impl FnOnce(
        aws_sdk_firehose::types::builders::DestinationDescriptionBuilder,
    ) -> aws_sdk_firehose::types::builders::DestinationDescriptionBuilder,
) -> DestinationDescription {
    set(DestinationDescription::builder().destination_id("1")).build().unwrap()
}

fn open_search(kinds: &[ProcessorType]) -> DestinationDescription {
    let it = AmazonopensearchserviceDestinationDescription::builder()
        .processing_configuration(processing(kinds))
        .build();
    to(|to| to.amazonopensearchservice_destination_description(it))
}

#[track_caller]
fn check(to: &DestinationDescription, with: Packing, level: Level, says: &str) {
    let findings = packing(to, with);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].level, level, "{}", findings[0]);
    assert!(findings[0].to_string().contains(says), "{}", findings[0]);
}

#[test]
fn packing_is_held_against_where_the_stream_delivers() {
    use ProcessorType::{AppendDelimiterToRecord, Lambda, MetadataExtraction, RecordDeAggregation};
    check(&s3(false, &[]), PACKED, Level::Good, "fits Amazon S3");
    check(&s3(false, &[]), Packing::None, Level::Warning, "glued together");
    check(&s3(false, &[AppendDelimiterToRecord]), Packing::None, Level::Good, "fits");
    check(&s3(false, &[Lambda]), PACKED, Level::Warning, "splits them at newlines");
    check(&s3(true, &[MetadataExtraction]), PACKED, Level::Problem, "deaggregation");
    check(&s3(true, &[MetadataExtraction, RecordDeAggregation]), PACKED, Level::Good, "fits");
    let many = Packing::Newline { max_size: ByteSize(1 << 20), max_lines: 501 };
    check(&s3(true, &[RecordDeAggregation]), many, Level::Problem, "500 or less");
    check(&open_search(&[]), PACKED, Level::Problem, "set `packing: none`");
    check(&open_search(&[Lambda]), PACKED, Level::Warning, "single objects");
    check(&open_search(&[]), Packing::None, Level::Good, "fits Amazon OpenSearch");
    let splunk = SplunkDestinationDescription::builder().build();
    check(&to(|to| to.splunk_destination_description(splunk)), PACKED, Level::Good, "fits Splunk");
    let http = HttpEndpointDestinationDescription::builder().build();
    check(&to(|to| to.http_endpoint_destination_description(http)), PACKED, Level::Warning, "HTTP endpoint");
    assert!(packing(&to(|to| to), PACKED).is_empty(), "a target that is not known yet");
}

#[test]
fn compression_is_held_against_where_the_stream_delivers() {
    let level = |to: &DestinationDescription| compression(to).level;
    assert_eq!(level(&s3(false, &[])), Level::Good);
    assert_eq!(level(&s3(false, &[ProcessorType::Lambda])), Level::Warning);
    assert_eq!(level(&s3(true, &[])), Level::Problem);
    assert_eq!(level(&open_search(&[])), Level::Problem);
    let splunk = SplunkDestinationDescription::builder().build();
    assert_eq!(level(&to(|to| to.splunk_destination_description(splunk))), Level::Problem);
}

#[test]
fn a_stream_is_told_by_its_state_and_source() {
    let settings = testing::firehose(PACKED);
    let found = |stream: DeliveryStreamDescriptionBuilder| judge(&stream.build().unwrap(), &settings);
    for (status, level) in [
        (DeliveryStreamStatus::Active, Level::Good),
        (DeliveryStreamStatus::Creating, Level::Warning),
        (DeliveryStreamStatus::CreatingFailed, Level::Problem),
        (DeliveryStreamStatus::Deleting, Level::Problem),
    ] {
        let findings = found(stream().delivery_stream_status(status));
        assert_eq!((findings.len(), findings[0].level), (1, level), "{findings:?}");
    }
    let findings = found(stream().delivery_stream_type(DeliveryStreamType::KinesisStreamAsSource));
    assert_eq!(findings[1].level, Level::Problem);
    assert!(findings[1].remedy.contains("type: kinesis"), "{findings:?}");
}
