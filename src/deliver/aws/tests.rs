use std::sync::{Arc, Mutex};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_smithy_http_client::tls::TrustStore;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::super::answer::Outcome;
use super::super::entry::Request;
use super::super::firehose::DeliveryStream;
use super::super::kinesis::DataStream;
use super::super::settings::{Aggregation, Firehose, Packing};
use super::super::shape::Shape;
use super::super::testing::{self, Endpoint, Reply, run_of};
use super::http::{http_client, proxy};
use super::*;
use crate::units::ByteSize;

fn credentials() -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(Credentials::new("AKIDTEST", "secret", None, None, "test"))
}

fn at(url: &str) -> Aws {
    Aws { region: Some("eu-central-1".to_owned()), endpoint: Some(url.to_owned()), ..Aws::default() }
}

fn firehose(aws: Aws) -> Firehose {
    Firehose { aws, ..testing::firehose(Packing::None) }
}

fn stream(aws: Aws) -> DeliveryStream {
    DeliveryStream::new(&firehose(aws), &HttpClients::default(), Some(credentials()))
}

fn request() -> Request {
    let shape = Shape::firehose(&testing::firehose(Packing::None));
    testing::request(shape, run_of(1, 0, &[b"{\"a\":1}", b"{\"b\":2}", b"{\"c\":3}"]))
}

#[track_caller]
fn failure_of(answer: Answer) -> Failure {
    match answer.outcome {
        Outcome::Failed(failure) => failure,
        Outcome::Judged(_) => panic!("the call did not fail"),
    }
}

