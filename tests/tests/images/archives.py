"""Writes one small image in the layouts that other tools write, and some that no honest tool does, to the
directory that is named: busybox, a tool in /opt, and a second layer that hides a file of the first."""

import gzip
import hashlib
import io
import json
import os
import platform
import sys
import tarfile

to = sys.argv[1]
machine = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
busybox = next(path for path in ("/usr/bin/busybox", "/bin/busybox") if os.path.exists(path))


def entry(name, kind=tarfile.REGTYPE, size=0, mode=0o755, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mode, info.linkname, info.mtime = kind, size, mode, link, 1_700_000_000
    return info


def layer(entries):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in entries:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return made.getvalue()


with open(busybox, "rb") as file:
    program = file.read()
entries = [
    (entry("bin/", tarfile.DIRTYPE), b""),
    (entry("bin/busybox", mode=0o4755), program),
    (entry("bin/sh", tarfile.LNKTYPE, link="bin/busybox"), b""),
    (entry("bin/cat", tarfile.SYMTYPE, link="busybox"), b""),
    (entry("bin/ls", tarfile.SYMTYPE, link="/bin/busybox"), b""),
    (entry("bin/id", tarfile.SYMTYPE, link="/bin/busybox"), b""),
    (entry("bin/sleep", tarfile.SYMTYPE, link="/bin/busybox"), b""),
    (entry("opt/", tarfile.DIRTYPE), b""),
    (entry("opt/gone"), b"the second layer hides this\n"),
    (entry("opt/tool"), b"#!/bin/sh\necho a tool of the image\n"),
    (entry("dev/null", tarfile.CHRTYPE), b""),
]
first = layer(entries)
second = layer([
    (entry("opt/.wh.gone", mode=0o644), b""),
    (entry("etc/release", mode=0o644), b"the second layer\n"),
])
layers = [first, second]


def digest(content):
    return hashlib.sha256(content).hexdigest()


def document(value):
    return json.dumps(value, sort_keys=True).encode()


config = document({
    "architecture": machine,
    "os": "linux",
    "config": {"Env": ["PATH=/bin", "FROM=the image"], "Cmd": ["sh"]},
    "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest(each) for each in layers]},
})


def archive(name, members):
    with tarfile.open(os.path.join(to, name), "w") as tar:
        for member, content in members.items():
            info = entry(member, mode=0o644)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                content = b""
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def descriptor(content, kind, **more):
    return {"mediaType": kind, "digest": "sha256:" + digest(content), "size": len(content), **more}


def layout(change=None, others=()):
    """An OCI image layout with compressed layers, as files."""
    kinds = "application/vnd.oci.image."
    packed = [gzip.compress(each, mtime=0) for each in layers]
    manifest = document({
        "schemaVersion": 2,
        "config": descriptor(config, kinds + "config.v1+json"),
        "layers": [descriptor(each, kinds + "layer.v1.tar+gzip") for each in packed],
    })
    here = descriptor(manifest, kinds + "manifest.v1+json", platform={"architecture": machine, "os": "linux"})
    elsewhere = descriptor(b"{}", kinds + "manifest.v1+json", platform={"architecture": "s390x", "os": "linux"})
    files = {"blobs/sha256/" + digest(each): each for each in [config, manifest, *packed]}
    files["oci-layout"] = document({"imageLayoutVersion": "1.0.0"})
    files["index.json"] = document({"schemaVersion": 2, "manifests": [elsewhere, here, *others]})
    for name, content in list(files.items()):
        if change and content == change(packed, manifest)[0]:
            files[name] = change(packed, manifest)[1]
    return files


# What `docker save` and `podman save` write: newer tools in the layout of OCI as well.
saved = {digest(config) + ".json": config}
names = []
for number, each in enumerate(layers):
    saved[f"{number}/layer.tar"] = each
    names.append(f"{number}/layer.tar")
manifest = document([{"Config": digest(config) + ".json", "RepoTags": ["example/box:1"], "Layers": names}])
archive("docker.tar", {**saved, "manifest.json": manifest})
linked = {**saved, "1/layer.tar": second, "2/layer.tar": "../1/layer.tar"}
names = ["0/layer.tar", "2/layer.tar"]
manifest = document([{"Config": digest(config) + ".json", "RepoTags": None, "Layers": names}])
archive("docker-linked.tar", {**linked, "manifest.json": manifest})
archive("oci.tar", layout())
with open(os.path.join(to, "oci.tar"), "rb") as file, gzip.open(os.path.join(to, "oci.tar.gz"), "wb") as packed:
    packed.write(file.read())
for name, content in layout().items():
    path = os.path.join(to, "oci", name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)

# What nobody honest writes. Where a store of authorities is to be, a link leads to what init is.
with open(os.path.join(to, "links.tar"), "wb") as file:
    where = ["etc/ssl/certs/ca-certificates.crt", "etc/pki/tls/certs/ca-bundle.crt", "etc/ssl/cert.pem"]
    what = ["/proc/self/maps", "/workspace/x", "/proc/1/environ"]
    links = [(entry(name, tarfile.SYMTYPE, link=link), b"") for name, link in zip(where, what)]
    file.write(layer([*entries, *links]))
wrong = gzip.compress(layer([(entry("etc/release"), b"another\n")]), mtime=0)
archive("wrong-layer.tar", layout(lambda packed, _: (packed[1], wrong[: len(packed[1])].ljust(len(packed[1]), b"\0"))))
archive("wrong-manifest.tar", layout(lambda _, manifest: (manifest, manifest.replace(b'"schemaVersion": 2', b'"schemaVersion": 3'))))
archive("wrong-config.tar", {**saved, digest(config) + ".json": config.replace(b"the image", b"the other"), "manifest.json": manifest})
with open(os.path.join(to, "bomb.tar.gz"), "wb") as file:
    file.write(gzip.compress(layer([(entry("zeros"), bytes(64 << 20))])))
with open(os.path.join(to, "many.tar"), "wb") as file:
    file.write(layer([(entry(f"file-{number}"), b"") for number in range(2000)]))
with open(os.path.join(to, "deep.tar"), "wb") as file:
    file.write(layer([(entry("/".join([f"{number}", *("d" * 100)])), b"") for number in range(20)]))
with open(os.path.join(to, "escapes.tar"), "wb") as file:
    file.write(layer([*entries, (entry("opt/\x1b]0;title\x07", tarfile.FIFOTYPE), b"")]))
with open(os.path.join(to, "upwards.tar"), "wb") as file:
    file.write(layer([(entry("../../../../etc/cron.d/evil"), b"x")]))
with open(os.path.join(to, "through.tar"), "wb") as file:
    file.write(layer([(entry("out", tarfile.SYMTYPE, link="/etc"), b""), (entry("out/through-a-link"), b"x")]))
with open(os.path.join(to, "root.tar"), "wb") as file:
    file.write(first)

# Files of others than root.
shared, theirs = entry("opt/shared/", tarfile.DIRTYPE, mode=0o775), entry("opt/theirs", mode=0o666)
shared.gid, theirs.uid = 50, 6
with open(os.path.join(to, "owners.tar"), "wb") as file:
    file.write(layer([*entries, (shared, b""), (theirs, b"another's\n")]))
