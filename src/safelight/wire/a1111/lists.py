"""What there is, what an account has set, and how much memory there is, as tools of the web UI ask before they ask for pictures."""

from __future__ import annotations

import psutil
from fastapi import Response

from safelight.service.controls import MOST
from safelight.wire.a1111 import extras, write
from safelight.wire.a1111.controlnet import modules
from safelight.wire.a1111.making import Call
from safelight.wire.a1111.read import CHECKPOINT, CLIP_LAYERS, DIALECT, VAE, read_model, read_vae
from safelight.wire.a1111.write import OWN
from safelight.wire.http import answer


async def options(call: Call) -> Response:
    return answer(write.write_options(call.services.catalogue.default, call.options))


async def set_options(call: Call) -> Response:
    """For this account alone. What has no effect here is accepted and not kept."""
    changes: dict[str, object] = {}
    if call.form.has(CHECKPOINT):
        name = read_model(call.form.scalar(CHECKPOINT, limit=200))
        await call.services.catalogue.checkpoint(name, call.account)  # raises NotFound where that is wanted
        changes[CHECKPOINT] = name
    if call.form.has(VAE):
        known = await call.services.catalogue.vaes(call.account)
        changes[VAE] = read_vae(call.form.scalar(VAE, limit=200), known) or OWN
    if call.form.has(CLIP_LAYERS):
        changes[CLIP_LAYERS] = call.form.whole(CLIP_LAYERS, 1, 1, 12)
    if changes:
        await call.services.preferences.update(call.account, DIALECT, changes)
    return answer(None)


async def sd_models(call: Call) -> Response:
    entries = await call.services.catalogue.entries(call.account)
    offered = [entry.name for entry in entries if entry.kind == "checkpoint" and entry.ready]
    return answer([write.write_model(name) for name in offered or [call.services.catalogue.default]])


async def loras(call: Call) -> Response:
    return answer([write.write_lora(name) for name in sorted(await call.services.catalogue.loras(call.account))])


async def vaes(call: Call) -> Response:
    return answer([write.write_vae(name) for name in sorted(await call.services.catalogue.vaes(call.account))])


async def embeddings(call: Call) -> Response:
    return answer(write.write_embeddings(sorted(await call.services.catalogue.embeddings(call.account))))


async def samplers(_call: Call) -> Response:
    return answer(write.write_samplers())


async def schedulers(_call: Call) -> Response:
    return answer(write.write_schedulers())


async def upscalers(call: Call) -> Response:
    return answer(write.write_upscalers(extras.upscalers(call.services.settings)))


async def nothing(_call: Call) -> Response:
    """Of a kind of thing that this server has none of."""
    return answer([])


async def scripts(_call: Call) -> Response:
    return answer({"txt2img": [], "img2img": []})


async def cmd_flags(_call: Call) -> Response:
    return answer({"api": True})


async def done(_call: Call) -> Response:
    """What keeps itself up to date, or loads and unloads by itself, has nothing left to do."""
    return answer(None)


async def memory(_call: Call) -> Response:
    """Of the machine that answers; devices are the workers'."""
    here = psutil.virtual_memory()
    ram = {"free": here.available, "used": here.total - here.available, "total": here.total}
    return answer({"ram": ram, "cuda": {"error": "devices belong to workers, which may run elsewhere"}})


async def controlnet_version(_call: Call) -> Response:
    """Of the extension's API."""
    return answer({"version": 2})


async def controlnet_models(call: Call) -> Response:
    return answer({"model_list": sorted(await call.services.catalogue.controlnets(call.account))})


async def controlnet_modules(call: Call) -> Response:
    return answer(write.write_modules(modules(call.services.settings)))


async def controlnet_settings(_call: Call) -> Response:
    return answer({"control_net_unit_count": MOST})
