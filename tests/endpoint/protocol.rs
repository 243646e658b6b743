//! The services' protocol: signatures, TLS, answers, and what is not the protocol.

use std::net::SocketAddr;
use std::time::Duration;

use aws_sdk_firehose::primitives::Blob;
use aws_sdk_firehose::types::DeliveryStreamStatus;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::support::clients::{self, ACCESS_KEY, SECRET_KEY};
use super::support::endpoint::{Endpoint, Fault, Marker, Rule, Stream};
use super::{Firehose, code, firehose, kinesis, line, put_batch, put_records};

#[tokio::test]
async fn the_sdk_puts_records_over_tls_with_a_signature_that_is_verified() {
    let endpoint = Endpoint::tls()
        .access_key(ACCESS_KEY, SECRET_KEY)
        .stream(Stream::firehose("archive"))
        .stream(Stream::kinesis("audit").shards(2))
        .start()
        .await;

    put_batch(&clients::firehose(&endpoint), "archive", [line("a", 1)]).await.expect("taken");
    put_records(&clients::kinesis(&endpoint), "audit", [("k".into(), line("a", 1))]).await.expect("taken");

    let account = endpoint.account();
    assert_eq!(account.access_keys.iter().collect::<Vec<_>>(), [ACCESS_KEY]);
    for stream in ["archive", "audit"] {
        account.stream(stream).assert_exactly_once([Marker::new("a", 1)]);
    }
}

