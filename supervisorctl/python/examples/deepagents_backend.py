"""A deep agent of LangChain whose files and commands are in a sandbox: a back end in some lines. The model here is a
script, so that the example runs anywhere; put yours in its place."""

import itertools
import typing

import supervisord
from deepagents import create_deep_agent  # type: ignore[import-not-found]
from deepagents.backends.protocol import (  # type: ignore[import-not-found]
    ExecuteResponse,
    FileDownloadResponse,
    FileUploadResponse,
)
from deepagents.backends.sandbox import BaseSandbox  # type: ignore[import-not-found]
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel  # type: ignore[import-not-found]
from langchain_core.messages import AIMessage  # type: ignore[import-not-found]

ROOT = "/workspace/"


class SandboxBackend(BaseSandbox):  # type: ignore[misc]
    """Commands are executions in one session; what they leave in its workspace stays. Each has a /tmp of its own, so
    that an edit of more than 50,000 bytes, which this base makes by way of /tmp, is refused."""

    enable_capture_offload = False

    def __init__(self, session: supervisord.Session) -> None:
        self.session = session

    @property
    def id(self) -> str:
        return self.session.id

    def execute(self, command: str, *, timeout: int | None = None) -> ExecuteResponse:
        result = self.session.run(argv=["bash", "-c", command], timeout=timeout or None)
        output = result.stdout + result.stderr
        for refusal in result.refusals:
            output += f"\nrefused: {refusal.cause}; {refusal.remedy}"
        if result.execution.exit_status is None:
            output += f"\nended: {result.summary}"
        kept = result.execution.raw["output"]
        truncated = any(kept[stream]["cut"] for stream in ("stdout", "stderr"))
        return ExecuteResponse(output=output, exit_code=result.execution.exit_status, truncated=truncated)

    def upload_files(self, files: list[tuple[str, bytes]]) -> list[FileUploadResponse]:
        return [FileUploadResponse(path=path, error=self._put(path, data)) for path, data in files]

    def _put(self, path: str, data: bytes) -> str | None:
        if not path.startswith(ROOT):
            return "invalid_path"
        try:
            self.session.write(path.removeprefix(ROOT), data)
        except supervisord.Refused as refused:
            return str(refused)
        return None

    def download_files(self, paths: list[str]) -> list[FileDownloadResponse]:
        return [self._get(path) for path in paths]

    def _get(self, path: str) -> FileDownloadResponse:
        if not path.startswith(ROOT):
            return FileDownloadResponse(path=path, error="invalid_path")
        try:
            return FileDownloadResponse(path=path, content=self.session.read(path.removeprefix(ROOT)))
        except supervisord.NotFound:
            return FileDownloadResponse(path=path, error="file_not_found")
        except supervisord.Refused as refused:
            return FileDownloadResponse(path=path, error=str(refused))


class Script(GenericFakeChatModel):  # type: ignore[misc]
    """Says what a model might."""

    def bind_tools(self, tools: typing.Any, **_: typing.Any) -> typing.Any:
        return self


def says(*calls: tuple[str, dict[str, typing.Any]]) -> AIMessage:
    numbers = itertools.count()
    return AIMessage(
        content="",
        tool_calls=[{"name": name, "args": args, "id": f"{name}-{next(numbers)}"} for name, args in calls],
    )


STEPS = [
    says(("write_file", {"file_path": "/workspace/mean.py", "content": "print(sum(DATA) / len(DATA))\n"})),
    says(("edit_file", {"file_path": "/workspace/mean.py", "old_string": "DATA", "new_string": "data",
                        "replace_all": True})),
    says(("edit_file", {"file_path": "/workspace/mean.py", "old_string": "print(",
                        "new_string": "data = [float(line) for line in open('data.txt')]\nprint("})),
    says(("grep", {"pattern": "data", "path": "/workspace"}), ("ls", {"path": "/workspace"})),
    says(("execute", {"command": "python3 mean.py; curl -sS http://example.com/"})),
    AIMessage(content="done"),
]


def main() -> None:
    with supervisord.Client() as client, client.session() as session:
        session.write("data.txt", "1.5\n2.5\n5\n")
        agent = create_deep_agent(model=Script(messages=iter(STEPS)), backend=SandboxBackend(session))
        said = agent.invoke({"messages": [("user", "the mean of the numbers in data.txt")]})
        for message in said["messages"]:
            if message.type == "tool":
                print(f"{message.name}: {message.content}")


if __name__ == "__main__":
    main()
