"""Drives supervisorctl e2b with E2B's own Python SDKs, unchanged, which find it by their usual variables. Prints what
works and what is refused, by the rows of the matrix."""

import asyncio
import io
import json
import sys
import threading
import time
from contextlib import contextmanager

from e2b import (
    AsyncSandbox as PlainAsyncSandbox,
    AuthenticationException,
    CommandExitException,
    FileNotFoundException,
    FileType,
    InvalidArgumentException,
    Sandbox as PlainSandbox,
    SandboxException,
    SandboxQuery,
    SandboxState,
    TemplateException,
    TimeoutException,
)
from e2b.sandbox.commands.command_handle import PtySize
from e2b_code_interpreter import AsyncSandbox, Sandbox

SEEN = {}


@contextmanager
def works(*rows):
    yield
    SEEN.update({row: "yes" for row in rows})


@contextmanager
def refused(row, words, kind=Exception):
    try:
        yield
    except kind as error:
        assert words in str(error), f"{row}: {type(error)}: {error}"
        SEEN[row] = "no"
        return
    raise AssertionError(f"{row}: nothing was said")


def wait_until(what, look):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if look():
            return
        time.sleep(0.02)
    raise AssertionError(what)


def lives():
    with works("Sandbox.create", "metadata, envs", "Sandbox.list", "get_info", "set_timeout", "is_running", "connect"):
        sandbox = PlainSandbox.create(timeout=600, metadata={"who": "a test & more"}, envs={"GREETING": "good day"})
        assert sandbox.is_running()
        info = sandbox.get_info()
        assert (info.sandbox_id, info.metadata) == (sandbox.sandbox_id, {"who": "a test & more"}), info
        assert info.state == SandboxState.RUNNING and 590 <= (info.end_at - info.started_at).total_seconds() <= 610
        sandbox.set_timeout(1200)
        assert (sandbox.get_info().end_at - info.end_at).total_seconds() > 500
        other = PlainSandbox.create(timeout=60)
        chosen = PlainSandbox.list(query=SandboxQuery(metadata={"who": "a test & more"})).next_items()
        assert [each.sandbox_id for each in chosen] == [sandbox.sandbox_id], chosen
        pages = PlainSandbox.list(limit=1)
        ids = []
        while pages.has_next:
            ids += [each.sandbox_id for each in pages.next_items()]
        assert ids == [other.sandbox_id, sandbox.sandbox_id], ids
        again = PlainSandbox.connect(sandbox.sandbox_id, timeout=30)
        assert again.commands.run("echo $GREETING").stdout == "good day\n"
        assert (again.get_info().end_at - info.end_at).total_seconds() > 500, "it was not shortened"
    with works("Sandbox.kill"):
        assert other.kill() and not other.kill() and not PlainSandbox.kill("no-such-sandbox")
        assert not other.is_running()
        try:
            other.commands.run("true")
        except TimeoutException as error:
            assert "was not found" in str(error), error
        else:
            raise AssertionError("it is gone")
    with works("idempotency_key"):
        ids = {PlainSandbox.create(idempotency_key="once-1").sandbox_id for _ in range(2)}
        assert len(ids) == 1, ids
        PlainSandbox.kill(ids.pop())
    return sandbox