fn data(record: &serde_json::Value) -> String {
    let bytes = BASE64_STANDARD.decode(record["Data"].as_str().unwrap()).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_delivery_stream_gets_each_entry_as_a_record() {
    let taken = json!({"FailedPutCount": 0, "RequestResponses": [{"RecordId": "1"}, {"RecordId": "2"}, {"RecordId": "3"}]});
    let endpoint = Endpoint::http(Reply::Json(200, taken)).await;
    let answer = stream(at(&endpoint.url)).send(&request()).await;
    assert_eq!(answer.outcome, Outcome::Judged(vec![]));
    assert_eq!(answer.request_id.as_deref(), Some("req-1"));
    let asked = endpoint.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].target, "Firehose_20150804.PutRecordBatch");
    assert!(asked[0].user_agent.contains("app/kinetail"), "{}", asked[0].user_agent);
    assert_eq!(asked[0].body["DeliveryStreamName"], "archive");
    let records: Vec<String> = asked[0].body["Records"].as_array().unwrap().iter().map(data).collect();
    assert_eq!(records, [r#"{"a":1}"#, r#"{"b":2}"#, r#"{"c":3}"#]);
}

#[tokio::test]
async fn a_data_stream_gets_lines_under_random_keys() {
    let taken = json!({"FailedRecordCount": 1, "Records": [
        {"SequenceNumber": "1", "ShardId": "s"},
        {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded for shard s"},
    ]});
    let endpoint = Endpoint::http(Reply::Json(200, taken)).await;
    let mut settings = testing::kinesis(Aggregation::Newline { max_size: ByteSize(40) });
    settings.aws = at(&endpoint.url);
    let request =
        testing::request(Shape::kinesis(&settings), run_of(1, 0, &[b"one", b"two", b"three", &[b'x'; 20]]));
    let answer =
        DataStream::new(&settings, &HttpClients::default(), Some(credentials())).send(&request).await;
    let throttled =
        Failure::from_service("ProvisionedThroughputExceededException", "Rate exceeded for shard s", 200);
    assert_eq!(throttled.class, Class::Throttled);
    assert_eq!(answer.outcome, Outcome::Judged(vec![(1, throttled)]));
    let asked = endpoint.asked();
    assert_eq!(asked[0].target, "Kinesis_20131202.PutRecords");
    assert_eq!(asked[0].body["StreamName"], "audit");
    let records = asked[0].body["Records"].as_array().unwrap();
    assert_eq!(data(&records[0]), "one\ntwo\nthree\n");
    assert_eq!(data(&records[1]), format!("{}\n", "x".repeat(20)));
    assert_ne!(records[0]["PartitionKey"], records[1]["PartitionKey"]);
}

#[tokio::test]
async fn a_failed_call_is_made_once_and_understood() {
    let error = |code: &str| json!({"__type": code, "message": "because"});
    for (reply, class, code) in [
        (
            Reply::Json(400, error("ServiceUnavailableException")),
            Class::Throttled,
            "ServiceUnavailableException",
        ),
        (
            Reply::Json(503, error("ServiceUnavailableException")),
            Class::Throttled,
            "ServiceUnavailableException",
        ),
        (Reply::Json(500, error("InternalFailure")), Class::Retry, "InternalFailure"),
        (Reply::Json(400, error("ResourceNotFoundException")), Class::Hold, "ResourceNotFoundException"),
        (Reply::Json(400, error("AccessDeniedException")), Class::Hold, "AccessDeniedException"),
        (Reply::Json(400, error("ExpiredTokenException")), Class::Hold, "ExpiredTokenException"),
        (Reply::Json(400, error("InvalidKMSResourceException")), Class::Hold, "InvalidKMSResourceException"),
        (Reply::Json(400, error("InvalidArgumentException")), Class::Poison, "InvalidArgumentException"),
        (
            Reply::Json(400, error("com.amazonaws.firehose#ValidationException")),
            Class::Poison,
            "ValidationException",
        ),
        (Reply::Json(413, json!({})), Class::Poison, "Http413"),
        (Reply::Html(502), Class::Retry, "Http502"),
        (Reply::Html(403), Class::Hold, "Http403"),
        (Reply::Html(200), Class::Retry, "Http200"),
    ] {
        let endpoint = Endpoint::http(reply.clone()).await;
        let answer = stream(at(&endpoint.url)).send(&request()).await;
        assert_eq!(answer.request_id.as_deref(), Some("req-1"), "{reply:?}");
        let failure = failure_of(answer);
        assert_eq!((failure.class, failure.code.as_str()), (class, code), "{reply:?}: {failure}");
        assert_eq!(endpoint.asked().len(), 1, "{reply:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_lost_is_tried_again_by_us_alone() {
    let endpoint = Endpoint::http(Reply::HangUp).await;
    let failure = failure_of(stream(at(&endpoint.url)).send(&request()).await);
    assert_eq!((failure.class, failure.code.as_str()), (Class::Retry, "Connection"));
    assert_eq!(endpoint.asked().len(), 1);
}

#[tokio::test]
async fn a_service_that_never_answers_times_out() {
    let endpoint = Endpoint::http(Reply::Never).await;
    let aws = Aws { request_timeout: Some(Duration::from_millis(20)), ..at(&endpoint.url) };
    let failure = failure_of(stream(aws).send(&request()).await);
    assert_eq!((failure.class, failure.code.as_str()), (Class::Retry, "Timeout"));
}

#[tokio::test]
async fn a_refused_connection_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let failure = failure_of(stream(at(&url)).send(&request()).await);
    assert_eq!((failure.class, failure.code.as_str()), (Class::Retry, "Connection"));
    assert!(failure.message.contains("refused"), "{failure}");
}

#[derive(Debug)]
struct NoCredentials;

impl ProvideCredentials for NoCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("nobody gave any")))
    }
}

#[tokio::test]
async fn missing_credentials_hold_the_records_and_say_why() {
    let provider = SharedCredentialsProvider::new(NoCredentials);
    let settings = firehose(at("http://127.0.0.1:9"));
    let stream = DeliveryStream::new(&settings, &HttpClients::default(), Some(provider));
    let failure = failure_of(stream.send(&request()).await);
    assert_eq!((failure.class, failure.code.as_str()), (Class::Hold, "Credentials"));
    assert!(failure.message.contains("nobody gave any"), "{failure}");
}

/// A server's TLS settings and the CA's certificate that vouches for it.
fn tls() -> (rustls::ServerConfig, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = names.signed_by(&key, &ca).unwrap();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (server, ca.pem())
}

