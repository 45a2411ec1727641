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
import _thread
import atexit
import codecs
import gc
import os
import sys


def park(modules):
    leave_no_trace()
    before = set(sys.modules)
    ahead, kept = [], []
    kept.append(kept)
    at_once, in_order, ending = [], [], []
    atexit.register(let_go, ahead, at_once, in_order, kept, _operator.is_, ending)
    missing = import_quietly([*modules, "_ctypes", "_socket"])
    packages = {name.partition(".")[0] for name in set(sys.modules) - before}
    whole = {name for name, module in sys.modules.items() if type(module) is type(sys)} - ITS_OWN
    ahead.extend(stand_in(name) for name in whole & before)
    later = [stand_in(name) for name in whole - before]
    at_once.extend(([each[field] for each in later] for field in range(6)))
    at_once.append({name: other for name, _, other, *_ in later})
    pipe, home = find_pipe(), os.environ["HOME"]
    native = not {"_ctypes", "_socket"} & set(missing)
    holder = hold_memory(pipe, kept) if native else None
    exercise()
    gc.collect()
    ending.append(see_what_ends() if native else None)
    gc.freeze()  # what was imported, and `kept`, is looked through by no later collection
    ending.append(renew_main())
    in_order.extend(module for name, module in sys.modules.items() if name != "usercustomize")
    as_it_is = [*map("=".join, os.environ.items())]
    before = whole = later = None  # what takes time to free
    os.write(1, b"parked " + " ".join(missing).encode() + b"\n")
    directory, arguments, environment = read_start(pipe)
    os.close(pipe)
    if environment != as_it_is:
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
    return tuple(vars(main)), main.__loader__


# What the interpreter takes apart in ways of its own, and this file.
ITS_OWN = {"__main__", "builtins", "sys", "usercustomize"}


class Module:
    """Stands for a module that is not to be taken apart, and has its names."""


def stand_in(name):
    module, other = sys.modules[name], Module()
    other.__dict__ = names = module.__dict__
    # What programs put others in the places of; packages have too many values to look at each.
    is_of_python = name.partition(".")[0] in sys.stdlib_module_names
    return name, module, other, names, len(names), tuple(names.values()) if is_of_python else ()


def let_go(ahead, at_once, in_order, kept, same, ending):
    """The last thing to be called at exit: takes what was there before the program out of the interpreter's sight.

    Otherwise it would take all of that apart, name by name, before the process ends; that takes longer than
    most programs. Whoever imports it after this finds its names all the same. Modules to which a program has
    added something are left to the interpreter, and of Python's own library also those in which it has replaced
    something. What the program itself has made is not kept from any collection.
    """
    modules = sys.modules
    are_there = begins_with(modules.values(), in_order)
    in_order.clear()  # the program's own is among them
    for name, module, other, names, size, values in ahead:
        if len(names) == size and modules.get(name) is module and all(map(same, names.values(), values)):
            modules[name] = other
    # Of hundreds, most programs change none, and import others after them.
    called, held, others, dictionaries, sizes, values, stand_ins = at_once
    is_same = [
        len(names) == size and all(map(same, names.values(), had))
        for names, size, had in zip(dictionaries, sizes, values)
    ]
    if are_there and all(is_same):
        modules.update(stand_ins)
    else:
        for name, module, other, unchanged in zip(called, held, others, is_same):
            if unchanged and modules.get(name) is module:
                modules[name] = other
    kept += [ahead, at_once, ending]
    if has_come_to_its_end(*ending):
        codecs.register_error("usercustomize.leave", Leave(*ending[0][:1]))


def begins_with(things, first):
    """Whether they begin with the very same things, in the same order."""
    return len(things) >= len(first) and all(map(_operator.is_, things, first))


class Leave:
    """Ends the process, with status 0, when the interpreter lets go of it.

    What it lets go of last are handlers, as those of encodings' errors, and what goes in circles among all that. By
    then whatever a program has made is gone, with what its finalizers say, and its streams are flushed. What is left
    is to take itself apart, string by string, and then the C libraries, one by one: that takes longer than the rest
    of an end, and shows nothing.
    """

    def __init__(self, flush):
        self.flush, self.itself = flush, self

    def __call__(self, error):
        raise error

    def __del__(self, leave=os._exit):
        self.flush(None)  # what the C library holds back of any stream
        leave(0)


