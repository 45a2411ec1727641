def tcp(family, address, words=b"GET / HTTP/1.1\r\nHost: there\r\n\r\n"):
    """Connects and asks; an answer of the sandbox's own proxy is a refusal."""
    with socket.socket(family, socket.SOCK_STREAM) as there:
        there.settimeout(10)
        there.connect(address)
        there.sendall(words)
        answer = there.recv(65536)
        if b"proxy-status: supervisord; error=" in answer:
            raise OSError(errno.EHOSTUNREACH, "refused by the proxy")
        if not answer:
            raise OSError(errno.ECONNRESET, "closed")
        return answer


def udp(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there:
        there.settimeout(10)
        query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x06secret\x07example\x03com\0\0\x01\0\x01"
        there.sendto(query, address)
        answer = there.recv(512)
        if answer[3] & 0xF in (3, 5):
            raise OSError(errno.ENOENT, "there is no such name")
        return answer


started = time.monotonic()
for name, action in (
    ("another host", lambda: tcp(socket.AF_INET, ("203.0.113.10", 80))),
    ("another port", lambda: tcp(socket.AF_INET, ("203.0.113.10", 8080))),
    ("a service of this host", lambda: tcp(socket.AF_INET, ("127.0.0.9", 9999))),
    ("the metadata of a cloud", lambda: tcp(socket.AF_INET, ("169.254.169.254", 80))),
    ("another host over IPv6", lambda: tcp(socket.AF_INET6, ("2001:db8::10", 80))),
    ("a neighbour", lambda: tcp(socket.AF_INET6, ("fe80::1", 80, 0, 1))),
    ("a name server", lambda: udp(("203.0.113.53", 53))),
):
    attempt(name, action)
print("seconds", int(time.monotonic() - started))
print("interfaces", [line.split(":")[0].strip() for line in open("/proc/net/dev").readlines()[2:]])
