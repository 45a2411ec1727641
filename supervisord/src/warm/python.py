"""What a parked Python does before it waits, and when it is told what to run.

The interpreter is started as `python3 -u /workspace/main.py`, with this file in a place of its own where the `site` module looks
for `usercustomize`, so it runs when everything is set up but before the program is opened. It imports what
programs usually import, says on standard output that it is parked, and waits at the pipe by which the start
message came for a second message of the same form. Then it returns, and the interpreter goes on by itself:
it opens /workspace/main.py, which is there by now, and no frame, module or name of this file is left.

What would act otherwise on an interpreter that is started only then starts one: where a file of the
workspace stands in for a module that was imported here, or where the user's own site directory appears.
"""

import _operator
import atexit
import gc
import os
import sys


def park(modules):
    leave_no_trace()
    before = set(sys.modules)
    ahead, kept = [], []
    kept.append(kept)
    at_once = []
    atexit.register(let_go, ahead, at_once, kept, _operator.is_)
    missing = import_quietly([*modules, "_ctypes", "_socket"])
    packages = {name.partition(".")[0] for name in set(sys.modules) - before}
    whole = {name for name, module in sys.modules.items() if type(module) is type(sys)} - ITS_OWN
    ahead.extend(stand_in(name, True) for name in whole & before)
    later = [stand_in(name, False) for name in whole - before]
    at_once.extend(([each[field] for each in later] for field in range(5)))
    at_once.append({each[0]: each[2] for each in later})
    pipe, home = find_pipe(), os.environ["HOME"]
    native = not {"_ctypes", "_socket"} & set(missing)
    holder = hold_memory(pipe, kept) if native else None
    exercise()
    gc.collect()
    gc.freeze()  # what was imported, and `kept`, is looked through by no later collection
    renew_main()
    os.write(1, b"parked " + " ".join(missing).encode() + b"\n")
    directory, arguments, environment = read_start(pipe)
    os.close(pipe)
    set_environment(environment)
    if home != os.environ["HOME"]:
        renew_home()
    os.chdir(directory)
    if any(entry == ".local" or entry.partition(".")[0] in packages for entry in os.listdir("/workspace")):
        start_anew(arguments, holder)
    sys.argv[1:] = arguments[3:]
    sys.orig_argv[:] = arguments


def leave_no_trace():
    directory = os.path.dirname(__file__)
    sys.path.remove(directory)
    sys.path_importer_cache.pop(directory, None)
    del os.environ["PYTHONPATH"]
    for place, _, files in os.walk(directory, topdown=False):
        for name in files:
            os.unlink(os.path.join(place, name))
        os.rmdir(place)


