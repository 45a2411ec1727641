// Drives supervisorctl e2b with E2B's own JavaScript SDKs, unchanged. Prints the rows of the matrix that it has seen.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { Sandbox as PlainSandbox, CommandExitError, TimeoutError, NotFoundError, InvalidArgumentError } from 'e2b'
import { Sandbox } from '@e2b/code-interpreter'

const seen = {}
const works = async (rows, test) => {
  await test()
  for (const row of [].concat(rows)) seen[row] = 'yes'
}
const refused = async (row, words, test) => {
  await assert.rejects(test, (error) => String(error).includes(words) || assert.fail(`${row}: ${error}`))
  seen[row] = 'no'
}
const until = async (what, look) => {
  const end = Date.now() + 60_000
  while (Date.now() < end) {
    if (await look()) return
    await pause(20)
  }
  assert.fail(what)
}

let sandbox
await works(['Sandbox.create', 'metadata, envs', 'Sandbox.list', 'get_info', 'set_timeout', 'is_running', 'connect'], async () => {
  sandbox = await Sandbox.create({ timeoutMs: 600_000, metadata: { who: 'a test & more' }, envs: { GREETING: 'hello' } })
  assert(await sandbox.isRunning())
  const info = await sandbox.getInfo()
  assert.deepEqual(info.metadata, { who: 'a test & more' })
  await sandbox.setTimeout(1_200_000)
  assert((await sandbox.getInfo()).endAt - info.endAt > 500_000)
  const list = await Sandbox.list({ query: { metadata: { who: 'a test & more' }, state: ['running'] } }).nextItems()
  assert.deepEqual(list.map((each) => each.sandboxId), [sandbox.sandboxId])
  const again = await Sandbox.connect(sandbox.sandboxId)
  assert.equal((await again.commands.run('echo $GREETING')).stdout, 'hello\n')
})

await works(['commands.run', 'stdout, stderr, exit code', 'on_stdout, on_stderr', 'envs, cwd'], async () => {
  const said = []
  const ran = await sandbox.commands.run('echo out $A; echo err >&2; pwd', {
    envs: { A: 'b' }, cwd: '/workspace', onStdout: (text) => said.push(text),
  })
  assert.deepEqual([ran.stdout, ran.stderr, ran.exitCode], ['out b\n/workspace\n', 'err\n', 0])
  assert.equal(said.join(''), ran.stdout)
  await assert.rejects(sandbox.commands.run('exit 7'), (error) => error instanceof CommandExitError && error.exitCode === 7)
})

await works('background, wait, commands.list, commands.kill, commands.connect', async () => {
  const handle = await sandbox.commands.run('echo begun; sleep 600', { background: true, timeoutMs: 0 })
  assert.deepEqual((await sandbox.commands.list()).map((each) => each.pid), [handle.pid])
  const same = await sandbox.commands.connect(handle.pid)
  await until('its output is told', () => same.stdout === 'begun\n')
  await same.disconnect()
  assert(await handle.kill())
  await assert.rejects(handle.wait(), CommandExitError)
  assert.equal(await sandbox.commands.kill(handle.pid), false)
})

await works('timeout of a command', () =>
  assert.rejects(sandbox.commands.run('sleep 600', { timeoutMs: 1000 }), TimeoutError))

await works('stdin, send_stdin, close_stdin', async () => {
  const handle = await sandbox.commands.run('cat; echo end', { background: true, stdin: true })
  await sandbox.commands.sendStdin(handle.pid, 'one ')
  await sandbox.commands.closeStdin(handle.pid)
  assert.equal((await handle.wait()).stdout, 'one end\n')
})

await works('pty', async () => {
  let screen = ''
  const text = new TextDecoder()
  const terminal = await sandbox.pty.create({ rows: 10, cols: 40, onData: (bytes) => { screen += text.decode(bytes) } })
  await sandbox.pty.resize(terminal.pid, { rows: 20, cols: 50 })
  await sandbox.pty.sendInput(terminal.pid, new TextEncoder().encode('stty size; exit 0\n'))
  assert.equal((await terminal.wait()).exitCode, 0)
  assert(screen.includes('20 50'), screen)
})