#[tokio::test]
async fn the_ca_bundle_decides_who_is_trusted() {
    let (server, pem) = tls();
    let taken = json!({"FailedPutCount": 0, "RequestResponses": [{"RecordId": "1"}, {"RecordId": "2"}, {"RecordId": "3"}]});
    let endpoint = Endpoint::https(Reply::Json(200, taken), server).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let stream = stream(Aws { ca_bundle: Some(path.clone()), ..at(&endpoint.url) });

    let missing = failure_of(stream.send(&request()).await);
    assert_eq!((missing.class, missing.code.as_str()), (Class::Hold, "Configuration"));

    let (_, other) = tls();
    let strangers = folder.path().join("other.pem");
    std::fs::write(&strangers, other).unwrap();
    let stranger = DeliveryStream::new(
        &firehose(Aws { ca_bundle: Some(strangers), ..at(&endpoint.url) }),
        &HttpClients::default(),
        Some(credentials()),
    );
    let untrusted = failure_of(stranger.send(&request()).await);
    assert_eq!((untrusted.class, untrusted.code.as_str()), (Class::Hold, "Tls"), "{untrusted}");
    assert!(endpoint.asked().is_empty());

    // The bundle was mounted late: the next attempt finds it.
    std::fs::write(&path, pem).unwrap();
    assert_eq!(stream.send(&request()).await.outcome, Outcome::Judged(vec![]));

    // It was rotated, and the endpoint's authority is not in it any more.
    std::fs::rename(folder.path().join("other.pem"), &path).unwrap();
    let untrusted = failure_of(stream.send(&request()).await);
    assert_eq!((untrusted.class, untrusted.code.as_str()), (Class::Hold, "Tls"), "{untrusted}");
}

#[tokio::test]
async fn a_connection_that_does_not_open_times_out() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    // Nobody accepts: with the queue full, the kernel answers no further one.
    let _first = tokio::net::TcpStream::connect(address).await.unwrap();
    let aws = Aws { connect_timeout: Some(Duration::from_millis(20)), ..at(&format!("http://{address}")) };
    let failure = failure_of(stream(aws).send(&request()).await);
    assert_eq!(failure.class, Class::Retry);
    assert!(failure.message.contains("connect") && failure.message.contains("20ms"), "{failure}");
}

#[tokio::test]
async fn https_goes_through_the_proxy_and_hosts_of_no_proxy_do_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let through = |no_proxy: &'static str| {
        let url = url.clone();
        let proxy = proxy(move |name| match name {
            "HTTPS_PROXY" => Some(url.clone()),
            "NO_PROXY" => Some(no_proxy.to_owned()),
            _ => None,
        });
        let client = http_client(TrustStore::default(), proxy.unwrap());
        let http = HttpClients::default();
        http.by_bundle.lock().unwrap().insert(Some(PathBuf::from("bundle")), (None, client));
        http
    };
    let asked = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut line = String::new();
        BufReader::new(&mut socket).read_line(&mut line).await.unwrap();
        socket.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        line
    });
    let to = |url: &str| firehose(Aws { ca_bundle: Some(PathBuf::from("bundle")), ..at(url) });
    let settings = to("https://firehose.invalid");
    let stream = DeliveryStream::new(&settings, &through(""), Some(credentials()));
    let failure = failure_of(stream.send(&request()).await);
    assert_eq!(failure.code, "Connection", "{failure}");
    assert_eq!(asked.await.unwrap(), "CONNECT firehose.invalid:443 HTTP/1.1\r\n");

    let (server, _) = tls();
    let endpoint = Endpoint::https(Reply::Never, server).await;
    let settings = to(&endpoint.url);
    let stream = DeliveryStream::new(&settings, &through("localhost"), Some(credentials()));
    let failure = failure_of(stream.send(&request()).await);
    assert_eq!(failure.code, "Tls", "the endpoint itself was spoken to: {failure}");
}

