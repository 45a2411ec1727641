// What runs inside the sandbox of a Node interpreter; the frames are those of python.py, without `prepare` and
// `main`. A thread reads the channel, since the one that runs a cell may be busy. Cells with `await`
// are evaluated by the REPL, which lets it stand anywhere; their declarations stay like those of the others.

"use strict";
const files = require("node:fs");
const { PassThrough, Writable } = require("node:stream");
const { Worker } = require("node:worker_threads");
const util = require("node:util");
const vm = require("node:vm");

const RESULTS = 2 << 20;
const LOOKS = 1000; // and of what they look like
const VALUE = 16384, LINES = 200, LINE = 4096;

function say(frame) {
  const bytes = Buffer.from(JSON.stringify(frame) + "\n");
  for (let at = 0; at < bytes.length; ) {
    try {
      at += files.writeSync(3, bytes, at, bytes.length - at, null);
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1); // it is full: the reader is busy
    }
  }
}

// Lone halves of surrogate pairs are no text for anybody else.
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
process.on("uncaughtException", (error) => console.error(error));

const repl = require("node:repl").start({
  input: new PassThrough(),
  output: new Writable({ write: (_bytes, _encoding, done) => done() }),
  prompt: "",
  terminal: false,
  useGlobal: true,
});
repl.removeAllListeners("exit");
let onError = null;
repl._domain?.removeAllListeners("error");
repl._domain?.on("error", (error) => (onError ? onError(error) : console.error(error)));
globalThis.display = (...values) => values.forEach((value) => keep("display", value));
globalThis.require = require;
globalThis.module = module;

let results, room, looks, dropped;

function keep(kind, value) {
  const data = { "text/plain": typeof value === "string" ? util.inspect(value) : util.inspect(value, { depth: 4 }) };
  try {
    const text = JSON.stringify(value);
    if (text !== undefined) data["application/json"] = text;
  } catch {} // not everything is JSON
  const kept = {};
  for (const [type, text] of Object.entries(data)) {
    const size = Buffer.byteLength(JSON.stringify(text)) + type.length;
    if (size > room || looks === 0) { dropped += 1; continue; }
    room -= size;
    looks -= 1;
    kept[type] = clean(text);
  }
  if (Object.keys(kept).length > 0) results.push({ kind, data: kept });
}

function describe(error) {
  const is = error instanceof Error || (error !== null && typeof error === "object" && "message" in error);
  const text = is && typeof error.stack === "string" ? error.stack : `Uncaught ${util.inspect(error)}`;
  const lines = text.split("\n").filter((line) => !/^    at .*(node:|<anonymous>)/.test(line));
  return {
    name: clean(String((is && error.name) || typeof error)),
    value: clean(String(is ? error.message : util.inspect(error))).slice(0, VALUE),
    traceback: lines.slice(0, LINES).map((line) => clean(line).slice(0, LINE)),
  };
}

/** Without `await` a cell is a script: an interrupt ends even one that never comes back here. */
function execute(source, filename) {
  const options = { filename, breakOnSigint: true };
  if (/^\s*\{/.test(source) && !/;\s*$/.test(source)) {
    try {
      return new vm.Script(`(${source.trim()})`, { filename }).runInThisContext(options);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error; // a block, not an object
    }
  }
  return vm.runInThisContext(source, options);
}

const evaluate = (number, source) =>
  new Promise((done) => {
    const finish = (error, value) => { onInterrupt = onError = null; done([error, value]); };
    onError = finish;
    onInterrupt = () => finish(Object.assign(new Error("interrupted"), { code: "ERR_SCRIPT_EXECUTION_INTERRUPTED" }));
    if (Atomics.load(state, 1) === number) return onInterrupt(); // it came first
    try {
      if (/\bawait\b/.test(source)) {
        repl.eval(source, repl.context, `<cell ${number}>`, (error, value) => finish(error?.err ?? error, value));
      } else {
        finish(null, execute(source, `<cell ${number}>`));
      }
    } catch (error) {
      finish(error ?? new Error(String(error)));
    }
  });

async function run({ number, source }) {
  [results, room, looks, dropped] = [[], RESULTS, LOOKS, 0];
  Atomics.store(state, 0, number);
  const [error, value] = await evaluate(number, source);
  Atomics.store(state, 0, 0);
  const done = { is: "done", number, status: "ok", results };
  if (error) {
    done.status = error.code === "ERR_SCRIPT_EXECUTION_INTERRUPTED" ? "interrupted" : "error";
    done.error = describe(error);
  } else if (value !== undefined) {
    keep("value", value);
  }
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

listener.on("message", (frame) => {
  if (frame.do === "cell" && frame.number > last) {
    last = frame.number;
    waiting.push(frame);
    work();
  } else if (frame.do === "resume") {
    say({ is: "state", nonce: frame.nonce, last });
    if (heard) say(heard);
  }
});
