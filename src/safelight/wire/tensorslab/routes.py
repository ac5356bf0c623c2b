"""The TensorsLab dialect as one table. Knows no other dialect."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from safelight.service.services import Services
from safelight.wire.forms import read_upload
from safelight.wire.http import authenticate
from safelight.wire.keeping import as_preferred
from safelight.wire.openapi import Endpoint, add
from safelight.wire.tensorslab import making, tasks
from safelight.wire.tensorslab.call import Act, Call

TABLE = tasks.ROWS | making.ROWS


def routes(services: Services) -> APIRouter:
    router = APIRouter(tags=["TensorsLab"])
    for path, (act, operation) in TABLE.items():
        add(router, "POST", path, _endpoint(services, path, act), operation)
    return router


def _endpoint(services: Services, path: str, act: Act) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        form, files = await read_upload(request, services.settings)
        account = await authenticate(services, form)
        return await act(Call(services, account, as_preferred(form, account), path.rpartition("/")[2], files))

    return endpoint
