"""What can go wrong, by type."""

from __future__ import annotations

import typing

if typing.TYPE_CHECKING:
    from .types import Result


class SupervisorError(Exception):
    """Anything that this package raises by itself."""


class Unreachable(SupervisorError):
    """Nobody answers on the socket, or the exchange broke off."""


class Refused(SupervisorError):
    """The daemon refused. `detail` names the rule, and `remedy` says what to do."""

    def __init__(self, problem: dict[str, typing.Any]) -> None:
        self.code: str = problem.get("code", "unknown")
        self.status: int = problem.get("status", 0)
        self.detail: str = problem.get("detail", "")
        self.field: str | None = problem.get("field")
        self.remedy: str | None = problem.get("hint")
        about = f" (field {self.field})" if self.field else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        super().__init__(f"{self.code}: {self.detail}{about}{remedy}")


class InvalidArgument(Refused):
    """A field has a value that it can't have."""


class PermissionDenied(Refused):
    """The caller's role does not allow it."""


class PolicyDenied(Refused):
    """More was asked for than the policy or the floor allows."""


class NotFound(Refused):
    """There is no such thing, or it is somebody else's."""


class Conflict(Refused):
    """The state of what it is about does not allow it."""


class TooLarge(Refused):
    """It has more bytes than the bound."""


class Busy(Refused):
    """Too many at once; later it may be possible."""


class ControlMissing(Refused):
    """The host lacks a control that the policy needs."""


class ExecutionFailed(SupervisorError):
    """A program that was to be checked did not exit with 0."""

    def __init__(self, result: Result) -> None:
        self.result = result
        super().__init__(f"{result.execution.id}: {result.summary}\n{result.stderr}")


_BY_CODE: dict[str, type[Refused]] = {
    "invalid_argument": InvalidArgument,
    "permission_denied": PermissionDenied,
    "policy_denied": PolicyDenied,
    "not_found": NotFound,
    "conflict": Conflict,
    "too_large": TooLarge,
    "busy": Busy,
    "control_missing": ControlMissing,
}


def refusal(problem: dict[str, typing.Any]) -> Refused:
    """The error of a problem document."""
    return _BY_CODE.get(problem.get("code", ""), Refused)(problem)
