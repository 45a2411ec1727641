"""What the client for asyncio does, against a daemon that is there."""

import asyncio

import supervisord


async def main():
    async with supervisord.AsyncClient() as client:
        # Several at once, each with its output as it comes.
        told = [[], [], []]
        code = "import sys, time\nfor n in range(3): print(sys.argv[1], n, flush=True); time.sleep(0.2)"
        results = await asyncio.gather(*(
            client.run(code, argv=[str(each)], on_output=told[each].append) for each in range(3)
        ))
        for each, result in enumerate(results):
            assert result.stdout == "".join(f"{each} {n}\n" for n in range(3)), result
            assert b"".join(chunk.data for chunk in told[each]) == result.stdout_bytes
        large = await client.run("print('x' * 3_000_000, end='')", limits={"output_bytes": 4 << 20})
        assert len(large.stdout) == 3_000_000
        # A wait that is given up ends the program, or the cell alone.
        try:
            async with asyncio.timeout(2):
                await client.run(argv=["sleep", "600"])
            raise SystemExit("it was to be given up")
        except TimeoutError:
            pass
        [last] = await client.executions(limit=1)
        assert last.outcome == {"type": "cancelled"}, last
        async with await client.session() as session:
            await session.cell("x = 1")
            try:
                async with asyncio.timeout(2):
                    await session.cell("while True: pass")
                raise SystemExit("it was to be given up")
            except TimeoutError:
                pass
            assert (await session.cell("x")).value == "1"
        try:
            await client.run("1", limits={"memory_max": 1 << 60})
            raise SystemExit("it was to be refused")
        except supervisord.PolicyDenied as error:
            assert error.remedy, error


asyncio.run(main())
