"""One authenticated request of the TensorsLab dialect. Knows no endpoint."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fastapi import Response

from safelight.records import Account
from safelight.service.services import Services
from safelight.wire.forms import Form


@dataclass(frozen=True, slots=True)
class Call:
    """``path`` is the last part of the address; ``files`` are the parts of a multipart body that are files, by name."""

    services: Services
    account: Account
    form: Form
    path: str
    files: Mapping[str, Sequence[bytes]] = field(default_factory=dict)


Act = Callable[[Call], Awaitable[Response]]
