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

# Cells may put others in their places.
dumps, loads, write = json.dumps, json.loads, os.write

# Bytes of the results of one cell, as they stand in a frame. What comes after is counted and left out.
RESULTS = 2 << 20
LOOKS = 1000  # and of what they look like
# Bytes of an error, as they stand in a frame: with those of the results it stays below what the daemon takes.
ERROR = 512 << 10
# Characters of its name and of its text, lines of its traceback, and characters of one of them.
NAME, VALUE, LINES, LINE = 1024, 16384, 200, 4096


def say(frame):
    text = dumps(frame, ensure_ascii=False, separators=(",", ":"))
    left = memoryview(text.encode("utf-8", "replace") + b"\n")
    with turn:
        while left:
            left = left[write(3, left) :]


def size(text):
    """Bytes that a text takes in a frame, where one character can take six."""
    return len(dumps(text, ensure_ascii=False).encode("utf-8", "replace"))


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
            frame = loads(line)
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
