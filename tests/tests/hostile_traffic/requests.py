# Requests of HTTP/1.1 that two readers could take for different ones. Nothing of /hidden, and nothing that
# the rules do not allow, may reach the upstream.
HOST = "Host: api.example.com\r\n"
HIDDEN = "GET /hidden HTTP/1.1\r\n" + HOST + "\r\n"
POST = "POST /v1/ok HTTP/1.1\r\n" + HOST
FRAMINGS = [
    "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "Content-Length: 0\r\nContent-Length: 44\r\n\r\n",
    "Content-Length: 0, 44\r\n\r\n",
    "Content-Length: 0\r\nContent-length: 0\r\n\r\n",
    "Content-Length: -0\r\n\r\n",
    "Content-Length: 0 0\r\n\r\n",
    "Content-Length: 0;a\r\n\r\n",
    "Content-Length: \xb2\r\n\r\n",
    "Content-Length:\x0b0\r\n\r\n",
    "Content-Length: 18446744073709551616\r\n\r\n",
    "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\x00\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding\x00: chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "X: y\r\n\tTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Connection: Content-Length\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 60\r\n\r\n",
    "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\nContent-Length: 0 \x00\r\n\r\n",
]
CHUNKS = [
    "0x0\r\n\r\n", "-1\r\n\r\n", "+0\r\n\r\n", " 0\r\n\r\n", "0 \r\n\r\n", "0;\n\r\n\r\n", "0;a=\nb\r\n\r\n",
    "0\n\n", "0\r\r\n\r\n", "00000000000000000\r\n\r\n", "10000000000000000\r\n\r\n", "1_0\r\n\r\n",
    "3\r\nabcX\r\n0\r\n\r\n", "3\r\nabc\n0\r\n\r\n", "\r\n\r\n", "0\r\nX: y\n\r\n", "0\r\n X: y\r\n\r\n",
    "0\r\nX\r\n\r\n", "0\r\nX: a\rb\r\n\r\n", "3;\"\r\nabc\r\n\"\r\n0\r\n\r\n",
]
FRAMINGS += ["Transfer-Encoding: chunked\r\n\r\n" + each for each in CHUNKS]
for framing, answer in each(lambda it: ask(POST + it + HIDDEN, patience=3), FRAMINGS):
    print("framing", answer, repr(framing))

LINES = [
    "GET  /v1/a HTTP/1.1", "GET\t/v1/a HTTP/1.1", " GET /v1/a HTTP/1.1", "GET /v1/a HTTP/1.1 ", "GET /v1/a  HTTP/1.1",
    "GET /v1/a HTTP/1.2", "GET /v1/a HTTP/2.0", "GET /v1/a http/1.1", "GET /v1/a", "GET /v1/a HTTP/01.1",
    "GET /v1/a HTTP/1.1\x00", "GET /v1/a\x0bHTTP/1.1", "G\x00ET /v1/a HTTP/1.1", "GET /v1/a /hidden HTTP/1.1",
    "get /v1/a HTTP/1.1", "Get /v1/a HTTP/1.1", "TRACE /v1/a HTTP/1.1", "TRACK /v1/a HTTP/1.1",
    "CONNECT other.example.com:443 HTTP/1.1", "CONNECT /v1/a HTTP/1.1", "PRI * HTTP/2.0",
    "GET * HTTP/1.1", "OPTIONS * HTTP/1.1", "GET https://other.example.com/v1/a HTTP/1.1",
    "GET http://api.example.com/v1/a HTTP/1.1", "GET https://api.example.com:8443/v1/a HTTP/1.1",
    "GET https://x@api.example.com/v1/a HTTP/1.1", "GET //other.example.com/v1/a HTTP/1.1",
    "GET file:///etc/passwd HTTP/1.1", "DELETE /v1/a HTTP/1.1", "PUT /v1/a HTTP/1.1",
]
for line, answer in each(lambda it: ask(f"{it}\r\n{HOST}\r\n", patience=3), LINES):
    print("line", answer, repr(line))

