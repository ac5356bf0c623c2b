"""A look at the rows behind a house, past our own queries."""

from __future__ import annotations

from typing import Any

from tests.house import House


async def rows(house: House, query: str) -> list[dict[str, Any]]:
    async with house.database.pool.connection() as connection:
        return await (await connection.execute(query.encode())).fetchall()


async def count(house: House, table: str) -> int:
    """Of a table, or of the part of one that a WHERE names."""
    return int((await rows(house, f"SELECT count(*) AS n FROM {table}"))[0]["n"])
