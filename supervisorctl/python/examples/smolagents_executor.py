"""A code agent of smolagents whose code runs in a sandbox: an executor in some lines. The model here is a script, so
that the example runs anywhere; put yours in its place."""

import typing

import supervisord
from smolagents import ChatMessage, CodeAgent, Model, tool  # type: ignore[import-not-found]
from smolagents.local_python_executor import CodeOutput  # type: ignore[import-not-found]
from smolagents.monitoring import AgentLogger, LogLevel  # type: ignore[import-not-found]
from smolagents.remote_executors import RemotePythonExecutor  # type: ignore[import-not-found]
from smolagents.utils import AgentError  # type: ignore[import-not-found]


class SandboxExecutor(RemotePythonExecutor):  # type: ignore[misc]
    """Runs each step as a cell of one interpreter, so that variables stay."""

    def __init__(self, session: supervisord.Session, logger: AgentLogger) -> None:
        super().__init__([], logger)
        self.session = session

    def run_code_raise_errors(self, code: str) -> CodeOutput:
        cell = self.session.cell(code)
        if cell.error is not None and cell.error.name == self.FINAL_ANSWER_EXCEPTION:
            answer = self._deserialize_final_answer(cell.error.value, self.allow_pickle)
            return CodeOutput(output=answer, logs=cell.stdout, is_final_answer=True)
        if not cell.ok:
            words = "\n".join(cell.error.traceback) if cell.error else f"the code ended: {cell.outcome}"
            raise AgentError(f"{cell.stdout}\n{cell.stderr}\n{words}", self.logger)
        return CodeOutput(output=cell.value, logs=cell.stdout, is_final_answer=False)

    def install_packages(self, additional_imports: list[str]) -> list[str]:
        # A sandbox has what its image has, and code that imports something else is told so.
        self.logger.log(f"not installed by this: {', '.join(additional_imports)}")
        return additional_imports


class Script(Model):  # type: ignore[misc]
    """Says what a model might."""

    steps = iter([
        "Thought: I read the numbers.\n<code>\nnumbers = [float(line) for line in open('data.txt')]\n"
        "print(len(numbers), weight)\n</code>",
        "Thought: I forgot a unit.\n<code>\nprint(total(numbers) / 0)\n</code>",
        "Thought: Without the division, then.\n<code>\nfinal_answer(total(numbers) * weight)\n</code>",
    ])

    def generate(self, messages: typing.Any, **_: typing.Any) -> ChatMessage:
        return ChatMessage(role="assistant", content=next(self.steps))


@tool  # type: ignore[untyped-decorator]
def total(numbers: list[float]) -> float:
    """Adds numbers.

    Args:
        numbers: The numbers.
    """
    return sum(numbers)


def main() -> None:
    with supervisord.Client() as client, client.session() as session:
        session.write("data.txt", "1.5\n2.5\n5\n")
        logger = AgentLogger(level=LogLevel.OFF)
        executor = SandboxExecutor(session, logger)
        agent = CodeAgent(tools=[total], model=Script(), executor=executor, logger=logger, max_steps=4)
        answer = agent.run("the weighted sum of the numbers in data.txt", additional_args={"weight": 2})
        failed = [step.error for step in agent.memory.steps if getattr(step, "error", None)]
        print("steps that failed:", len(failed), "answer:", answer)


if __name__ == "__main__":
    main()