await works('files.write, files.read', async () => {
  const written = await sandbox.files.write('a/b.txt', 'text ü\n')
  assert.equal(written.path, '/workspace/a/b.txt')
  assert.equal(await sandbox.files.read('a/b.txt'), 'text ü\n')
  const many = new Uint8Array(5_000_000).map((_, n) => n % 251)
  await sandbox.files.write('many', many.buffer)
  assert.deepEqual(await sandbox.files.read('many', { format: 'bytes' }), many)
  const both = await sandbox.files.write([{ path: 'one', data: '1' }, { path: 'd/two', data: new Blob(['2']) }])
  assert.deepEqual(both.map((each) => each.path), ['/workspace/one', '/workspace/d/two'])
  assert.equal(await sandbox.files.read('d/two'), '2')
  await assert.rejects(sandbox.files.read('none'), NotFoundError)
})

await works(['files.list, files.get_info, files.exists', 'files.make_dir, files.rename, files.remove'], async () => {
  assert.deepEqual((await sandbox.files.list('d')).map((each) => [each.name, each.type]), [['two', 'file']])
  assert.equal((await sandbox.files.getInfo('d/two')).size, 1)
  assert(await sandbox.files.exists('one') && !(await sandbox.files.exists('none')))
  assert(await sandbox.files.makeDir('new') && !(await sandbox.files.makeDir('new')))
  assert.equal((await sandbox.files.rename('one', 'new/uno')).path, '/workspace/new/uno')
  await sandbox.files.remove('new')
  assert.equal(await sandbox.files.exists('new'), false)
})

await works('files.watch_dir', async () => {
  const names = []
  const handle = await sandbox.files.watchDir('.', (event) => { names.push(event.name) })
  await sandbox.files.write('changed', '1')
  await until('changes are told', () => names.includes('changed'))
  await handle.stop()
})

await works('/home/user', async () => {
  assert.equal((await sandbox.files.write('/home/user/at/home', 'b')).path, '/workspace/at/home')
  const ran = await sandbox.commands.run('cat /home/user/at/home; echo c > home', { cwd: '/home/user/at' })
  assert.deepEqual([ran.stdout, await sandbox.files.read('at/home')], ['b', 'c\n'])
})
await refused('files outside /workspace', 'not in /workspace', () => sandbox.files.write('/home/other/a', 'b'))
const served = await sandbox.commands.run('python3 -u -m http.server 8000 --bind 127.0.0.1', { background: true, timeoutMs: 0 })
await until('it listens', () => served.stdout.includes('Serving'))
await assert.rejects(sandbox.commands.run('curl -s http://127.0.0.1:8000/'),
  (error) => error instanceof CommandExitError && error.exitCode === 7)
seen['a server in one command, reached from another'] = 'no'
assert(sandbox.getHost(8000).endsWith('.ports-are-not-served.invalid'))
seen['get_host'] = 'no'
await served.kill()
await works('a server and its client in one command', async () => {
  const both = 'python3 -m http.server 8000 --bind 127.0.0.1 2> log & until curl -sf http://127.0.0.1:8000/; do :; done; kill $!'
  assert((await sandbox.commands.run(both, { timeoutMs: 120_000 })).stdout.includes('<html'))
})
await works('get_metrics', async () => {
  const busy = await sandbox.commands.run('while :; do :; done', { background: true, timeoutMs: 0 })
  let used
  await until('it was looked at', async () => {
    used = (await sandbox.getMetrics()).at(-1)
    return used?.cpuUsedPct > 0 && used.memUsed > 0
  })
  assert(used.memTotal >= used.memUsed && used.diskTotal > 0, JSON.stringify(used))
  await busy.kill()
})
await refused('user other than `user`', 'no root', () => sandbox.commands.run('true', { user: 'root' }))

