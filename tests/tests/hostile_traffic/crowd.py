# Ten thousand connections to the way out, half of them to the proxy; those that are not refused are held.
import collections
import select

PLACES = [("127.0.0.1", PORT), (socket.gethostbyname("api.example.com"), 443)]
outcomes, held = collections.Counter(), {}


def hear(wait):
    """What becomes of those that are held, as far as it is known by now."""
    watch = select.poll()
    for number in held:
        watch.register(number, select.POLLIN)
    for number, _ in watch.poll(wait):
        stream = held.pop(number)
        try:
            said = stream.recv(65536)
            told = b" 503 " in said and b"too_many_connections" in said
            alert = said[:2] == b"\x15\x03"
            outcomes["told" if told else "cut" if alert else f"said {said[:60]}"] += 1
        except ConnectionResetError:
            outcomes["cut"] += 1
        stream.close()


for each in range(10_000):
    try:
        stream = socket.create_connection(PLACES[each % 2], 60)
        held[stream.fileno()] = stream
    except ConnectionResetError:
        outcomes["cut"] += 1
    if each % 200 == 199:
        hear(50)
while len(held) > 256:
    hear(1000)
print("crowd", len(held), outcomes["told"], outcomes["cut"], flush=True)
print("others", {what: count for what, count in outcomes.items() if what not in ("told", "cut")}, flush=True)
# Those that are held are served when they ask.
served = 0
for stream in list(held.values()):
    if stream.getpeername()[1] == PORT:
        stream.sendall(b"GET http://api.example.com/v1/a HTTP/1.1\r\nHost: other.example.com\r\nConnection: close\r\n\r\n")
        served += b"destinations_disagree" in read(stream)
print("served", served, flush=True)