def commands(sandbox):
    with works("commands.run", "stdout, stderr, exit code", "on_stdout, on_stderr"):
        said = []
        ran = sandbox.commands.run("echo out; echo err >&2; pwd", on_stdout=said.append)
        assert (ran.stdout, ran.stderr, ran.exit_code) == ("out\n/workspace\n", "err\n", 0), ran
        assert "".join(said) == ran.stdout, said
        try:
            sandbox.commands.run("echo why >&2; exit 7")
        except CommandExitException as failed:
            assert (failed.exit_code, failed.stderr) == (7, "why\n"), failed
        else:
            raise AssertionError("it failed")
        large = sandbox.commands.run("head -c 3000000 /dev/zero | tr '\\0' ä", timeout=120)
        assert len(large.stdout.encode("utf-8", "surrogateescape")) >= 3_000_000
    with works("envs, cwd"):
        sandbox.files.make_dir("sub/dir")
        ran = sandbox.commands.run("echo $A $GREETING; pwd", envs={"A": "b"}, cwd="/workspace/sub/dir")
        assert ran.stdout == "b good day\n/workspace/sub/dir\n", ran
    with works("background, wait, commands.list, commands.kill, commands.connect"):
        handle = sandbox.commands.run("echo begun; sleep 600", background=True, timeout=0)
        [listed] = sandbox.commands.list()
        assert (listed.pid, listed.cmd, listed.args[-1]) == (handle.pid, "/bin/bash", "echo begun; sleep 600"), listed
        same = sandbox.commands.connect(handle.pid)
        assert next(iter(same))[0] == "begun\n"
        same.disconnect()
        assert [each.pid for each in sandbox.commands.list()] == [handle.pid], "it goes on without a client"
        assert sandbox.commands.kill(handle.pid) and not sandbox.commands.kill(handle.pid)
        try:
            handle.wait()
        except CommandExitException as ended:
            assert "killed" in ended.error, ended
        else:
            raise AssertionError("it was killed")
        assert sandbox.commands.list() == []
        done = sandbox.commands.run("sleep 0.1; echo done", background=True).wait()
        assert done.stdout == "done\n", done
    with works("timeout of a command"):
        begun = time.monotonic()
        try:
            sandbox.commands.run("sleep 600", timeout=1)
        except TimeoutException:
            assert time.monotonic() - begun < 60
        else:
            raise AssertionError("its time was up")
        wait_until("nothing of it runs", lambda: sandbox.commands.list() == [])
    with works("stdin, send_stdin, close_stdin"):
        handle = sandbox.commands.run("cat; echo end", background=True, stdin=True)
        sandbox.commands.send_stdin(handle.pid, "one ")
        handle.send_stdin("two ")
        handle.close_stdin()
        assert handle.wait().stdout == "one two end\n"
        handle = sandbox.commands.run("cat", background=True)
        assert handle.wait().stdout == "", "there is no input unless it is asked for"
    with works("commands.stream_input"):
        handle = sandbox.commands.run("head -c 600000 | wc -c", background=True, stdin=True)
        sandbox.commands.stream_input(handle.pid, (b"x" * 100_000 for _ in range(6)))
        assert handle.wait().stdout == "600000\n"
    with works("pty"):
        screen = []
        terminal = sandbox.pty.create(PtySize(rows=10, cols=40), timeout=60)
        sandbox.pty.resize(terminal.pid, PtySize(rows=20, cols=50))
        sandbox.pty.send_stdin(terminal.pid, b"stty size; exit 0\n")
        assert terminal.wait(on_pty=screen.append).exit_code == 0
        assert b"20 50" in b"".join(screen), screen
    with refused("user other than `user`", "no root", InvalidArgumentException):
        sandbox.commands.run("true", user="root")
    assert sandbox.commands.run("id -un", user="user").exit_code == 0
    served = sandbox.commands.run("python3 -u -m http.server 8000 --bind 127.0.0.1", background=True, timeout=0)
    assert "Serving" in next(iter(served))[0]
    with refused("a server in one command, reached from another", "code 7", CommandExitException):
        sandbox.commands.run("curl -s http://127.0.0.1:8000/")
    assert sandbox.get_host(8000).endswith(".ports-are-not-served.invalid"), "a name that never leads anywhere"
    SEEN["get_host"] = "no"
    served.kill()
    both = "python3 -m http.server 8000 --bind 127.0.0.1 2> log & until curl -sf http://127.0.0.1:8000/; do :; done; kill $!"
    with works("a server and its client in one command"):
        assert "<html" in sandbox.commands.run(both, timeout=120).stdout.lower()
    with works("get_metrics"):
        busy = sandbox.commands.run("while :; do :; done", background=True, timeout=0)
        # What ended before it has its seconds there too, and the first look at it may come before it has done anything.
        now = []
        wait_until("it was looked at", lambda: now.extend(
            each for each in sandbox.get_metrics()[-1:] if each.cpu_used_pct > 0 and each.mem_used > 0) or now)
        used = now[-1]
        assert used.mem_total >= used.mem_used and used.cpu_count >= 1, used
        assert used.disk_total > 0 and abs(used.timestamp.timestamp() - time.time()) < 300, used
        assert sandbox.get_metrics(end=used.timestamp.replace(year=2000)) == []
        busy.kill()


