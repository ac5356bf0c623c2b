"""JSON read without a server: as the vendors' pages print it, as programs send it, and never when it was cut short."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safelight.errors import Invalid
from safelight.wire.json_body import read_json

PRINTED = {
    "v3/inpaint of 2023": (
        '{\n "key": "",\n "prompt": "a cat, on a bench,",\n "track_id": null,\n}',
        {"key": "", "prompt": "a cat, on a bench,", "track_id": None},
    ),
    "v6/base64_to_url of 2025": (
        '{  "key": "",  "base64_string": "data:image/png;base64,AA==",}',
        {"key": "", "base64_string": "data:image/png;base64,AA=="},
    ),
    "v3/delete_image of 2025": (
        '{  "key": "",  "request_id": 2398  "type": "image"}',
        {"key": "", "request_id": 2398, "type": "image"},
    ),
    "clear_cache of 2026": (
        '{ \n    "key": "enterprise_api_key"\n    "deploy_type": "flux_2_dev"\n}',
        {"key": "enterprise_api_key", "deploy_type": "flux_2_dev"},
    ),
    "img_mixer of 2025": (
        '{ "init_image":[ "https://a.example/a.jpg" "https://b.example/b.jpg", ], "seed":12345 }',
        {"init_image": ["https://a.example/a.jpg", "https://b.example/b.jpg"], "seed": 12345},
    ),
    "names without quotes": ('{key: "a", $steps:"5", n: {b: [true,],},}', {"key": "a", "$steps": "5", "n": {"b": [True]}}),
    "a line break in a string": ('{"prompt": "a cat\non a bench", "b": "\\",}"}', {"prompt": "a cat\non a bench", "b": '",}'}),
    "a name twice": ('{"model_id": "a", "model_id": "b", "n": {"a": 1, "a": 2}}', {"model_id": "b", "n": {"a": 2}}),
}  # fmt: skip


@pytest.mark.parametrize("page", PRINTED)
def test_a_body_as_it_is_printed(page: str) -> None:
    text, meant = PRINTED[page]
    assert read_json(text.encode()) == meant


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | WORDS,
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(WORDS, parts, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(WORDS, PLAIN, max_size=4)
CALM = settings(max_examples=100, deadline=None)


@CALM
@given(OBJECTS, st.booleans())
def test_json_as_programs_write_it_means_what_it_says(given_: dict[str, object], ascii_: bool) -> None:
    assert read_json(json.dumps(given_, ensure_ascii=ascii_).encode()) == given_


@CALM
@given(OBJECTS, st.data())
def test_a_body_that_was_cut_short_is_never_completed(given_: dict[str, object], data: st.DataObject) -> None:
    whole = json.dumps(given_)
    with pytest.raises(Invalid):
        read_json(whole[: data.draw(st.integers(1, len(whole) - 1))].encode())


@pytest.mark.parametrize(
    "text",
    ['{"a": "' + '\\"' * 2_000_000, '{"a": ' + "x " * 2_000_000, "{" + '"' * 2_000_001, '{"a": ,' + " " * 4_000_000],
)
def test_nonsense_of_megabytes_is_refused_in_no_time(text: str) -> None:
    began = time.thread_time()
    with pytest.raises(Invalid, match="is not valid JSON at line 1, column "):
        read_json(text.encode())
    assert time.thread_time() - began < 3
