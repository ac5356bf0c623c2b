"""Our records and errors in the vendor's JSON, ``messege`` and all. Knows no request, no route and no service."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fastapi import Response

from safelight.errors import Refused, Unauthorized
from safelight.records import Asset, InstallRequest, Job, JobState, QueueLoad
from safelight.settings import Settings
from safelight.wire.http import answer, refusal_of
from safelight.wire.modelslab.families import BACKGROUND, FAMILIES, V3, Family
from safelight.wire.modelslab.meta import write_meta, write_whole_meta

Json = dict[str, object]

FETCH_TIP = "Get 20x faster image generation using your own hardware. The picture is still being made."
FAILED = "Failed, Try Again"
OLD = ("/api/v3/", "/api/v4/", "/api/v5/")  # whose oldest clients expect HTTP 200 with every error
KEY_TIP = "Pass Content-Type: application/json and a valid API key in the field key of the body."
SPAM_TIPS = "Too many of your requests are waiting. Wait for the time in retry_after, then try again."


def family_of(job: Job) -> Family:
    return FAMILIES.get(job.request.route, V3) if job.request else V3


def picture_urls(job: Job, names: Sequence[str], base_url: str) -> list[str]:
    """Public addresses of a job's outputs, whether they are made yet or not."""
    if job.request is None:
        return []
    folder = "temp" if job.request.temp else "generations"
    return [_suffixed(f"{base_url}/{folder}/{name}", job.request.base64) for name in names]


def upload_url(asset: Asset, base_url: str) -> str:
    return f"{base_url}/{'temp' if asset.temp else 'uploads'}/{asset.name}"


def write_success(job: Job, urls: Sequence[str]) -> Json:
    body: Json = {
        "status": "success",
        "generationTime": _seconds(job),
        "id": job.id,
        "output": list(urls),
        "nsfw_content_detected": any(job.nsfw),
        "has_nsfw_concept": list(job.nsfw),
        "meta": write_meta(job, family_of(job), urls),
    }
    return body if family_of(job) is V3 else body | {"proxy_links": list(urls), "webhook_status": ""}


def write_processing(job: Job, urls: Sequence[str], eta: float, base_url: str) -> Json:
    family = family_of(job)
    fetched_at = f"{base_url}/api/{family.fetch}/{job.id}"
    body: Json = {
        "status": "processing",
        "tip": family.tip,
        "eta": math.ceil(eta) if family.whole_eta else float(eta),
        family.says: family.waiting,
        "webhook_status": "",
        "fetch_result": fetched_at,
        "id": job.id,
        "output": [],
        "meta": write_meta(job, family, urls),
        "future_links": list(urls),
    }
    if family.twofold:
        body |= {"message": family.waiting, "tip_1": f"{BACKGROUND}: here is link for fetch api : {fetched_at}"}
    return body if family is V3 else body | {"proxy_links": list(urls)}


def write_pending(family: Family) -> Json:
    """What fetch answers until the pictures are there: an empty string for output, as documented."""
    return {"status": "processing", family.fetch_says: "try again later.", "output": "", "tip": FETCH_TIP}


def write_failed(job: Job) -> Json:
    said = job.error or FAILED
    return {"status": "failed", "id": job.id, "message": said, "messege": said, "output": ""}


def webhook_body(job: Job, urls: Sequence[str]) -> Json:
    """The documented callback, for success and for failure."""
    track_id = job.request.track_id if job.request else None
    if job.state is not JobState.succeeded:
        said = f"Processing failed: {job.error or FAILED}"
        return {"status": "failed", "id": job.id, "message": said, "track_id": track_id}
    if isinstance(job.request, InstallRequest):
        return {"status": "success", "id": job.id, "model_id": job.request.name, "track_id": track_id}
    inline = job.request is not None and job.request.base64
    shown = [_suffixed(url, inline) for url in urls]
    return {
        "status": "success",
        "id": job.id,
        "output": shown,
        "generationTime": _seconds(job),
        "track_id": track_id,
        "meta": write_whole_meta(job, shown),
    }


def write_load(load: QueueLoad) -> Json:
    """Whole seconds: typed clients read an integer, the others a number."""
    return {"queue_num": load.queued, "queue_time": math.ceil(load.seconds), "status": "ok"}


def write_deleted() -> Json:
    return {"status": "success", "messege": "image deleted"}


def write_cleared(family: Family) -> Json:
    return {"status": "success", "message": family.cleared}


def write_lent(asset: Asset, base_url: str) -> Json:
    return {"status": "success", "id": asset.request_id, "output": [upload_url(asset, base_url)]}


def write_uploaded(asset: Asset, base_url: str) -> Json:
    link = upload_url(asset, base_url)
    return {"status": "success", "messege": "image uploaded", "link": link, "request_id": asset.request_id}


def write_error(error: Exception, path: str, settings: Settings) -> Response:
    """Both keys, since each is the only one that some client reads."""
    refusal = refusal_of(error)
    body: Json = {"status": "error", "message": refusal.sentence, "messege": refusal.sentence}
    match error:
        case Unauthorized():
            body["tip"] = KEY_TIP
        case Refused(retry_after=seconds):
            body |= {"tips": SPAM_TIPS, "retry_after": seconds}
    old = settings.errors_ok and path.startswith(OLD)
    return answer(body, 200 if old else refusal.status, refusal.headers)


def _suffixed(url: str, base64: bool) -> str:
    return f"{url.removesuffix('.png')}.base64" if base64 else url


def _seconds(job: Job) -> float:
    if job.seconds is not None:
        return float(job.seconds)
    return (job.finished_at - job.created_at).total_seconds() if job.finished_at else 0.0
