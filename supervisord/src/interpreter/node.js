// What runs inside the sandbox of a Node interpreter; the frames are those of python.py, without `prepare` and
// `main`. A thread reads the channel, since the one that runs a cell may be busy. Cells with `await`
// are evaluated by the REPL, which lets it stand anywhere; their declarations stay like those of the others.

"use strict";
const files = require("node:fs");
const { PassThrough, Writable } = require("node:stream");
const { Worker } = require("node:worker_threads");
const util = require("node:util");
const vm = require("node:vm");
const { stringify } = JSON; // a cell may put another in its place

const RESULTS = 2 << 20;
const LOOKS = 1000; // and of what they look like
const ERROR = 512 << 10;
const NAME = 1024, VALUE = 16384, LINES = 200, LINE = 4096;

function say(frame) {
  const bytes = Buffer.from(stringify(bare(frame)) + "\n");
  for (let at = 0; at < bytes.length; ) {
    try {
      at += files.writeSync(3, bytes, at, bytes.length - at, null);
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1); // it is full: the reader is busy
    }
  }
}

/** Without what it inherits, which a cell can give a `toJSON`. */
function bare(value) {
  if (typeof value !== "object") return value;
  Object.values(value).forEach(bare);
  return Object.setPrototypeOf(value, null);
}

/** Bytes that a text takes in a frame. */
function size(text) {
  if (text.length > RESULTS) return Infinity; // whose escapes could be more than a string holds
  return Buffer.byteLength(stringify(text));
}

// Lone halves of surrogate pairs are no text for anybody else, also where one was cut.
const clean = (text) => (text.toWellFormed ? text.toWellFormed() : Buffer.from(text).toString());

// --- the thread that listens

const state = new Int32Array(new SharedArrayBuffer(8)); // [the cell that runs, the cell to interrupt]
const listener = new Worker(
  `const { Socket } = require("node:net");
   const { parentPort, workerData: state } = require("node:worker_threads");
   let rest = Buffer.alloc(0);
   const end = () => process.kill(process.pid, "SIGKILL"); // nobody is left to run for
   new Socket({ fd: 3 }).on("end", end).on("error", end).on("data", (piece) => {
     rest = Buffer.concat([rest, piece]);
     for (let at; (at = rest.indexOf(10)) >= 0; rest = rest.subarray(at + 1)) {
       let frame;
       try { frame = JSON.parse(rest.subarray(0, at).toString()); } catch { continue; }
       if (frame === null || typeof frame !== "object") continue;
       if (frame.do === "interrupt") {
         Atomics.store(state, 1, frame.number);
         // A pid of 0 is the whole group: programs that the cell has started are its own.
         if (Atomics.load(state, 0) === frame.number) process.kill(0, "SIGINT");
       }
       parentPort.postMessage(frame);
     }
   });`,
  { eval: true, workerData: state },
);

// --- the evaluation

let onInterrupt = null;
process.on("SIGINT", () => onInterrupt?.());
process.on("uncaughtException", complain);

function complain(error) {
  try {
    console.error(error);
  } catch {
    console.error(`An error ${UNTOLD}`);
  }
}

const { Recoverable, start } = require("node:repl");
const repl = start({
  input: new PassThrough(),
  output: new Writable({ write: (_bytes, _encoding, done) => done() }),
  prompt: "",
  terminal: false,
  useGlobal: true,
});
repl.removeAllListeners("exit");
let onError = null;
repl._domain?.removeAllListeners("error");
repl._domain?.on("error", (error) => (onError ?? complain)(error));
globalThis.display = (...values) => values.forEach((value) => keep("display", value));
globalThis.require = require;
globalThis.module = module;

let results, room, looks, dropped;

function keep(kind, value) {
  const data = { "text/plain": util.inspect(value, { depth: 4 }) };
  try {
    const text = stringify(value);
    if (text !== undefined) data["application/json"] = text;
  } catch {} // not everything is JSON
  const kept = {};
  for (const [type, text] of Object.entries(data)) {
    const takes = size(text) + size(type);
    if (takes > room || looks === 0) { dropped += 1; continue; }
    room -= takes;
    looks -= 1;
    kept[type] = clean(text);
  }
  if (Object.keys(kept).length > 0) results.push({ kind, data: kept });
}

// --- what went wrong: whatever of it is the cell's own may throw, loop, or give what is no text

const INTERRUPTED = "ERR_SCRIPT_EXECUTION_INTERRUPTED";
const UNTOLD = "(its text can't be told)";

function told(tell, most = Infinity) {
  try {
    return clean(String(tell()).slice(0, most));
  } catch {
    return UNTOLD;
  }
}

/** The line of the cell's own that threw, if it is known. Node's way to tell it can't be interrupted. */
function pointer(stack, { number, source }) {
  const found = awaits(source) ? null : stack.match(new RegExp(`<cell ${number}>:(\\d+):(\\d+)`));
  if (!found) return [];
  const [, line, column] = found.map(Number);
  const text = source.split("\n")[line - 1] ?? "";
  if (column < 1 || column > text.length) return []; // a stack of the cell's own making
  return [`<cell ${number}>:${line}`, text, `${" ".repeat(column - 1)}^`, ""];
}

