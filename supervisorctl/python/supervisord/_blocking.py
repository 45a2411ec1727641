"""HTTP over the daemon's socket, blocking. Its twin for asyncio is `_waiting`."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
import typing
from collections.abc import Iterator

from .errors import Unreachable, refusal

PIECE = 1 << 16
sleep = time.sleep


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("supervisord", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Answer:
    """A successful answer whose body is still to come."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response

    def pieces(self) -> Iterator[bytes]:
        try:
            while piece := self._response.read1(PIECE):
                yield piece
            if not self._response.isclosed() and self._response.length:
                raise Unreachable("the connection broke off")
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"the connection broke off: {error}") from error

    def read(self) -> bytes:
        return b"".join(self.pieces())


@contextlib.contextmanager
def ask(
    path: str,
    method: str,
    target: str,
    body: bytes | None,
    media_type: str | None,
    timeout: float,
) -> Iterator[Answer]:
    """One request on a connection of its own."""
    connection = _Connection(path, timeout)
    try:
        headers = {"Content-Type": media_type} if media_type else {}
        try:
            connection.request(method, target, body, headers)
        except BrokenPipeError:
            pass  # whoever refuses may have closed by now; what it said is there to be read
        except OSError as error:
            raise Unreachable(f"nobody answers at {path}: {error}") from error
        try:
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"no answer to {method} {target}: {error}") from error
        if response.status >= 400:
            raise refusal(_problem(response.read(1 << 20), response.status))
        yield Answer(response)
    finally:
        connection.close()


def _problem(body: bytes, status: int) -> dict[str, typing.Any]:
    try:
        said: dict[str, typing.Any] = json.loads(body)
        return said
    except ValueError:
        return {"status": status, "detail": f"HTTP status {status}"}
