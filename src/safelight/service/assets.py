"""Stored pictures: uploads taken in, and what may be read handed out. The row is asked on every read; bytes alone open nothing."""

from __future__ import annotations

import secrets

from safelight.errors import NotFound, SafelightError, Unavailable
from safelight.records import TEMP_SECONDS, Account, Asset, AssetKind, AssetState, Bitmap, Job, shortest
from safelight.service.jobs import discard
from safelight.service.media import PNG, Format
from safelight.service.space import check_space
from safelight.service.vault import Vault
from safelight.settings import Settings
from safelight.storage.blobs import Blobs, new_key
from safelight.storage.database import Database, Row


class Assets:
    """Reading needs the name, which holds 128 random bits; nothing else about an asset is public."""

    def __init__(self, settings: Settings, database: Database, blobs: Blobs, vault: Vault) -> None:
        self._settings, self._database, self._blobs, self._vault = settings, database, blobs, vault

    async def upload(
        self, account: Account, bitmap: Bitmap, *, temp: bool = False, expires_in: float | None = None
    ) -> Asset:
        return await self.keep(account, bitmap.png, PNG, temp=temp, expires_in=expires_in)

    async def keep(
        self, account: Account, data: bytes, its: Format, *, temp: bool = False, expires_in: float | None = None
    ) -> Asset:
        """Intended, written, live: in this order, so that a crash leaves nothing that no row knows of.

        Raises OverQuota.
        """
        kind, token = AssetKind.upload, secrets.token_hex(16)
        key = new_key(kind.label, its.suffix)
        row = await self._database.one("jobs.next_id")
        assert row is not None
        seal = await self._vault.new(row["id"])
        sealed = seal.close(data, key)
        async with self._database.transaction() as tx:
            await check_space(tx, self._settings, account, len(sealed))
            await self._vault.keep(tx, row["id"], seal, sent=True)
            await tx.run(
                "assets.intend_upload", account=account.id, request=row["id"], name=token + its.suffix, blob_key=key,
                size=len(sealed), key=account.key_id, temp=temp, lives=shortest(expires_in, TEMP_SECONDS if temp else None),
            )  # fmt: skip
        try:
            await self._blobs.put(key, sealed)
            live = await self._database.one("assets.enliven_upload", blob_key=key)
            if live is None:
                raise Unavailable  # it took so long that it was taken for abandoned
        except SafelightError:
            await discard(self._database, self._blobs, [key])
            raise
        return asset_of(live)

    async def open(self, name: str, account: Account | None = None) -> tuple[Asset, bytes]:
        """Raises NotFound for what is unknown, erased or expired, or another's than ``account``'s where one is named."""
        owner = account.id if account else None
        row = None if "\x00" in name else await self._database.one("assets.readable", name=name, account=owner)
        if row is None:
            raise NotFound
        return asset_of(row), await self._bytes(row)

    async def inputs(self, account: Account, job_id: int) -> dict[AssetKind, bytes]:
        """The pictures that a job of the account's was made from, as far as they are kept. Raises NotFound for one erased meanwhile."""
        rows = await self._database.all("assets.own_inputs", id=job_id, account=account.id)
        return {AssetKind.labelled(row["kind"]): await self._bytes(row) for row in rows}

    async def outputs(self, account: Account, job: Job) -> list[bytes]:
        """What a job of the account's made, in order, stored or not. Raises NotFound for one erased meanwhile."""
        rows = await self._database.all("assets.outputs", id=job.id, account=account.id)
        return [await self._bytes(row) for row in rows]

    async def texts(self, account: Account, job: Job) -> list[str]:
        """What a job of the account's answers in words. Raises NotFound likewise."""
        if job.request is None or AssetKind.text not in job.request.makes:
            return []
        rows = await self._database.all("assets.texts", id=job.id, account=account.id)
        return [(await self._bytes(row)).decode() for row in rows]

    async def _bytes(self, row: Row) -> bytes:
        try:
            return await self._vault.file_of(row, await self._blobs.get(row["blob_key"]))
        except FileNotFoundError:  # erased between the two questions
            raise NotFound from None

    def output_names(self, job: Job) -> list[str]:
        return [output_name(job.file_prefix, number) for number in range(job.outputs)]


def output_name(file_prefix: str, number: int, kind: AssetKind = AssetKind.output) -> str:
    return f"{file_prefix}-{number}{kind.suffix}"


def asset_of(row: Row) -> Asset:
    return Asset(
        id=row["id"], account_id=row["account_id"], request_id=row["request_id"], kind=AssetKind.labelled(row["kind"]),
        state=AssetState(row["state"]), name=row["name"], blob_key=row["blob_key"], size=row["size"],
        created_at=row["created_at"], expires_at=row["expires_at"], temp=row["temp"],
    )  # fmt: skip
