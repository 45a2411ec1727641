"""What the client that blocks does, against a daemon that is there."""

import pathlib
import signal
import sys
import tempfile

import supervisord

client = supervisord.Client()


def refused(kind, act):
    try:
        act()
    except kind as error:
        return error
    raise SystemExit(f"{kind.__name__} was expected")


# Programs.
told, seen = [], []
result = client.run(
    "import sys, time\nprint(sys.stdin.read(), sys.argv[1:], flush=True)\ntime.sleep(1.5)\n"
    "sys.stdout.buffer.write(b'\\xff')\nprint('err', file=sys.stderr)\nopen('a b.txt', 'w').write(open('in').read())",
    argv=["x"], stdin="input", files={"in": "given"}, artifacts=["*.txt"], labels={"of": "test"},
    on_output=told.append,
)
assert result.ok and result.stdout_bytes == b"input ['x']\n\xff", result
assert b"".join(chunk.data for chunk in told if chunk.stream == "stdout") == result.stdout_bytes
assert "".join(str(chunk) for chunk in told if chunk.stream == "stderr") == "err\n"
assert result.stderr == "err\n" and result.summary == "exited 0"
[kept] = result.artifacts
assert (kept.path, kept.size) == ("a b.txt", 5)
assert client.read_artifact(result.execution.id, kept.path) == b"given"
assert "payload" in client.receipt(result.execution.id)
assert client.executions(limit=1)[0].id == result.execution.id
with tempfile.TemporaryDirectory() as directory:
    local = pathlib.Path(directory, "tool")
    local.write_bytes(b"#!/bin/sh\necho tool \"$1\" $A\n")
    local.chmod(0o755)
    result = client.run(argv=["./tool", "1"], files={"tool": local}, env={"A": "2"}, on_progress=seen.append)
assert result.stdout == "tool 1 2\n", result
client.run(argv=["sleep", "3"], on_progress=seen.append)
assert any(each.state == "running" and each.seconds > 0 for each in seen), seen

# What goes wrong.
failed = refused(supervisord.ExecutionFailed, lambda: client.run("raise SystemExit(3)", check=True))
assert failed.result.execution.exit_status == 3
assert client.run("while True: pass", timeout=0.5).execution.outcome == {"type": "timed_out"}
error = refused(supervisord.PolicyDenied, lambda: client.run("1", limits={"memory_max": 1 << 60}))
assert error.field == "limits.memory_max" and "limits.max of policy" in error.detail and error.remedy, error
refused(supervisord.InvalidArgument, lambda: client.run(argv=[]))
refused(supervisord.NotFound, lambda: client.status("ex-" + "a" * 26))
refused(supervisord.Unreachable, lambda: supervisord.Client("/nowhere/api.sock").doctor())
result = client.run(argv=["curl", "-s", "http://denied.example.com/"], policy="asks")
[refusal] = [each for each in result.refusals if each.kind == "egress"]
assert refusal.rule and refusal.cause and refusal.remedy, refusal

# Interrupted while it waits: the program is ended.
signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
try:
    client.run("print('begun', flush=True)\nwhile True: pass", on_output=lambda _: signal.setitimer(signal.ITIMER_REAL, 0.1))
    raise SystemExit("it was to be interrupted")
except KeyboardInterrupt:
    pass
assert client.executions(limit=1)[0].outcome == {"type": "cancelled"}
running = client.start(argv=["sleep", "600"])
while not client.samples(running.id):
    pass
assert client.cancel(running.id).outcome == {"type": "cancelled"}

assert client.samples(running.id)[-1].cpu_us is not None

# Sessions, files, cells.
with client.session(time_to_live=600) as session:
    session.write("ä b.txt", "text")
    session.write("run.sh", b"#!/bin/sh\ncat '\xc3\xa4 b.txt'\n", executable=True)
    assert session.run(argv=["./run.sh"]).stdout == "text"
    session.move("ä b.txt", "e")
    assert session.read("e") == b"text"
    session.make_directory("f/g")
    assert [entry.path for entry in session.files()] == ["e", "f", "run.sh"]
    assert [entry.kind for entry in session.files("f")] == ["directory"]
    session.remove("f", recursive=True)
    refused(supervisord.NotFound, lambda: session.read("f"))
    session.extend(1200)
    assert session.cell("x = 41").ok and session.cell("x + 1").value == "42"
    cell = session.cell("print('said')\n1 / 0")
    assert (cell.outcome, cell.stdout, cell.error.name) == ("error", "said\n", "ZeroDivisionError")
    assert session.cell("while True: pass", timeout=0.5).outcome == "timed_out"
    assert session.cell("echo $((6 * 7))", language="bash").stdout == "42\n"
    assert session.cell("import os; os._exit(1)").outcome == "lost"
    assert session.cell("x").error.name == "NameError", "a new one knows nothing of it"
    assert client.session(session.id).id == session.id in [each.id for each in client.sessions()]
refused(supervisord.NotFound, lambda: client.session(session.id))
print("done", file=sys.stderr)
