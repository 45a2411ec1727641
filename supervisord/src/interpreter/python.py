# What runs inside the sandbox of a Python interpreter: it takes words from descriptor 3 and runs what they
# bring with the payload's rights. It is handed over on that descriptor by a program of a few lines
# (python.boot.py), so that nothing of it lies in the workspace or in the process's arguments.
#
# A frame is one line of JSON, each way. Whoever takes the other end over begins with an empty line, which
# ends a line that was cut off; lines that are no frame are passed over. "do" frames come, "is" frames go:
#
#   {"do": "prepare", "modules": ["json"]}        imports them; {"is": "prepared", "failed": {"name": "why"}}
#   {"do": "main", "source", "arguments", "environment", "cwd", "path"}
#                                                 runs the text as `python3 -u PATH ARGUMENTS` would, with the
#                                                 file's name, and ends as that does. The channel is closed
#                                                 first and nothing more is said; no other thread was started.
#   {"do": "cell", "number": 7, "source": "1+1"}  runs it after those before; at the end
#                                                 {"is": "done", "number": 7, "status": "ok", "results": [...]}
#   {"do": "interrupt", "number": 7}              KeyboardInterrupt in cell 7, if it runs
#   {"do": "resume", "nonce": "..."}              {"is": "state", "nonce", "last", "running"}, and what was done and
#                                                 may not have been heard once more
#
# Cells have rising numbers; one that is not above the last is passed over, so none runs twice. A cell that
# comes is the word that the end of the one before was heard.

import json
import os
import sys
import types

# Bytes of the results of one cell, as they stand in a frame. What comes after is counted and left out.
RESULTS = 2 << 20
# Characters of an error's text, lines of its traceback, and characters of one of them.
VALUE, LINES, LINE = 16384, 200, 4096


def say(frame):
    text = json.dumps(frame, ensure_ascii=False, separators=(",", ":"))
    left = memoryview(text.encode("utf-8", "replace") + b"\n")
    with turn:
        while left:
            left = left[os.write(3, left) :]


class Unlocked:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False


# Threads that speak take turns; until there are threads nobody has to wait.
turn = Unlocked()


def heard():
    """The next frame; None once nobody speaks any more."""
    while line := channel.readline():
        try:
            frame = json.loads(line)
        except ValueError:
            continue
        if isinstance(frame, dict):
            return frame
    return None


def prepare(modules):
    failed = {}
    for name in modules:
        try:
            __import__(name)
        except BaseException as error:
            failed[name] = f"{type(error).__name__}: {error}"
    say({"is": "prepared", "failed": failed})


def fresh_main():
    """A `__main__` as a new process has it, in the place of the one that holds the program that started us."""
    main = types.ModuleType("__main__")
    before = sys.modules["__main__"].__dict__
    if "__annotations__" in before:
        main.__dict__["__annotations__"] = {}
    main.__dict__["__builtins__"] = before["__builtins__"]
    sys.modules["__main__"] = main
    return main.__dict__


# --- a program -------------------------------------------------------------------------------------------


def become(source, arguments, environment, cwd, path):
    """Makes this process what `python3 -u path arguments` is before its first line."""
    global program
    import _frozen_importlib_external as external

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv[:] = [path, *arguments]
    sys.orig_argv[:] = ["python3", "-u", path, *arguments]
    sys.path.insert(0, os.path.dirname(path))
    for directory in (sys.path[0], cwd):
        sys.path_importer_cache.pop(directory, None)  # looked at when other files were there
    main = fresh_main()
    main["__file__"] = path
    if sys.version_info < (3, 15):
        main["__cached__"] = None
    main["__loader__"] = external.SourceFileLoader("__main__", path)
    os.close(3)
    try:
        program = (compile(source.encode("utf-8", "surrogateescape"), path, "exec", 0, True), main)
    except BaseException as error:
        failed(error)
        raise