def files(sandbox):
    fs = sandbox.files
    with works("files.write, files.read"):
        written = fs.write("a/b.txt", "text ü\n")
        assert (written.path, written.name, written.type) == ("/workspace/a/b.txt", "b.txt", FileType.FILE), written
        assert fs.read("a/b.txt") == fs.read("/workspace/a/b.txt") == fs.read("~/a/b.txt") == "text ü\n"
        assert sandbox.commands.run("cat a/b.txt").stdout == "text ü\n"
        many = bytes(range(256)) * 20_000
        fs.write("many", many)
        assert fs.read("many", format="bytes") == many
        assert b"".join(fs.read("many", format="stream")) == many
        fs.write("empty", b"")
        assert fs.read("empty") == ""
        both = fs.write_files([{"path": "one", "data": "1"}, {"path": "d/two", "data": b"2"}])
        assert [each.path for each in both] == ["/workspace/one", "/workspace/d/two"], both
        assert (fs.read("one"), fs.read("d/two")) == ("1", "2")
        fs.write("stream", io.BytesIO(many))
        fs.write("packed", many, gzip=True)
        assert fs.read("packed", format="bytes") == fs.read("stream", format="bytes") == many
        for path in ["none", "d/none"]:
            try:
                fs.read(path)
            except FileNotFoundException:
                continue
            raise AssertionError("there is no such file")
        sandbox.commands.run("printf '#!/bin/sh\\necho ran' > run && chmod +x run && ./run")
        fs.write("run", "#!/bin/sh\necho again\n")
        assert sandbox.commands.run("./run").stdout == "again\n", "it stays executable"
    with works("files.list, files.get_info, files.exists"):
        entries = {each.path: each for each in fs.list("/workspace/a", depth=3)}
        assert set(entries) == {"/workspace/a/b.txt"}, entries
        deep = [each.path for each in fs.list("", depth=2)]
        assert "/workspace/d/two" in deep and "/workspace/d" in deep, deep
        assert "/workspace/d/two" not in [each.path for each in fs.list(".")]
        info = fs.get_info("a/b.txt")
        assert (info.size, info.permissions[0], info.type) == (8, "-", FileType.FILE), info
        assert abs(info.modified_time.timestamp() - time.time()) < 300, info
        assert fs.get_info("/workspace").type == FileType.DIR
        sandbox.commands.run("ln -s one link")
        assert (fs.get_info("link").type, fs.get_info("link").symlink_target) == (FileType.SYMLINK, "one")
        assert fs.exists("one") and not fs.exists("none") and fs.exists("a")
        for path, kind in [("one", InvalidArgumentException), ("none", FileNotFoundException)]:
            try:
                fs.list(path)
            except kind:
                continue
            raise AssertionError(f"{path} is no directory")
    with works("files.make_dir, files.rename, files.remove"):
        assert fs.make_dir("new/dir") and not fs.make_dir("new/dir")
        moved = fs.rename("one", "new/dir/uno")
        assert (moved.path, fs.read("new/dir/uno"), fs.exists("one")) == ("/workspace/new/dir/uno", "1", False)
        fs.write("again", "2")
        fs.rename("again", "new/dir/uno")
        assert fs.read("new/dir/uno") == "2", "what was there is replaced"
        fs.remove("new")
        fs.remove("new")
        assert not fs.exists("new")
    with works("files.watch_dir"):
        fs.make_dir("watched/deep")
        handle, seen = fs.watch_dir("watched"), []
        fs.write("watched/first", "1")
        fs.write("watched/deep/second", "2")
        fs.rename("watched/first", "watched/third")

        def looked():
            seen.extend((event.type.value, event.name) for event in handle.get_new_events())
            return ("create", "third") in seen
        wait_until(f"changes are told", looked)
        assert not [name for _, name in seen if "second" in name], seen
        handle.stop()
        deep = fs.watch_dir("watched", recursive=True)
        seen = []
        fs.write("watched/deep/third", "3")
        wait_until("deeper ones too", lambda: seen.extend(e.name for e in deep.get_new_events()) or "deep/third" in seen)
        deep.stop()
    with works("/home/user"):
        assert fs.write("/home/user/at/home", "b").path == "/workspace/at/home"
        ran = sandbox.commands.run("cat /home/user/at/home; cd /home/user; echo c > at/home", cwd="/home/user/at")
        assert (ran.stdout, fs.read("/home/user/at/home")) == ("b", "c\n"), ran
    with refused("files outside /workspace", "not in /workspace", InvalidArgumentException):
        fs.write("/home/other/a", "b")
    with refused("metadata of files", "0.6.2", TemplateException):
        fs.write("a", "b", metadata={"c": "d"})


