"""The pages of a customer's own server: each of its families has them all."""

from __future__ import annotations

from safelight.wire.modelslab import assets, families, images, system
from safelight.wire.modelslab.call import Row
from safelight.wire.modelslab.families import Family


def _server(family: Family) -> tuple[Row, ...]:
    return *images.makes(family), *system.describes(family), assets.clears(family)


ROWS = (
    *_server(families.ENTERPRISE),
    *_server(families.ENTERPRISE_TXT2IMG),
    *_server(families.ENTERPRISE_IMAGES),
    *_server(families.ENTERPRISE_REALTIME),
)
