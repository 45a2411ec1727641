import asyncio
import socket

import aiohttp
import httpx
import requests

URL = "https://api.example.com/v1/a"
print("requests:", requests.post(URL, data="12345").text)
print("httpx:", httpx.post(URL, content="12345").text)
with httpx.Client(http2=True) as client:
    answer = client.post("https://h2.example.com/v1/a", content="12345")
    print(f"httpx over {answer.http_version}:", answer.text)


async def post(name, **options):
    async with aiohttp.ClientSession(**options) as session:
        async with session.post(URL, data=b"12345") as answer:
            print(f"{name}:", await answer.text())


asyncio.run(post("aiohttp"))
asyncio.run(post("aiohttp with its environment", trust_env=True))
found = socket.getaddrinfo("api.example.com", 443, socket.AF_INET, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
print("addresses of configured families:", len(found))
