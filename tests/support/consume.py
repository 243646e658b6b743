"""Runs the code and SQL of docs/consuming.md over what kinetail delivered to moto.

    consume.py URL FOLDER

FOLDER holds each piece under its name. Prints, for each consumer, the `log` of every record that it ended up with, as
JSON. Everything comes at least twice, as consumers begin batches anew and copies arrive.
"""

import base64
import collections
import hashlib
import http.server
import importlib
import json
import os
import pathlib
import re
import sqlite3
import sys
import threading
import types
from datetime import datetime, timezone

import boto3
from aws_kinesis_agg.deaggregator import deaggregate_records
from botocore.config import Config
from moto_read import Moto, text

STREAMS = ["kpl", "lines-gzip", "single"]


class OpenSearch(http.server.BaseHTTPRequestHandler):
    """What a bulk request does to documents. Of the first request, the second half is refused."""

    documents = {}
    requests = 0

    def do_POST(self):
        assert self.path == "/_bulk", self.path
        assert self.headers["Content-Type"] == "application/x-ndjson"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert body.endswith(b"\n"), "the last line must be ended"
        pairs = body[:-1].split(b"\n")
        OpenSearch.requests += 1
        items = []
        for index in range(0, len(pairs), 2):
            action = json.loads(pairs[index])["index"]
            assert set(action) == {"_index", "_id"} and action["_index"] == action["_index"].lower()
            if OpenSearch.requests == 1 and index >= len(pairs) / 2:
                items.append({"index": {**action, "status": 429}})
                continue
            key = (action["_index"], action["_id"])
            status = 200 if key in OpenSearch.documents else 201
            OpenSearch.documents[key] = json.loads(pairs[index + 1])
            items.append({"index": {**action, "status": status}})
        answer = json.dumps({"errors": False, "items": items}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def logs(records):
    return [record["log"] for record in records]


def event(record):
    """A record as Lambda hands it over."""
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": record["PartitionKey"],
            "sequenceNumber": record["SequenceNumber"],
            "approximateArrivalTimestamp": 0,
            "data": text(record["Data"]),
        }
    }


def by_lambda(streams):
    """As Lambda does it: from the record that failed on, until none fails."""
    OpenSearch.documents.clear()
    handler = importlib.import_module("lambda_function").handler
    failures = 0
    for shards in streams.values():
        for records in shards.values():
            events = [event(record) for record in records]
            for batch in (events, events):
                while batch:
                    failed = handler({"Records": batch}, None)["batchItemFailures"]
                    failures += len(failed)
                    numbers = [it["kinesis"]["sequenceNumber"] for it in batch]
                    batch = batch[numbers.index(failed[0]["itemIdentifier"]) :] if failed else []
    assert failures == 1, "the one that the stand-in refused"
    return logs(OpenSearch.documents.values())


class Checkpointer:
    checkpoints = 0

    def checkpoint(self):
        Checkpointer.checkpoints += 1


def by_kcl(moto, streams):
    """As the KCL does it: aggregates are taken apart, and what does not belong to the shard is dropped."""
    OpenSearch.documents.clear()
    names = ["amazon_kclpy", "amazon_kclpy.kcl", "amazon_kclpy.v3", "amazon_kclpy.v3.processor"]
    modules = {name: types.ModuleType(name) for name in names}
    modules["amazon_kclpy"].kcl = modules["amazon_kclpy.kcl"]
    modules["amazon_kclpy.v3"].processor = modules["amazon_kclpy.v3.processor"]
    modules["amazon_kclpy.v3.processor"].RecordProcessorBase = object
    sys.modules.update(modules)
    processor_class = importlib.import_module("processor").Processor
    for stream, shards in streams.items():
        ranges = {it["ShardId"]: it["HashKeyRange"] for it in moto.kinesis.list_shards(StreamName=stream)["Shards"]}
        for shard, records in shards.items():
            users = []
            for user in deaggregate_records([event(record) for record in records]):
                user = user["kinesis"]
                hashed = int(hashlib.md5(user["partitionKey"].encode()).hexdigest(), 16)
                if not int(ranges[shard]["StartingHashKey"]) <= hashed <= int(ranges[shard]["EndingHashKey"]):
                    continue
                users.append(types.SimpleNamespace(binary_data=base64.b64decode(user["data"])))
            batch = types.SimpleNamespace(records=users, checkpointer=Checkpointer())
            processor = processor_class()
            processor.initialize(None)
            processor.process_records(batch)
            processor.process_records(batch)
            processor.shard_ended(types.SimpleNamespace(checkpointer=Checkpointer()))
    assert Checkpointer.checkpoints == 3 * sum(len(shards) for shards in streams.values())
    return logs(OpenSearch.documents.values())


