"""What is given and what comes back."""

from __future__ import annotations

import base64
import dataclasses
import typing

Json = dict[str, typing.Any]


class Limits(typing.TypedDict, total=False):
    """Limits to ask for: bytes, milliseconds, percent of a core. What is left out is the policy's default."""

    memory_max: int
    pids_max: int
    cpu_max: int
    cpu_time: int
    wall_time: int
    open_files: int
    workspace_bytes: int
    workspace_inodes: int
    tmp_bytes: int
    tmp_inodes: int
    output_bytes: int
    artifact_bytes: int
    artifact_count: int
    io_read_bps: int
    io_write_bps: int
    io_read_iops: int
    io_write_iops: int


@dataclasses.dataclass(frozen=True)
class Execution:
    """An execution as it stands. `raw` has all that the daemon says of it."""

    id: str
    session: str
    state: str
    outcome: Json | None
    raw: Json = dataclasses.field(repr=False)

    @classmethod
    def of(cls, raw: Json) -> Execution:
        return cls(raw["id"], raw["session"], raw["state"], raw.get("outcome"), raw)

    @property
    def finished(self) -> bool:
        return self.state == "finished"

    @property
    def exit_status(self) -> int | None:
        """The payload's exit status, if it exited."""
        return self.outcome["code"] if self.outcome and self.outcome["type"] == "exited" else None


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Bytes of output, in the order in which they were written."""

    offset: int
    stream: typing.Literal["stdout", "stderr"]
    data: bytes

    def __str__(self) -> str:
        """The bytes as text. What is no UTF-8, or only part of a character, is replaced."""
        return self.data.decode(errors="replace")


@dataclasses.dataclass(frozen=True)
class Progress:
    """How an execution that is waited for comes along: its state, seconds and bytes of output so far."""

    execution: str
    state: str
    seconds: float
    output_bytes: int


@dataclasses.dataclass(frozen=True)
class Artifact:
    """A file that was kept."""

    path: str
    size: int
    sha256: str
    media_type: str


@dataclasses.dataclass(frozen=True)
class Sample:
    """What an execution had used, and used, when it had run for so long; None is what the host does not tell."""

    at_ms: int
    cpu_us: int | None = None
    memory: int | None = None
    pids: int | None = None
    read: int | None = None
    written: int | None = None


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Something that was refused to a program, or cut."""

    time: str
    kind: str
    reason: str
    rule: str | None
    cause: str | None
    remedy: str | None
    raw: Json = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of a program."""

    execution: Execution
    stdout_bytes: bytes
    stderr_bytes: bytes
    artifacts: list[Artifact]
    refusals: list[Refusal]

    @property
    def ok(self) -> bool:
        """Whether it exited with 0."""
        return self.execution.exit_status == 0

    @property
    def stdout(self) -> str:
        return self.stdout_bytes.decode(errors="replace")

    @property
    def stderr(self) -> str:
        return self.stderr_bytes.decode(errors="replace")

    @property
    def summary(self) -> str:
        """How it ended, in a few words."""
        outcome = dict(self.execution.outcome or {"type": self.execution.state})
        kind = outcome.pop("type").replace("_", " ")
        return " ".join([kind, *(str(value) for value in outcome.values())])


@dataclasses.dataclass(frozen=True)
class CellError:
    """An error that ended a cell."""

    name: str
    value: str
    traceback: list[str]


@dataclasses.dataclass(frozen=True)
class Cell:
    """What came of a cell: `results` are what it has to show, each by media type."""

    interpreter: str
    number: int
    outcome: str
    results: list[dict[str, str]]
    error: CellError | None
    stdout: str
    stderr: str
    raw: Json = dataclasses.field(repr=False)

    @classmethod
    def of(cls, interpreter: str, raw: Json) -> Cell:
        error = raw.get("error")
        return cls(
            interpreter,
            raw["number"],
            raw.get("outcome", "lost"),
            [result["data"] for result in raw.get("results", [])],
            CellError(error["name"], error["value"], error["traceback"]) if error else None,
            content(raw["stdout"].get("text", "")).decode(errors="replace"),
            content(raw["stderr"].get("text", "")).decode(errors="replace"),
            raw,
        )

    @property
    def ok(self) -> bool:
        return self.outcome == "ok"

    @property
    def value(self) -> str | None:
        """Its last value as text."""
        texts = [data["text/plain"] for data in self.results if "text/plain" in data]
        return texts[-1] if texts else None


@dataclasses.dataclass(frozen=True)
class FileEntry:
    """What stands at a path of a workspace."""

    path: str
    kind: str
    size: int
    mode: int

    @classmethod
    def of(cls, raw: Json) -> FileEntry:
        return cls(raw["path"], raw["kind"], raw["size"], raw["mode"])


def content(value: str | dict[str, str]) -> bytes:
    """Bytes as the interface writes them: text, or base64 in an object."""
    return value.encode() if isinstance(value, str) else base64.b64decode(value["base64"])


def written(value: str | bytes) -> str | dict[str, str]:
    """The same the other way round."""
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode()}  # type: ignore[arg-type]
    return value
