"""The vendor's Python SDK (`modelslab-py` 0.2.3), unchanged: every method that it has, found by introspection, with its own defaults.

Only the base address is set, and pictures are given where a method changes one. Each is answered, or told what is not here.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from typing import Any, get_type_hints

import pytest

from .site import PHOTO, Site

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own pydantic code
    from modelslab_py.core.apis.audio import Audio
    from modelslab_py.core.apis.base import BaseAPI
    from modelslab_py.core.apis.community import Community
    from modelslab_py.core.apis.deepfake import DeepFake
    from modelslab_py.core.apis.image_editing import Image_editing
    from modelslab_py.core.apis.interior import Interior
    from modelslab_py.core.apis.realtime import Realtime
    from modelslab_py.core.apis.three_d import Three_D
    from modelslab_py.core.apis.video import Video
    from modelslab_py.core.client import Client

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # it calls pydantic's old names

APIS = (Audio, Community, DeepFake, Image_editing, Interior, Realtime, Three_D, Video)
ENTERPRISE = {"system_details", "restart", "update", "clear_cache", "clear_queue", "qwen_text_to_image"}
NOT_HERE = {"controlnet", "update"}  # the methods of picture makers that may answer 501
PICTURES = {"init_image", "mask_image", "image", "init_image_2", "cloth_image", "object_image", "control_image"}


def _methods(api: type[BaseAPI], enterprise: bool) -> Iterator[str]:
    """The asynchronous twins send the same."""
    for name, _ in inspect.getmembers(api, inspect.isfunction):
        if not name.startswith(("_", "async_")) and (enterprise or name not in ENTERPRISE):
            yield name


CALLS = [(api, enterprise, name) for api in APIS for enterprise in (False, True) for name in _methods(api, enterprise)]


def _given(schema: Any) -> dict[str, Any]:
    """Pictures, and a word for every other field that has no default."""
    fields = schema.model_fields
    pictures = {
        name: [PHOTO] if "List" in str(fields[name].annotation) else PHOTO for name in fields if name in PICTURES
    }
    return {name: "a cat" for name, field in fields.items() if field.is_required()} | pictures


def _call(api: BaseAPI, name: str, number: str) -> Any:
    method = getattr(api, name)
    if name == "fetch":
        return method(number)
    schema = get_type_hints(method).get("schema")
    return method(schema(**_given(schema))) if schema else method()


def _answer(api: BaseAPI, name: str, number: str) -> str:
    """The status, or what the SDK raised of one that is not 200."""
    try:
        return str(_call(api, name, number)["status"])
    except Exception as told:  # noqa: BLE001  # it raises no other
        return str(told)


@pytest.mark.parametrize(("api", "enterprise", "name"), CALLS, ids=lambda part: getattr(part, "__name__", str(part)))
def test_every_method_is_answered(site: Site, api: type[BaseAPI], enterprise: bool, name: str) -> None:
    key = site.operator_key()  # the calls that steer a server are an operator's
    client = Client(key, fetch_retry=2, fetch_timeout=0)
    client.base_url = f"{site.settings.base_url}/api/"
    number = str(site.made(key)["id"]) if name == "fetch" else ""
    answered = _answer(api(client, enterprise), name, number)
    assert answered in ("success", "processing", "ok") or "status code 501" in answered
    assert "501" not in answered or api not in (Community, Realtime) or name in NOT_HERE


def test_there_are_as_many_as_its_pages_say() -> None:
    assert sum(api in (Community, Realtime) for api, _, _ in CALLS) == 33