def by_dynamodb(url, streams):
    put_once = importlib.import_module("dynamodb").put_once
    records = importlib.import_module("records").records
    dynamodb = boto3.resource(
        "dynamodb",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )
    table = dynamodb.create_table(
        TableName="seen",
        KeySchema=[{"AttributeName": "record_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "record_id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    new = []
    # A call for each record: one stream will do, and some of it a second time.
    found = [it for shard in streams["kpl"].values() for record in shard for it in records(event(record))]
    for record in found + found[:100]:
        if put_once(table, record):
            new.append(record)
    for record in new[:10]:
        item = table.get_item(Key={"record_id": record["record_id"]})["Item"]
        assert json.loads(item["record"]) == record and item["time"] == record["time"]
    return logs(new)


def hours(moto, bucket):
    pages = moto.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
    found = collections.defaultdict(list)
    for key in keys:
        assert re.fullmatch(r"app/\d{4}/\d\d/\d\d/\d\d/[^/]+", key), key
        found[key[4:17]].append(key)
    return found


def by_s3(moto, bucket):
    hour = importlib.import_module("s3").hour
    found = []
    for name, keys in hours(moto, bucket).items():
        # A copy of an object is a copy of each of its records.
        body = moto.s3.get_object(Bucket=bucket, Key=keys[0])["Body"].read()
        moto.s3.put_object(Bucket=bucket, Key=keys[0] + "-copy", Body=body)
        found.extend(hour(moto.s3, bucket, "app/", name))
    return logs(found)


def by_sql(folder, moto, bucket):
    """SQLite in the place of Athena. Returns the view's records, and the number that the count tells."""
    table, view, count = ((folder / f"{name}.sql").read_text() for name in ("table", "view", "count"))
    columns = re.findall(r"^  `?(\w+)`? (?:string|struct<.*>),?$", table, re.MULTILINE)
    assert "LOCATION 's3://BUCKET/app/'" in table and len(columns) == 7, columns
    database = sqlite3.connect(":memory:")
    database.create_function("from_iso8601_timestamp", 1, as_utc, deterministic=True)
    database.execute(f"CREATE TABLE logs ({', '.join(columns)}, hour)")
    rows = 0
    found = hours(moto, bucket)
    for hour, keys in found.items():
        for key in keys:
            body = moto.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            for line in body.decode().splitlines():
                record = json.loads(line)
                assert set(columns) == set(record), "the table has the record's fields"
                inner = re.search(r"kubernetes struct<(.*)>", table)[1]
                assert set(re.findall(r"(\w+):", inner)) == set(record["kubernetes"])
                values = [record[it] if isinstance(record[it], str) else json.dumps(record[it]) for it in columns]
                marks = ", ".join("?" for _ in range(len(values) + 1))
                database.execute(f"INSERT INTO logs VALUES ({marks})", [*values, hour])
                rows += 1
    database.execute(view)
    once = [log for (log,) in database.execute("SELECT log FROM logs_once")]
    assert rows > len(once), "there were copies"
    for placeholder, value in [
        ("2026/01/02/03", min(found)),
        ("2026/01/02/06", max(found)),
        ("2026-01-02T03:00:00Z", "2000-01-01T00:00:00Z"),
        ("2026-01-02T04:00:00Z", "2100-01-01T00:00:00Z"),
    ]:
        assert placeholder in count, placeholder
        count = count.replace(placeholder, value)
    (counted,) = database.execute(count).fetchone()
    return once, counted


def as_utc(time):
    return datetime.fromisoformat(time).astimezone(timezone.utc).isoformat(timespec="microseconds")


def main():
    url, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    sys.path.insert(0, str(folder))
    server = http.server.HTTPServer(("127.0.0.1", 0), OpenSearch)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ["OPENSEARCH_URL"] = f"http://127.0.0.1:{server.server_port}"
    moto = Moto(url)
    streams = {}
    for stream in STREAMS:
        streams[stream] = collections.defaultdict(list)
        for shard, record in moto._read(stream):
            streams[stream][shard].append(record)
    found = {
        "lambda": by_lambda(streams),
        "kcl": by_kcl(moto, streams),
        "dynamodb": by_dynamodb(url, streams),
        "s3": by_s3(moto, "plain"),
        "s3-gzip": by_s3(moto, "gzip"),
    }
    found["athena"], counted = by_sql(folder, moto, "plain")
    json.dump({"found": found, "counted": counted}, sys.stdout)


if __name__ == "__main__":
    main()
