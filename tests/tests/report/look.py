"""Looks at a page in a browser without a screen: by day and by night, wide and narrow, and at where everything stands.
Argument: the page."""

import html
import json
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

PAGE = Path(sys.argv[1])
PLACE = Path(tempfile.mkdtemp(dir=PAGE.parent))
BROWSER = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
           "--hide-scrollbars", "--no-first-run", f"--user-data-dir={PLACE / 'profile'}"]
DARK = "--blink-settings=preferredColorScheme=0"

# Asks where things stand. The page itself has no script and would run none: this is in a copy without its policy.
ASKS = """<script>
const box = (element) => { const { left, top, right, bottom } = element.getBoundingClientRect()
  return { left, top, right, bottom, words: element.textContent.slice(0, 60) } }
const found = { overlaps: [], outside: [], wide: document.documentElement.scrollWidth - innerWidth, texts: 0 }
const cross = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
  && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1
const compare = (boxes) => boxes.forEach((a, n) => boxes.slice(n + 1).forEach((b) => {
  if (cross(a, b)) found.overlaps.push([a.words, b.words]) }))
for (const svg of document.querySelectorAll('svg')) {
  const texts = [...svg.querySelectorAll('text')].map(box), room = box(svg)
  found.texts += texts.length
  compare(texts)
  for (const text of texts) if (text.right > room.right + 1 || text.left < room.left - 1
    || text.bottom > room.bottom + 1) found.outside.push(text.words)
}
for (const group of [document.querySelector('main'), ...document.querySelectorAll('section, article, figure, dl')])
  compare([...group.children].map(box).filter((each) => each.bottom > each.top))
document.body.textContent = JSON.stringify(found)
</script>"""

assert shutil.which(BROWSER[0]), "this looks at pages with the package chromium, which is not installed"


def browser(*arguments):
    ran = subprocess.run([*BROWSER, *arguments], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def pixels(path):
    """Rows of bytes of a PNG of eight bits, as this browser writes them."""
    data, at, packed = path.read_bytes(), 8, b""
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    while at < len(data):
        (length,) = struct.unpack(">I", data[at:at + 4])
        if data[at + 4:at + 8] == b"IDAT":
            packed += data[at + 8:at + 8 + length]
        at += 12 + length
    assert depth == 8 and colour in (2, 6), (depth, colour)
    step = 3 if colour == 2 else 4
    raw, line, before, rows = zlib.decompress(packed), width * step + 1, bytes(width * step), []
    for y in range(height):
        kind, row = raw[y * line], bytearray(raw[y * line + 1:(y + 1) * line])
        for x in range(len(row) if kind else 0):
            left, up = row[x - step] if x >= step else 0, before[x]
            corner = before[x - step] if x >= step else 0
            if kind == 1:
                guess = left
            elif kind == 2:
                guess = up
            elif kind == 3:
                guess = (left + up) // 2
            else:
                p = left + up - corner
                guess = min((abs(p - left), 0, left), (abs(p - up), 1, up), (abs(p - corner), 2, corner))[2]
            row[x] = (row[x] + guess) & 255
        before = bytes(row)
        rows.append([before[x:x + 3] for x in range(0, len(before), step)])
    return rows


def looks(name, expected, *how):
    picture = PLACE / f"{name}.png"
    browser("--window-size=700,500", f"--screenshot={picture}", *how, PAGE.as_uri())
    shown = [pixel for row in pixels(picture) for pixel in row]
    ground = max(set(shown), key=shown.count)
    assert tuple(ground) == expected, (name, tuple(ground))
    far = [pixel for pixel in shown if abs(sum(pixel) - sum(ground)) > 450]
    assert len(far) > len(shown) / 500, f"{name}: there is nothing to read on it"


looks("day", (255, 255, 255))
looks("night", (13, 17, 23), DARK)
copy = PLACE / "copy.html"
text = re.sub(r"<meta http-equiv=[^>]*>", "", PAGE.read_text())
assert "Content-Security-Policy" in PAGE.read_text() and "<script" not in text
copy.write_text(text.replace("</body>", f"{ASKS}</body>"))
for width in (1100, 520):
    said = browser(f"--window-size={width},900", "--dump-dom", copy.as_uri())
    found = json.loads(html.unescape(re.search(r"<body[^>]*>(.*)</body>", said, re.S)[1]))
    assert found["texts"] > 5 and not found["outside"] and not found["overlaps"] and found["wide"] <= 0, (width, found)
