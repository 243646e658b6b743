//! What is counted of the shards of data streams. How many there may be is the business of
//! [`shards`](super::super::shards).

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;

use super::super::settled::Settled;
use super::super::shards::Shard;
use crate::metric::families;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByShard {
    destination: String,
    shard: String,
}

families! {
    /// What went to the shards of data streams.
    pub(super) struct ByShards by ByShard => OfShard {
        taken: Counter, "shard_entries",
            "Records of the service that a shard took; of a destination's shards beyond 64 together under other";
        bytes: Counter, "shard_bytes",
            "Bytes of the records that a shard took, partition keys counted, before base64";
        throttled: Counter, "shard_throttled_entries",
            "Records of the service that a shard refused because it was sent too much";
    }
}

impl ByShards {
    /// Counts what an answer says of the shards.
    pub(super) fn count(&self, destination: &str, settled: &Settled) {
        let by = |shard: Option<&Shard>| ByShard {
            destination: destination.to_owned(),
            shard: shard.map_or_else(|| "other".to_owned(), Shard::to_string),
        };
        for shard in &settled.silent_shards {
            self.remove(&by(Some(shard)));
        }
        for (shard, count) in &settled.shards {
            let of = self.of(&by(shard.as_ref()));
            of.taken.inc_by(count.taken);
            of.bytes.inc_by(count.bytes);
            of.throttled.inc_by(count.throttled);
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::super::super::shards::ShardCount;
    use super::*;

    #[test]
    fn a_shards_series_come_with_its_first_answer_and_go_when_it_is_silent() {
        let shards = ByShards::default();
        let mut registry = Registry::with_prefix("kinetail");
        shards.register(&mut registry);
        let text = || {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(text(), [""; 0]);
        let shard = Shard::named_in("shardId-000000000003");
        let count = ShardCount { taken: 2, bytes: 600, throttled: 1 };
        let mut settled = Settled::default();
        settled.shards.extend([(shard, count), (None, ShardCount { taken: 7, ..ShardCount::default() })]);
        shards.count("audit", &settled);
        let labels = r#"{destination="audit",shard="shardId-000000000003"}"#;
        for line in [
            format!("kinetail_shard_entries_total{labels} 2"),
            format!("kinetail_shard_bytes_total{labels} 600"),
            format!("kinetail_shard_throttled_entries_total{labels} 1"),
            r#"kinetail_shard_entries_total{destination="audit",shard="other"} 7"#.to_owned(),
        ] {
            assert!(text().contains(&line), "{line} is not in {:?}", text());
        }
        let silent = Settled { silent_shards: shard.into_iter().collect(), ..Settled::default() };
        shards.count("audit", &silent);
        assert!(text().iter().all(|line| !line.contains("shardId")), "{:?}", text());
    }
}
