// Drives supervisorctl mcp with the protocol's own TypeScript SDK, which holds every structured result against the
// schema that the tool announced. Arguments: supervisorctl, the daemon's socket, the revision to speak.
import assert from "node:assert";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

const [program, socket, revision] = process.argv.slice(2);
const mode = revision === "2025-11-25" ? "legacy" : { pin: revision };
const client = new Client({ name: "test", version: "1" }, { versionNegotiation: { mode } });
await client.connect(new StdioClientTransport({ command: program, args: ["--socket", socket, "mcp"] }));

const call = async (name, args, options) => {
  const result = await client.callTool({ name, arguments: args }, options);
  assert(!result.isError, JSON.stringify(result));
  return result.structuredContent;
};

const { tools } = await client.listTools();
assert(tools.some((tool) => tool.name === "run" && tool.outputSchema));
const ran = await call("run", {
  language: "node",
  code: "require('fs').writeFileSync('a b.txt', 'kept'); console.log('hello')",
  artifacts: ["*.txt"],
});
assert.equal(ran.stdout.text, "hello\n");
const [kept] = ran.artifacts;
const { contents } = await client.readResource({ uri: kept.uri });
assert.equal(contents[0].text, "kept");
const { resources } = await client.listResources();
assert(resources.some((resource) => resource.uri === kept.uri));

const refused = await client.callTool({ name: "run", arguments: { argv: ["true"], memory_bytes: 2 ** 50 } });
assert(refused.isError && refused.content[0].text.includes("limits.max of policy default"));

const session = (await call("create_session", {})).id;
await call("write_file", { session, path: "n.txt", text: "6" });
assert.deepEqual((await call("run_cell", { session, code: "n = int(open('n.txt').read())" })).values, []);
assert.deepEqual((await call("run_cell", { session, code: "n * 7" })).values, ["42"]);
await call("close_session", { session });

const told = [];
await call("run", { argv: ["sleep", "2.5"] }, { onprogress: (progress) => told.push(progress) });
assert(told.length >= 1 && told[0].message.includes("running"), JSON.stringify(told));

const stop = new AbortController();
const ended = call("run", { argv: ["sleep", "600"] }, { signal: stop.signal, onprogress: () => stop.abort() });
await assert.rejects(ended);
await client.close();
console.log("done");
