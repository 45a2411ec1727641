"""Cells that keep variables, with output and a value, by asyncio: two notebooks at once."""

import asyncio

import supervisord


async def notebook(client: supervisord.AsyncClient, start: int) -> str | None:
    async with await client.session() as session:
        await session.cell(f"total = {start}")
        for _ in range(3):
            await session.cell("total *= 2")
        return (await session.cell("total")).value


async def main() -> None:
    async with supervisord.AsyncClient() as client:
        print(*await asyncio.gather(notebook(client, 1), notebook(client, 5)))


if __name__ == "__main__":
    asyncio.run(main())