#[tokio::test]
async fn a_signature_made_with_another_secret_is_refused() {
    let endpoint =
        Endpoint::plain().access_key(ACCESS_KEY, "another").stream(Stream::firehose("archive")).start().await;
    let refused = put_batch(&clients::firehose(&endpoint), "archive", [line("a", 1)]).await;
    assert_eq!(refused, Err("InvalidSignatureException".into()));
    assert_eq!(endpoint.account().stream("archive").calls, 0);
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_authority_puts_nothing() {
    let endpoint = Endpoint::tls().stream(Stream::firehose("archive")).start().await;
    let stranger = Endpoint::tls().start().await;
    let config = clients::firehose(&stranger).config().to_builder().endpoint_url(endpoint.url());
    let client = Firehose::from_conf(config.build());
    assert!(put_batch(&client, "archive", [line("a", 1)]).await.is_err());
    endpoint.wait_until(|account| account.failed_handshakes > 0).await;
    assert_eq!(endpoint.account().stream("archive").calls, 0);
}

#[tokio::test]
async fn an_unknown_stream_is_not_found() {
    let (endpoint, client) = firehose().await;
    let answer = put_batch(&client, "nowhere", [line("a", 1)]).await;
    assert_eq!(answer, Err("ResourceNotFoundException".into()));
    let answer = put_records(&clients::kinesis(&endpoint), "archive", [("k".into(), vec![1])]).await;
    assert_eq!(answer, Err("ResourceNotFoundException".into()));
}

#[tokio::test]
async fn a_partition_key_decides_the_shard_by_its_md5() {
    let (endpoint, client) = kinesis(Stream::kinesis("audit").shards(4)).await;
    // First bytes of the MD5s: a 0x0c, b 0x92, c 0x4a, d 0x82, g 0xb2, l 0x2d, t 0xe3.
    let keys = ["a", "b", "c", "d", "g", "l", "t"];
    let shards =
        put_records(&client, "audit", keys.map(|key| (key.to_owned(), vec![1]))).await.expect("taken");
    let numbers: Vec<_> = shards.iter().map(|shard| shard.as_ref().expect("taken").as_str()).collect();
    assert_eq!(numbers, [0, 2, 1, 2, 2, 0, 3].map(|number| format!("shardId-{number:012}")));
    assert_eq!(endpoint.account().stream("audit").shard(2).count(), 3);
}

#[tokio::test]
async fn an_explicit_hash_key_overrules_the_partition_keys_md5() {
    let (_endpoint, client) = kinesis(Stream::kinesis("audit").shards(4)).await;
    let put = |hash_key: String| {
        client
            .put_record()
            .stream_name("audit")
            .partition_key("k")
            .explicit_hash_key(hash_key)
            .data(Blob::new("x"))
            .send()
    };
    let quarter = 1_u128 << 126;
    for (hash_key, shard) in [(0, 0), (quarter - 1, 0), (quarter, 1), (2 * quarter, 2), (u128::MAX, 3)] {
        let answer = put(hash_key.to_string()).await.expect("taken");
        assert_eq!(answer.shard_id(), format!("shardId-{shard:012}"), "{hash_key}");
    }
    for wrong in ["340282366920938463463374607431768211456", "-1", "x"] {
        let refused = put(wrong.to_owned()).await.expect_err("an error");
        assert_eq!(code(refused), "InvalidArgumentException", "{wrong}");
    }
}

#[tokio::test]
async fn a_stream_is_named_by_its_arn_too() {
    let (_endpoint, client) = kinesis(Stream::kinesis("audit")).await;
    let answer = client
        .put_record()
        .stream_arn("arn:aws:kinesis:us-east-1:123456789012:stream/audit")
        .partition_key("k")
        .data(Blob::new("x"))
        .send()
        .await;
    answer.expect("taken");
}

#[tokio::test]
async fn streams_are_described_as_active() {
    let endpoint = Endpoint::plain()
        .stream(Stream::firehose("archive"))
        .stream(Stream::kinesis("audit").shards(3))
        .start()
        .await;
    let archive = clients::firehose(&endpoint)
        .describe_delivery_stream()
        .delivery_stream_name("archive")
        .send()
        .await
        .expect("a description");
    let status = archive.delivery_stream_description().expect("a description").delivery_stream_status();
    assert_eq!(*status, DeliveryStreamStatus::Active);

    let audit = clients::kinesis(&endpoint)
        .describe_stream_summary()
        .stream_name("audit")
        .send()
        .await
        .expect("a description");
    let summary = audit.stream_description_summary().expect("a summary");
    assert_eq!(summary.open_shard_count(), 3);
}

/// The headers of a request that is as it must be, its signature's value aside.
const HEADERS: [(&str, &str); 4] = [
    ("x-amz-target", "Firehose_20150804.PutRecordBatch"),
    ("content-type", "application/x-amz-json-1.1"),
    ("x-amz-date", "20260921T141320Z"),
    (
        "authorization",
        "AWS4-HMAC-SHA256 Credential=AKID/20260921/us-east-1/firehose/aws4_request, \
         SignedHeaders=host;x-amz-date, \
         Signature=0000000000000000000000000000000000000000000000000000000000000000",
    ),
];

/// The body of such a request.
const BODY: &str = r#"{"DeliveryStreamName":"archive","Records":[{"Data":"eA=="}]}"#;

/// Posts a body with these headers by hand, and returns the status and body of the answer.
async fn post(address: SocketAddr, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let mut request =
        format!("POST / HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("\r\n{body}"));

    let mut socket = TcpStream::connect(address).await.expect("connects");
    socket.write_all(request.as_bytes()).await.expect("sends");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).expect("a status");
    (status.parse().expect("a number"), body.to_owned())
}

#[tokio::test]
async fn what_is_not_the_protocol_is_refused_by_its_name() {
    let endpoint = Endpoint::plain().stream(Stream::firehose("archive")).start().await;
    let not_base64 = BODY.replace("eA==", "not base64");

    for (error, header, value, body) in [
        ("", "", "", BODY),
        ("UnknownOperationException", "x-amz-target", "Firehose_20150804.Put", BODY),
        ("UnknownOperationException", "content-type", "application/cbor", BODY),
        ("MissingAuthenticationTokenException", "authorization", "", BODY),
        ("IncompleteSignatureException", "authorization", "AWS4-HMAC-SHA256 Credential=x", BODY),
        ("IncompleteSignatureException", "x-amz-date", "2026-09-21", BODY),
        ("InvalidSignatureException", "x-amz-date", "20260922T141320Z", BODY),
        ("InvalidSignatureException", "x-amz-security-token", "not signed", BODY),
        ("SerializationException", "", "", "{"),
        ("SerializationException", "", "", r#"{"DeliveryStreamName":"archive"}"#),
        ("SerializationException", "", "", &not_base64),
    ] {
        let unchanged = HEADERS.into_iter().filter(|(name, _)| *name != header);
        let headers: Vec<_> =
            unchanged.chain([(header, value)]).filter(|(_, value)| !value.is_empty()).collect();
        let (status, answer) = post(endpoint.address(), &headers, body).await;
        assert_eq!(status, if error.is_empty() { 200 } else { 400 }, "{answer}");
        assert!(answer.contains(error), "{error}: {answer}");
    }
    assert_eq!(endpoint.account().stream("archive").taken, 1);
}

#[tokio::test(start_paused = true)]
async fn a_delayed_call_takes_its_time_on_the_clock_of_the_test() {
    let endpoint = Endpoint::plain().stream(Stream::firehose("archive")).start().await;
    let hour = Duration::from_secs(3600);
    endpoint.inject(Rule::new(Fault::Delay(hour)));
    let start = Instant::now();
    let (status, _) = post(endpoint.address(), &HEADERS, BODY).await;
    assert_eq!(status, 200);
    assert!(start.elapsed() >= hour);
}
