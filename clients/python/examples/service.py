"""An HTTP service in front of the workflow `place` of examples-guests/order: it knows the workflow's types, and Postgres.

POST /orders               starts an order, once for each number however often it is sent
GET  /orders/ID            how it stands
POST /orders/ID/payment    tells it that it is paid
"""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg
from dacapo_client import Dacapo, DacapoError

from orders import PLACE, PLACE_PAID, Order, Payment

STATUS = {"bad-input": 422, "not-found": 404, "conflict": 409}


def service(database_url: str, port: int = 8080) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            try:
                with psycopg.connect(database_url) as connection:
                    # Leaving the block commits, so that what is answered is done.
                    status, content = self.route(Dacapo(connection))
            except DacapoError as error:
                status, content = STATUS.get(error.code, 500), {"error": str(error)}
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def route(self, dacapo: Dacapo) -> tuple[int, Any]:
            match (self.command, self.path.strip("/").split("/")):
                case ("POST", ["orders"]):
                    order: Order = self.body()
                    run = dacapo.start(PLACE(order), key=f"order-{order['number']}")
                    return 201, {"id": run.id}
                case ("GET", ["orders", id]):
                    shown = dacapo.get(PLACE.run(id))
                    problem = shown.failure.details if shown.failure else None
                    return 200, {"status": shown.status, "receipt": shown.output, "problem": problem}
                case ("POST", ["orders", id, "payment"]):
                    payment: Payment = self.body()
                    # Banks repeat themselves; the reference makes it one event.
                    dacapo.send_event(PLACE.run(id), PLACE_PAID(payment), id=payment["reference"])
                    return 202, {}
            return 404, {"error": "there is nothing here"}

        def body(self) -> Any:
            try:
                return json.loads(self.rfile.read(int(self.headers["content-length"])))
            except ValueError as error:
                raise DacapoError("bad-input", f"the body is not JSON: {error}") from error

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)
