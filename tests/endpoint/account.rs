//! The account that the endpoint keeps.

use aws_sdk_firehose::types::Record;

use super::support::clients;
use super::support::endpoint::{Endpoint, Keep, Marker, Stream};
use super::{firehose, line, put_batch};

#[tokio::test]
async fn packed_lines_are_counted_one_by_one_and_copies_are_seen() {
    let (endpoint, client) = firehose().await;
    let packed = [line("a", 1), line("a", 2), line("b", 1)].concat();
    put_batch(&client, "archive", [packed, line("a", 2)]).await.expect("taken");
    client
        .put_record()
        .delivery_stream_name("archive")
        .record(Record::builder().data(line("c", 9).into()).build().expect("a record"))
        .send()
        .await
        .expect("taken");

    let account = endpoint.account();
    let archive = account.stream("archive");
    assert_eq!((archive.taken, archive.lines, archive.distinct()), (3, 5, 4));
    assert_eq!((archive.calls, archive.single_calls), (2, 1));
    assert_eq!(archive.copies(&Marker::new("a", 2)), 2);
    assert_eq!(archive.numbers_of("a"), [1, 2, 2]);
    assert_eq!(archive.billed_units, 3);
    assert_eq!(archive.json().count(), 5);

    let tally = archive.tally([1, 2, 3].map(|number| Marker::new("a", number)));
    assert_eq!(tally.once, 1);
    assert_eq!(tally.missing, [Marker::new("a", 3)]);
    assert_eq!(tally.doubled, [(Marker::new("a", 2), 2)]);
    assert_eq!(tally.unexpected, [Marker::new("b", 1), Marker::new("c", 9)]);
}

#[tokio::test]
async fn counts_are_kept_without_the_records_where_memory_matters() {
    let endpoint = Endpoint::plain().keep(Keep::Counts).stream(Stream::firehose("archive")).start().await;
    let client = clients::firehose(&endpoint);
    let packed = [line("a", 1), line("a", 2)].concat();
    let size = packed.len() as u64;
    put_batch(&client, "archive", [packed]).await.expect("taken");
    endpoint.look(|account| {
        let archive = account.stream("archive");
        assert_eq!((archive.taken, archive.lines, archive.bytes), (1, 2, size));
        assert_eq!(archive.distinct(), 0);
    });
}

#[test]
fn a_marker_is_found_wherever_it_stands() {
    for (text, marker) in [
        ("app-07 line 000123", Some(("app-07", 123))),
        (r#"{"log":"a.b_c line 1234567 and more"}"#, Some(("a.b_c", 1_234_567))),
        (r#"{"log":"the line 12 of app-07 line 000009"}"#, Some(("app-07", 9))),
        ("a line 12345", None),
        (" line 000001", None),
        ("", None),
    ] {
        let marker = marker.map(|(writer, number)| Marker::new(writer, number));
        assert_eq!(Marker::find(text.as_bytes()), marker, "{text}");
        if let Some(marker) = marker {
            assert_eq!(Marker::find(marker.to_string().as_bytes()), Some(marker));
        }
    }
}
