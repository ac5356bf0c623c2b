"""Every error that Safelight raises on purpose, as one tree. Knows nothing of HTTP, SQL or torch.

    SafelightError
    |- Invalid            the request breaks a rule; names the field and the rule
    |  `- Unfetchable     an address the caller gave cannot be used
    |- Unauthorized       no key, an unknown key, or a revoked one
    |- Forbidden          a key that may not do this
    |- NotFound           nothing of that name belongs to the caller
    |- NoCredit           the account's wallet does not hold the price
    |- NotOffered         a documented thing that this server does not do; names what is missing
    |- Refused            for now, try again later
    |  |- OverQuota       this account has too much waiting already
    |  `- Overloaded      the whole server has too much waiting already
    |- EngineFailed       a picture could not be made
    |  |- Cancelled       its owner took it back
    |  `- KeyLost         what was asked is gone with the process that held its key
    |- Damaged            what was stored is not as it was stored
    |- Unavailable        a part we stand on (database, blob store) does not answer
    `- SetupFailed        the program cannot start; the message says what to do

A class's docstring is its default message. Status codes and wording on the wire belong to each dialect.
"""

from __future__ import annotations

from collections.abc import Sequence


class SafelightError(Exception):
    """Something went wrong."""

    def __init__(self, message: str | None = None) -> None:
        self.message = message or (self.__doc__ or "").strip()
        super().__init__(self.message)


class Invalid(SafelightError):
    """The request is not valid."""

    def __init__(self, field: str, rule: str) -> None:
        """``rule`` completes a sentence that begins with the field: "must be between 1 and 4"."""
        self.field = field
        self.rule = rule
        super().__init__(f"{field} {rule}" if field else rule)


class Unfetchable(Invalid):
    """The address cannot be used."""


class Unauthorized(SafelightError):
    """Invalid API key"""


class Forbidden(SafelightError):
    """This key may not do that."""


class NotOffered(SafelightError):
    """This server does not do that."""


class NotFound(SafelightError):
    """Not found"""

    def __init__(self, message: str | None = None, ids: Sequence[str | int] = ()) -> None:
        self.ids = tuple(ids)
        super().__init__(message)


class NoCredit(SafelightError):
    """Insufficient credits. Please add more credits to continue."""


class Refused(SafelightError):
    """Try again later."""

    def __init__(self, message: str | None = None, retry_after: int = 5) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class OverQuota(Refused):
    """Rate limit exceeded. Too many of your requests are waiting."""

    def __init__(self, message: str | None = None, retry_after: int = 5, limit: int | None = None) -> None:
        """``limit`` is what the account's plan allows, where plans are on."""
        self.limit = limit
        super().__init__(message, retry_after)


class Overloaded(Refused):
    """The server has too many requests waiting."""


class EngineFailed(SafelightError):
    """The picture could not be made."""


class Cancelled(EngineFailed):
    """The request was cancelled."""


class KeyLost(EngineFailed):
    """What was asked was not stored, and is lost with the process that was asked. Send it again."""


class Damaged(SafelightError):
    """What was stored has been changed or damaged."""


class Unavailable(SafelightError):
    """Service temporarily unavailable. Please try again later."""


class SetupFailed(SafelightError):
    """Safelight cannot start."""
