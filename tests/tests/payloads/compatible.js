// A server and its client, a thread, a child process, files and a digest.
const { createServer, get } = require('http')
const { execFileSync } = require('child_process')
const { Worker } = require('worker_threads')
const { createHash, randomBytes } = require('crypto')
const fs = require('fs')
const os = require('os')

fs.mkdirSync('tree/deep', { recursive: true })
fs.writeFileSync('tree/deep/file', randomBytes(1 << 20))
if (fs.statSync('tree/deep/file').size !== 1 << 20) throw new Error('size')
if (execFileSync('echo', ['child']).toString() !== 'child\n') throw new Error('child')
if (Object.keys(os.networkInterfaces()).join() !== 'lo') throw new Error('interfaces')
createHash('sha256').update('x').digest('hex')
const server = createServer((_, response) => response.end('served'))
server.listen(0, '127.0.0.1', () => {
  get({ port: server.address().port, host: '127.0.0.1' }, response => {
    response.on('data', data => {
      const source = `require('worker_threads').parentPort.postMessage('thread')`
      new Worker(source, { eval: true }).on('message', word => {
        console.log(String(data), word, 'compatible')
        server.close()
        process.exit(0)
      })
    })
  })
})
