//! What moto makes of records, so that scenarios can hold kinetail against it.

mod support;

use std::collections::BTreeSet;

use aws_sdk_firehose::types::Record;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use support::clients;
use support::moto::Moto;

fn lines(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| format!("{{\"n\":{number}}}\n").into_bytes()).collect()
}

#[tokio::test]
async fn a_batch_becomes_one_object_with_the_records_one_after_the_other() {
    let Some(moto) = Moto::start().await else { return };
    moto.create_delivery_stream("archive", "logs", "app/").await;
    assert_eq!(moto.put_batch("archive", &lines(500)).await, 0);
    assert_eq!(moto.put_batch("archive", &[b"a".to_vec(), b"b".to_vec()]).await, 0);

    let objects = moto.objects("logs").await;
    for object in &objects {
        let (folders, name) = object.key.rsplit_once('/').expect("a key with folders");
        let date: Vec<_> = folders.strip_prefix("app/").expect("the prefix").split('/').collect();
        assert_eq!(date.iter().map(|part| part.len()).collect::<Vec<_>>(), [4, 2, 2, 2]);
        assert!(name.starts_with("archive-1-"), "{name}");
    }
    let bodies: BTreeSet<_> = objects.into_iter().map(|object| object.data).collect();
    assert_eq!(bodies, BTreeSet::from([lines(500).concat(), b"ab".to_vec()]));
}

#[tokio::test]
async fn a_data_stream_keeps_records_by_shard_in_the_order_of_their_calls() {
    let Some(moto) = Moto::start().await else { return };
    moto.create_data_stream("audit", 2).await;
    let keys = ["a", "b"];
    let first: Vec<_> =
        lines(500).into_iter().enumerate().map(|(index, data)| (keys[index % 2], data)).collect();
    assert_eq!(moto.put_records("audit", &first).await, 0);
    assert_eq!(moto.put_records("audit", &[("a", b"last".to_vec())]).await, 0);

    let records = moto.records("audit").await;
    assert_eq!(records.len(), 501);
    for (key, shard) in [("a", "shardId-000000000000"), ("b", "shardId-000000000001")] {
        let found: Vec<_> = records.iter().filter(|record| record.partition_key == key).collect();
        assert!(found.iter().all(|record| record.shard == shard), "{key} in {shard}");
        let mut data: Vec<_> =
            first.iter().filter(|(of, _)| *of == key).map(|(_, data)| data.clone()).collect();
        if key == "a" {
            data.push(b"last".to_vec());
        }
        assert_eq!(found.iter().map(|record| record.data.clone()).collect::<Vec<_>>(), data);
    }
    assert_eq!(moto.user_records("audit").await.len(), 501, "nothing to take apart");
}

#[tokio::test]
async fn the_sdk_puts_many_calls_at_once_and_moto_keeps_them_all() {
    let Some(moto) = Moto::start().await else { return };
    moto.create_delivery_stream("archive", "logs", "").await;
    moto.create_data_stream("audit", 1).await;
    let (firehose, kinesis) = (clients::firehose(&moto), clients::kinesis(&moto));
    let mut calls = tokio::task::JoinSet::new();
    for call in 0..20 {
        let data = (0..100).map(move |number| format!("{call}-{number}\n").into_bytes());
        let records = data.clone().map(|data| Record::builder().data(data.into()).build());
        let batch = firehose
            .put_record_batch()
            .delivery_stream_name("archive")
            .set_records(Some(records.map(|record| record.expect("a record")).collect()));
        calls.spawn(async move { batch.send().await.expect("an answer").failed_put_count() });
        let records =
            data.map(|data| PutRecordsRequestEntry::builder().partition_key("k").data(data.into()).build());
        let batch = kinesis
            .put_records()
            .stream_name("audit")
            .set_records(Some(records.map(|record| record.expect("a record")).collect()));
        calls.spawn(async move { batch.send().await.expect("an answer").failed_record_count().unwrap_or(0) });
    }
    assert_eq!(calls.join_all().await, [0; 40]);

    let objects = moto.objects("logs").await.into_iter();
    let archived: Vec<u8> = objects.flat_map(|object| object.data).collect();
    let archived: BTreeSet<_> = archived.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(archived.len(), 2000);
    let records = moto.records("audit").await;
    let streamed: BTreeSet<_> = records.iter().map(|record| record.data.as_slice()).collect();
    assert_eq!(streamed, archived);
}
