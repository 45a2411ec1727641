# Programs whose behaviour is compared. Each begins with a line of dashes and its name.
#--- names
import os
import sys

print(sys.argv, sys.orig_argv, __name__, __file__, __doc__, __spec__, __package__, type(__loader__))
print(sys.path, sys.flags, os.getcwd(), os.getpid(), sys.executable)
print(sorted(globals()), "usercustomize" in sys.modules, sys.gettrace())
#--- descriptors
import os

print(sorted(os.listdir("/proc/self/fd"))[:3], len(os.listdir("/proc/self/fd")), os.listdir("."))
#--- environment
import os
import subprocess
import sys

print(list(os.environ.items()), flush=True)
subprocess.run(["env"], check=True)
subprocess.run([sys.executable, "-c", "import sys; print(sys.path)"], check=True)
#--- standard input
import sys

print(repr(input()))
print(repr(sys.stdin.read()), sys.stdin.isatty(), sys.stdin.encoding, sys.stdout.encoding)
#--- traceback
def inner(value):
    return {}[value]


def outer():
    try:
        inner("missing")
    except KeyError as error:
        raise ValueError("no such thing") from error


print("before")
outer()
#--- syntax
print("never"
x = = 1
#--- stack
import inspect
import sys
import traceback
import warnings

traceback.print_stack()
print(len(inspect.stack()), sys._getframe().f_back)
warnings.warn("here", stacklevel=1)
warnings.warn("there", stacklevel=2)


def depth(count):
    try:
        return depth(count + 1)
    except RecursionError:
        return count


print(depth(0), sys.getrecursionlimit())
#--- exit with a number
import sys

sys.exit(3)
#--- exit with words
import sys

sys.exit("it is over")
#--- exit at once
import os

os._exit(9)
#--- killed
import os
import signal

print("to the end")
os.kill(os.getpid(), signal.SIGKILL)
#--- aborted
import os

os.abort()
#--- interrupted
raise KeyboardInterrupt
#--- signals
import signal

print([(each, signal.getsignal(each)) for each in sorted(signal.valid_signals()) if each < 32])
print(signal.pthread_sigmask(signal.SIG_BLOCK, []))
#--- at the end
import atexit
import threading
import time


class Last:
    def __del__(self):
        print("deleted")


last = Last()
atexit.register(print, "at exit")
threading.Thread(target=lambda: (time.sleep(0.05), print("thread"))).start()
print("main")
#--- stand-in
import json

print(json.dumps([1]))
#--- beside
import beside
import importlib.util

print(beside.value, beside.__file__, open("data/in.txt").read(), importlib.util.find_spec("absent"))
#--- processes
import multiprocessing
import os


def work(number):
    return number * 2


if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        print(pool.map(work, [1, 2, 3]))
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map(work, [1, 2, 3]))
    print(os.waitstatus_to_exitcode(os.system("exit 4")))
#--- homes
import os
import site
import tempfile

print(site.ENABLE_USER_SITE, site.USER_BASE, site.USER_SITE, os.path.expanduser("~"))
print(os.listdir("/tmp"), tempfile.gettempdir(), os.getcwd())
#--- encodings
import locale
import sys

print("\u00fc\u4e2d", locale.getlocale(), sys.getfilesystemencoding(), sys.stderr.errors)
#--- unraisable
import sys

sys.unraisablehook = lambda it: print(it.exc_type, it.exc_value, it.err_msg, it.exc_traceback.tb_lineno)


class Bad:
    def __del__(self):
        raise RuntimeError("in the end")


Bad()
#--- limits
import resource

for name in sorted(each for each in dir(resource) if each.startswith("RLIMIT")):
    print(name, resource.getrlimit(getattr(resource, name)))
#--- modules
import json
import random
import sys
import tempfile

print(tempfile.gettempdir(), json.dumps({"a": [1, 2.5, None]}), 0 <= random.random() < 1)
import asyncio

asyncio.run(asyncio.sleep(0))
print("asyncio" in sys.modules)
#--- a file that is left open
import atexit


def show():
    print(open("left.txt").read() == "", flush=True)


left = open("left.txt", "w")
left.write("later")
atexit.register(show)
#--- a generator that is left
def steps():
    try:
        yield 1
    finally:
        print("left")


left = steps()
next(left)
#--- a weak reference that is left
import weakref


class Left:
    pass


left = Left()
left.itself = left
watch = weakref.ref(left, lambda _: print("gone"))
#--- names that are gone, and an exit
import sys

del __file__, __cached__
sys.last_value = None
sys.exit(5)
#--- an exception that is left
import sys

sys.excepthook = lambda kind, value, trace: print("taken", kind, value)
{}["missing"]
#--- a program that looks at a failure and goes on
import code

