# HTTP/2 by hand: frames that no library would send.
import struct

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS = 1, 4


def frame(kind, flags, stream, payload=b""):
    return struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", stream) + payload


def number(value):
    if value < 127:
        return bytes([value])
    rest, out = value - 127, [127]
    while rest >= 128:
        out.append(rest % 128 + 128)
        rest //= 128
    return bytes(out + [rest])


def fields(*pairs):
    block = b""
    for name, value in pairs:
        name, value = name.encode("latin-1"), value.encode("latin-1")
        block += b"\0" + number(len(name)) + name + number(len(value)) + value
    return block


def request(method="GET", path="/v1/a", authority="api.example.com", scheme="https", more=()):
    named = [(":method", method), (":scheme", scheme), (":authority", authority), (":path", path)]
    return fields(*[(name, value) for name, value in named if value is not None], *more)


START = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0)


class Connection:
    def __init__(self):
        self.stream = tls(protocols=("h2",))
        self.got = b""
        self.stream.sendall(START)

    def send(self, *frames):
        try:
            for each in frames:
                self.stream.sendall(each)
        except OSError:
            pass

    def frames(self, patience=3):
        """The frames until nothing more comes; None at the end of the connection."""
        self.stream.settimeout(patience)
        while True:
            while len(self.got) < 9 or len(self.got) < 9 + int.from_bytes(self.got[:3], "big"):
                try:
                    more = self.stream.recv(65536)
                except TimeoutError:
                    return
                except OSError:
                    more = b""
                if not more:
                    yield None
                    return
                self.got += more
            length = int.from_bytes(self.got[:3], "big")
            head, payload, self.got = self.got[:9], self.got[9:9 + length], self.got[9 + length:]
            yield head[3], head[4], int.from_bytes(head[5:9], "big") & 0x7fffffff, payload

    def outcome(self, stream=1, patience=3):
        """What becomes of a stream: a status, reset, goaway, closed or silence."""
        for each in self.frames(patience):
            if each is None:
                return "closed"
            kind, flags, of, payload = each
            if kind == HEADERS and of == stream:
                return "status " + STATUS.get(payload[0], payload[:12].hex())
            if kind == RST and of == stream:
                return f"reset {int.from_bytes(payload, 'big')}"
            if kind == GOAWAY:
                return f"goaway {int.from_bytes(payload[4:8], 'big')}"
        return "silence"


STATUS = {0x88: "200", 0x89: "204", 0x8c: "400", 0x8d: "404", 0x8e: "500", 0x48: "other", 0x08: "other"}
CASES = {
    "good": request(),
    "authority elsewhere": request(authority="other.example.com"),
    "authority's port": request(authority="api.example.com:8443"),
    "authority's user": request(authority="x@api.example.com"),
    "authority with NUL": request(authority="api.example.com\0.evil.test"),
    "no authority": request(authority=None),
    "empty authority": request(authority=""),
    "host elsewhere": request(more=[("host", "other.example.com")]),
    "host alone elsewhere": request(authority=None, more=[("host", "other.example.com")]),
    "two authorities": request(more=[]) + fields((":authority", "other.example.com")),
    "two paths": request() + fields((":path", "/hidden")),
    "pseudo after field": fields((":method", "GET"), (":scheme", "https"), ("x", "y"), (":authority", "api.example.com"), (":path", "/hidden")),
    "unknown pseudo": request() + fields((":hidden", "x")),
    "status in request": request() + fields((":status", "200")),
    "no path": request(path=None),
    "empty path": request(path=""),
    "absolute path": request(path="https://other.example.com/v1/a"),
    "path of another": request(path="//other.example.com/v1/a"),
    "path with space": request(path="/v1/a HTTP/1.1\r\nHost: other.example.com\r\n\r\nGET /hidden"),
    "path with line end": request(path="/v1/a\r\nX: y"),
    "path with fragment": request(path="/hidden#/v1/a"),
    "path with dots": request(path="/v1/../hidden"),
    "path with escapes": request(path="/v1/%2e%2e/hidden"),
    "star": request(path="*"),
    "plain scheme": request(scheme="http"),
    "odd scheme": request(scheme="https://other.example.com/?"),
    "no scheme": request(scheme=None),
    "no method": request(method=None),
    "method with line end": request(method="GET /hidden HTTP/1.1\r\nX: y\r\n\r\nGET"),
    "method with space": request(method="GET /hidden"),
    "lower method": request(method="get"),
    "connect": fields((":method", "CONNECT"), (":authority", "other.example.com:443")),
    "extended connect": request(method="CONNECT", more=[(":protocol", "websocket")]),
    "upper-case name": request(more=[("X-Upper", "y")]),
    "name with line end": request(more=[("x\r\ny", "z")]),
    "name with colon": request(more=[("x:y", "z")]),
    "name with space": request(more=[("transfer-encoding ", "chunked")]),
    "value with line end": request(more=[("x", "y\r\nhost: other.example.com")]),
    "value with NUL": request(more=[("x", "y\0z")]),
    "value with line feed": request(more=[("x", "y\nz")]),
    "transfer-encoding": request(more=[("transfer-encoding", "chunked")]),
    "connection": request(more=[("connection", "x-two")]),
    "upgrade": request(more=[("upgrade", "websocket")]),
    "te": request(more=[("te", "gzip")]),
    "override": request(more=[("x-http-method-override", "DELETE")]),
    "rewrite": request(more=[("x-rewrite-url", "/hidden")]),
}


