"""What the vendor's pages ask of the server itself: how much is waiting, how many checkpoints, which samplers."""

from __future__ import annotations

from fastapi import Response

from safelight.wire.http import answer
from safelight.wire.modelslab import describe as words
from safelight.wire.modelslab import families, write
from safelight.wire.modelslab.call import Call, Row
from safelight.wire.modelslab.families import Family
from safelight.wire.modelslab.schedulers import NAMES
from safelight.wire.openapi import Shape


async def system_load(call: Call) -> Response:
    return answer(write.write_load(await call.services.jobs.load()))


async def system_details(call: Call) -> Response:
    load = await call.services.jobs.load()
    models = (
        len(
            [
                each
                for each in await call.services.catalogue.entries(call.account)
                if each.kind == "checkpoint" and each.ready
            ]
        )
        or 1
    )
    return answer({"model_count": models, "queue_time": write.write_load(load)["queue_time"], "status": "ok"})


async def schedulers_list(_call: Call) -> Response:
    return answer({"schedulers": [f"{name}Scheduler" for name in NAMES]})


SYSTEM_LOAD_OPERATION = words.other(
    "How much is waiting",
    Shape(
        "Load",
        words.fields(
            {
                "queue_num": {"type": "integer"},
                "queue_time": {"type": "integer", "description": "Seconds."},
                "status": {"const": "ok"},
            },
            "queue_num",
            "queue_time",
            "status",
        ),
    ),
    {"queue_num": 0, "queue_time": 0, "status": "ok"},
)
SYSTEM_DETAILS_OPERATION = words.other(
    "Checkpoints and waiting time",
    Shape(
        "Details",
        words.fields(
            {"model_count": {"type": "integer"}, "queue_time": {"type": "integer"}, "status": {"const": "ok"}}
        ),
    ),
    {"model_count": 1, "queue_time": 0, "status": "ok"},
)
NAMES_LIST_OPERATION = words.other(
    "The samplers by name",
    Shape("Schedulers", words.fields({"schedulers": {"type": "array", "items": {"type": "string"}}}, "schedulers")),
    {"schedulers": [f"{name}Scheduler" for name in NAMES]},
)


def describes(family: Family) -> tuple[Row, Row]:
    return (
        Row(f"{family.name}/system_details", family, system_details, SYSTEM_DETAILS_OPERATION),
        Row(f"{family.name}/schedulers_list", family, schedulers_list, NAMES_LIST_OPERATION),
    )


ROWS = (Row("v3/system_load", families.V3, system_load, SYSTEM_LOAD_OPERATION),)
