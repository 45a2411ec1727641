"""An API that says whether a request had its credential, an authorization server, and a broker."""

import base64
import http.server
import json
import os
import socket
import ssl
import threading
import urllib.parse

secrets = json.load(open("secrets.json"))


def carried(path, fields, query):
    """What came where the credential of this path belongs, and what should have."""
    authorization = fields.get("Authorization") or ""
    basic = base64.b64encode(b"somebody:" + secrets["basic"].encode()).decode()
    return {
        "header": (fields.get("X-Key"), secrets["header"]),
        "query": (query.get("key", [""])[0], secrets["query"]),
        "basic": (authorization, "Basic " + basic),
        "client": (authorization, "Bearer " + secrets["client token"]),
        "refresh": (authorization, "Bearer " + secrets["refresh token"]),
        "aws": (authorization[:40] and fields.get("X-Amz-Security-Token"), secrets["aws session"]),
        "broker": (authorization, "Bearer " + secrets["broker"]),
    }[path]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body, *fields):
        self.send_response(status)
        for name, value in (("Content-Length", str(len(body))), *fields):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        target = urllib.parse.urlsplit(self.path)
        parts = target.path.strip("/").split("/")
        came, wanted = carried(parts[-1], self.headers, urllib.parse.parse_qs(target.query))
        if parts[0] == "echo":
            return self.answer(200, f"you said {came}".encode())
        self.answer(200, f"{parts[-1]} {came == wanted}\n".encode())

    def do_POST(self):
        asked = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        said = base64.b64decode((self.headers.get("Authorization") or "Basic ")[6:]).decode()
        tokens = {"token_type": "Bearer", "expires_in": 3600}
        match asked["grant_type"][0]:
            case "client_credentials" if said == "app:" + secrets["client secret"]:
                tokens["access_token"] = secrets["client token"]
            case "refresh_token" if asked["refresh_token"][0] == secrets["first refresh"]:
                tokens |= {"access_token": secrets["refresh token"], "refresh_token": secrets["next refresh"]}
            case _:
                return self.answer(400, b'{"error": "invalid_grant"}')
        self.answer(200, json.dumps(tokens).encode(), ("Content-Type", "application/json"))

    def log_message(self, *_):
        pass


def broker():
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("broker.sock")
    os.chmod("broker.sock", 0o666)
    listener.listen()

    def serve():
        while True:
            with listener.accept()[0] as peer:
                peer.recv(4096)  # what it is asked
                peer.sendall(json.dumps({"token": secrets["broker"]}).encode() + b"\n")

    threading.Thread(target=serve, daemon=True).start()


broker()
server = http.server.ThreadingHTTPServer(("127.0.0.2", 443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("leaf.pem", "leaf.key")
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print("ready", flush=True)
server.serve_forever()
