"""Generate, execute, reflect: a model writes code, sees what came of it, and writes the next version until it is
right. The model here is a script, so that the example runs anywhere; put yours in the place of `model`."""

import supervisord

GOAL = "the mean of the numbers in data.txt"

DRAFTS = iter([
    "numbers = [int(line) for line in open('data.txt')]\nprint(sum(numbers) / len(numbers))",
    "import urllib.request\nprint(urllib.request.urlopen('http://example.com/mean').read())",
    "numbers = [float(line) for line in open('data.txt') if line.strip()]\nprint(sum(numbers) / len(numbers))",
])


def model(goal: str, seen: list[str]) -> str:
    """The next draft, given what became of those before."""
    return next(DRAFTS)


def reflect(result: supervisord.Result) -> str:
    """What a model should know before it writes the next one."""
    words = [result.summary, result.stdout, result.stderr[-2000:]]
    for refusal in result.refusals:
        words.append(f"refused by {refusal.rule}: {refusal.cause}; {refusal.remedy}")
    return "\n".join(word for word in words if word)


def main() -> None:
    seen: list[str] = []
    with supervisord.Client() as client, client.session() as session:
        session.write("data.txt", "1.5\n2.5\n\n5\n")
        for attempt in range(1, 5):
            result = session.run(model(GOAL, seen), timeout=20)
            seen.append(reflect(result))
            print(f"attempt {attempt}: {result.summary}", flush=True)
            if result.ok:
                print("answer:", result.stdout.strip())
                return
    raise SystemExit("no draft was right")


if __name__ == "__main__":
    main()
