# How long each of its requests takes, until its input ends.
import select
import sys
import time

while not select.select([sys.stdin], [], [], 0)[0]:
    begun = time.monotonic()
    answer = ask("GET /free/a HTTP/1.1\r\nHost: other.example.com\r\nConnection: close\r\n\r\n", "other.example.com")
    print("answer", status(answer).split(" ")[1], round((time.monotonic() - begun) * 1000), flush=True)