def code(sandbox):
    with works("run_code", "results: text, html, png, svg, json", "on_stdout of code"):
        said = []
        ran = sandbox.run_code("import sys\nx = 20\nprint('é', x)\nprint('warned', file=sys.stderr)\nx + 1",
                               on_stdout=lambda message: said.append(message.line))
        assert (ran.text, ran.error) == ("21", None), ran
        assert "".join(ran.logs.stdout) == "".join(said) == "é 20\n" and "".join(ran.logs.stderr) == "warned\n", ran
        again = sandbox.run_code("x * 2")
        assert (again.text, again.execution_count) == ("40", 2), "variables stay"
        failed = sandbox.run_code("def f():\n    return 1 / 0\nf()")
        assert failed.error.name == "ZeroDivisionError" and "line 2" in failed.error.traceback, failed.error
        rich = sandbox.run_code("import pandas; pandas.DataFrame({'a': [1, 2]})")
        assert "<table" in rich.results[0].html and rich.results[0].is_main_result, rich.results
        drawn = sandbox.run_code("import matplotlib.pyplot as plt; plt.plot([1, 4, 9]); 5")
        assert drawn.text == "5", drawn
        [figure] = [each for each in drawn.results if each.png]
        assert figure.png.startswith("iVBOR") and "<svg" in figure.svg, figure
        shown = sandbox.run_code(
            "class A:\n    def _repr_mimebundle_(self, include=None, exclude=None):\n"
            "        return {'application/json': '[1, {\"a\": null}]', 'text/markdown': '*m*', 'x/y': 'z'}\nA()")
        result = shown.results[0]
        assert (result.json, result.markdown, result.extra) == ([1, {"a": None}], "*m*", {"x/y": "z"}), vars(result)
    with works("envs of code"):
        assert sandbox.run_code("import os; os.environ['B'], os.environ['GREETING']",
                                envs={"B": "1 'é\""}).text == repr(("1 'é\"", "hello"))
        assert sandbox.run_code("os.environ.get('B')").text in (None, "None")
    with works("language: javascript, bash"):
        ran = sandbox.run_code("console.log('said'); const o = {a: 6 * 7}; o.a", language="javascript")
        assert (ran.text, ran.logs.stdout) == ("42", ["said\n"]), ran
        sandbox.run_code("V=6", language="bash")
        assert sandbox.run_code("echo $((V * 7)) $C", language="bash", envs={"C": "d"}).logs.stdout == ["42 d\n"]
        assert sandbox.run_code("echo [$C]", language="bash").logs.stdout == ["[]\n"]
    with refused("language: r, java, typescript", "is not run here", SandboxException):
        sandbox.run_code("1", language="r")
    with works("code contexts"):
        sandbox.files.make_dir("place")
        context = sandbox.create_code_context(cwd="/workspace/place", language="python")
        assert context.cwd == "/workspace/place"
        assert sandbox.run_code("import os; os.getcwd()", context=context).text == "'/workspace/place'"
        assert sandbox.run_code("x", context=context).error.name == "NameError", "it has its own variables"
        sandbox.run_code("y = 1", context=context)
        assert context.id in [each.id for each in sandbox.list_code_contexts()]
        sandbox.restart_code_context(context)
        assert sandbox.run_code("os", context=context).error.name == "NameError"
        assert sandbox.run_code("import os; os.getcwd()", context=context).text == "'/workspace/place'"
        sandbox.remove_code_context(context)
        assert context.id not in [each.id for each in sandbox.list_code_contexts()]
    with works("timeout of code"):
        begun = time.monotonic()
        try:
            sandbox.run_code("import time\ntry:\n    time.sleep(600)\nexcept KeyboardInterrupt:\n    stopped = True",
                             timeout=2)
        except TimeoutException:
            assert time.monotonic() - begun < 60
        else:
            raise AssertionError("its time was up")
        assert sandbox.run_code("(x, stopped)").text == "(20, True)", "it was interrupted, and variables stay"
    ended = sandbox.run_code("import os; os._exit(3)")
    assert ended.error.name == "ContextEnded", ended
    assert sandbox.run_code("1 + 1").text == "2", "the next code finds a new one"


