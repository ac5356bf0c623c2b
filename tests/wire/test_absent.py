"""What the vendors document and this server lacks: a right 501 in the dialect's shape, counted; and what operators alone may do."""

from __future__ import annotations

import pytest

from safelight.wire.modelslab.absent import ABSENT, find
from safelight.wire.modelslab.routes import TABLE
from tests.wire import wire_page
from tests.wire.site import Site


@pytest.mark.parametrize("path", sorted(ABSENT))
def test_a_documented_endpoint_that_is_not_here_says_what_is_missing(site: Site, path: str) -> None:
    reply = site.http.post(f"/api/{path.format(id=7)}", json={"prompt": "a cat"})
    said = ABSENT[path].sentence
    told = {"status": "error", "message": said} | ({} if path.startswith("agents/") else {"messege": said})
    assert (reply.status_code, reply.json() | told) == (501, reply.json())


def test_by_any_method(site: Site) -> None:
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        assert site.http.request(method, "/api/agents/v1/teams/7").status_code == 501


def test_also_where_another_endpoint_has_an_id_in_that_place(site: Site) -> None:
    assert site.http.post("/api/agents/v1/subscriptions/confirm-checkout").status_code == 501
    assert site.http.post("/api/agents/v1/subscriptions/7").status_code == 405


def test_in_the_words_of_the_other_dialect(site: Site) -> None:
    reply = site.http.post("/v1/video/seedancev2", files={"prompt": (None, "a cat")})
    assert (reply.status_code, reply.json()["code"]) == (501, 9999)
    assert "no video" in reply.json()["msg"]


def test_nothing_is_both_here_and_absent() -> None:
    assert [row.path for row in TABLE if find(f"/api/{row.path}")] == []


def test_a_path_that_nobody_knows_is_not_found(site: Site) -> None:
    reply = site.http.post("/api/v6/video/paint", json={})
    assert (reply.status_code, reply.json()["message"]) == (404, "No such endpoint")


def test_what_was_asked_in_vain_is_counted_by_its_template(site: Site, key: str) -> None:
    """Endpoints that are not here, those that miss a model, and fields without effect."""
    for number in range(3):
        site.http.post(f"/api/v3/fine_tune_status/{number}", json={"key": "secret"})
    assert site.post("v5/super_resolution", key, url="https://x.example/1.png", face_enhance=True).status_code == 501
    assert site.post("v3/text2img", key, prompt="a cat", tomesd="yes", instant_response="yes").status_code == 200
    site.ask(site.services.wishes.write_down())
    wishes = {wish.what: wish.times for wish in site.ask(site.services.wishes.most(500))}
    assert wishes["v3/fine_tune_status/{id}"] >= 3
    assert wishes["v5/super_resolution"] >= 1
    assert wishes["field tomesd"] >= 1
    assert "v3/fine_tune_status/1" not in wishes
    assert not [what for what in wishes if "secret" in what]


def test_the_page_of_the_wire_is_of_this_server() -> None:
    assert wire_page.PAGE.read_text() == wire_page.render()


@pytest.mark.parametrize("path", ["clear_queue", "flux/clear_queue", "restart_server", "update", "qwen/update_server"])
def test_only_an_operator_steers_the_server(site: Site, key: str, path: str) -> None:
    refused = site.post(f"v1/enterprise/{path}", key)
    assert (refused.status_code, refused.json()["status"]) == (403, "error")
    boss = site.operator_key()
    status, said = {
        "clear_queue": (200, "Queue cleared, server is restarting"),
        "restart_server": (200, "server restarting"),
    }.get(path.rpartition("/")[2], (501, "This server is updated by its operator with pip, not through the API."))
    reply = site.post(f"v1/enterprise/{path}", boss)
    assert (reply.status_code, reply.json()["message"]) == (status, said)


def test_a_cleared_queue_ends_what_waits_and_nothing_else(site: Site, key: str) -> None:
    kept = site.made(key)
    with site.closed_gate():
        held = [site.held_back(key) for _ in range(2)]
        site.post("v1/enterprise/clear_queue", site.operator_key())
    states = [site.post(f"v3/fetch/{reply['id']}", key).json()["status"] for reply in held]
    assert set(states) <= {"processing", "success", "failed"}
    assert site.post(f"v3/fetch/{kept['id']}", key).json()["status"] == "success"


@pytest.mark.parametrize("server", ["flux", "qwen", "z_image_turbo", "interior"])
def test_a_server_word_of_the_enterprise_pages_makes_and_fetches(site: Site, key: str, server: str) -> None:
    path = f"v1/enterprise/{server}"
    with site.closed_gate():
        asked = {"prompt": "a cat", "width": 64, "height": 64, "instant_response": "yes"}
        reply = site.post(f"{path}/text2img", key, **asked).json()
    assert reply["fetch_result"].endswith(f"/api/{path}/fetch/{reply['id']}")
    assert site.post(f"{path}/clear_cache", key).json()["message"] == "Cache cleared successfully"


def test_a_server_word_that_no_page_has_is_not_found(site: Site, key: str) -> None:
    assert site.post("v1/enterprise/sorcery/text2img", key, prompt="a cat").status_code == 404
