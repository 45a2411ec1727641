"""HTTP over the daemon's socket, for asyncio. Its twin that blocks is `_blocking`."""

from __future__ import annotations

import asyncio
import contextlib
import typing
from collections.abc import AsyncIterator

from ._blocking import PIECE, _problem
from .errors import Unreachable, refusal

sleep = asyncio.sleep


class Answer:
    """A successful answer whose body is still to come."""

    def __init__(self, reader: asyncio.StreamReader, fields: dict[str, str]) -> None:
        self._reader, self._fields = reader, fields

    async def pieces(self) -> AsyncIterator[bytes]:
        try:
            if self._fields.get("transfer-encoding", "").lower() == "chunked":
                while size := int((await self._reader.readline()).split(b";")[0], 16):
                    while size:
                        piece = await self._some(size)
                        size -= len(piece)
                        yield piece
                    await self._reader.readline()
                return
            left = int(self._fields.get("content-length", 0))
            while left:
                piece = await self._some(left)
                left -= len(piece)
                yield piece
        except (OSError, ValueError) as error:
            raise Unreachable(f"the connection broke off: {error}") from error

    async def _some(self, most: int) -> bytes:
        piece = await self._reader.read(min(most, PIECE))
        if not piece:
            raise Unreachable("the connection broke off")
        return piece

    async def read(self) -> bytes:
        return b"".join([piece async for piece in self.pieces()])


@contextlib.asynccontextmanager
async def ask(
    path: str,
    method: str,
    target: str,
    body: bytes | None,
    media_type: str | None,
    timeout: float,
) -> AsyncIterator[Answer]:
    """One request on a connection of its own."""
    try:
        reader, writer = await asyncio.open_unix_connection(path)
    except OSError as error:
        raise Unreachable(f"nobody answers at {path}: {error}") from error
    try:
        try:
            async with asyncio.timeout(timeout):
                status, fields = await _exchange(reader, writer, method, target, body, media_type)
        except (OSError, ValueError, IndexError) as error:
            raise Unreachable(f"no answer to {method} {target}: {error}") from error
        answer = Answer(reader, fields)
        if status >= 400:
            raise refusal(_problem(await answer.read(), status))
        yield answer
    finally:
        writer.close()


async def _exchange(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    method: str,
    target: str,
    body: bytes | None,
    media_type: str | None,
) -> tuple[int, dict[str, str]]:
    if not target.isascii() or any(character <= " " or character == "\x7f" for character in target):
        raise ValueError(f"{target!r} is no place of the interface")
    head = f"{method} {target} HTTP/1.1\r\nHost: supervisord\r\nConnection: close\r\n"
    if media_type:
        head += f"Content-Type: {media_type}\r\n"
    if body is not None or method in ("POST", "PUT"):
        head += f"Content-Length: {len(body or b'')}\r\n"
    writer.write(head.encode("ascii") + b"\r\n" + (body or b""))
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        await writer.drain()  # whoever refuses may have closed by now; what it said is there to be read
    status = int((await reader.readline()).split()[1])
    fields: dict[str, str] = {}
    while line := (await reader.readline()).strip():
        name, _, value = line.decode("latin-1").partition(":")
        fields[name.strip().lower()] = value.strip()
    return status, fields


__all__: typing.Final = ["Answer", "ask", "sleep"]
