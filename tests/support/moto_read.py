"""Makes streams in moto, puts records, and reads back what arrived, all with boto3.

    moto_read.py URL COMMAND [ARGUMENT...]

Prints JSON; record data and object bodies are base64. Records to put are read from standard input as a JSON
list of base64 texts (put-batch) or of [partition key, base64] pairs (put-records).
"""

import base64
import datetime
import json
import sys

import boto3
from aws_kinesis_agg.deaggregator import deaggregate_records
from botocore.config import Config

ROLE = "arn:aws:iam::123456789012:role/firehose"


class Moto:
    def __init__(self, url):
        def client(service):
            return boto3.client(
                service,
                endpoint_url=url,
                region_name="us-east-1",
                aws_access_key_id="AKIDEXAMPLE",
                aws_secret_access_key="secret",
                config=Config(
                    retries={"total_max_attempts": 1},
                    proxies={},
                    s3={"addressing_style": "path"},
                ),
            )

        self.s3 = client("s3")
        self.firehose = client("firehose")
        self.kinesis = client("kinesis")
        self.cloudwatch = client("cloudwatch")

    def create_delivery_stream(self, name, bucket, prefix):
        """Makes the bucket too."""
        self.s3.create_bucket(Bucket=bucket)
        self.firehose.create_delivery_stream(
            DeliveryStreamName=name,
            DeliveryStreamType="DirectPut",
            ExtendedS3DestinationConfiguration={
                "RoleARN": ROLE,
                "BucketARN": f"arn:aws:s3:::{bucket}",
                "Prefix": prefix,
                # AWS describes a stream with these; moto only if they were said.
                "CompressionFormat": "UNCOMPRESSED",
                "BufferingHints": {"SizeInMBs": 5, "IntervalInSeconds": 300},
                "EncryptionConfiguration": {"NoEncryptionConfig": "NoEncryption"},
            },
        )

    def create_data_stream(self, name, shards):
        self.kinesis.create_stream(StreamName=name, ShardCount=int(shards))
        self.kinesis.get_waiter("stream_exists").wait(StreamName=name)

    def put_batch(self, stream):
        answer = self.firehose.put_record_batch(
            DeliveryStreamName=stream,
            Records=[{"Data": base64.b64decode(data)} for data in json.load(sys.stdin)],
        )
        return answer["FailedPutCount"]

    def put_records(self, stream):
        answer = self.kinesis.put_records(
            StreamName=stream,
            Records=[
                {"PartitionKey": key, "Data": base64.b64decode(data)}
                for key, data in json.load(sys.stdin)
            ],
        )
        return answer["FailedRecordCount"]

    def objects(self, bucket):
        """All objects of a bucket, by their keys."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return [
            {
                "key": key,
                "data": text(self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()),
            }
            for key in sorted(keys)
        ]

    def records(self, stream):
        """All records of a data stream, shard by shard, each shard's in its order."""
        return [
            {
                "shard": shard,
                "partition_key": record["PartitionKey"],
                "data": text(record["Data"]),
            }
            for shard, record in self._read(stream)
        ]

    def user_records(self, stream):
        """Like records, with KPL aggregates taken apart by AWS' own library."""
        found = []
        for shard, record in self._read(stream):
            event = {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": record["PartitionKey"],
                    "sequenceNumber": record["SequenceNumber"],
                    "approximateArrivalTimestamp": 0,
                    "data": text(record["Data"]),
                }
            }
            for user in deaggregate_records([event]):
                data = user["kinesis"]["data"]
                found.append(
                    {
                        "shard": shard,
                        "partition_key": user["kinesis"]["partitionKey"],
                        "data": data.decode() if isinstance(data, bytes) else data,
                    }
                )
        return found

    def metrics(self, namespace):
        """All metrics of a namespace, each with the sum and unit of what was put within the hour."""
        pages = self.cloudwatch.get_paginator("list_metrics").paginate(
            Namespace=namespace
        )
        now = datetime.datetime.now(datetime.timezone.utc)
        hour = datetime.timedelta(hours=1)
        # moto lists a metric once for each of its values.
        metrics = {
            (
                metric["MetricName"],
                tuple((it["Name"], it["Value"]) for it in metric["Dimensions"]),
            )
            for page in pages
            for metric in page["Metrics"]
        }
        found = []
        for name, dimensions in sorted(metrics):
            points = self.cloudwatch.get_metric_statistics(
                Namespace=namespace,
                MetricName=name,
                Dimensions=[{"Name": of, "Value": is_} for of, is_ in dimensions],
                StartTime=now - hour,
                EndTime=now + hour,
                Period=60,
                Statistics=["Sum"],
            )["Datapoints"]
            found.append(
                {
                    "name": name,
                    "dimensions": dict(dimensions),
                    "sum": sum(point["Sum"] for point in points),
                    "units": sorted({point["Unit"] for point in points}),
                }
            )
        return found

    def _read(self, stream):
        shards = self.kinesis.list_shards(StreamName=stream)["Shards"]
        for shard in sorted(shard["ShardId"] for shard in shards):
            iterator = self.kinesis.get_shard_iterator(
                StreamName=stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            while iterator:
                answer = self.kinesis.get_records(ShardIterator=iterator, Limit=10000)
                if not answer["Records"] and answer["MillisBehindLatest"] == 0:
                    break
                yield from ((shard, record) for record in answer["Records"])
                iterator = answer.get("NextShardIterator")


def text(data):
    return base64.b64encode(data).decode()


def main():
    url, command, *arguments = sys.argv[1:]
    commands = {
        "create-delivery-stream": Moto.create_delivery_stream,
        "create-data-stream": Moto.create_data_stream,
        "put-batch": Moto.put_batch,
        "put-records": Moto.put_records,
        "objects": Moto.objects,
        "records": Moto.records,
        "user-records": Moto.user_records,
        "metrics": Moto.metrics,
    }
    json.dump(commands[command](Moto(url), *arguments), sys.stdout)


if __name__ == "__main__":
    main()
