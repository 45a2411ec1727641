"""An HTTPS server with an API, git repositories and a package index, all in the directory it is started in."""

import base64
import hashlib
import http.server
import io
import json
import os
import pathlib
import ssl
import subprocess
import sys
import tarfile
import zipfile

certificate, key = sys.argv[1:]


def lay_out_packages():
    """A package for pip and one for npm, as their indexes describe them."""
    simple, registry = pathlib.Path("files/simple/sample-package"), pathlib.Path("files/npm")
    simple.mkdir(parents=True)
    registry.mkdir()
    name = "sample_package-1.0-py3-none-any.whl"
    with zipfile.ZipFile(simple / name, "w") as wheel:
        about = "sample_package-1.0.dist-info"
        wheel.writestr("sample_package.py", "WORDS = 'installed by pip'\n")
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: sample-package\nVersion: 1.0\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    digest = hashlib.sha256((simple / name).read_bytes()).hexdigest()
    (simple / "index.html").write_text(f'<!DOCTYPE html><a href="{name}#sha256={digest}">{name}</a>')

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for file, text in (
            ("package.json", json.dumps({"name": "sample-package", "version": "1.0.0", "main": "main.js"})),
            ("main.js", "module.exports = 'installed by npm';\n"),
        ):
            entry = tarfile.TarInfo(f"package/{file}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    (registry / "sample-package-1.0.0.tgz").write_bytes(packed.getvalue())
    digest = base64.b64encode(hashlib.sha512(packed.getvalue()).digest()).decode()
    version = {
        "name": "sample-package",
        "version": "1.0.0",
        "main": "main.js",
        "dist": {
            "tarball": "https://index.example.com/npm/sample-package-1.0.0.tgz",
            "integrity": f"sha512-{digest}",
        },
    }
    described = {"name": "sample-package", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
    (registry / "sample-package").write_text(json.dumps(described))


def lay_out_repository():
    """A repository with one commit, which takes pushes from anybody."""
    script = """
        git init -q -b main source && cd source && echo 'fetched by git' > words && git add words
        git -c user.name=A -c user.email=a@example.com commit -q -m Words && cd ..
        git clone -q --bare source git/project.git
        git -C git/project.git config http.receivepack true
    """
    environment = {"PATH": os.environ["PATH"], "HOME": os.getcwd(), "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["/bin/sh", "-ec", script], check=True, env=environment)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.read_body()
        path, _, query = self.path.partition("?")
        if path.startswith("/v1/"):
            self.send(200, [], f"{self.command} {path} took {len(body)} bytes\n".encode())
        elif path.startswith("/git/"):
            self.answer_git(path, query, body)
        else:
            self.answer_file(path)

    do_GET = do_POST = do_HEAD = answer

    def read_body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def answer_git(self, path, query, body):
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": os.path.join(os.getcwd(), "git"),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path.removeprefix("/git"),
            "QUERY_STRING": query,
            "REMOTE_USER": "somebody",
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        command = ["git", "http-backend"]
        done = subprocess.run(command, input=body, env=environment, stdout=subprocess.PIPE, check=True)
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        fields = [line.split(": ", 1) for line in head.decode().split("\r\n")]
        status = next((value for name, value in fields if name == "Status"), "200")
        self.send(int(status.split()[0]), [field for field in fields if field[0] != "Status"], answer)

    def answer_file(self, path):
        file = pathlib.Path("files") / path.strip("/")
        file = file / "index.html" if file.is_dir() else file
        if not file.is_file():
            return self.send(404, [], b"not here\n")
        kind = {".html": "text/html", "": "application/json"}
        kind = kind.get(file.suffix, "application/octet-stream")
        self.send(200, [("Content-Type", kind)], file.read_bytes())

    def send(self, status, fields, body):
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


lay_out_packages()
lay_out_repository()
server = http.server.ThreadingHTTPServer(("127.0.0.2", 443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print("ready", flush=True)
server.serve_forever()