def pausing(sandbox):
    with works("pause, connect resumes"):
        sandbox.run_code("kept = 'over a pause'")
        counting = sandbox.commands.run("while :; do date +%s.%N >> beats; sleep 0.05; done", background=True, timeout=0)
        wait_until("it runs", lambda: sandbox.files.exists("beats") and sandbox.files.read("beats"))
        assert sandbox.pause() and not sandbox.pause()
        assert sandbox.get_info().state == SandboxState.PAUSED
        assert not sandbox.is_running()
        try:
            sandbox.commands.run("true")
        except TimeoutException:
            pass
        else:
            raise AssertionError("it is paused")
        time.sleep(1.5)
        same = Sandbox.connect(sandbox.sandbox_id, timeout=600)
        assert same.run_code("kept").text == "'over a pause'"

        def longest_rest():
            beats = [float(line) for line in same.files.read("beats").split("\n")[:-1]]
            return max((after - before for before, after in zip(beats, beats[1:])), default=0)

        wait_until("it goes on, and its time stood still", lambda: longest_rest() > 1.4)
        assert same.commands.kill(counting.pid)
        listed = Sandbox.list(query=SandboxQuery(state=[SandboxState.PAUSED])).next_items()
        assert sandbox.sandbox_id not in [each.sandbox_id for each in listed]


