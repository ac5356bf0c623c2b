"""What published clients were heard to send, by those defaults of theirs that they begin with, and which fields they read of the answers.

They are too heavy to be installed for the tests, or of other languages. In the texts KEY stands for the key and ID for the number of
the request; the bytes are theirs, but for the prompt.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import httpx

from .site import Json, Site

BARE = '{"key": "KEY"}'


@dataclass(frozen=True)
class Heard:
    """``complaint`` is the one field in which it looks for what went wrong; without one it tells the HTTP status alone."""

    client: str
    path: str
    body: str
    fetch: str = "v6/images/fetch/ID"
    complaint: str = "message"
    headers: dict[str, str] = field(default_factory=dict)

    def draw(self, site: Site, key: str) -> httpx.Response:
        return self._post(site, self.path, self.body, key)

    def look(self, site: Site, key: str, number: int) -> Json:
        """One look at what became of it."""
        body: Json = self._post(site, self.fetch.replace("ID", str(number)), BARE, key).json()
        return body

    def _post(self, site: Site, path: str, body: str, key: str) -> httpx.Response:
        told = {name: value.replace("KEY", key) for name, value in self.headers.items()}
        whole = {"Content-Type": "application/json"} | told
        return site.http.post(f"/api/{path}", content=body.replace("KEY", key), headers=whole)


_BEARER = {"Authorization": "Bearer KEY"}
HEARD = (
    Heard(
        "gpt-researcher 0.15.1",
        "v6/images/text2img",
        '{"key": "KEY", "model_id": "flux", "prompt": "a red apple", "negative_prompt": "low quality, blurry, watermark, text, nsfw",'
        ' "width": 768, "height": 512, "samples": 1, "num_inference_steps": 30, "guidance_scale": 7.5, "seed": -1,'
        ' "safety_checker": "yes"}',
        complaint="messege",
    ),
    Heard(
        "agno 3.1.10",
        "v6/images/text2img",
        '{"key": "KEY", "prompt": "a red apple", "webhook": null, "track_id": null, "model_id": "flux", "width": 512, "height": 512,'
        ' "samples": 1, "num_inference_steps": 30, "safety_checker": "no"}',
        complaint="",  # and it asks after an id that it drew itself
    ),
    Heard(
        "modelslab for Node 1.4.0, community",
        "v6/images/text2img",
        '{"key":"KEY","model_id":"flux","prompt":"A beautiful sunset over mountains, digital art style","width":512,"height":512,'
        '"samples":1,"num_inference_steps":20,"guidance_scale":7.5,"safety_checker":"yes","enhance_prompt":"yes"}',
        headers=_BEARER,
    ),
    Heard(
        "modelslab for Node 1.4.0, realtime",
        "v6/realtime/text2img",
        '{"key":"KEY","prompt":"a red apple","width":512,"height":512}',
        "v6/realtime/fetch/ID",
        headers=_BEARER,
    ),
    Heard("modelslab/php 1.2.0", "v6/images/text2img", '{"key":"KEY","prompt":"a red apple"}'),
    Heard(  # gives up, by a mistake of its own, on what is in the making
        "modelslab-text2img-mcp-server 1.0.0",
        "v6/images/text2img",
        '{"key":"KEY","prompt":"a red apple","width":"512","height":"512","samples":"1","num_inference_steps":"20","safety_checker":"no",'
        '"enhance_prompt":"yes","seed":null,"guidance_scale":7.5,"self_attention":"no","vae":null,"webhook":null,"track_id":null,'
        '"model_id":"flux"}',
    ),
)