def has_come_to_its_end(seen, fresh):
    """Whether the program has run to the end of its file, so that the interpreter is going to end with status 0.

    What called this tells the end of a file from an exit. An exception that nobody took is left where debuggers
    look for it, and is still there if the program has no hook, handler or thread that could have taken it away.
    Whatever is other than in most programs, or has come near to C, ends as it always does.
    """
    if seen is None:
        return False
    flush, streams, hook, callbacks, kinds, last, frames, backtrace, (finalize, run) = seen
    names, loader = fresh
    try:
        of_main, of_sys = vars(sys.modules["__main__"]), vars(sys)
        return (
            begins_with(of_main, names)
            and of_main["__loader__"] is not loader  # it was begun
            and "__file__" not in of_main  # the interpreter has cleared up after it
            and "__cached__" not in of_main
            and not any("last_" + name in of_sys for name in ("exc", "type", "value", "traceback"))
            and sys.excepthook is hook
            and atexit._ncallbacks() == callbacks
            and _thread._count() == 0
            and gc.get_debug() == 0  # which may have a word at each collection's end
            and begins_with((sys.stdout, sys.stderr), streams)
            and all(it.closed or it.write_through for it in streams)  # so that no flush can fail
            and len(kinds[0]()) == kinds[1]  # it has called no C function, of which some are for an end
            and not last[3]  # it has loaded no library
            and is_called_by(frames[: backtrace(frames, len(frames))], finalize, run)
        )
    except BaseException:
        return False  # it is the interpreter's to end, and to say what is wrong


def is_called_by(addresses, callee, caller):
    """Whether in a chain of return addresses, innermost first, one function was called by another."""
    for address, above in zip(addresses, addresses[1:]):
        if address in callee:
            return above in caller
    return False


def see_what_ends():
    """What it takes to see how a program ends; nothing where that is not to be seen or not known."""
    import _ctypes

    streams = sys.stdout, sys.stderr
    known = sys.implementation.name == "cpython" and (3, 10) <= sys.version_info < (3, 13)
    if not known or sys.maxsize < 1 << 32 or not all(hasattr(it, "write_through") for it in streams):
        return None
    simple = {
        name: type(name, (_ctypes._SimpleCData,), {"_type_": name}) for name in ("P", "Q", "i")
    }
    five = type("five", (_ctypes.Array,), {"_type_": simple["P"], "_length_": 5})
    chain = type("chain", (_ctypes.Array,), {"_type_": simple["P"], "_length_": 64})
    library = _ctypes.dlopen(None, 0)
    of_c = {"_flags_": 0x1 | 0x4, "_restype_": simple["i"]}  # without giving way to other threads
    kind = type("function", (_ctypes.CFuncPtr,), of_c)

    def function(name):
        return kind(_ctypes.dlsym(library, name))

    def extent(name):
        """The addresses to which a function's calls return, by the symbol's size."""
        begin, symbol = _ctypes.dlsym(library, name), simple["P"]()
        found = function("dladdr1")(simple["P"](begin), five(), _ctypes.byref(symbol), 1)
        size = simple["Q"].from_address(symbol.value + 16).value if found else 0
        return range(begin + 1, begin + size + 1)

    try:
        backtrace, flush = function("backtrace"), function("fflush")
        extents = extent("Py_FinalizeEx"), extent("Py_RunMain")
    except (OSError, TypeError):
        return None  # another C library
    frames = chain()
    backtrace(frames, len(frames))  # the first call loads what it needs
    last = five.from_address(library)  # a link_map: its address, name, section, the next and the one before
    while last[3]:
        last = five.from_address(last[3])
    kinds = _ctypes.CFuncPtr.__subclasses__, len(_ctypes.CFuncPtr.__subclasses__())
    return flush, streams, sys.excepthook, atexit._ncallbacks(), kinds, last, frames, backtrace, extents


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


