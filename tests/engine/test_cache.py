"""What is kept per owner, and that a purge is final."""

from __future__ import annotations

from safelight.engine.cache import Cache


def test_owners_do_not_share() -> None:
    cache: Cache[int] = Cache(4)
    cache.put("ann", "key", 1, 0)
    assert cache.get("ann", "key") == 1
    assert cache.get("bob", "key") is None


def test_the_least_recently_used_goes() -> None:
    cache: Cache[int] = Cache(2)
    cache.put("ann", "a", 1, 0)
    cache.put("ann", "b", 2, 0)
    cache.get("ann", "a")
    cache.put("bob", "c", 3, 0)
    assert [cache.get("ann", key) for key in "ab"] == [1, None]
    assert len(cache) == 2


def test_after_a_purge_older_work_may_put_nothing_back() -> None:
    cache: Cache[int] = Cache(4)
    before = cache.purges("ann")
    cache.put("ann", "a", 1, before)
    cache.put("bob", "a", 1, 0)
    cache.purge("ann")
    cache.put("ann", "b", 2, before)
    assert [cache.get("ann", key) for key in "ab"] == [None, None]
    assert cache.get("bob", "a") == 1
    cache.put("ann", "c", 3, cache.purges("ann"))
    assert cache.get("ann", "c") == 3