function describe(error, cell) {
  let is = false;
  try {
    is = error instanceof Error || (error !== null && typeof error === "object" && "message" in error);
  } catch {} // a proxy's
  const name = told(() => (is && error.name) || typeof error, NAME);
  const value = told(() => (is ? error.message : util.inspect(error)), VALUE);
  const text = told(() => {
    const stack = is ? error.stack : undefined;
    return typeof stack === "string" ? stack : `Uncaught ${util.inspect(error)}`;
  });
  const lines = text.split("\n").filter((line) => !/^    at .*(node:|<anonymous>)/.test(line));
  lines.unshift(...pointer(text, cell));
  const traceback = [];
  let left = ERROR - size(name) - size(value);
  for (const line of lines) {
    const cut = clean(line.slice(0, LINE));
    left -= size(cut) + 1;
    if (left < 0 || traceback.length === LINES) {
      traceback.push(`(${lines.length - traceback.length} lines left out)`);
      break;
    }
    traceback.push(cut);
  }
  return { name, value, traceback };
}

// --- running one

const awaits = (source) => /\bawait\b/.test(source);

function compiled(source, filename) {
  if (/^\s*\{/.test(source) && !/;\s*$/.test(source)) {
    try {
      return new vm.Script(`(${source})`, { filename, columnOffset: -1 });
    } catch {} // a block, not an object
  }
  return new vm.Script(source, { filename });
}

function unwrapped(error) {
  try {
    return error instanceof Recoverable ? error.err : error;
  } catch {
    return error; // a proxy's
  }
}

/** Without `await` a cell is a script: an interrupt ends even one that never comes back here. */
const evaluate = (number, source) =>
  new Promise((done) => {
    let open = true;
    const finish = (threw, value) => {
      if (!open) return; // an earlier cell's, which was interrupted
      open = false;
      onInterrupt = onError = null;
      done({ threw, value });
    };
    onError = (error) => finish(true, error);
    onInterrupt = () => finish(true, Object.assign(new Error("interrupted"), { code: INTERRUPTED }));
    if (Atomics.load(state, 1) === number) return onInterrupt(); // it came first
    const filename = `<cell ${number}>`;
    try {
      if (awaits(source)) {
        repl.eval(source, repl.context, filename, (error, value) => {
          const threw = error !== null && error !== undefined;
          finish(threw, threw ? unwrapped(error) : value);
        });
      } else {
        finish(false, compiled(source, filename).runInThisContext(STOPPABLE));
      }
    } catch (error) {
      finish(true, error);
    }
  });

const STOPPABLE = { breakOnSigint: true, displayErrors: false };
const apart = vm.createContext({});
const calling = new vm.Script("call()");

/** What is shown runs code of the cell's own, which an interrupt ends as it ends a cell. */
function interruptibly(call) {
  apart.call = call;
  calling.runInContext(apart, STOPPABLE);
}

/** Tells how a cell ended. A value that can't be shown is an error. */
function show(done, { threw, value }, cell) {
  if (!threw && value !== undefined) {
    try {
      keep("value", value);
    } catch (error) {
      [threw, value] = [true, error];
    }
  }
  if (!threw) return;
  done.status = told(() => value.code) === INTERRUPTED ? "interrupted" : "error";
  done.error = describe(value, cell);
}

async function run(cell) {
  const { number, source } = cell;
  [results, room, looks, dropped] = [[], RESULTS, LOOKS, 0];
  const done = { is: "done", number, status: "ok", results };
  Atomics.store(state, 0, number);
  const ended = await evaluate(number, source);
  try {
    interruptibly(() => show(done, ended, cell));
  } catch {
    // Nothing but an interrupt leaves it.
    done.status = "interrupted";
    done.error = { name: "Error", value: "interrupted while its end was told", traceback: [] };
  }
  Atomics.store(state, 0, 0);
  results = []; // of what a cell has left running, which shows nothing any more
  if (dropped > 0) done.dropped = dropped;
  return done;
}

// --- cells, one after the other

let last = 0, busy = false, heard = null;
const waiting = [];

async function work() {
  if (busy) return;
  busy = true;
  for (let frame; (frame = waiting.shift()); ) {
    heard = null;
    heard = await run(frame);
    say(heard);
  }
  busy = false;
}

/** What a cell has made of Node no longer tells how one ended: nobody is to wait for it. */
function giveUp(error) {
  complain(error);
  process.kill(process.pid, "SIGKILL");
}

listener.on("message", (frame) => {
  if (frame.do === "cell" && frame.number > last) {
    last = frame.number;
    waiting.push(frame);
    work().catch(giveUp);
  } else if (frame.do === "resume") {
    say({ is: "state", nonce: frame.nonce, last });
    if (heard) say(heard);
  }
});
