

# --- cells (the rest of python.py) -----------------------------------------------------------------------------------------------


class Cells:
    """Runs cells on the main thread, where signals arrive, while another one listens."""

    def __init__(self):
        global ast, linecache, traceback, turn
        import ast  # and the others now: as soon as the workspace is on the path, its files take their names
        import builtins
        import linecache
        import queue
        import signal
        import threading
        import tokenize  # for linecache, which imports it late
        import traceback

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
        self.path = sys.path[:]
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
        self.results, self.room, self.looks, self.dropped = [], RESULTS, LOOKS, 0
        try:
            try:
                self.running = number
                ended = self.attempt(number, source)
            finally:
                self.running = None
        except BaseException as error:  # an interrupt that came while an error was told or output was written
            ended = plain(error)
        done = {"is": "done", "number": number, "results": self.results, **ended}
        if self.dropped:
            done["dropped"] = self.dropped
        return done

    def attempt(self, number, source):
        """Runs a cell; how it ended. Its error is told in here, where an interrupt ends what is the cell's own."""
        try:
            if self.to_interrupt == number:
                self.on_interrupt()  # it came first
            self.execute(f"<cell {number}>", source)
            self.collect_figures()
        except BaseException as error:
            return describe(error)
        finally:
            flush()
        return {"status": "ok"}

    def execute(self, name, source):
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
        asyncio = self.asyncio()
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

    def asyncio(self):
        """Python's own, whatever lies in the workspace; it takes too long to be imported for those who don't await."""
        path, sys.path[:] = sys.path[:], self.path
        try:
            import asyncio
        finally:
            sys.path[:] = path
        return asyncio

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
            takes = size(text) + size(media_type)
            if takes > self.room or self.looks == 0:
                self.dropped += 1
                continue
            self.room -= takes
            self.looks -= 1
            kept[media_type] = text
        if kept:
            self.results.append({"kind": kind, "data": kept})


# --- what went wrong, as data: whatever of it is the cell's own may raise, loop, or give what is no text ------

UNTOLD = "(its text can't be told)"


def describe(error):
    """The cell's own lines, without ours."""
    value = UNTOLD
    try:
        value = str.__str__(str(error))
    except KeyboardInterrupt:
        raise
    except BaseException:
        pass
    try:
        trace = error.__traceback__
        while trace is not None and not trace.tb_frame.f_code.co_filename.startswith("<cell "):
            trace = trace.tb_next
        told = traceback.TracebackException(type(error), error, trace, compact=True)
        spare_ours(told)
        text = "".join(told.format())
    except KeyboardInterrupt:
        raise
    except BaseException:
        text = f"{name_of(error)}: {value}"
    return as_data(error, value, text.splitlines())


def plain(error):
    """What can be told without running anything of the cell's own."""
    return as_data(error, UNTOLD, [f"{name_of(error)}: {UNTOLD}"])


def name_of(error):
    return str.__str__(type.__dict__["__name__"].__get__(type(error)))[:NAME]


def as_data(error, value, lines):
    name, value = name_of(error), value[:VALUE]
    status = "interrupted" if issubclass(type(error), KeyboardInterrupt) else "error"
    lines = excerpt(lines, ERROR - size(name) - size(value))
    return {"status": status, "error": {"name": name, "value": value, "traceback": lines}}


def excerpt(lines, room):
    """The first and the last lines, as many as there may be and as have room."""
    first = fitting(lines, LINES // 2, room // 2)
    last = fitting(reversed(lines[len(first) :]), LINES // 2, room // 2)
    left_out = len(lines) - len(first) - len(last)
    return first + [f"({left_out} lines left out)"] * (left_out > 0) + last[::-1]


def fitting(lines, most, room):
    kept = []
    for line in lines:
        line = line[:LINE]
        room -= size(line) + 1
        if len(kept) == most or room < 0:
            break
        kept.append(line)
    return kept


def spare_ours(told):
    """Takes our own lines out of a traceback and those of the errors that led to it."""
    while told is not None:
        told.stack[:] = [each for each in told.stack if each.filename != "<supervisord>"]
        told = told.__cause__ or told.__context__


def flush():
    for name in ("stdout", "stderr", "__stdout__", "__stderr__"):
        try:
            getattr(sys, name).flush()
        except KeyboardInterrupt:
            raise
        except BaseException:
            pass  # closed, gone, or of the cell's own making


def no_input(prompt=""):
    raise EOFError("cells have no standard input: put what they need into their source or into a file")


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
