# Asks for a long path that no rule allows, as fast as it can, on connections that are kept.
import socket

ASKED, LENGTH = 1500, 15000


def ask(stream, reader):
    path = "/zz" + "x" * (LENGTH - 3)
    stream.sendall(f"GET http://api.example.com{path} HTTP/1.1\r\nHost: api.example.com\r\n\r\n".encode())
    status = int(reader.readline().split()[1])
    length = 0
    while (line := reader.readline()) != b"\r\n":
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    reader.read(length)
    return status


stream = socket.create_connection(("127.0.0.1", 3128))
reader = stream.makefile("rb")
print("refused", sum(ask(stream, reader) == 403 for _ in range(ASKED)))
