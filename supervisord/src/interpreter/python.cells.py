

# --- cells (the rest of python.py) -----------------------------------------------------------------------------------------------


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
        self.results, self.room, self.looks, self.dropped = [], RESULTS, LOOKS, 0
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
            if size > self.room or self.looks == 0:
                self.dropped += 1
                continue
            self.room -= size
            self.looks -= 1
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
