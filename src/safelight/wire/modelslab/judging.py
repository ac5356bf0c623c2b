"""What the vendor's checks say of a picture and of a prompt: the one by the safety network, the other by lists of words.

A checked picture is a job like any other while it is looked at, and is erased before the answer is given.
"""

from __future__ import annotations

from fastapi import Response

from safelight.errors import Unavailable
from safelight.records import AssetKind, JobState, JudgeRequest
from safelight.service.words import judge_prompt
from safelight.wire.http import RECEIPT, answer
from safelight.wire.keeping import read_store
from safelight.wire.modelslab import describe as words
from safelight.wire.modelslab import families
from safelight.wire.modelslab.call import Call, Row
from safelight.wire.modelslab.read import MOST_PROMPT, echoed_address, read_source
from safelight.wire.openapi import Operation, Shape


async def nsfw_image_check(call: Call) -> Response:
    """No status in the answer, and the picture's own address under ``images``: so the vendor prints it."""
    services, form = call.services, call.form
    threshold = form.real("threshold", services.settings.safety_threshold, 0, 1)
    source = read_source(form, "init_image", services.settings)
    async with services.jobs.room(call.account):
        bitmap = await services.inputs.bitmap(source, field="init_image", payer=call.account.id)
    asked = JudgeRequest(
        threshold=threshold, pixels=bitmap.width * bitmap.height, route=call.family.name, store=read_store(form)
    )
    job = await services.jobs.submit(call.account, asked, {AssetKind.init_image: bitmap})
    job = await services.jobs.wait(call.account, job.id, services.settings.hold_seconds)
    receipt = await services.erasure.delete(call.account, [job.id])
    if job.state is not JobState.succeeded:
        raise Unavailable
    found = {"images": echoed_address(source), "has_nsfw_concept": list(job.nsfw)}
    return answer(found, headers={RECEIPT: receipt.id})


async def check_nsfw_cp(call: Call) -> Response:
    prompt = call.form.required("prompt", limit=MOST_PROMPT)
    verdict = judge_prompt(prompt)
    return answer(
        {
            "status": "success",
            "is_cp": verdict.minors,
            "is_nsfw": verdict.nsfw,
            "original_prompt": prompt,
            "filtered_prompt": verdict.filtered,
        }
    )


_CHECKED = Operation(
    "How safe a picture is, by the safety network (threshold 0 to 1)",
    Shape(
        "Checked",
        words.fields(
            {"images": {"type": "string"}, "has_nsfw_concept": {"type": "array", "items": {"type": "boolean"}}},
            "images",
            "has_nsfw_concept",
        ),
    ),
    {"images": words.EXAMPLE_URL, "has_nsfw_concept": [False]},
    words.REFUSALS,
    Shape(
        "Check",
        words.fields(
            words.KEY
            | {
                "init_image": {"type": "string", "minLength": 1},
                "threshold": words.real("The score from which a picture is unsafe.", 0.5, 0, 1),
            },
            "init_image",
        ),
    ),
    {"key": "", "init_image": words.EXAMPLE_URL},
)
_JUDGED = words.other(
    "Whether a prompt asks for what is not safe, by lists of words",
    Shape(
        "Judged",
        words.fields(
            words.DONE
            | {"is_cp": {"type": "boolean"}, "is_nsfw": {"type": "boolean"}, "filtered_prompt": {"type": "string"}},
            "status",
            "is_cp",
            "is_nsfw",
        ),
    ),
    {
        "status": "success",
        "is_cp": False,
        "is_nsfw": False,
        "original_prompt": "a cat",
        "filtered_prompt": "a cat",
    },
    Shape("JudgePrompt", words.fields(words.KEY | {"prompt": {"type": "string", "minLength": 1}}, "prompt")),
    prompt="a cat",
)
ROWS = (
    Row("v3/nsfw_image_check", families.V3, nsfw_image_check, _CHECKED),
    Row("v1/enterprise/nsfw_image_check", families.ENTERPRISE, nsfw_image_check, _CHECKED),
    Row("check_nsfw_cp", families.V3, check_nsfw_cp, _JUDGED),
)