def after(frames, patience=3):
    connection = Connection()
    connection.send(*frames)
    return connection.outcome(patience=patience)


ALL = {name: [frame(HEADERS, END_STREAM | END_HEADERS, 1, block)] for name, block in CASES.items()}

POST = request("POST", "/v1/ok", more=[("content-length", "5")])
BODIES = {
    "short": [frame(HEADERS, END_HEADERS, 1, POST), frame(DATA, END_STREAM, 1, b"abc")],
    "long": [frame(HEADERS, END_HEADERS, 1, POST), frame(DATA, END_STREAM, 1, b"hello" + HIDDEN.encode())],
    "none": [frame(HEADERS, END_HEADERS | END_STREAM, 1, POST)],
    "two lengths": [frame(HEADERS, END_HEADERS, 1, request("POST", "/v1/ok", more=[("content-length", "0"), ("content-length", "5")])), frame(DATA, END_STREAM, 1, b"hello")],
    "odd length": [frame(HEADERS, END_HEADERS, 1, request("POST", "/v1/ok", more=[("content-length", "+5")])), frame(DATA, END_STREAM, 1, b"hello")],
    "trailing pseudo": [frame(HEADERS, END_HEADERS, 1, request("POST", "/v1/ok")), frame(DATA, 0, 1, b"hello"), frame(HEADERS, END_HEADERS | END_STREAM, 1, fields((":path", "/hidden")))],
    "trailing length": [frame(HEADERS, END_HEADERS, 1, request("POST", "/v1/ok")), frame(DATA, 0, 1, b"hello"), frame(HEADERS, END_HEADERS | END_STREAM, 1, fields(("content-length", "99"), ("transfer-encoding", "chunked")))],
    "padding": [frame(HEADERS, END_HEADERS, 1, request("POST", "/v1/ok")), frame(DATA, END_STREAM | 8, 1, b"\xffab")],
}
ALL |= {f"body {name}": frames for name, frames in BODIES.items()}
for name, outcome in each(lambda it: after(ALL[it]), list(ALL)):
    print(f"h2 {name}:", outcome)

many = request()
FLOODS = {
    "continuation": [frame(HEADERS, END_STREAM, 1, many)] + [frame(CONTINUATION, 0, 1, fields(("x" * 100, "y" * 8000)))] * 2000,
    "empty continuation": [frame(HEADERS, END_STREAM, 1, many)] + [frame(CONTINUATION, 0, 1)] * 20000,
    "ping": [frame(PING, 0, 0, b"12345678") * 100] * 2000,
    "settings": [frame(SETTINGS, 0, 0, struct.pack("!HI", 4, 65535)) * 100] * 500,
    "reset": [frame(HEADERS, END_STREAM | END_HEADERS, 2 * each + 1, many) + frame(RST, 0, 2 * each + 1, struct.pack("!I", 8)) for each in range(2000)],
    "made reset": [frame(HEADERS, END_HEADERS, 2 * each + 1, request("POST", "/v1/ok")) + frame(WINDOW, 0, 2 * each + 1, struct.pack("!I", 0)) for each in range(2000)],
    "window": [frame(WINDOW, 0, 0, struct.pack("!I", 0x7fffffff))] * 3,
    "empty data": [frame(HEADERS, END_HEADERS, 1, request("POST", "/v1/ok"))] + [frame(DATA, 0, 1) * 100] * 2000,
    "long field": [frame(HEADERS, END_STREAM, 1, many)] + [frame(CONTINUATION, 0, 1, b"z" * 16384)] * 50,
    "table": [frame(HEADERS, END_STREAM | END_HEADERS, 2 * each + 1, many + b"\x40\x01a" + number(4000) + b"b" * 4000 + b"\xbe" * 12000) for each in range(60)],
    "priority": [frame(PRIORITY, 0, 2 * each + 1, struct.pack("!IB", 0, 1)) for each in range(20000)],
    "even stream": [frame(HEADERS, END_STREAM | END_HEADERS, 2, many)],
    "push": [frame(PUSH, END_HEADERS, 1, struct.pack("!I", 2) + many)],
    "large frame": [frame(DATA, 0, 1, b"x" * 20000)],
    "trailing garbage": [b"\xff" * 9000],
}
for name, frames in FLOODS.items():
    print(f"h2 flood {name}:", after(frames, patience=5))
# The session is served as before.
print("h2 afterwards:", after(ALL["good"]))