/// In place of the network: hands out a role's credentials, answers everything else with a 500, and keeps
/// what it was asked.
#[derive(Clone, Debug, Default)]
struct Wire(Arc<Mutex<Vec<(String, String, String)>>>);

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let header = request.headers().get("authorization").unwrap_or_default().to_owned();
        let body = String::from_utf8_lossy(request.body().bytes().unwrap()).into_owned();
        let sts = request.uri().starts_with("https://sts.");
        self.0.lock().unwrap().push((request.uri().to_owned(), header, body));
        let (status, body) = if sts {
            let role = "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>AKIDROLE</AccessKeyId>\
                <SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>\
                <Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>";
            (200, role.to_owned())
        } else {
            (500, json!({"__type": "InternalFailure"}).to_string())
        };
        let response = HttpResponse::new(status.try_into().unwrap(), body.into());
        HttpConnectorFuture::ready(Ok(response))
    }
}

#[tokio::test]
async fn a_role_is_assumed_with_the_credentials_found_and_signs_what_is_sent() {
    let wire = Wire::default();
    let connector = SharedHttpConnector::new(wire.clone());
    let http = HttpClients::default();
    let bundle = Some(PathBuf::from("bundle"));
    let client = http_client_fn(move |_, _| connector.clone());
    http.by_bundle.lock().unwrap().insert(bundle.clone(), (None, client));
    let settings = firehose(Aws {
        ca_bundle: bundle,
        role_arn: Some("arn:aws:iam::123456789012:role/logs".to_owned()),
        external_id: Some("tenant-7".to_owned()),
        ..at("https://vpce.invalid")
    });
    let stream = DeliveryStream::new(&settings, &http, Some(credentials()));
    let failure = failure_of(stream.send(&request()).await);
    assert_eq!(failure.code, "InternalFailure");

    let asked = wire.0.lock().unwrap().clone();
    assert_eq!(asked.len(), 2, "one role, one attempt: {asked:?}");
    let (uri, signed, body) = &asked[0];
    assert_eq!(uri, "https://sts.eu-central-1.amazonaws.com/");
    assert!(signed.contains("Credential=AKIDTEST/"), "{signed}");
    for part in [
        "RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Flogs",
        "ExternalId=tenant-7",
        "RoleSessionName=kinetail",
    ] {
        assert!(body.contains(part), "{part} is not in {body}");
    }
    let (uri, signed, _) = &asked[1];
    assert!(uri.starts_with("https://vpce.invalid"), "{uri}");
    assert!(signed.contains("Credential=AKIDROLE/"), "{signed}");
}

#[tokio::test]
async fn fips_and_dual_stack_choose_the_host_and_an_endpoint_chooses_it_alone() {
    let host_of = async |aws: Aws| {
        let wire = Wire::default();
        let connector = SharedHttpConnector::new(wire.clone());
        let http = HttpClients::default();
        let bundle = Some(PathBuf::from("bundle"));
        let client = http_client_fn(move |_, _| connector.clone());
        http.by_bundle.lock().unwrap().insert(bundle.clone(), (None, client));
        let aws = Aws { ca_bundle: bundle, region: Some("us-east-1".to_owned()), ..aws };
        DeliveryStream::new(&firehose(aws), &http, Some(credentials())).send(&request()).await;
        let (uri, ..) = wire.0.lock().unwrap()[0].clone();
        uri.split('/').nth(2).unwrap().to_owned()
    };
    let (fips, dual_stack) = (Some(true), Some(true));
    assert_eq!(host_of(Aws::default()).await, "firehose.us-east-1.amazonaws.com");
    assert_eq!(host_of(Aws { fips, ..Aws::default() }).await, "firehose-fips.us-east-1.amazonaws.com");
    assert_eq!(host_of(Aws { dual_stack, ..Aws::default() }).await, "firehose.us-east-1.api.aws");
    let both = Aws { fips, dual_stack, ..Aws::default() };
    assert_eq!(host_of(both).await, "firehose-fips.us-east-1.api.aws");
    // As when the environment asks for FIPS, and one destination has an endpoint of its own.
    let own = Aws { fips, dual_stack, endpoint: Some("https://vpce.invalid".to_owned()), ..Aws::default() };
    assert_eq!(host_of(own).await, "vpce.invalid");
}