code.InteractiveConsole().runsource("1 / 0")
print("goes on")
#--- a thread that is left
import threading
import time

threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
print("main")
#--- what the C library holds back
import ctypes

ctypes.CDLL(None).printf(b"held back")
#--- a standard stream that is gone
import os

print("before")
os.close(1)
#--- plain things that are left
class Plain:
    def __init__(self):
        self.itself = [self]


left = {"plain": Plain(), "function": lambda: left, "lists": [[number] for number in range(10)]}
print(len(left))
#--- more than is looked through
left = [[number] for number in range(50_000)]
print(len(left))
#--- imports at the very end
class Late:
    def __del__(self):
        try:
            import json
            import os

            print(json.dumps([1]), os.sep)
        except ImportError as error:
            print(error)


late = Late()
#--- a module of every program in which something is replaced
import os


class Environment(dict):
    def __del__(self):
        print("the environment has gone")


os.environ = Environment(os.environ)
#--- a module to which something is added
import os


class Added:
    def __del__(self):
        print("what was added has gone")


os.added = Added()
#--- a module of the program's own
import sys
import types


class Inside:
    def __del__(self):
        print("what was inside has gone")


own = types.ModuleType("own")
own.inside = Inside()
sys.modules["own"] = own
#--- words at the end
import atexit
import logging
import weakref

logging.basicConfig(level=logging.INFO)
atexit.register(logging.info, "late")


class Finalized:
    pass


finalized = Finalized()
weakref.finalize(finalized, print, "finalized")
#--- modules anew
import importlib
import json
import os

importlib.reload(json)
importlib.reload(os)
print(json.dumps({"name": os.name}))
#--- modules that are forgotten
import sys

sys.modules.pop("os")
sys.modules.pop("io")
import os

print(os.name, open("data/in.txt").read())
#--- an exit behind two names that are gone
import sys

del __file__, __cached__
sys.exit(5)
#--- an exit behind all names that are gone
import sys

for name in [*globals()]:
    if name != "sys":
        del globals()[name]
sys.exit(3)
#--- an exit that C is asked for
import ctypes

del __file__, __cached__
ctypes.pythonapi.Py_Exit(6)
#--- an exit behind another main module
import sys
import types

other = types.ModuleType("__main__")
vars(other).update({name: it for name, it in globals().items() if name not in ("__file__", "__cached__")})
sys.modules["__main__"] = other
sys.exit(9)
#--- an exit that comes to nothing
import sys

try:
    sys.exit(3)
except SystemExit:
    pass
#--- a failure that a hook hides
import sys


def hide(*_):
    for name in ("type", "value", "traceback", "exc"):
        vars(sys).pop("last_" + name, None)


sys.excepthook = hide
1 / 0
#--- a failure that is hidden at exit
import atexit
import sys


def hide():
    for name in ("type", "value", "traceback", "exc"):
        vars(sys).pop("last_" + name, None)


atexit.register(hide)
1 / 0
#--- a finalizer that ends the process
import os


class Last:
    def __del__(self):
        os._exit(7)


last = Last()
#--- a stream that can't be flushed
import io
import sys


class Stream(io.StringIO):
    def __repr__(self):
        return "a stream"

    def flush(self):
        raise OSError("no")


sys.stdout = Stream()
#--- a stream that holds words back until nobody takes them
import os
import sys

sys.stdout.reconfigure(write_through=False, line_buffering=False)
sys.stdout.write("held back")
os.close(1)
#--- a stream that is closed
import sys

sys.stdout.close()
#--- a stream that is taken apart
import sys

sys.stdout.detach()
#--- what C is to call at exit
import ctypes

library = ctypes.CDLL(None)
library.on_exit(library.abort, 0)
#--- a library that is loaded
import sqlite3

print(sqlite3.connect(":memory:").execute("select 1").fetchall())
#--- children that end in ways of their own
import os
import sys

for way in (lambda: None, lambda: sys.exit(4), lambda: 1 / 0):
    child = os.fork()
    if child == 0:
        way()
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
#--- what the interpreter itself has been given
import codecs
import os
import threading


class Given:
    def __init__(self, name):
        self.name = name.encode()

    def __call__(self, *_):
        pass

    def __del__(self, write=os.write):
        write(1, self.name)


codecs.register_error("given", Given("handler "))
os.register_at_fork(before=Given("fork "))
local = threading.local()
local.given = Given("thread ")
#--- a file that a function holds which replaced another's
import json


def trace(log, real=json.dumps):
    def dumps(value, **more):
        log.write(repr(value))
        return real(value, **more)

    return dumps


class Log:
    def __init__(self):
        self.kept = []

    def write(self, text):
        self.kept.append(text)

    def __del__(self, print=print):
        print("kept", self.kept)


json.dumps = trace(Log())
print(json.dumps([1]))
