"""Who is calling: accounts and their keys. A key's secret is shown once and only its hash is kept."""

from __future__ import annotations

import hashlib
import secrets
import string
import zlib
from collections.abc import Sequence

from safelight.errors import NotFound, Unauthorized
from safelight.records import Account, Key, Limits
from safelight.service.together import Together
from safelight.storage.database import Database, Row, Transaction

DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
MARK, SECRET_LENGTH, CHECK_LENGTH, SHOWN = "slk_", 43, 6, 12


class Accounts:
    """Keys are 256 random bits, so a plain SHA-256 is hash enough."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._by_hash = Together(self._find_all)

    async def authenticate(self, key: str) -> Account:
        """Raises Unauthorized. A mistyped key is known by its checksum and costs no query."""
        if not well_formed(key):
            raise Unauthorized
        account = await self._by_hash.find(hash_of(key))
        if account is None:
            raise Unauthorized
        return account

    async def _find_all(self, hashes: Sequence[bytes]) -> dict[bytes, Account]:
        rows = await self._database.all("accounts.by_hash", hashes=list(hashes))
        if stale := [row["key_id"] for row in rows if row["stale"]]:
            await self._database.run("accounts.touch_keys", ids=stale)
        return {
            row["hash"]: Account(row["id"], row["name"], row["key_id"], row["operator"], row["stores"]) for row in rows
        }

    async def create_account(self, name: str) -> Account:
        """The account of that name, made where there is none."""
        row = await self._database.one("accounts.ensure", name=name, secret=secrets.token_bytes(32))
        assert row is not None
        return Account(row["id"], row["name"])

    async def named(self, name: str) -> Account:
        """Raises NotFound."""
        row = await self._database.one("accounts.named", name=name)
        if row is None:
            raise NotFound(f"There is no account {name}.")
        return Account(row["id"], row["name"])

    async def limit(self, name: str, jobs: int | None = None, space: int | None = None) -> Limits:
        """What the named account may have from now on. None leaves a limit as it is, 0 takes it away. Raises NotFound."""
        row = await self._database.one("accounts.limit", name=name, jobs=jobs, bytes=space)
        if row is None:
            raise NotFound(f"There is no account {name}.")
        return Limits(row["most_jobs"], row["most_bytes"])

    async def create_key(self, account: str, label: str = "", *, operator: bool = False) -> tuple[Key, str]:
        """A new key of the named account, and its secret, which nobody can ask for again."""
        owner = await self.create_account(account)
        async with self._database.transaction() as tx:
            return await add_key(tx, owner, label, operator=operator)

    async def list_keys(self) -> list[Key]:
        return [_key(row) for row in await self._database.all("accounts.keys")]

    async def own_keys(self, account: Account) -> list[Key]:
        """Those that open something."""
        return [_key(row) for row in await self._database.all("accounts.own_keys", account=account.id)]

    async def own_key(self, account: Account, key_id: int) -> Key:
        """Raises NotFound for what is unknown, another's, or revoked: alike."""
        found = next((key for key in await self.own_keys(account) if key.id == key_id), None)
        if found is None:
            raise NotFound
        return found

    async def relabel_own(self, account: Account, key_id: int, label: str) -> Key:
        """Raises NotFound."""
        await self._database.run("accounts.relabel", account=account.id, id=key_id, label=label)
        return await self.own_key(account, key_id)

    async def stores(self, account: Account) -> bool:
        """Whether what the account asks for may be stored, but for what its keys say."""
        row = await self._database.one("accounts.stores", account=account.id)
        return bool(row and row["stores"])

    async def store(self, account: Account, stores: bool, key_id: int = 0) -> None:
        """From its return on; of one key, or whatever the key. What is stored already stays. Raises NotFound."""
        if not key_id:
            await self._database.run("accounts.store", account=account.id, stores=stores)
        elif not await self._database.run("accounts.store_of_key", account=account.id, id=key_id, stores=stores):
            raise NotFound

    async def revoke_own(self, account: Account, key_id: int) -> None:
        """Raises NotFound. Also the key that asks for it."""
        if not await self._database.run("accounts.revoke_own", account=account.id, id=key_id):
            raise NotFound

    async def revoke_key(self, prefix_or_id: str) -> Key:
        """Raises NotFound where no key, or more than one, is meant. From its return on the key opens nothing."""
        row = await self._database.one("accounts.revoke", which=prefix_or_id)
        if row is None:
            raise NotFound(f"No single key is named {prefix_or_id}.")
        return _key(row)

    async def any_operator(self) -> Account | None:
        """Whose key is the oldest of those that may look after the server."""
        keys = [key for key in await self.list_keys() if key.operator and key.revoked_at is None]
        return Account(keys[0].account_id, keys[0].account_name, keys[0].id, True) if keys else None

    async def any_keys(self) -> bool:
        row = await self._database.one("accounts.any_keys")
        return bool(row and row["found"])


async def add_key(tx: Transaction, owner: Account, label: str, *, operator: bool = False) -> tuple[Key, str]:
    """A new key and its secret, from the commit of ``tx`` on."""
    secret = new_secret()
    row = await tx.one(
        "accounts.add_key", account=owner.id, name=owner.name, label=label, prefix=secret[:SHOWN], hash=hash_of(secret),
        operator=operator,
    )  # fmt: skip
    assert row is not None
    return _key(row), secret


def new_secret() -> str:
    body = "".join(secrets.choice(DIGITS) for _ in range(SECRET_LENGTH))
    return MARK + body + _check(body)


def well_formed(key: str) -> bool:
    body, check = key[len(MARK) : -CHECK_LENGTH], key[-CHECK_LENGTH:]
    return (
        key.startswith(MARK)
        and key.isascii()
        and len(body) == SECRET_LENGTH
        and secrets.compare_digest(_check(body), check)
    )


def _check(body: str) -> str:
    rest, digits = zlib.crc32(body.encode()), ""
    while len(digits) < CHECK_LENGTH:
        rest, digit = divmod(rest, len(DIGITS))
        digits += DIGITS[digit]
    return digits


def hash_of(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _key(row: Row) -> Key:
    return Key(
        id=row["id"], account_id=row["account_id"], account_name=row["account_name"], label=row["label"], prefix=row["prefix"],
        created_at=row["created_at"], revoked_at=row["revoked_at"], last_used_at=row["last_used_at"],
        operator=row["operator"], stores=row["stores"],
    )  # fmt: skip
