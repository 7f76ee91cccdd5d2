"""Requests that steps send to other services, to hosts that the manifest grants."""

from __future__ import annotations

import json as _stdlib_json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from componentize_py_types import Err
from wit_world.imports import http as wit

from ._errors import from_wit
from ._steps import milliseconds


@dataclass(frozen=True)
class Response:
    """What a service has answered."""

    status: int
    #: Names in lower case, and values.
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the status is 200 to 299."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode("utf-8", errors="replace")

    def json(self) -> Any:
        """The body as JSON."""
        return _stdlib_json.loads(self.body)

    def header(self, name: str) -> str | None:
        """The first header with this name."""
        wanted = name.lower()
        return next((value for known, value in self.headers if known == wanted), None)


def fetch(
    url: str,
    *,
    method: str | None = None,
    headers: Mapping[str, str] | None = None,
    body: bytes | str | None = None,
    json: Any = None,
    timeout: timedelta | None = None,
    redirects: int | None = None,
    response_max: int | None = None,
    idempotency_header: str | None = None,
) -> Response:
    """Sends a request, in a step, and answers the response whatever its status. `json` is sent as the body with its content type.

    Header values may hold `placeholder("name")` of a secret that the manifest grants.

    Raises `Failure` with the codes `not-granted` (where the manifest says `otherwise = "fail"`), `http-bad-request`, `http-too-large`, and, worth another try, `http-unreachable` and
    `http-timeout`.
    """
    sent = dict(headers or {})
    if json is not None:
        if body is not None:
            raise TypeError("fetch() takes `body` or `json`, and not both")
        body = _stdlib_json.dumps(json, allow_nan=False)
        if not any(name.lower() == "content-type" for name in sent):
            sent["content-type"] = "application/json"
    if isinstance(body, str):
        body = body.encode()
    options = wit.Options()
    if timeout is not None:
        options.set_timeout(milliseconds(timeout))
    if redirects is not None:
        options.set_redirects(redirects)
    if response_max is not None:
        options.set_response_max(response_max)
    if idempotency_header is not None:
        options.set_idempotency_header(idempotency_header)
    request = wit.Request(
        method=method or ("GET" if body is None else "POST"),
        url=url,
        headers=list(sent.items()),
        body=body,
    )
    try:
        answered = wit.fetch(request, options)
    except Err as error:
        raise from_wit(error.value) from None
    return Response(answered.status, list(answered.headers), bytes(answered.body))
