"""Drives supervisorctl mcp with the protocol's own Python SDK, which holds every structured result against the
schema that the tool announced. Arguments: supervisorctl, the daemon's socket, how to begin (auto, legacy), and the
URL of a listener if it is to come by HTTP."""

import asyncio
import base64
import json
import subprocess
import sys

from mcp import Client, MCPError, StdioServerParameters

PROGRAM, SOCKET, MODE, *URL = sys.argv[1:]
SERVER = URL[0] if URL else StdioServerParameters(command=PROGRAM, args=["--socket", SOCKET, "mcp"])


def ctl(*words):
    told = subprocess.run([PROGRAM, "--socket", SOCKET, "--json", *words], capture_output=True, check=True)
    return json.loads(told.stdout)


async def data(client, tool, **arguments):
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result
    return result.structured_content


async def refused(client, tool, **arguments):
    result = await client.call_tool(tool, arguments)
    assert result.is_error, result
    words, refusal = (block.text for block in result.content)
    return words, json.loads(refusal)["error"]


async def programs(client):
    result = await client.call_tool("run", {
        "language": "python",
        "code": "import sys; print('out', sys.argv[1], sys.stdin.read()); print('err', file=sys.stderr)\n"
                "open('made.txt', 'w').write(open('given.bin', 'rb').read().hex())\nsys.exit(3)",
        "argv": ["word"],
        "stdin": "input",
        "files": [{"path": "given.bin", "base64": "AP8="}],
        "artifacts": ["made.txt"],
    })
    assert not result.is_error, result
    ran = result.structured_content
    assert ran["outcome"] == {"type": "exited", "code": 3}, ran
    assert (ran["stdout"]["text"], ran["stderr"]["text"]) == ("out word input\n", "err\n"), ran
    assert "out word input" in result.content[0].text
    [link] = [block for block in result.content if block.type == "resource_link"]
    [kept] = ran["artifacts"]
    assert link.uri == kept["uri"] and kept["size"] == 4, (link, kept)
    [read] = (await client.read_resource(link.uri)).contents
    assert read.text == "00ff", read
    listed = (await client.list_resources()).resources
    assert link.uri in [resource.uri for resource in listed], listed
    assert len((await client.list_resource_templates()).resource_templates) == 5
    shown = await data(client, "read_artifact", execution=ran["execution"], path="made.txt", offset=1, length=2)
    assert (shown["text"], shown["next_offset"]) == ("0f", 3), shown
    receipt = await client.read_resource(f"supervisord://executions/{ran['execution']}/receipt")
    assert "payload" in json.loads(receipt.contents[0].text)
    for language, code in [("bash", "echo $((6*7))"), ("node", "console.log(6*7)")]:
        assert (await data(client, "run", language=language, code=code))["stdout"]["text"] == "42\n"
    missing = await client.call_tool("run", {"argv": ["/no/such/program"]})
    assert missing.is_error and missing.structured_content["outcome"]["type"] == "setup_failed", missing


