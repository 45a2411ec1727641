import asyncio

import websockets


async def main():
    async with websockets.connect("wss://ws.example.com/v1/socket") as socket:
        await socket.send("said over a socket")
        print(await socket.recv())
    try:
        async with websockets.connect("wss://api.example.com/v1/socket"):
            print("a socket that no rule allows")
    except websockets.InvalidStatusCode as refused:
        print("refused with", refused.status_code)


asyncio.run(main())