await works(['run_code', 'results: text, html, png, svg, json', 'on_stdout of code', 'envs of code'], async () => {
  const said = []
  const ran = await sandbox.runCode('x = 20\nprint("é")\nx + 1', { onStdout: (message) => said.push(message.line) })
  assert.deepEqual([ran.text, ran.logs.stdout, said], ['21', ['é\n'], ['é\n']])
  assert.equal((await sandbox.runCode('1 / 0')).error.name, 'ZeroDivisionError')
  const drawn = await sandbox.runCode('import matplotlib.pyplot as plt; plt.plot([1, 4]); x')
  assert.equal(drawn.text, '20')
  assert(drawn.results.some((result) => result.png?.startsWith('iVBOR')))
  assert.equal((await sandbox.runCode('import os; os.environ["B"]', { envs: { B: 'c' } })).text, "'c'")
})
await works('language: javascript, bash', async () => {
  assert.equal((await sandbox.runCode('6 * 7', { language: 'js' })).text, '42')
})
await refused('language: r, java, typescript', 'is not run here', () => sandbox.runCode('1', { language: 'r' }))
await works('code contexts', async () => {
  const context = await sandbox.createCodeContext({ language: 'python' })
  assert.equal((await sandbox.runCode('x', { context })).error.name, 'NameError')
  await sandbox.restartCodeContext(context)
  assert((await sandbox.listCodeContexts()).some((each) => each.id === context.id))
  await sandbox.removeCodeContext(context)
})

await works('pause, connect resumes', async () => {
  assert(await sandbox.pause())
  assert.equal((await sandbox.getInfo()).state, 'paused')
  assert.equal(await sandbox.isRunning(), false)
  const same = await Sandbox.connect(sandbox.sandboxId, { timeoutMs: 600_000 })
  assert.equal((await same.runCode('x')).text, '20')
})

await works('create_snapshot, list_snapshots, delete_snapshot', async () => {
  const plain = await PlainSandbox.create({ timeoutMs: 600_000, envs: { GREETING: 'good day' } })
  await plain.files.write('a', '1')
  const snapshot = await plain.createSnapshot({ name: 'first' })
  await plain.files.write('a', '2')
  assert.deepEqual((await plain.listSnapshots().nextItems()).map((each) => each.snapshotId), [snapshot.snapshotId])
  const copy = await PlainSandbox.create(snapshot.snapshotId)
  assert.equal(await copy.files.read('a'), '1')
  await works('fork', async () => {
    const forks = await plain.fork({ count: 2, timeoutMs: 600_000 })
    assert.equal(forks.length, 2)
    for (const fork of forks) {
      assert.equal((await fork.commands.run('echo $(cat a) $GREETING')).stdout, '2 good day\n')
      assert(await fork.kill())
    }
  })
  assert(await PlainSandbox.deleteSnapshot(snapshot.snapshotId))
  assert.equal(await PlainSandbox.deleteSnapshot(snapshot.snapshotId), false)
  assert(await copy.kill() && await plain.kill())
})
await refused('create_snapshot, fork where something runs', 'filesystem', () => sandbox.fork())
await refused('update_network', '501', () => sandbox.updateNetwork({ denyOut: ['0.0.0.0/0'] }))
await refused('lifecycle: on_timeout pause', '501', () => PlainSandbox.create({ lifecycle: { onTimeout: 'pause' } }))
await refused('volumes', '501', () => PlainSandbox.create({ volumeMounts: { '/data': 'v' } }))
await refused('metadata of files', '0.6.2', () => sandbox.files.write('a', 'b', { metadata: { c: 'd' } }))
await works('timeout of code', () =>
  assert.rejects(sandbox.runCode('while True: pass', { timeoutMs: 1000 }), TimeoutError))
await refused('network, allow_internet_access', '501', () => PlainSandbox.create({ allowInternetAccess: false }))
await refused('templates of E2B', 'no template', () => PlainSandbox.create('my-template'))
await refused('wrong key', 'X-API-Key', () => PlainSandbox.create({ apiKey: `e2b_${'0'.repeat(40)}` }))
assert(InvalidArgumentError)

await works('Sandbox.kill', async () => {
  assert(await sandbox.kill())
  assert.equal(await Sandbox.kill(sandbox.sandboxId), false)
})
// What its interface has no word for.
const words = readFileSync(new URL('node_modules/e2b/dist/index.d.ts', import.meta.url), 'utf8')
for (const [row, word] of Object.entries({
  idempotency_key: /idempotencyKey/, 'commands.stream_input': /streamInput\(/,
  AsyncSandbox: /AsyncSandbox/, 'create_snapshot of files alone': /interface CreateSnapshotOpts[^}]*\bmode\?:/,
})) {
  assert(!word.test(words), row)
  seen[row] = 'not in it'
}
console.log(JSON.stringify(seen))
