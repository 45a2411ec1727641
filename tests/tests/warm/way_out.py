"""Asks an API in all ways that there are, and says what came of it and what it was asked with."""

import json
import os
import socket
import ssl
import subprocess
import urllib.error
import urllib.request


def ask(opener, method, url):
    key = {"Authorization": "Bearer " + os.environ["API_KEY"]}
    try:
        with opener.open(urllib.request.Request(url, headers=key, method=method)) as answer:
            return answer.read().decode().strip()
    except urllib.error.HTTPError as error:
        problem = json.load(error)
        return error.code, problem["code"], problem.get("rule"), problem["cause"], problem["remedy"]
    except OSError as error:
        return str(error)


for name, opener in (
    ("by the proxy", urllib.request.build_opener()),
    ("by itself", urllib.request.build_opener(urllib.request.ProxyHandler({}))),
):
    for method, url in (
        ("GET", "https://api.example.com/v1/a"),
        ("GET", "https://api.example.com/private"),
        ("DELETE", "https://api.example.com/v1/a"),
        ("GET", "https://other.example.com/v1/a"),
    ):
        print(name, method, url, ask(opener, method, url))

placeholder = os.environ.pop("API_KEY")
print(len(placeholder), ("API_KEY=" + placeholder) in open("/proc/self/environ").read().split("\0"))
print(sorted(os.environ.items()))
print(subprocess.run(["env"], stdout=subprocess.PIPE, check=True, text=True).stdout)
print(urllib.request.getproxies(), ssl.get_default_verify_paths())
print(open("/run/authority.pem").read() in open(os.environ["SSL_CERT_FILE"]).read())
print(len(ssl.create_default_context().get_ca_certs()))
with socket.create_connection(("127.0.0.1", 3128)) as proxy:
    proxy.sendall(b"GET / HTTP/1.0\r\n\r\n")
    print(proxy.recv(12))
