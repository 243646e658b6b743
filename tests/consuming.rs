//! The code and SQL of docs/consuming.md, taken from there and run over what kinetail delivered.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use support::endpoint::Marker;
use support::logs;
use support::moto::Moto;
use support::process::Agent;

/// Each block of code that begins with a comment that names it, under that name. Every block must.
fn pieces() -> BTreeMap<String, String> {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/consuming.md");
    let document = fs::read_to_string(document).expect("the document");
    let mut pieces = BTreeMap::new();
    let mut blocks = document.split("\n```");
    blocks.next();
    // Text is between the blocks.
    while let Some(block) = blocks.next() {
        let (language, code) = block.split_once('\n').expect("a language");
        let comment = ["# ", "-- "].into_iter().find_map(|mark| code.strip_prefix(mark));
        let name = comment.and_then(|comment| comment.split([':', '\n']).next());
        let name = name.unwrap_or_else(|| panic!("a block without a name:\n{block}"));
        assert!(matches!(
            (language, name.rsplit_once('.')),
            ("python", Some((_, "py"))) | ("sql", Some((_, "sql")))
        ));
        assert!(pieces.insert(name.to_owned(), format!("{code}\n")).is_none(), "{name} twice");
        blocks.next();
    }
    pieces
}

/// What the consumers ended up with.
#[derive(Deserialize)]
struct Consumed {
    /// The texts, by consumer.
    found: BTreeMap<String, Vec<String>>,
    counted: usize,
}

#[tokio::test]
async fn every_consumer_of_the_documentation_has_every_line_once() {
    let Some(moto) = Moto::start().await else { return };
    for bucket in ["plain", "gzip"] {
        moto.create_delivery_stream(bucket, bucket, "app/").await;
    }
    for stream in ["kpl", "lines-gzip", "single"] {
        moto.create_data_stream(stream, 3).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(folder.path()).unwrap();
    let mut writers = logs::containers(&root, 2);
    writers.iter_mut().for_each(|writer| writer.lines(150));
    let config = format!(
        "data_dir: '{root}/data'
tail: {{allowed_roots: ['{root}']}}
destinations:
  plain: {{type: firehose, stream: plain, endpoint: '{url}', packing: newline}}
  gzip: {{type: firehose, stream: gzip, endpoint: '{url}', packing: newline, packed_record: {{max_lines: 20}}, compression: gzip}}
  kpl: {{type: kinesis, stream: kpl, endpoint: '{url}', aggregation: kpl, partition_key: '${{kubernetes.pod_name}}'}}
  lines-gzip: {{type: kinesis, stream: lines-gzip, endpoint: '{url}', aggregation: newline, compression: gzip}}
  single: {{type: kinesis, stream: single, endpoint: '{url}', aggregation: none}}
routes:
  - files: '{root}/pods/*/*/*.log'
    format: cri
    start_at: beginning
    to: [plain, gzip, kpl, lines-gzip, single]
",
        root = root.display(),
        url = moto.url(),
    );
    let ended = Agent::once(&config, &root).ended().await;
    assert!(ended.status.success(), "{}", ended.lines.join("\n"));

    let snippets = root.join("snippets");
    fs::create_dir(&snippets).unwrap();
    for (name, code) in pieces() {
        fs::write(snippets.join(name), code).unwrap();
    }
    let consumed: Consumed = moto.consume(&snippets).await;
    let expected: BTreeMap<Marker, usize> =
        writers.iter().flat_map(|writer| writer.markers()).map(|marker| (marker, 1)).collect();
    assert_eq!(
        consumed.found.keys().collect::<Vec<_>>(),
        ["athena", "dynamodb", "kcl", "lambda", "s3", "s3-gzip"]
    );
    for (consumer, texts) in &consumed.found {
        let mut copies = BTreeMap::new();
        for text in texts {
            *copies.entry(Marker::find(text.as_bytes()).expect("a marker")).or_default() += 1;
        }
        assert!(copies == expected, "{consumer}: {} lines of {}", copies.len(), expected.len());
    }
    assert_eq!(consumed.counted, expected.len());
}
