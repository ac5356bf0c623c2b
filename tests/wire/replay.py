"""Plays the vendors' examples to a running site: the host, the key, the addresses and the ids are the site's, the rest is as printed."""

from __future__ import annotations

import base64
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import httpx

from tests.service.media_files import FILES

from .examples import Difference, Example, compare, nearest
from .site import PHOTO, Site

SMALL = {"prompt": "a cat", "init_image": PHOTO, "width": 64, "height": 64, "num_inference_steps": 1}
KEY = re.compile(r'(\bkey"?\s*:\s*)"[^"]*"')
ADDRESS = re.compile(r'https?:(?:\\?/){2}(?:(?!,\s*https?:)[^"\s<>])+')
DATA = re.compile(r'data:image/\w+;base64,[^"]*')
OTHER_DATA = re.compile(r'(data:(?:video|audio|model)/(\w+);base64,\s*)[^"]*')
OWN_ID = re.compile(r'("request_id"\s*:\s*"?)[^",}\s]*')
TASK = re.compile(r'("taskids?"\s*:\s*\[?\s*)"[^"]*"')
FETCHED = re.compile(r"/fetch/[^/?]+")
QUERY_KEY = re.compile(r"([?&]key=)[^&]*")
OF_A_MODEL = re.compile(r"/(verify_model|model_reload)$")
MODEL = re.compile(r'("model_id"\s*:\s*)"[^"]*"')
STEERING = re.compile(r"/(clear_queue|restart_server)$")
PLACEHOLDER = re.compile(r"\{\w+\}")
INSTANT = re.compile(r'"instant_response"\s*:\s*[^,}]*')
WORKERS = 8


@dataclass(frozen=True)
class Played:
    """What became of one example in one situation: ``asked`` as printed, ``waiting`` for the engine, ``refused`` for a bad key."""

    example: Example
    situation: str
    status: int
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Own:
    """What the examples' printed names are replaced by."""

    key: str
    picture: str
    number: int | None = None


class Replay:
    def __init__(self, site: Site) -> None:
        self._site = site
        uploaded = site.post("v3/base64_crop", site.key(), image=PHOTO, crop="false")
        self._picture: str = uploaded.json()["link"]

    def play_all(self, examples: tuple[Example, ...]) -> list[Played]:
        waiting = [example for example in examples if example.prints("processing")]
        refused = [example for example in examples if example.prints("error")]
        steering = [example for example in examples if STEERING.search(example.path)]
        asked = [example for example in examples if example not in steering]
        with ThreadPoolExecutor(WORKERS) as together:
            played = [*together.map(self.asked, asked), *together.map(self.refused, refused)]
            played += together.map(self.asked, steering)  # by themselves: they end what others wait for
            with self._site.closed_gate():
                played += together.map(self.waiting, waiting)
        return played

    def asked(self, example: Example) -> Played:
        own = Own(self._key(example), self._picture)
        if needs_a_picture(example):
            own = Own(own.key, own.picture, self._site.post(made_by(example), own.key, **SMALL).json()["id"])
        return self._compared(example, "asked", send(self._site.http, example, own), 200)

    def refused(self, example: Example) -> Played:
        reply = send(self._site.http, example, Own("a wrong key", self._picture, 1))
        played = self._compared(example, "refused", reply, 400)
        return replace(played, differences=tuple(one for one in played.differences if " for " not in one.is_))

    def waiting(self, example: Example) -> Played:
        own = Own(self._site.key(), self._picture)
        if needs_a_picture(example):
            own = Own(own.key, own.picture, self._site.held_back(own.key)["id"])
        reply = send(self._site.http, example, own, instant=True)
        self._site.post("v5/clear_cache", own.key)
        return self._compared(example, "waiting", reply, 200)

    def _key(self, example: Example) -> str:
        """The enterprise pages are those of a customer's own server: its key is an operator's."""
        return self._site.operator_key() if "/enterprise/" in example.path else self._site.key()

    def sweep(self, paths: tuple[tuple[str, str], ...]) -> list[Difference]:
        """Paths that the vendors name and that lead nowhere, or not by the method they name."""
        key = self._site.key()
        with ThreadPoolExecutor(WORKERS) as together:
            found = together.map(lambda each: self._swept(key, *each), paths)
            return [difference for difference in found if difference]

    def _swept(self, key: str, method: str, path: str) -> Difference | None:
        given = {"params": {"key": key}} if method in ("GET", "DELETE") else {"json": {"key": key}}
        reply = self._site.http.request(method, PLACEHOLDER.sub("1", path), **given)  # type: ignore[arg-type]
        nowhere = reply.status_code == 405 or "No such endpoint" in reply.text
        return Difference(f"swept {method} {path} (swept)", "http", told(reply)) if nowhere else None

    def _compared(self, example: Example, situation: str, reply: httpx.Response, wanted: int) -> Played:
        name = f"{example.name} ({situation})"
        if reply.status_code // 100 != wanted // 100 or reply.status_code == 404:
            return Played(example, situation, reply.status_code, (Difference(name, "http", told(reply)),))
        ours = reply.json()
        printed = nearest(example, ours)
        found = () if printed is None else compare(printed, ours)
        return Played(example, situation, reply.status_code, tuple(Difference(name, *one) for one in found))


