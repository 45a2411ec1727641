"""An HTTPS server that says whether a request had the key, and never says the key."""

import http.server
import ssl
import sys

certificate, key, secret = sys.argv[1:]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        length = int(self.headers.get("Content-Length", "0"))
        self.rfile.read(length)
        known = self.headers.get("Authorization") == "Bearer " + secret
        if self.path == "/echo":
            body = (self.headers.get("Authorization") or "nothing").encode()
        else:
            body = f"{self.command} {self.path} key={known}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.2", 443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print("ready", flush=True)
server.serve_forever()
