"""The client for asyncio. `client.py` is made of this file by make_blocking.py, so there is one logic."""

from __future__ import annotations

import json
import os
import pathlib
import time
import typing
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from urllib.parse import quote

from . import _waiting
from .errors import ExecutionFailed, NotFound, SupervisorError, Unreachable
from .types import (
    Artifact,
    Cell,
    Chunk,
    Execution,
    FileEntry,
    Json,
    Limits,
    Progress,
    Refusal,
    Result,
    Sample,
    content,
    written,
)

Language = typing.Literal["python", "bash", "node"]
Content = str | bytes | os.PathLike[str]

#: Where the installed service listens.
SOCKET = "/run/supervisord/api.sock"

_PATIENCE = 45.0  # longer than the daemon waits for its launcher
_LONG = 600.0
_WAIT = 60
_ATTEMPTS = 30


class AsyncClient:
    """The daemon behind a socket (`SUPERVISORD_SOCKET`, else that of the installed service). Every call has a
    connection of its own, so a client may be shared, and a restart of the daemon spoils nothing."""

    def __init__(self, socket: str | os.PathLike[str] | None = None) -> None:
        self._socket = os.fspath(socket or os.environ.get("SUPERVISORD_SOCKET") or SOCKET)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def run(
        self,
        code: str | None = None,
        *,
        language: Language = "python",
        argv: Sequence[str] = (),
        stdin: str | bytes | None = None,
        files: Mapping[str, Content] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        limits: Limits | None = None,
        timeout: float | None = None,
        artifacts: Sequence[str] = (),
        session: str | None = None,
        policy: str | None = None,
        image: str | None = None,
        labels: Mapping[str, str] | None = None,
        check: bool = False,
        on_output: Callable[[Chunk], object] | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> Result:
        """Runs code, or a program with arguments (`argv` alone), and waits for its end. `on_output` gets output as
        it comes, `on_progress` a word about once a second. If waiting is interrupted, the program is ended.
        With `check`, one that does not exit with 0 raises ExecutionFailed."""
        execution = await self.start(
            code,
            language=language,
            argv=argv,
            stdin=stdin,
            files=files,
            env=env,
            cwd=cwd,
            limits=limits,
            timeout=timeout,
            artifacts=artifacts,
            session=session,
            policy=policy,
            image=image,
            labels=labels,
        )
        try:
            if on_output is not None:
                async for chunk in self.follow(execution.id):
                    on_output(chunk)
            execution = await self.wait(execution.id, on_progress=on_progress)
        except BaseException:
            await self._end(execution.id)
            raise
        result = await self.result(execution)
        if check and not result.ok:
            raise ExecutionFailed(result)
        return result

    async def start(
        self,
        code: str | None = None,
        *,
        language: Language = "python",
        argv: Sequence[str] = (),
        stdin: str | bytes | None = None,
        files: Mapping[str, Content] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        limits: Limits | None = None,
        timeout: float | None = None,
        artifacts: Sequence[str] = (),
        session: str | None = None,
        policy: str | None = None,
        image: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Execution:
        """The same without waiting."""
        asked: Json = dict(limits or {})
        if timeout is not None:
            asked["wall_time"] = max(1, round(timeout * 1000))
        request: Json = {"limits": asked}
        if code is None:
            request["argv"] = list(argv)
        else:
            request |= {"language": language, "source": code, "args": list(argv)}
        if stdin is not None:
            request["stdin"] = written(stdin)
        if files:
            request["files"] = [_file(path, given) for path, given in files.items()]
        if artifacts:
            request["artifacts"] = {"globs": list(artifacts)}
        for name, value in [("env", env), ("labels", labels)]:
            if value:
                request[name] = dict(value)
        for name, text in [("cwd", cwd), ("session", session), ("policy", policy), ("image", image)]:
            if text is not None:
                request[name] = text
        return Execution.of(await self._json("POST", "/v1/executions", request, timeout=120))

    async def status(self, execution: str, wait: int = 0) -> Execution:
        """How an execution stands; with `wait`, after its end or so many seconds, up to 60."""
        target = f"/v1/executions/{execution}?wait={wait}"
        return Execution.of(await self._json("GET", target, timeout=_PATIENCE + wait))

    async def wait(
        self, execution: str, *, on_progress: Callable[[Progress], object] | None = None
    ) -> Execution:
        """Waits for the end, over restarts of the daemon."""
        began, attempts = time.monotonic(), 0
        while True:
            try:
                found = await self.status(execution, 1 if on_progress else _WAIT)
            except Unreachable:
                attempts += 1
                if attempts > _ATTEMPTS:
                    raise
                await _waiting.sleep(1)
                continue
            attempts = 0
            if found.finished:
                return found
            if on_progress is not None:
                output = found.raw["output"]
                size = output["stdout"]["kept"] + output["stderr"]["kept"]
                on_progress(Progress(execution, found.state, time.monotonic() - began, size))

    async def follow(self, execution: str, offset: int = 0) -> AsyncIterator[Chunk]:
        """Both streams as they come, to the end; nothing is lost or told twice if the connection breaks off."""
        attempts = 0
        while True:
            try:
                async for chunk in self._chunks(execution, offset):
                    fresh = chunk.data[max(0, offset - chunk.offset) :]
                    if fresh:
                        start = chunk.offset + len(chunk.data) - len(fresh)
                        offset, attempts = start + len(fresh), 0
                        yield Chunk(start, chunk.stream, fresh)
                if (await self.status(execution)).state in ("collecting", "finished"):
                    return
            except Unreachable:
                attempts += 1
                if attempts > _ATTEMPTS:
                    raise
                await _waiting.sleep(1)

    async def _chunks(self, execution: str, offset: int) -> AsyncIterator[Chunk]:
        target = f"/v1/executions/{execution}/output?stream=both&follow=true&offset={offset}"
        rest = b""
        async with _waiting.ask(self._socket, "GET", target, None, None, _LONG) as answer:
            async for piece in answer.pieces():
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    said = json.loads(line)
                    yield Chunk(said["offset"], said["stream"], content(said["data"]))

    async def output(
        self, execution: str, stream: typing.Literal["stdout", "stderr"] = "stdout", offset: int = 0
    ) -> bytes:
        """What there is of one stream, from an offset."""
        target = f"/v1/executions/{execution}/output?stream={stream}&offset={offset}"
        return await self._bytes("GET", target)

    async def result(self, execution: Execution) -> Result:
        """All that came of an execution that has finished."""
        kept: list[Artifact] = []
        if execution.raw.get("artifact_count"):
            kept = await self.artifacts(execution.id)
        return Result(
            execution,
            await self.output(execution.id, "stdout"),
            await self.output(execution.id, "stderr"),
            kept,
            await self.why(execution.id),
        )

    async def cancel(self, execution: str) -> Execution:
        """Ends an execution; nothing of it runs any more then."""
        return Execution.of(await self._json("POST", f"/v1/executions/{execution}/cancel", timeout=_LONG))

    async def remove(self, execution: str) -> Execution:
        """Removes an execution that has finished, with its record, output and artifacts."""
        return Execution.of(await self._json("DELETE", f"/v1/executions/{execution}", timeout=_LONG))

    async def pause(self, execution: str) -> Execution:
        """Freezes an execution, whose time stands still."""
        return Execution.of(await self._json("POST", f"/v1/executions/{execution}/pause"))

    async def resume(self, execution: str) -> Execution:
        """Lets it go on."""
        return Execution.of(await self._json("POST", f"/v1/executions/{execution}/resume"))

    async def executions(self, limit: int = 50, after: str | None = None) -> list[Execution]:
        """A page of your executions, newest first; `after` is the last id of the page before."""
        more = f"&after={after}" if after else ""
        found = await self._json("GET", f"/v1/executions?limit={limit}{more}")
        return [Execution.of(raw) for raw in found["executions"]]

    async def artifacts(self, execution: str) -> list[Artifact]:
        """The files that were kept."""
        found = await self._json("GET", f"/v1/executions/{execution}/artifacts")
        return [Artifact(**raw) for raw in found["artifacts"]]

    async def read_artifact(self, execution: str, path: str) -> bytes:
        """The bytes of one."""
        return await self._bytes("GET", f"/v1/executions/{execution}/artifacts/{quote(path)}")

    async def why(self, execution: str) -> list[Refusal]:
        """What was refused or cut, by which rule, and what would have allowed it."""
        refusals: list[Refusal] = []
        after = 0
        while True:
            page = await self._json("GET", f"/v1/executions/{execution}/decisions?after={after}")
            for raw in page["records"]:
                if raw.get("verdict") == "deny" or "failure" in raw:
                    refusals.append(
                        Refusal(
                            raw["time"],
                            raw["kind"],
                            raw["reason"],
                            raw.get("rule"),
                            raw.get("failure", raw.get("cause")),
                            raw.get("remedy"),
                            raw,
                        )
                    )
            if "next" not in page:
                return refusals
            after = page["next"]

    async def samples(self, execution: str) -> list[Sample]:
        """What it has used over time: 240 at the most, in the order of time."""
        found = await self._json("GET", f"/v1/executions/{execution}/samples")
        return [Sample(**raw) for raw in found["samples"]]

    async def receipt(self, execution: str) -> Json:
        """The signed statement about a finished execution."""
        return await self._json("GET", f"/v1/executions/{execution}/receipt")

    async def doctor(self) -> Json:
        """What the host can enforce."""
        return await self._json("GET", "/v1/doctor")

    async def session(
        self,
        id: str | None = None,
        *,
        policy: str | None = None,
        time_to_live: int | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> AsyncSession:
        """A session: the one with this id, or a new one, which `async with` closes at its end."""
        if id is not None:
            raw = await self._json("GET", f"/v1/sessions/{id}")
            return AsyncSession(self, raw)
        request: Json = {"labels": dict(labels or {})}
        if policy is not None:
            request["policy"] = policy
        if time_to_live is not None:
            request["time_to_live"] = time_to_live
        return AsyncSession(self, await self._json("POST", "/v1/sessions", request, timeout=_LONG))

    async def sessions(self) -> list[AsyncSession]:
        """Your sessions, newest first."""
        found = await self._json("GET", "/v1/sessions")
        return [AsyncSession(self, raw) for raw in found["sessions"]]

    async def _end(self, execution: str) -> None:
        try:
            await self.cancel(execution)
        except SupervisorError:
            pass  # it has ended by itself, or nobody is there; what interrupted us is the news

    async def _bytes(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        media_type: str | None = None,
        timeout: float = _PATIENCE,
    ) -> bytes:
        async with _waiting.ask(self._socket, method, target, body, media_type, timeout) as answer:
            return await answer.read()

    async def _json(
        self, method: str, target: str, request: Json | None = None, timeout: float = _PATIENCE
    ) -> Json:
        body = None if request is None else json.dumps(request).encode()
        media_type = None if request is None else "application/json"
        said: Json = json.loads(await self._bytes(method, target, body, media_type, timeout))
        return said


class AsyncSession:
    """A workspace that stays, with its files and its interpreters."""

    def __init__(self, client: AsyncClient, raw: Json) -> None:
        self.client = client
        self.id: str = raw["id"]
        self.raw = raw
        self._interpreters: dict[str, str] = {}

    async def __aenter__(self) -> AsyncSession:
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.close()
        except NotFound:
            pass  # its time was up

    async def run(self, code: str | None = None, **options: typing.Any) -> Result:
        """`Client.run` in this workspace."""
        return await self.client.run(code, session=self.id, **options)

    async def cell(
        self, code: str, *, language: Language = "python", timeout: float | None = None
    ) -> Cell:
        """Runs a cell in this session's interpreter of the language, which the first one starts. If waiting is
        interrupted, so is the cell, and its variables stay."""
        interpreter = await self._interpreter(language)
        place = f"/v1/sessions/{self.id}/interpreters/{interpreter}"
        request: Json = {"source": code}
        if timeout is not None:
            request["wall_time"] = max(1, round(timeout * 1000))
        raw = await self.client._json("POST", f"{place}/cells", request)
        try:
            while raw["state"] != "done":
                target = f"{place}/cells/{raw['number']}?wait={_WAIT}"
                raw = await self.client._json("GET", target, timeout=_PATIENCE + _WAIT)
        except BaseException:
            try:
                await self.client._json("POST", f"{place}/interrupt")
            except SupervisorError:
                pass  # it has ended by itself; what interrupted us is the news
            raise
        cell = Cell.of(interpreter, raw)
        if cell.outcome == "lost":
            self._interpreters.pop(language, None)
        return cell

    async def _interpreter(self, language: str) -> str:
        if language not in self._interpreters:
            target = f"/v1/sessions/{self.id}/interpreters"
            found = (await self.client._json("GET", target))["interpreters"]
            living = [each for each in found if each["language"] == language and each["state"] != "ended"]
            if not living:
                living = [await self.client._json("POST", target, {"language": language}, timeout=_LONG)]
            self._interpreters[language] = living[-1]["id"]
        return self._interpreters[language]

    async def write(self, path: str, data: str | bytes, *, executable: bool = False) -> FileEntry:
        """Writes a file, in place of what stands there."""
        given = data.encode() if isinstance(data, str) else data
        target = f"{self._place('files', path)}?executable={str(executable).lower()}"
        said = await self.client._bytes("PUT", target, given, "application/octet-stream", _LONG)
        return FileEntry.of(json.loads(said))

    async def read(self, path: str) -> bytes:
        """The bytes of a file."""
        return await self.client._bytes("GET", self._place("files", path), timeout=_LONG)

    async def files(self, path: str | None = None) -> list[FileEntry]:
        """What a directory holds, by name; the workspace itself if left out."""
        place = f"/v1/sessions/{self.id}/tree" if path is None else self._place("tree", path)
        entries: list[FileEntry] = []
        after = ""
        while True:
            found = await self.client._json("GET", f"{place}?limit=1000{after}")
            entries += [FileEntry.of(raw) for raw in found["entries"]]
            if "next" not in found:
                return entries
            after = f"&after={quote(found['next'], safe='')}"

    async def remove(self, path: str, *, recursive: bool = False) -> None:
        """Removes a file or directory."""
        target = f"{self._place('files', path)}?recursive={str(recursive).lower()}"
        await self.client._json("DELETE", target, timeout=_LONG)

    async def move(self, source: str, to: str, *, replace: bool = False) -> FileEntry:
        """Moves a file or directory within the workspace."""
        request: Json = {"from": source, "to": to, "replace": replace}
        return FileEntry.of(await self.client._json("POST", f"/v1/sessions/{self.id}/move", request))

    async def make_directory(self, path: str) -> FileEntry:
        """Makes a directory, and those that lead to it."""
        target = f"/v1/sessions/{self.id}/directories"
        return FileEntry.of(await self.client._json("POST", target, {"path": path}))

    async def extend(self, time_to_live: int) -> None:
        """Lets it live for so many seconds from now."""
        request: Json = {"time_to_live": time_to_live}
        self.raw = await self.client._json("POST", f"/v1/sessions/{self.id}/extend", request)

    async def close(self) -> None:
        """Ends what runs in it and removes its workspace."""
        await self.client._json("DELETE", f"/v1/sessions/{self.id}", timeout=_LONG)

    def _place(self, kind: str, path: str) -> str:
        return f"/v1/sessions/{self.id}/{kind}/{quote(path)}"


def _file(path: str, given: Content) -> Json:
    if isinstance(given, os.PathLike):
        local = pathlib.Path(given)
        return {
            "path": path,
            "content": written(local.read_bytes()),
            "executable": os.access(local, os.X_OK),
        }
    return {"path": path, "content": written(given)}
