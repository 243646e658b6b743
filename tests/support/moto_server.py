"""moto's own server, serving one call at a time.

moto numbers the records of a shard without a lock while its server calls it from several threads: of two PutRecords
calls at once for one shard, the records of one overwrite those of the other. Here the calls wait for each other;
moto itself is as it comes.

AWS' newer SDKs speak another protocol to CloudWatch (Smithy RPC v2 CBOR) than those that moto knows: its calls are said to moto
as AWS JSON, taken apart by botocore's own reader.

The server ends with its standard input, so that none is left behind by a test that was killed.
"""

import gzip
import io
import json
import os
import sys
import threading

from botocore.parsers import RpcV2CBORParser
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import run_simple


class OneCallAtATime:
    def __init__(self, application):
        self.application = application
        self.lock = threading.Lock()

    def __call__(self, environ, start_response):
        with self.lock:
            return list(self.application(environ, start_response))


class CloudWatchInCbor:
    def __init__(self, application):
        self.application = application

    def __call__(self, environ, start_response):
        if environ.get("HTTP_SMITHY_PROTOCOL") != "rpc-v2-cbor":
            return self.application(environ, start_response)
        # /service/GraniteServiceVersion20100801/operation/PutMetricData
        _, _, service, _, operation = environ["PATH_INFO"].split("/")
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        if environ.pop("HTTP_CONTENT_ENCODING", "") == "gzip":
            body = gzip.decompress(body)
        parser = RpcV2CBORParser()
        said = parser.parse_data_item(parser.get_peekable_stream_from_bytes(body))
        body = json.dumps(said, default=lambda time: time.timestamp()).encode()
        environ.update(
            {
                "PATH_INFO": "/",
                "CONTENT_TYPE": "application/x-amz-json-1.0",
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_X_AMZ_TARGET": f"{service}.{operation}",
                "wsgi.input": io.BytesIO(body),
            }
        )
        status = []
        answer = self.application(
            environ, lambda code, headers, error=None: status.append(code)
        )
        assert status[0].startswith("200"), b"".join(answer)
        start_response(
            status[0],
            [("Content-Type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor")],
        )
        # An empty map: PutMetricData answers nothing.
        return [b"\xa0"]


def end_with_input():
    sys.stdin.read()
    os._exit(0)


threading.Thread(target=end_with_input, daemon=True).start()
run_simple(
    "127.0.0.1",
    0,
    OneCallAtATime(
        CloudWatchInCbor(DomainDispatcherApplication(create_backend_app))
    ),
    threaded=True,
    request_handler=MotoRequestHandler,
)
