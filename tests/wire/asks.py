"""Every way to name something that is somebody's: by the routes that take an id, as the route table has them, and in bodies.

Each asks a running server about one thing, by one key or one browser's session.
"""

from __future__ import annotations

from collections.abc import Callable

import httpx

from safelight.wire.modelslab.routes import TABLE

from .signed_in import SignedIn
from .site import Json, Site

Ask = Callable[[Site, str, Json], httpx.Response]
Browse = Callable[[SignedIn, Json], httpx.Response]


def _fetch(path: str, method: str) -> Ask:
    def ask(site: Site, key: str, about: Json) -> httpx.Response:
        address = f"/api/{path.format(id=about['id'], server='flux')}"
        return site.http.request(method, address, json={"key": key, "request_id": about["id"]})

    return ask


def _at(method: str, path: str, **body: object) -> Ask:
    """The key in a header; what the path names from the thing."""
    return lambda site, key, about: site.http.request(
        method, path.format(**about), headers={"key": key}, json=body or None
    )


def _told(path: str, **fields: str) -> Ask:
    """By fields of the body, each with what the thing has under a name."""
    return lambda site, key, about: site.http.post(
        path, json={"key": key} | {name: about[of] for name, of in fields.items()}
    )


def _listed(path: str, field: str, of: str, **more: object) -> Ask:
    return lambda site, key, about: site.http.post(path, json={"key": key, field: [about[of]], **more})


FETCHES: dict[str, Ask] = {
    f"{method} /api/{row.path}": _fetch(row.path, method)
    for row in TABLE
    if "fetch" in row.path
    for method in row.methods
}
BY_PATH: dict[str, Ask] = {
    **{route: ask for route, ask in FETCHES.items() if "{id}" in route},
    "GET /v1/jobs/{id}": _at("GET", "/v1/jobs/{id}"),
    "GET /v1/jobs/{id}/events": _at("GET", "/v1/jobs/{id}/events"),
    "DELETE /v1/jobs/{id}": _at("DELETE", "/v1/jobs/{id}"),
    "DELETE /v1/assets/{id}": _at("DELETE", "/v1/assets/{id}"),
    "GET /v1/erasures/{id}": _at("GET", "/v1/erasures/{receipt}"),
    "POST /v1/webhooks/deliveries/{id}/replay": _at("POST", "/v1/webhooks/deliveries/{delivery}/replay"),
    "GET /api/agents/v1/api-keys/{id}": _at("GET", "/api/agents/v1/api-keys/{key_id}"),
    "PUT /api/agents/v1/api-keys/{id}": _at("PUT", "/api/agents/v1/api-keys/{key_id}", name="taken over"),
    "DELETE /api/agents/v1/api-keys/{id}": _at("DELETE", "/api/agents/v1/api-keys/{key_id}"),
}
BY_BODY: dict[str, Ask] = {
    **{route: ask for route, ask in FETCHES.items() if "{id}" not in route},
    "delete_image, by id": _told("/api/v3/delete_image", request_id="id"),
    "delete_image, by name": _told("/api/v3/delete_image", image="name"),
    "infobytaskid": _told("/v1/images/infobytaskid", taskid="prefix"),
    "infobytaskid, by number": _told("/v1/images/infobytaskid", taskid="id"),
    "deleteimagestask": _listed("/v1/images/deleteimagestask", "taskids", "prefix"),
    "deleteimagestask, by number": _listed("/v1/images/deleteimagestask", "taskids", "id"),
    "deletevideotask": _listed("/v1/video/deletevideotask", "taskids", "prefix"),
    "assets, by name": _at("DELETE", "/v1/assets/{name}"),
    "erasures": _listed("/v1/erasures", "ids", "id"),
    "erasures in vain": _listed("/v1/erasures", "ids", "id", dry_run=True),
    "receipts before": _at("GET", "/v1/erasures?before={receipt}"),
    "retention of a key": lambda site, key, about: site.http.put(
        "/v1/retention", json={"key": key, "seconds": 3600, "key_id": about["key_id"]}
    ),
}
BY_BROWSER: dict[str, Browse] = {
    "GET /console/thumbs/{name}": lambda browser, about: browser.get(f"/thumbs/{about['name']}"),
    "GET /console/jobs/{id}": lambda browser, about: browser.get(f"/jobs/{about['id']}"),
    "GET /console/jobs/{id}/card": lambda browser, about: browser.get(f"/jobs/{about['id']}/card"),
    "GET /console/jobs/{id}/events": lambda browser, about: browser.get(f"/jobs/{about['id']}/events"),
    "POST /console/jobs/{id}/again": lambda browser, about: browser.post(f"/jobs/{about['id']}/again"),
    "POST /console/jobs/{id}/erase": lambda browser, about: browser.post(f"/jobs/{about['id']}/erase"),
    "POST /console/pictures/{name}/enlarge": lambda browser, about: browser.post(f"/pictures/{about['name']}/enlarge"),
    "POST /console/keys/{id}/name": lambda browser, about: browser.post(
        f"/keys/{about['key_id']}/name", label="taken over"
    ),
    "POST /console/keys/{id}/revoke": lambda browser, about: browser.post(f"/keys/{about['key_id']}/revoke"),
    "POST /console/webhooks/{id}/replay": lambda browser, about: browser.post(f"/webhooks/{about['delivery']}/replay"),
    "many tiles": lambda browser, about: browser.post("/erase", ids=about["id"]),
}
OPEN = {  # what is named here is nobody's, or is known to whoever has its unguessable name
    *(f"GET /{folder}/{{name}}" for folder in ("generations", "temp", "uploads")),
    *(f"GET /{folder}/{{name}}" for folder in ("console/static", "docs")),
}
MODELS = {  # names of checkpoints and LoRAs: `test_installing.py` asks for another's
    *(f"GET /api/{family}/{{name}}" for family in ("v7/models", "v6/model-search", "agents/v1/models")),
    "GET /v1/models/{id:path}",
}
PLANS = {"PUT /api/agents/v1/subscriptions/{id}", "GET /api/agents/v1/subscriptions/{id}/status"}  # `test_accounts.py`
