"""Run code you don't trust in sandboxes of supervisord.

    import supervisord

    with supervisord.Client() as client:
        result = client.run("print(6 * 7)")
        print(result.stdout)

`AsyncClient` is the same for asyncio. Nothing but the standard library is needed.
"""

from .aio import AsyncClient, AsyncSession
from .client import Client, Session
from .errors import (
    Busy,
    Conflict,
    ControlMissing,
    ExecutionFailed,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    PolicyDenied,
    Refused,
    SupervisorError,
    TooLarge,
    Unreachable,
)
from .types import Artifact, Cell, CellError, Chunk, Execution, FileEntry, Limits, Progress, Refusal, Result, Sample

__all__ = [
    "Artifact",
    "AsyncClient",
    "AsyncSession",
    "Busy",
    "Cell",
    "CellError",
    "Chunk",
    "Client",
    "Conflict",
    "ControlMissing",
    "Execution",
    "ExecutionFailed",
    "FileEntry",
    "InvalidArgument",
    "Limits",
    "NotFound",
    "PermissionDenied",
    "PolicyDenied",
    "Progress",
    "Refusal",
    "Refused",
    "Result",
    "Sample",
    "Session",
    "SupervisorError",
    "TooLarge",
    "Unreachable",
]
