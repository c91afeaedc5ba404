"""A small web application: its threads share one `Client`. ``POST /`` with a record in JSON is answered with the prediction."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from learner import Client
from learner.errors import LearnerError


def application(client: Client) -> ThreadingHTTPServer:
    """Return a server on a free port of the loopback, a thread for each connection."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # so that a connection is kept for further requests
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            record = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                status, body = 200, {"prediction": client.predict(record)}
            except LearnerError as error:
                status, body = 503, {"error": str(error)}
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            """Say nothing of each request."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    return server
