# Prints each record of the kernel's audit that Landlock makes of a path, while the kernel audits, until its input ends.
import os, select, socket, struct, sys

SET, GET, LANDLOCK, ENABLED = 1001, 1000, 1423, 1
kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9)  # NETLINK_AUDIT
kernel.bind((0, 0))
records = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9)
records.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
records.bind((0, 1))  # AUDIT_NLGRP_READLOG


def ask(kind, flags, body=b""):
    kernel.send(struct.pack("IHHII", 16 + len(body), kind, 1 | flags, 1, 0) + body)
    return kernel.recv(8192)


def audit(enabled):
    answer = ask(SET, 4, struct.pack("11I", ENABLED, enabled, *[0] * 9))
    assert struct.unpack_from("i", answer, 16)[0] == 0, "the kernel's audit can't be switched"


before = struct.unpack_from("I", ask(GET, 0), 20)[0]
audit(1)
try:
    print("ready", flush=True)
    while True:
        there, _, _ = select.select([records, sys.stdin], [], [])
        if records in there:
            record = records.recv(65536)
            if struct.unpack_from("H", record, 4)[0] == LANDLOCK:
                print(record[16:].decode(errors="replace").strip(), flush=True)
        elif not os.read(0, 1):
            break
finally:
    if not before:
        audit(0)
