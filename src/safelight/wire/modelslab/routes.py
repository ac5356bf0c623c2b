"""The vendor's whole index as one table, joined from those of its families of pages. Adding an endpoint touches one of them."""

from __future__ import annotations

from itertools import product

from fastapi import APIRouter

from safelight.service.services import Services
from safelight.wire.modelslab import (
    accounts,
    agents,
    assets,
    background,
    captioning,
    chat,
    composing,
    controlnet,
    editing,
    enlarging,
    enterprise,
    images,
    installing,
    instructing,
    judging,
    mixing,
    models,
    system,
)
from safelight.wire.modelslab.call import endpoint
from safelight.wire.openapi import add

TABLE = (
    *images.ROWS,
    *controlnet.ROWS,
    *editing.ROWS,
    *enlarging.ROWS,
    *background.ROWS,
    *captioning.ROWS,
    *instructing.ROWS,
    *composing.ROWS,
    *mixing.ROWS,
    *assets.ROWS,
    *models.ROWS,
    *installing.ROWS,
    *judging.ROWS,
    *system.ROWS,
    *accounts.ROWS,
    *agents.ROWS,
    *chat.ROWS,
    *enterprise.ROWS,
)
OPERATIONS = [row.operation for row in TABLE]


def routes(services: Services) -> APIRouter:
    """Grouped by family. HEAD where a path is there for GET alone: that changes nothing."""
    router = APIRouter()
    for row in TABLE:
        group = APIRouter(tags=[row.family.name])
        methods = ("GET", "HEAD") if row.methods == ("GET",) else row.methods
        for method, path in product(methods, row.paths):
            add(group, method, path, endpoint(services, row), row.operation)
        router.routes.extend(group.routes)
    return router
