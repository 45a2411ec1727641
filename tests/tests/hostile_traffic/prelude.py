import json
import os
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor

KEY = os.environ.get("API_KEY", "")
PORT = int(os.environ["HTTPS_PROXY"].rstrip("/").rsplit(":", 1)[1])


def is_whole(got):
    """Whether there is an answer of a known length."""
    head, end, body = got.partition(b"\r\n\r\n")
    fields = head.lower().split(b"\r\n")
    length = next((each[15:] for each in fields if each.startswith(b"content-length:")), None)
    return bool(end) and length is not None and len(body) >= int(length)


def read(stream, patience=10):
    """All that comes until the other side ends or says nothing more."""
    got = b""
    try:
        while True:
            # What comes after a whole answer comes at once.
            stream.settimeout(0.5 if is_whole(got) else patience)
            more = stream.recv(65536)
            if not more:
                break
            got += more
    except TimeoutError:
        got += b"<nothing more>"
    except OSError as error:
        got += b"<" + type(error).__name__.encode() + b">"
    return got


def proxy():
    return socket.create_connection(("127.0.0.1", PORT), 10)


def tls(host="api.example.com", name=None, protocols=("http/1.1",)):
    """TLS through a tunnel, or the answer that there was instead."""
    stream = proxy()
    stream.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
    answer = stream.recv(65536)
    if b" 200 " not in answer.split(b"\r\n")[0]:
        raise ConnectionError(answer.split(b"\r\n")[0])
    context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
    context.set_alpn_protocols(list(protocols))
    return context.wrap_socket(stream, server_hostname=name or host)


def ask(text, host="api.example.com", patience=10):
    with tls(host) as stream:
        stream.sendall(text if isinstance(text, bytes) else text.encode("latin-1"))
        return read(stream, patience)


def each(function, items):
    """What becomes of all of these, in their order."""
    with ThreadPoolExecutor(16) as many:
        for item, answer in zip(items, many.map(function, items)):
            yield item, answer if isinstance(answer, str) else status(answer)


def status(answer):
    return answer.split(b"\r\n")[0].decode("latin-1") or "closed"
