"""An HTTP/2 server that answers with as many frames as are taken, of the kind that its name says."""

import socket
import ssl
import struct
import threading


def frame(kind, flags, stream, payload=b""):
    return struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", stream) + payload


ANSWER = frame(1, 4, 1, b"\x88")  # HEADERS: 200
FLOODS = {
    "ping": (b"", frame(6, 0, 0, b"12345678")),
    "settings": (b"", frame(4, 0, 0, struct.pack("!HI", 4, 65535))),
    "reset": (b"", frame(3, 0, 1, struct.pack("!I", 8))),
    "push": (b"", frame(5, 4, 1, struct.pack("!I", 2) + b"\x82")),
    "empty": (ANSWER, frame(0, 0, 1)),
    "trailers": (ANSWER, ANSWER),
    "early": (b"", frame(1, 4, 1, b"\x08\x03103")),  # HEADERS: 103, Early Hints
    "continuation": (frame(1, 0, 1, b"\x88"), frame(9, 0, 1, b"\0\1a\x7f\0" + b"b" * 127)),
}
MOST = 64 << 20


def serve(plain):
    sent = 0
    try:
        stream = context.wrap_socket(plain, server_side=True)
        begin, flood = b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"
        if stream.selected_alpn_protocol() == "h2":
            stream.sendall(frame(4, 0, 0))
            begin, flood = FLOODS[names[stream]]
        got = b""
        while len(got) < 100:  # the preface, its settings and a request; or a request
            got += stream.recv(65536)
        stream.sendall(begin)
        while sent < MOST:
            stream.sendall(flood * 1000)
            sent += len(flood) * 1000
    except OSError:
        pass
    with lock, open("flooded", "a") as told:
        told.write(f"{names.get(stream, '?')} {sent}\n")


names, lock = {}, threading.Lock()


def named(stream, name, _):
    names[stream] = name.split(".")[0]


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("leaf.pem", "leaf.key")
context.set_alpn_protocols(["h2", "http/1.1"])
context.sni_callback = named
listener = socket.create_server(("127.0.0.2", 443))
print("ready", flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