def told(reply: httpx.Response) -> str:
    """A status with its message: ``404 No such endpoint``."""
    body = reply.json()
    said = body.get("message") or body.get("messege") or body.get("msg") or body.get("error") or ""
    return f"{reply.status_code} {said}"


def needs_a_picture(example: Example) -> bool:
    return any(pattern.search(f"{example.path} {example.body}") for pattern in (OWN_ID, TASK, FETCHED))


def made_by(example: Example) -> str:
    """Where the picture is made that an example fetches: an answer has the words of the family that made it."""
    return "v6/realtime/img2img" if "/v6/" in example.path or "/enterprise/" in example.path else "v3/img2img"


def send(http: httpx.Client, example: Example, own: Own, instant: bool = False) -> httpx.Response:
    path = QUERY_KEY.sub(rf"\g<1>{own.key}", FETCHED.sub(f"/fetch/{own.number}", example.path))
    headers = {name: _own_header(name, value, own) for name, value in example.headers.items()}
    if not (headers or KEY.search(example.body or "") or QUERY_KEY.search(path)):
        headers["Authorization"] = f"Bearer {own.key}"  # a body without a key: its page sends it so
    if example.language == "curl-form":
        return http.request(example.method, path, headers=headers, files=_parts(example.body or "[]", own))
    if example.body is None:
        return http.request(example.method, path, headers=headers)
    body = _own_body(example.body, own)
    if OF_A_MODEL.search(path):
        body = MODEL.sub(r'\g<1>"other"', body)
    headers["Content-Type"] = "application/json"
    return http.request(example.method, path, headers=headers, content=_at_once(body) if instant else body)


def _own_header(name: str, value: str, own: Own) -> str:
    if name.lower() == "authorization":
        return f"Bearer {own.key}" if value.startswith("Bearer") else own.key
    return own.key if name.lower() in ("key", "x-api-key") else value


def _own_body(body: str, own: Own) -> str:
    body = KEY.sub(rf'\g<1>"{own.key}"', DATA.sub(PHOTO, ADDRESS.sub(own.picture, body)))
    body = OTHER_DATA.sub(lambda sent: sent[1] + base64.b64encode(FILES[f".{sent[2]}"]).decode(), body)
    return TASK.sub(rf'\g<1>"{own.number}"', OWN_ID.sub(rf"\g<1>{own.number}", body))


def _at_once(body: str) -> str:
    """The same request, answered before the picture is made."""
    if INSTANT.search(body):
        return INSTANT.sub('"instant_response": "yes"', body)
    return body.replace("{", '{"instant_response": "yes", ', 1)


def _parts(body: str, own: Own) -> list[tuple[str, tuple[str | None, bytes | str]]]:
    parts: list[tuple[str, tuple[str | None, bytes | str]]] = []
    for part in json.loads(body):
        name, _, value = part.partition("=")
        parts.append((name, (None, own.picture if name in ("imageUrl", "sourceImage") else value)))
    return parts
