"""An HTTPS server that writes down every request as it came, and answers as badly as it can."""

import base64
import gzip
import json
import socket
import ssl
import sys
import threading

certificate, key, secret = sys.argv[1:]
log = open("requests", "a", encoding="latin-1")
writing = threading.Lock()
stored = ["nothing"]


def plain(body, status="200 OK", fields=""):
    if isinstance(body, str):
        body = body.encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{fields}\r\n".encode() + body


def chunks(pieces, trailer="", extension=""):
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    whole = b"".join(f"{len(each):x}{extension}\r\n{each}\r\n".encode() for each in pieces)
    return head + whole + f"0\r\n{trailer}\r\n".encode()


def echo(name, sent):
    """The secret, as this kind of answer would let it out."""
    percent = "".join(f"%{ord(each):02X}" for each in sent)
    match name:
        case "body":
            return plain(f"you sent {sent}.")
        case "upper":
            return plain(sent.upper())
        case "hex":
            return plain(sent.encode().hex())
        case "base64":
            return plain(base64.b64encode(f"Bearer {sent}".encode()))
        case "base64url":
            return plain(base64.urlsafe_b64encode(f"xy{sent}".encode()))
        case "percent":
            return plain(percent)
        case "json":
            return plain('{"a":"' + "".join(f"\\u{ord(each):04x}" for each in sent) + '"}')
        case "html":
            return plain("".join(f"&#{ord(each)};" for each in sent))
        case "gzip":
            return plain(gzip.compress(sent.encode()), fields="Content-Encoding: gzip\r\n")
        case "field":
            return plain("", fields=f"X-Echo: {sent}\r\n")
        case "name":
            return plain("", fields=f"{sent}: x\r\n")
        case "cookie":
            return plain("", fields=f"Set-Cookie: token={base64.b64encode(sent.encode()).decode()}\r\n")
        case "location":
            return plain("", "302 Found", f"Location: https://other.example.com/?t={percent}\r\n")
        case "reason":
            return plain("", f"200 {sent}")
        case "error":
            return plain(f"bad token {sent}", "500 Oh")
        case "early":
            return f"HTTP/1.1 103 Early Hints\r\nLink: <{sent}>\r\n\r\n".encode() + plain("late")
        case "continue":
            return f"HTTP/1.1 100 {sent}\r\nX: {sent}\r\n\r\n".encode() + plain("late")
        case "chunks":
            return chunks(list(f"you sent {sent}"))
        case "trailer":
            return chunks(["body"], f"X-Echo: {sent}\r\n")
        case "extension":
            return chunks(["body", "more"], extension=f";a={sent}")
        case "unending":
            return b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + sent.encode()
        case "old":
            return b"HTTP/1.0 200 OK\r\n\r\n" + sent.encode()
        case "long":
            return plain("ok") + sent.encode()
        case "range":
            return plain(sent[:6], "206 Partial Content", "Content-Range: bytes 0-5/99\r\n")
    return plain("?", "404 Not Found")


def answer(target, sent):
    path, _, _ = target.partition("?")
    name = path.rsplit("/", 1)[-1]
    if path.startswith("/v1/echo/"):
        return echo(name, sent)
    if path == "/v1/store":
        stored[0] = sent
        return plain("stored")
    if path == "/v1/stored":
        return plain(f"the last one sent {stored[0]}")
    return plain(f"served {target}\n")


def conversation(stream):
    data = b""
    while True:
        while b"\r\n\r\n" not in data:
            more = stream.recv(65536)
            if not more:
                return
            data += more
        head, _, data = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        fields = [line.partition(":") for line in lines[1:]]
        known = {name.strip().lower(): value.strip() for name, _, value in fields}
        length = int(known.get("content-length", "0"))
        if known.get("transfer-encoding") == "chunked":
            while not data.endswith(b"0\r\n\r\n"):
                data += stream.recv(65536)
            data = b""
        while len(data) < length:
            data += stream.recv(65536)
        data = data[length:]
        authorization = known.get("authorization", "")
        with writing:
            log.write(json.dumps([lines[0], known, secret in head.decode("latin-1")]) + "\n")
            log.flush()
        sent = authorization.removeprefix("Bearer ") or "nobody"
        stream.sendall(answer(lines[0].split(" ")[1], sent))
        if "/echo/unending" in lines[0] or "/echo/old" in lines[0]:
            return


def serve(accepted):
    try:
        with context.wrap_socket(accepted, server_side=True) as stream:
            conversation(stream)
    except (OSError, ValueError, IndexError):
        pass


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
listener = socket.create_server(("127.0.0.2", 443), backlog=512)
print("ready", flush=True)
while True:
    accepted, _ = listener.accept()
    threading.Thread(target=serve, args=(accepted,), daemon=True).start()
