# Every socket family with every type, and protocols that have no business here.
def made(family, kind, protocol=0):
    os.close(call("socket", family, kind, protocol))
    return "a socket"


for family in range(48):
    for kind in (1, 2, 3, 4, 5, 6, 10):
        attempt(f"family {family} {kind}", lambda: made(family, kind))
for kind, protocol in ((1, 262), (1, 132), (1, 256), (2, 136), (3, 1), (3, 255), (2, 1), (2, 58)):
    attempt(f"protocol {kind} {protocol}", lambda: made(socket.AF_INET, kind, protocol))
for protocol in range(1, 23):
    attempt(f"netlink {protocol}", lambda: made(socket.AF_NETLINK, 3, protocol))
for family, kind, protocol in ((2, 1, 6), (10, 1, 0), (2, 2, 17), (10, 2, 0), (16, 3, 0)):
    attempt(f"ordinary {family} {kind} {protocol}", lambda: made(family, kind, protocol))
