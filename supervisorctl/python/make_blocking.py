"""Makes supervisord/client.py, which blocks, of supervisord/aio.py; --check fails if it is not what would be made."""

import pathlib
import re
import sys

HERE = pathlib.Path(__file__).parent / "supervisord"

WORDS = [
    (r"\basync (def|with|for) ", r"\1 "),
    (r"\bawait ", ""),
    (r"__a(enter|exit)__", r"__\1__"),
    (r"\bAsync(Client|Session|Iterator)\b", r"\1"),
    (r"\b_waiting\b", "_blocking"),
    (r"`async with`", "`with`"),
    (r'^"""The client for asyncio.*?"""', '"""The client that blocks. Made of aio.py by make_blocking.py: change that."""'),
]


def made() -> str:
    text = (HERE / "aio.py").read_text()
    for pattern, replacement in WORDS:
        text = re.sub(pattern, replacement, text, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    place = HERE / "client.py"
    if "--check" in sys.argv:
        sys.exit(place.read_text() != made() and "run make_blocking.py: client.py is not of aio.py")
    place.write_text(made())
