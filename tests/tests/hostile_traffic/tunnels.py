# Names of a destination in every spelling, and tunnels that are used for something else.
def told(answer):
    """Its status and the code of its problem."""
    head, _, body = answer.partition(b"\r\n\r\n")
    is_problem = b"content-type: application/problem+json" in head.lower()
    return f"{status(answer)} {json.loads(body)['code'] if is_problem else 'untold'}"


def connect(target, fields="", rest=b""):
    with proxy() as stream:
        head = f"CONNECT {target} HTTP/1.1\r\n{fields or f'Host: {target}' + chr(13) + chr(10)}\r\n"
        stream.sendall(head.encode("utf-8", "surrogateescape") + rest)
        return read(stream, 2)


TARGETS = ["127.0.0.2:443", "2130706434:443", "0x7f000002:443", "0x7f.2:443", "017700000002:443", "0177.0.0.2:443",
               "127.2:443", "127.0.0.2.:443", "[::ffff:127.0.0.2]:443", "[::ffff:7f00:2]:443", "[::127.0.0.2]:443",
               "[::1]:443", "[::]:443", "0.0.0.0:443", "169.254.169.254:80", "[fd00:ec2::254]:80", "[fe80::1%25lo]:443",
               "\u2460\u2461\u2466.0.0.2:443", "127\u30020\u30020\u30022:443", "localhost:443", "LOCALHOST.:443",
               "api.example.com", "api.example.com:", "api.example.com:0", "api.example.com:65536", "api.example.com:0443",
               "api.example.com:+443", "api.example.com:443:80", "x@api.example.com:443", "api.example.com@other.test:443",
               "https://api.example.com:443", "api.example.com:443/", "/api.example.com:443", "api.example.com%00:443",
               "api.example.com\x00.evil.test:443", "evil.test\x00.api.example.com:443", "api.example.com#.evil.test:443",
               "xapi.example.com:443", "api.example.com.evil.test:443", "a.api.example.com:443", "api-example.com:443",
               "*.example.com:443", ".api.example.com:443", "api..example.com:443", "-api.example.com:443",
               "xn--api-.example.com:443", "\uff41pi.example.com:443", "api\u3002example.com:443", "a" * 250 + ".example.com:443",
               "api.example.com:22", "api.example.com:8443", "other.example.com:80"]
for target, answer in each(lambda it: told(connect(it)), TARGETS):
    print("spelling", answer, ascii(target))
for fields in ("Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n",
               "Host: api.example.com:443\r\nHost: api.example.com:443\r\n"):
    print("connect", status(connect("api.example.com:443", fields, b"hello")), repr(fields))
# What Host says of a tunnel besides; without a port it says the same, as some clients have it.
for name in ("other.example.com:443", "api.example.com:8443", "127.0.0.2:443", "other.example.com", "", "api.example.com:443, x"):
    print("connect", status(connect("api.example.com:443", f"Host: {name}\r\n")), repr(name))
for name in ("api.example.com", "API.example.com.:443"):
    print("tunnel to", status(connect("api.example.com:443", f"Host: {name}\r\n")), repr(name))
# Other protocols in a tunnel for TLS, and another proxy's words.
for words in (b"GET /v1/plain HTTP/1.1\r\nHost: api.example.com\r\n\r\n", b"SSH-2.0-x\r\n", b"\x05\x01\x00",
              b"CONNECT other.example.com:443 HTTP/1.1\r\nHost: other.example.com:443\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
    with proxy() as stream:
        stream.sendall(b"CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n")
        stream.recv(65536)
        stream.sendall(words)
        print("tunnel", status(read(stream, 3)), words[:20])
for host, name in (("api.example.com", "other.example.com"), ("other.example.com", "api.example.com"),
                   ("api.example.com", "evil.test"), ("api.example.com", "api.example.com.evil.test")):
    try:
        with tls(host, name) as stream:
            stream.sendall(f"GET /v1/sni HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
            print("name", status(read(stream, 3)), host, name)
    except OSError as error:
        print("name", type(error).__name__, host, name)
# What is asked of the proxy itself, and relayed through it.
for target in ("http://127.0.0.1:3128/", "http://localhost/", "http://[::1]:3128/", "http://0.0.0.0:3128/", "/", "*",
               "ftp://api.example.com/", "https://api.example.com/v1/a", "http://api.example.com:443/v1/a",
               "HTTP://127.0.0.2/", "http://api.example.com@127.0.0.2/", "http:///v1/a", "http://", "//api.example.com/v1/a"):
    with proxy() as stream:
        stream.sendall(f"GET {target} HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n".encode())
        print("proxied", status(read(stream, 3)), target)