def import_quietly(modules):
    """Imports modules, with nothing of what they say in the output; the names of those that failed."""
    kept = [os.dup(number) for number in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    missing = []
    for number in (1, 2):
        os.dup2(nowhere, number)
    for name in modules:
        try:
            __import__(name)
        except BaseException:  # whatever a module does, the program gets to see it when it imports it
            missing.append(name)
    for number, saved in zip((1, 2), kept):
        os.dup2(saved, number)
        os.close(saved)
    os.close(nowhere)
    return missing


def exercise():
    """Compiles and runs a line, so that the pages that every program needs are there, and what a claim does."""
    import io

    os.environ.update(os.environ.copy())
    exec(compile("print(len([1.5, 'a']), file=out, flush=True)", "-", "exec"), {"out": io.StringIO()})


def renew_main():
    """Makes the program's own namespace anew: a frozen one would keep what it is given from every collection."""
    main = type(sys)("__main__")
    vars(main).update(vars(sys.modules["__main__"]))
    sys.modules["__main__"] = main


# What the interpreter takes apart in ways of its own, and this file.
ITS_OWN = {"__main__", "builtins", "sys", "usercustomize"}


class Module:
    """Stands for a module that is not to be taken apart, and has its names."""


def stand_in(name, exact):
    module, other = sys.modules[name], Module()
    other.__dict__ = names = module.__dict__
    return name, module, other, names, len(names), tuple(names.values()) if exact else ()


def let_go(ahead, at_once, kept, same):
    """The last thing to be called at exit: takes what was there before the program out of the interpreter's sight.

    Otherwise it would take all of that apart, name by name, before the process ends; that takes longer than
    most programs. Whoever imports it after this finds its names all the same. Modules to which a program has
    added something are left to the interpreter, and of those that each program has, also those in which it has
    replaced something. What the program itself has made is not kept from any collection.
    """
    modules = sys.modules
    for name, module, other, names, size, values in ahead:
        if len(names) == size and modules.get(name) is module and all(map(same, names.values(), values)):
            modules[name] = other
    # Of hundreds, most programs change none.
    called, held, others, dictionaries, sizes, stand_ins = at_once
    if [*map(len, dictionaries)] == sizes and all(map(same, map(modules.get, called), held)):
        modules.update(stand_ins)
    else:
        for name, module, other, names, size in zip(called, held, others, dictionaries, sizes):
            if len(names) == size and modules.get(name) is module:
                modules[name] = other
    kept += [ahead, at_once]


def hold_memory(pipe, kept):
    """Starts a process that has this one's memory, no descriptor and nothing to do; its number, if there is one.

    The kernel takes an address space apart when the last process in it ends, and whoever waits for that process
    waits for that: longer than most programs take. This way it is done when the program's end is known, by the
    kill that ends whatever is left in a sandbox. The process is init's child, so the program has none that it
    did not make.
    """
    import _ctypes
    import _socket

    clone_vm, clone_parent = 0x100, 0x8000
    byte = type("byte", (_ctypes._SimpleCData,), {"_type_": "B"})
    pointer = type("pointer", (_ctypes._SimpleCData,), {"_type_": "P"})
    stack = type("stack", (_ctypes.Array,), {"_type_": byte, "_length_": 16384})()
    kept.append(stack)
    top = (_ctypes.addressof(stack) + 16384) & ~15
    library = _ctypes.dlopen(None, 0)
    clone, pause = (_ctypes.dlsym(library, name) for name in ("clone", "pause"))
    # Descriptors that are on their way are nobody's: the copy gets the other end of that way and no more.
    numbers = [0, 1, 2, pipe]
    away, back = _socket.socketpair()
    sent = b"".join(number.to_bytes(4, sys.byteorder) for number in numbers)
    away.sendmsg([b"-"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, sent)])
    away.close()
    for number in numbers:
        os.close(number)
    holder = _ctypes.call_cdeclfunction(clone, (pointer(pause), pointer(top), clone_vm | clone_parent, None))
    _, [(_, _, came)], _, _ = back.recvmsg(1, _socket.CMSG_SPACE(len(sent)))
    back.close()
    for number, place in zip(numbers, range(0, len(came), 4)):
        # The lowest numbers are free, so they come as they were, or below.
        now = int.from_bytes(came[place : place + 4], sys.byteorder)
        if now != number:
            os.dup2(now, number)
            os.close(now)
        os.set_inheritable(number, True)
    return holder if holder > 0 else None  # without one an end takes longer


def find_pipe():
    """The descriptor besides the standard streams, of a number that nobody agreed on."""
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) > 2 and os.fstat(int(name)).st_mode & 0o170000 == 0o010000:
                return int(name)
        except OSError:
            pass  # the directory that was being listed
    raise OSError("there is no pipe to wait at")


def read_start(pipe):
    def take(count):
        parts = []
        while count > 0:
            part = os.read(pipe, count)
            if not part:
                os._exit(1)  # nobody is left who could say anything
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    length, arguments, variables = (int.from_bytes(take(4), "little") for _ in range(3))
    texts = [os.fsdecode(text) for text in take(length - 12).split(b"\0")]
    return texts[0], texts[1 : 1 + arguments], texts[1 + arguments : 1 + arguments + variables]


def set_environment(environment):
    wanted = dict(entry.split("=", 1) for entry in environment)
    if dict(os.environ) != wanted:
        os.environ.clear()
        os.environ.update(wanted)  # all of them, for their order


def renew_home():
    """In a session the workspace is the home of programs, and not yet of what is parked."""
    import site

    site.USER_BASE = site.USER_SITE = None
    site.getusersitepackages()


def start_anew(arguments, holder):
    import signal

    if holder is not None:
        os.kill(holder, signal.SIGKILL)  # the memory is of no more use
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execve(sys.executable, arguments, os.environ)


