"""Types into a program on a terminal of its own: typist.py STEPS PROGRAM [ARGUMENT]...

STEPS is a JSON list: ["expect", TEXT], ["send", TEXT], ["resize", ROWS, COLUMNS], ["signal", NUMBER].
Prints JSON: what the terminal showed, the exit status, and whether its settings are as they were.
"""
import fcntl
import json
import os
import pty
import select
import struct
import sys
import termios
import time

PATIENCE = 60
steps, command = json.loads(sys.argv[1]), sys.argv[2:]
master, slave = pty.openpty()


def resize(rows, columns):
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


resize(24, 80)
before = termios.tcgetattr(slave)
child = os.fork()
if child == 0:
    os.close(master)
    os.login_tty(slave)
    os.execvp(command[0], command)
everything, unread = b"", b""


def read(seconds):
    """Takes what is shown; whether there was anything."""
    global everything, unread
    if not select.select([master], [], [], seconds)[0]:
        return False
    piece = os.read(master, 65536)
    everything, unread = everything + piece, unread + piece
    return True


def expect(text):
    global unread
    wanted, deadline = text.encode(), time.monotonic() + PATIENCE
    while wanted not in unread:
        if time.monotonic() > deadline:
            sys.exit(f"no {text!r} in {everything!r}")
        read(1)
    unread = unread.split(wanted, 1)[1]


for kind, *rest in steps:
    if kind == "expect":
        expect(*rest)
    elif kind == "send":
        os.write(master, rest[0].encode())
    elif kind == "resize":
        resize(*rest)
    else:
        os.kill(child, rest[0])
deadline = time.monotonic() + PATIENCE
while True:
    ended, status = os.waitpid(child, os.WNOHANG)
    if ended:
        break
    if time.monotonic() > deadline:
        os.kill(child, 9)
        sys.exit(f"it does not end: {everything!r}")
    read(0.05)
while read(0):
    pass
print(json.dumps({
    "shown": everything.decode(errors="replace"),
    "status": os.waitstatus_to_exitcode(status),
    "restored": termios.tcgetattr(slave) == before,
}))
