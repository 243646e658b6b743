"""moto's own server, serving one call at a time.

moto numbers the records of a shard without a lock while its server calls it from several threads: of two PutRecords
calls at once for one shard, the records of one overwrite those of the other. Here the calls wait for each other;
moto itself is as it comes.

The server ends with its standard input, so that none is left behind by a test that was killed.
"""

import os
import sys
import threading

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


def end_with_input():
    sys.stdin.read()
    os._exit(0)


threading.Thread(target=end_with_input, daemon=True).start()
run_simple(
    "127.0.0.1",
    0,
    OneCallAtATime(DomainDispatcherApplication(create_backend_app)),
    threaded=True,
    request_handler=MotoRequestHandler,
)
