# How often each of these words stands in the memory of a process that may be written.
import json
import sys

pid, words = sys.argv[1], json.load(sys.stdin)
counts = dict.fromkeys(words, 0)
with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
    for line in maps:
        place, rights, *_ = line.split()
        first, last = (int(each, 16) for each in place.split("-"))
        if not rights.startswith("rw"):
            continue
        memory.seek(first)
        try:
            text = memory.read(last - first)
        except OSError:
            continue
        for word in words:
            counts[word] += text.count(word.encode())
print(json.dumps(counts))