def copies(sandbox):
    wait_until("nothing runs", lambda: sandbox.commands.list() == [])
    with works("create_snapshot, list_snapshots, delete_snapshot"):
        sandbox.files.write("kept/a", "1")
        snapshot = sandbox.create_snapshot(name="first")
        sandbox.files.write("kept/a", "2")
        [listed] = sandbox.list_snapshots().next_items()
        assert (listed.snapshot_id, listed.names) == (snapshot.snapshot_id, ["first"]), listed
        copy, named = (PlainSandbox.create(each, timeout=600) for each in (snapshot.snapshot_id, "first"))
        assert copy.files.read("kept/a") == named.files.read("kept/a") == "1"
        assert copy.commands.run("cat kept/a").stdout == "1"
        assert named.kill() and PlainSandbox.list_snapshots().next_items() == [listed]
        assert PlainSandbox.delete_snapshot(snapshot.snapshot_id)
        assert not PlainSandbox.delete_snapshot(snapshot.snapshot_id)
        assert copy.files.read("kept/a") == "1", "it is a copy"
        assert copy.kill()
    with works("create_snapshot of files alone"):
        busy = sandbox.commands.run("while :; do echo x >> beats; sleep 0.1; done", background=True, timeout=0)
        wait_until("it runs", lambda: sandbox.files.exists("beats"))
        snapshot = sandbox.create_snapshot(mode="filesystem")
        size = sandbox.files.get_info("beats").size
        wait_until("what runs goes on", lambda: sandbox.files.get_info("beats").size > size)
        copy = PlainSandbox.create(snapshot.snapshot_id, timeout=600)
        assert copy.commands.list() == [] and 0 < copy.files.get_info("beats").size <= size
        for ask in (sandbox.fork, sandbox.create_snapshot):
            try:
                ask()
            except SandboxException as error:
                assert "501" in str(error) and "filesystem" in str(error), error
            else:
                raise AssertionError("it has memory")
        assert busy.kill() and copy.kill() and PlainSandbox.delete_snapshot(snapshot.snapshot_id)
    with works("fork"):
        wait_until("nothing runs", lambda: sandbox.commands.list() == [])
        forks = sandbox.fork(timeout=600, count=2)
        assert len({each.sandbox_id for each in [sandbox, *forks]}) == 3, forks
        for fork in forks:
            assert fork.commands.run("echo $(cat kept/a) $GREETING").stdout == "2 good day\n"
            assert fork.get_info().metadata == sandbox.get_info().metadata
            assert fork.kill()


async def waiting():
    with works("AsyncSandbox"):
        sandbox = await AsyncSandbox.create(timeout=600)
        runs = await asyncio.gather(*(sandbox.commands.run(f"echo {n}") for n in range(6)))
        assert [ran.stdout for ran in runs] == [f"{n}\n" for n in range(6)], runs
        codes = await asyncio.gather(*(sandbox.run_code(f"n = {n}; n") for n in range(4)))
        assert sorted(ran.text for ran in codes) == ["0", "1", "2", "3"], codes
        seen = asyncio.Event()
        handle = await sandbox.files.watch_dir(".", on_event=lambda event: event.name == "new" and seen.set())
        await sandbox.files.write("new", b"1")
        await asyncio.wait_for(seen.wait(), 60)
        await handle.stop()
        assert await sandbox.kill()


def refusals(sandbox):
    for row, ask in {
        "network, allow_internet_access": lambda: PlainSandbox.create(allow_internet_access=False),
        "lifecycle: on_timeout pause": lambda: PlainSandbox.create(lifecycle={"on_timeout": "pause"}),
        "volumes": lambda: PlainSandbox.create(volume_mounts={"/data": "v"}),
        "create_snapshot, fork where something runs": lambda: sandbox.fork(),
        "update_network": lambda: sandbox.update_network({"deny_out": ["0.0.0.0/0"]}),
    }.items():
        with refused(row, "501", SandboxException):
            ask()
    with refused("templates of E2B", "no template", SandboxException):
        PlainSandbox.create("my-template")
    with refused("wrong key", "X-API-Key", AuthenticationException):
        PlainSandbox.create(api_key="e2b_" + "0" * 40)
    assert not [each for each in PlainSandbox.list().next_items() if each.sandbox_id != sandbox.sandbox_id]


plain = lives()
commands(plain)
files(plain)
copies(plain)
plain.kill()
asyncio.run(waiting())
sandbox = Sandbox.create(timeout=600, envs={"GREETING": "hello"})
code(sandbox)
pausing(sandbox)
refusals(sandbox)
strict = PlainSandbox.create("strict")
assert strict.commands.run("echo held").stdout == "held\n"
assert strict.kill() and sandbox.kill()
print(json.dumps(SEEN))