def failed(error):
    """The report that Python makes of an uncaught error begins with the program's own lines."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename in ("<string>", "<supervisord>"):
        trace = trace.tb_next
    hook = sys.excepthook

    def report(kind, value, _):
        hook(kind, value.with_traceback(trace), trace)

    sys.excepthook = report


# --- cells -----------------------------------------------------------------------------------------------


class Cells:
    """Runs cells on the main thread, where signals arrive, while another one listens."""

    def __init__(self):
        global turn
        import builtins
        import queue
        import signal
        import threading

        turn = threading.Lock()
        self.waiting = queue.SimpleQueue()
        self.last = 0
        self.kept = []
        self.running = None
        self.to_interrupt = None
        self.loop = None
        self.namespace = fresh_main()
        self.process = os.getpid()
        self.mask = lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        self.signal_group = lambda: os.killpg(0, signal.SIGINT)
        signal.signal(signal.SIGINT, self.on_interrupt)
        sys.path.insert(0, "")
        sys.displayhook = self.display_value
        builtins.display = self.display
        builtins.input = no_input
        os.environ.setdefault("MPLBACKEND", "agg")
        os.set_inheritable(3, False)
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(write_through=False, line_buffering=True)
        self.listener = threading.Thread(target=self.listen, name="supervisord", daemon=True)

    def on_interrupt(self, *_):
        if self.to_interrupt is not None and self.to_interrupt == self.running:
            self.to_interrupt = None
            raise KeyboardInterrupt

    def listen(self):
        self.mask()
        while frame := heard():
            self.take(frame)
        os._exit(0)  # nobody is left to run for

    def take(self, frame):
        match frame.get("do"):
            case "cell" if frame["number"] > self.last:
                self.last = frame["number"]
                self.waiting.put(frame)
            case "interrupt" if frame["number"] == self.last:
                self.to_interrupt = self.last
                if self.running == self.last:
                    self.signal_group()  # programs that the cell has started are its own
            case "resume":
                say({"is": "state", "nonce": frame["nonce"], "last": self.last, "running": self.running})
                for done in self.kept:
                    say(done)

    def serve(self, first):
        self.take(first)
        self.listener.start()
        while True:
            try:
                frame = self.waiting.get()
                self.kept = []
                done = self.run(frame["number"], frame["source"])
                if os.getpid() != self.process:
                    self.leave()  # a fork of ours that came to the end of its cell
                self.kept = [done]
                say(done)
            except KeyboardInterrupt:
                continue  # it came when the cell had ended

    def leave(self):
        flush()
        os._exit(0)

    def run(self, number, source):
        self.results, self.room, self.dropped = [], RESULTS, 0
        error = None
        try:
            try:
                self.running = number
                if self.to_interrupt == number:
                    self.on_interrupt()  # it came first
                self.execute(f"<cell {number}>", source)
                self.collect_figures()
            finally:
                self.running = None
        except BaseException as caught:
            error = self.describe(caught)
        flush()
        done = {"is": "done", "number": number, "status": "ok", "results": self.results}
        if self.dropped:
            done["dropped"] = self.dropped
        if error is not None:
            done["status"], done["error"] = error
        return done

    def execute(self, name, source):
        import ast
        import linecache

        lines = source.splitlines(keepends=True)
        linecache.cache[name] = (len(source), None, lines, name)
        tree = compile(source, name, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, True)
        value = None
        if tree.body and isinstance(tree.body[-1], ast.Expr) and not source.rstrip().endswith(";"):
            value = ast.Expression(tree.body.pop().value)
        if tree.body:
            self.evaluate(compile(tree, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, True))
        if value is not None:
            code = compile(value, name, "eval", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, True)
            sys.displayhook(self.evaluate(code))

    def evaluate(self, code):
        value = eval(code, self.namespace)
        if code.co_flags & 0x80:  # inspect.CO_COROUTINE: there was an await outside of functions
            return self.wait_for(value)
        return value

    def wait_for(self, coroutine):
        import asyncio

        if self.loop is None or self.loop.is_closed():
            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)
        main = self.loop.create_task(coroutine)
        try:
            return self.loop.run_until_complete(main)
        except KeyboardInterrupt:
            main.cancel()
            try:
                self.loop.run_until_complete(main)
            except asyncio.CancelledError:
                pass
            raise

    def describe(self, error):
        """What went wrong as data: the cell's own lines, without ours."""
        import traceback

        trace = error.__traceback__
        while trace is not None and not trace.tb_frame.f_code.co_filename.startswith("<cell "):
            trace = trace.tb_next
        kind = type(error).__name__
        try:
            value = str(error)
        except BaseException:
            value = "(its text can't be told)"
        try:
            told = traceback.TracebackException(type(error), error, trace, compact=True)
            spare_ours(told)
            text = "".join(told.format())
        except BaseException:
            text = f"{kind}: {value}"
        lines = text.splitlines()
        if len(lines) > LINES:
            left_out = f"({len(lines) - LINES} lines left out)"
            lines = lines[: LINES // 2] + [left_out] + lines[-LINES // 2 :]
        lines = [line[:LINE] for line in lines]
        status = "interrupted" if isinstance(error, KeyboardInterrupt) else "error"
        return status, {"name": kind, "value": value[:VALUE], "traceback": lines}

    # --- results

    def display_value(self, value):
        import builtins

        if value is None:
            return
        builtins._ = value
        self.keep("value", rich(value))

    def display(self, *objects):
        for each in objects:
            self.keep("display", rich(each))

    def collect_figures(self):
        helpers = sys.modules.get("matplotlib._pylab_helpers")
        if helpers is None:
            return
        managers = helpers.Gcf.get_all_fig_managers()
        try:
            for manager in managers:
                self.keep("figure", picture(manager.canvas.figure))
        finally:
            if managers:
                helpers.Gcf.destroy_all()

    def keep(self, kind, data):
        kept = {}
        for media_type, text in data.items():
            size = len(json.dumps(text, ensure_ascii=False).encode("utf-8", "replace")) + len(media_type)
            if size > self.room:
                self.dropped += 1
                continue
            self.room -= size
            kept[media_type] = text
        if kept:
            self.results.append({"kind": kind, "data": kept})


def spare_ours(told):
    """Takes our own lines out of a traceback and those of the errors that led to it."""
    while told is not None:
        told.stack[:] = [each for each in told.stack if each.filename != "<supervisord>"]
        told = told.__cause__ or told.__context__


def flush():
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            stream.flush()
        except BaseException:
            pass  # closed, or of the cell's own making


def no_input(prompt=""):
    raise EOFError("cells have no standard input: put what they need into their source or into a file")


REPRESENTATIONS = {
    "text/html": "_repr_html_",
    "text/markdown": "_repr_markdown_",
    "text/latex": "_repr_latex_",
    "image/svg+xml": "_repr_svg_",
    "image/png": "_repr_png_",
    "image/jpeg": "_repr_jpeg_",
    "application/json": "_repr_json_",
}


def rich(value):
    """What a value looks like, by media type; all of it text, bytes in base64."""
    data = {"text/plain": repr(value)}
    if isinstance(value, (dict, list, tuple, str, int, float)):
        try:
            data["application/json"] = json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            pass  # not everything is JSON
    if isinstance(value, type):
        return data
    for media_type, method in REPRESENTATIONS.items():
        if (represent := getattr(type(value), method, None)) is not None:
            add(data, media_type, represent(value))
    if (bundle := getattr(type(value), "_repr_mimebundle_", None)) is not None:
        given = bundle(value)
        given = given[0] if isinstance(given, tuple) else given
        for media_type, each in (given or {}).items():
            add(data, str(media_type), each)
    return data


def add(data, media_type, given):
    given = given[0] if isinstance(given, tuple) else given  # with metadata
    if isinstance(given, (bytes, bytearray)):
        import binascii

        data[media_type] = binascii.b2a_base64(given, newline=False).decode()
    elif isinstance(given, str):
        data[media_type] = given
    elif given is not None:
        data[media_type] = json.dumps(given)


def picture(figure):
    import io

    png, svg = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", bbox_inches="tight")
    figure.savefig(svg, format="svg", bbox_inches="tight")
    data = {"text/plain": repr(figure)}
    add(data, "image/png", png.getvalue())
    add(data, "image/svg+xml", svg.getvalue().decode("utf-8", "replace"))
    return data


# --- the beginning ---------------------------------------------------------------------------------------

sys.path.pop(0)  # the workspace: nothing of it is imported by what we prepare
while True:
    frame = heard()
    match frame and frame.get("do"):
        case None:
            sys.exit(0)
        case "prepare":
            prepare(frame["modules"])
        case "main":
            become(*(frame[name] for name in ("source", "arguments", "environment", "cwd", "path")))
            break
        case "cell" | "resume":
            Cells().serve(frame)