async def output(client):
    size = 300_000
    ran = await data(client, "run", argv=["python3", "-c", f"print('ä' * {size // 2}, end='')"])
    stream = ran["stdout"]
    assert stream["size"] == size and stream["left_out"] == {"from": 24 << 10, "to": size - (8 << 10)}, stream
    assert len(stream["text"]) < 40_000
    text, offset = "", 0
    while offset is not None:
        piece = await data(client, "read_output", execution=ran["execution"], stream="stdout",
                           offset=offset, length=100_001)
        text, offset = text + piece["text"], piece.get("next_offset")
    assert text == "ä" * (size // 2)
    begun = await data(client, "run", argv=["sleep", "1"], detach=True)
    assert begun["state"] != "finished", begun
    ended = await data(client, "status", execution=begun["execution"], wait_seconds=60)
    assert ended["outcome"] == {"type": "exited", "code": 0}, ended
    begun = await data(client, "run", argv=["sleep", "600"], detach=True)
    ended = await data(client, "cancel", execution=begun["execution"])
    assert ended["outcome"] == {"type": "cancelled"}, ended


async def refusals(client):
    words, error = await refused(client, "run", argv=["true"], memory_bytes=1 << 60)
    assert error["code"] == "policy_denied" and error["field"] == "limits.memory_max", error
    assert "maximum" in words and "limits.max of policy default" in words and error["hint"] in words, words
    words, error = await refused(client, "run", argv=["true"], timeout=3)
    assert error["code"] == "usage" and "unknown field `timeout`" in words, words
    words, error = await refused(client, "run", code="1")
    assert "`language`" in words, words
    words, error = await refused(client, "status", execution="ex-" + "a" * 26)
    assert error["code"] == "not_found", error
    ran = await data(client, "run", policy="asks", argv=["curl", "-s", "http://denied.example.com/"])
    [refusal] = [each for each in ran["refusals"] if each["kind"] == "egress"]
    assert "denied.example.com" in refusal["what"] and refusal["rule"] and refusal["remedy"], refusal
    why = await data(client, "why", execution=ran["execution"])
    assert refusal in why["refusals"] and not why["truncated"], why
    try:
        await client.call_tool("no_such_tool", {})
        raise SystemExit("there is no such tool")
    except MCPError as error:
        assert "no_such_tool" in str(error)


async def sessions(client):
    session = (await data(client, "create_session", time_to_live_seconds=600))["id"]
    assert session in [each["id"] for each in (await data(client, "list_sessions"))["sessions"]]
    await data(client, "write_file", session=session, path="d/a.txt", text="one\n")
    await data(client, "write_file", session=session, path="b.bin", base64="/w==")
    await data(client, "move_file", session=session, **{"from": "d/a.txt", "to": "d/b.txt"})
    names = [entry["path"] for entry in (await data(client, "list_files", session=session))["entries"]]
    assert names == ["b.bin", "d"], names
    assert (await data(client, "read_file", session=session, path="b.bin"))["base64"] == "/w=="
    await data(client, "run", session=session, argv=["python3", "-c", "open('long', 'w').write('ö' * 150_000)"])
    text, offset = "", 0
    while offset is not None:
        piece = await data(client, "read_file", session=session, path="long", offset=offset, length=100_001)
        text, offset = text + piece["text"], piece.get("next_offset")
    assert text == "ö" * 150_000
    ran = await data(client, "run", session=session, argv=["cat", "d/b.txt"])
    assert ran["stdout"]["text"] == "one\n", ran
    [read] = (await client.read_resource(f"supervisord://sessions/{session}/files/d/b.txt")).contents
    assert (base64.b64decode(read.blob).decode() if hasattr(read, "blob") else read.text) == "one\n"
    first = await data(client, "run_cell", session=session, code="x = 41\nprint('said')")
    assert first["started"] and first["stdout"]["text"] == "said\n", first
    second = await data(client, "run_cell", session=session, code="x + 1")
    assert not second["started"] and second["values"] == ["42"], second
    failed = await data(client, "run_cell", session=session, code="1 / 0")
    assert failed["outcome"] == "error" and failed["error"]["name"] == "ZeroDivisionError", failed
    drawn = await client.call_tool("run_cell", {
        "session": session,
        "code": "import zlib, struct\n"
                "class P:\n"
                "    def _repr_png_(self): return b'\\x89PNG\\r\\n\\x1a\\n' + bytes(8)\n"
                "P()",
    })
    [picture] = [block for block in drawn.content if block.type == "image"]
    assert picture.mime_type == "image/png", picture
    late = await data(client, "run_cell", session=session, code="while True: pass", timeout_seconds=1)
    assert late["outcome"] == "timed_out", late
    await data(client, "close_interpreter", session=session, interpreter=first["interpreter"])
    await data(client, "remove_file", session=session, path="d", recursive=True)
    await data(client, "close_session", session=session)
    words, error = await refused(client, "list_files", session=session)
    assert error["code"] == "not_found", error


def running():
    return {each["id"]: each for each in ctl("list")["executions"] if each["state"] == "running"}


async def until(what, look):
    for _ in range(600):
        if seen := look():
            return seen
        await asyncio.sleep(0.1)
    raise SystemExit(f"waited in vain until {what}")


async def cancellation(client):
    told = []

    async def progress(done, total, words):
        told.append((done, total, words))

    call = asyncio.create_task(client.call_tool("run", {"argv": ["sleep", "600"]}, progress_callback=progress))
    [name] = await until("it runs", running)
    await until("it is told how long it takes", lambda: len(told) > 1)
    call.cancel()
    await until("it has been ended", lambda: not running())
    assert ctl("status", name)["outcome"] == {"type": "cancelled"}
    times = [done for done, _, _ in told]
    assert times == sorted(set(times)) and told[0][1] and "running" in told[0][2], told
    session = (await data(client, "create_session"))["id"]
    await data(client, "run_cell", session=session, code="x = 1")
    cell = {"session": session, "code": "print('begun', flush=True)\nwhile True: pass"}
    call = asyncio.create_task(client.call_tool("run_cell", cell))
    [interpreter] = ctl("interpreter", "list", session)["interpreters"]
    words = ["output", "--stream", "stdout", interpreter["id"]]
    await until("the cell runs", lambda: b"begun" in subprocess.run(
        [PROGRAM, "--socket", SOCKET, "-q", *words], capture_output=True, check=True).stdout)
    call.cancel()
    assert (await data(client, "run_cell", session=session, code="x"))["values"] == ["1"]
    await data(client, "close_session", session=session)


async def main():
    async with Client(SERVER, mode=MODE) as client:
        assert client.protocol_version == {"auto": "2026-07-28", "legacy": "2025-11-25"}[MODE]
        tools = (await client.list_tools()).tools
        assert all(tool.output_schema and tool.description and tool.annotations for tool in tools), tools
        # What HTTP makes no difference to is told once.
        stories = (programs, cancellation) if URL else (programs, output, refusals, sessions, cancellation)
        for story in stories:
            await story(client)
            print(story.__name__, flush=True)


asyncio.run(main())