HOSTS = ["", "Host:\r\n", "Host: \r\n", HOST * 2, HOST + "host: other.example.com\r\n", "Host: other.example.com\r\n",
         "Host: api.example.com:80\r\n", "Host: api.example.com, other.example.com\r\n", "Host: x@api.example.com\r\n",
         "Host: api.example.com other.example.com\r\n", "Host: api.example.com/\r\n", "Host: api.example.com#\r\n",
         "Host: api.example.com\x00\r\n", "Host: api.example.com.evil.test\r\n", "Host: [api.example.com]\r\n",
         "Host: 127.0.0.2\r\n", "Host : api.example.com\r\n", "Host: api.example.com\r\n other.example.com\r\n",
         HOST + "X: y\r\nHost: api.example.com\r\n", "Host: api%2eexample.com\r\n"]
for host, answer in each(lambda it: ask(f"GET /v1/a HTTP/1.1\r\n{it}\r\n", patience=3), HOSTS):
    print("host", answer, repr(host))

PATHS = ["/v1/../hidden", "/v1/%2e%2e/hidden", "/v1/%2E%2E%2Fhidden", "//hidden", "/v1//../hidden", "/v1/..;/hidden",
         "/v1/.%2e/hidden", "/v1/%252e%252e/hidden", "/v1\\..\\hidden", "/%68idden", "/v1/./../hidden", "/V1/a",
         "/v1%2f..%2fhidden", "/v1/%5c..%5chidden", "/v1/..%00/hidden", "/v1/%c0%ae%c0%ae/hidden", "/v1/a/../../hidden",
         "/v1/..%2f..%2fhidden", "/v1/%uff0e%uff0e/hidden", "/v1/;/../hidden", "/v1/..;x=y/hidden", "/hidden?/v1/a",
         "/hidden#/v1/a", "/v1/\uff0e\uff0e/hidden", "/v1/a\x7f", "/./hidden", "/../hidden", "/v1/..", "/v1/%2e%2e", "/",
         "/v1", "/v1/..\t/hidden", "/v1/.../../../hidden", "/v1/%2e%2e%3b/hidden", "/v1/..%3b/hidden", "/v1/..%23/hidden",
         "/v1/..%3f/hidden", "/v1/%25%32%65%25%32%65/hidden", "/v1/%25%32%66..%25%32%66hidden"]
texts = [f"GET {path} HTTP/1.1\r\n{HOST}\r\n".encode("utf-8") for path in PATHS]
for text, answer in each(lambda it: ask(it, patience=3), texts):
    print("path", answer, text.split(b"\r\n")[0])

OTHERWISE = ["X-HTTP-Method-Override: DELETE", "x-http-method-override: delete", "X-HTTP-Method: PUT",
             "X-Method-Override: PATCH", "X-Original-URL: /hidden", "X-Rewrite-URL: /hidden",
             "X-Original-URL: https://api.example.com/hidden", "X-Rewrite-URL: hidden",
             "X-Method: DELETE", "X-MS-Original-URL: /hidden", "X-OSS-Copy-Source: /hidden"]
for method in ("GET", "POST"):
    text = f"{method} /v1/a HTTP/1.1\r\n{HOST}Content-Length: 0\r\nConnection: close\r\n"
    for field, answer in each(lambda it: ask(f"{text}{it}\r\n\r\n"), OTHERWISE):
        print("otherwise", answer, method, field)
    allowed = ("X-HTTP-Method-Override: POST", "X-Original-URL: /v1/b", "X-Rewrite-URL: /v1/b?c", "X-Forwarded-Host: evil.test",
               "x_forwarded_host: evil.test", "Forwarded: host=evil.test")
    for field, answer in each(lambda it: ask(f"{text}{it}\r\n\r\n"), allowed):
        print("same", answer, method, field)
QUERIES = ["_METHOD=DELETE", "_method[]=DELETE", "X-HTTP-Method-Override=DELETE", "$method=DELETE", "httpMethod=DELETE"]
for query, answer in each(lambda it: ask(f"GET /v1/a?{it} HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n"), QUERIES):
    print("otherwise", answer, query)

# A denied request behind an allowed one, and one behind a refusal.
two = f"GET /v1/first HTTP/1.1\r\n{HOST}\r\nGET /hidden HTTP/1.1\r\n{HOST}\r\nGET /v1/last HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n"
print("pipelined", [answer[:3].decode() for answer in ask(two).split(b"HTTP/1.1 ")[1:]])
# What asks for a body to be waited for, and what nobody knows.
print("expect", status(ask(f"POST /hidden HTTP/1.1\r\n{HOST}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", patience=3)))
print("expect", status(ask(f"POST /hidden HTTP/1.1\r\n{HOST}Expect: something\r\nContent-Length: 5\r\n\r\n", patience=3)))
