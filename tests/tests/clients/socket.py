"""A server of WebSockets that says back what it is told."""

import asyncio
import ssl
import sys

import websockets


async def repeat(socket, *_):
    async for words in socket:
        await socket.send(words)


async def main(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with websockets.serve(repeat, "127.0.0.4", 443, ssl=context):
        print("ready", flush=True)
        await asyncio.get_running_loop().create_future()


asyncio.run(main(*sys.argv[1:]))
