"""Looks for unusual days in a year of river gauge readings.

    analyse.py READINGS.csv

The file has a row for each day: date, then a level in centimetres for each gauge; a gap is an empty
field. Gaps are filled between neighbours, the yearly course is removed by harmonic regression, and
what is left is tested against its own running spread. Writes `summary.json` and `levels.png`.
Needs nothing but the standard library, so that it runs wherever there is a Python 3.
"""

import csv
import json
import math
import statistics
import struct
import sys
import zlib

WINDOW = 21  # days of the running spread
THRESHOLD = 4.0  # spreads from the expected level that make a day unusual
HARMONICS = 2  # the year and half of it


def read(path):
    with open(path, newline="") as file:
        rows = csv.reader(file)
        names = next(rows)[1:]
        days, columns = [], [[] for _ in names]
        for row in rows:
            days.append(row[0])
            for column, field in zip(columns, row[1:]):
                column.append(float(field) if field else None)
    return days, dict(zip(names, columns))


def fill(levels):
    """Linear between the neighbours of a gap, level beyond the first and last reading."""
    known = [index for index, level in enumerate(levels) if level is not None]
    filled = []
    for index, level in enumerate(levels):
        if level is None:
            before = max((k for k in known if k < index), default=known[0])
            after = min((k for k in known if k > index), default=known[-1])
            share = (index - before) / (after - before) if after != before else 0
            level = levels[before] + share * (levels[after] - levels[before])
        filled.append(level)
    return filled


def solve(matrix, values):
    """Gaussian elimination with partial pivoting."""
    rows = [list(row) + [value] for row, value in zip(matrix, values)]
    size = len(rows)
    for column in range(size):
        pivot = max(range(column, size), key=lambda row: abs(rows[row][column]))
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for row in range(column + 1, size):
            factor = rows[row][column] / rows[column][column]
            for entry in range(column, size + 1):
                rows[row][entry] -= factor * rows[column][entry]
    result = [0.0] * size
    for row in reversed(range(size)):
        rest = sum(rows[row][entry] * result[entry] for entry in range(row + 1, size))
        result[row] = (rows[row][size] - rest) / rows[row][row]
    return result


def basis(day):
    angle = 2 * math.pi * day / 365.25
    terms = [1.0, day / 365.25]
    for harmonic in range(1, HARMONICS + 1):
        terms += [math.cos(harmonic * angle), math.sin(harmonic * angle)]
    return terms


def yearly_course(levels):
    """Least squares over the basis, twice: days that are far off don't count the second time."""
    days = list(range(len(levels)))
    for _ in range(2):
        terms = [basis(day) for day in days]
        width = len(terms[0])
        normal = [[sum(t[i] * t[j] for t in terms) for j in range(width)] for i in range(width)]
        right = [sum(t[i] * levels[day] for t, day in zip(terms, days)) for i in range(width)]
        weights = solve(normal, right)
        course = [sum(w * t for w, t in zip(weights, basis(day))) for day in range(len(levels))]
        off = [levels[day] - course[day] for day in days]
        spread = statistics.pstdev(off)
        days = [day for day in days if abs(levels[day] - course[day]) < 3 * spread]
    return course


def unusual(levels, course):
    off = [level - expected for level, expected in zip(levels, course)]
    found = []
    for day in range(len(off)):
        window = off[max(0, day - WINDOW) : day] + off[day + 1 : day + 1 + WINDOW]
        middle = statistics.median(window)
        spread = statistics.median(abs(value - middle) for value in window) * 1.4826
        score = (off[day] - middle) / max(spread, 1e-9)
        if abs(score) > THRESHOLD:
            found.append((day, score))
    return found


def correlation(one, other):
    mean_one, mean_other = statistics.fmean(one), statistics.fmean(other)
    top = sum((a - mean_one) * (b - mean_other) for a, b in zip(one, other))
    return top / (len(one) * statistics.pstdev(one) * statistics.pstdev(other))


class Picture:
    """A small raster that can draw lines and write itself as a PNG (RFC 2083)."""

    def __init__(self, width, height):
        self.width, self.height = width, height
        self.rows = [bytearray(b"\xff" * width * 3) for _ in range(height)]

    def dot(self, x, y, colour, size=1):
        for dy in range(-size + 1, size):
            for dx in range(-size + 1, size):
                column, row = round(x) + dx, round(y) + dy
                if 0 <= column < self.width and 0 <= row < self.height:
                    self.rows[row][3 * column : 3 * column + 3] = bytes(colour)

    def line(self, x0, y0, x1, y1, colour):
        steps = max(1, round(max(abs(x1 - x0), abs(y1 - y0))))
        for step in range(steps + 1):
            share = step / steps
            self.dot(x0 + share * (x1 - x0), y0 + share * (y1 - y0), colour)

    def png(self):
        def chunk(kind, data):
            body = kind + data
            return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

        head = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        pixels = zlib.compress(b"".join(b"\0" + bytes(row) for row in self.rows), 9)
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def draw(gauges, results):
    panel, margin, width = 160, 12, 760
    picture = Picture(width, panel * len(gauges))
    for place, (name, levels) in enumerate(gauges.items()):
        course, found = results[name]
        low, high = min(levels), max(levels)
        top = place * panel + margin
        scale = (panel - 2 * margin) / ((high - low) or 1)
        x = lambda day: margin + day * (width - 2 * margin) / (len(levels) - 1)
        y = lambda level: top + (high - level) * scale
        for day in range(1, len(levels)):
            picture.line(x(day - 1), y(course[day - 1]), x(day), y(course[day]), (190, 190, 190))
        for day in range(1, len(levels)):
            picture.line(x(day - 1), y(levels[day - 1]), x(day), y(levels[day]), (30, 90, 160))
        for day, _ in found:
            picture.dot(x(day), y(levels[day]), (200, 30, 30), size=4)
    return picture.png()


def main(path):
    days, raw = read(path)
    gauges = {name: fill(levels) for name, levels in raw.items()}
    results, summary = {}, {"days": len(days), "gauges": {}, "correlation": {}}
    for name, levels in gauges.items():
        course = yearly_course(levels)
        found = unusual(levels, course)
        results[name] = (course, found)
        gaps = sum(level is None for level in raw[name])
        summary["gauges"][name] = {
            "mean_cm": round(statistics.fmean(levels), 1),
            "range_cm": [round(min(levels), 1), round(max(levels), 1)],
            "gaps_filled": gaps,
            "unusual": [{"day": days[day], "score": round(score, 1)} for day, score in found],
        }
        print(f"{name}: mean {statistics.fmean(levels):.1f} cm, {gaps} gaps filled, {len(found)} unusual days")
        for day, score in found:
            print(f"  {days[day]}  {levels[day]:7.1f} cm  {score:+.1f} spreads")
    names = list(gauges)
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            value = correlation(gauges[one], gauges[other])
            summary["correlation"][f"{one}/{other}"] = round(value, 3)
            print(f"{one} and {other} correlate at {value:.3f}")
    with open("summary.json", "w") as file:
        json.dump(summary, file, indent=2)
    with open("levels.png", "wb") as file:
        file.write(draw(gauges, results))


if __name__ == "__main__":
    main(sys.argv[1])
