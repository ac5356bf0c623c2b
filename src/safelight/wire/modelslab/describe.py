"""The vendor's endpoints as OpenAPI: what each takes and answers, with the documented examples. Decides nothing."""

from __future__ import annotations

from safelight.wire.modelslab.schedulers import ALGORITHMS, SCHEDULERS
from safelight.wire.openapi import Operation, Refusals, Schema, Shape

EXAMPLE_URL = "http://127.0.0.1:8000/generations/05c3260d-6a2e-4aa5-82f0-e952f2a5fa10-0.png"


def _string(text: str, example: object = None) -> Schema:
    return {"type": ["string", "null"], "description": text} | ({} if example is None else {"example": example})


def _whole(text: str, default: int | None, low: int, high: int | None) -> Schema:
    limits = f"{low} or more" if high is None else f"{low} to {high}"
    return {
        "type": ["integer", "string", "null"],
        "minimum": low,
        "description": f"{text} {limits}, as a number or in quotes.",
    } | ({} if default is None else {"default": default})


def _real(text: str, default: float, low: float, high: float) -> Schema:
    kinds = ["number", "string", "null"]
    return {"type": kinds, "default": default, "minimum": low, "maximum": high, "description": text}


def _yes(text: str, default: str) -> Schema:
    said = f"{text} yes, no, true, false, 1 or 0."
    return {"type": ["string", "boolean", "integer", "null"], "default": default, "description": said}


def _object(properties: Schema, *required: str) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": True}


KEY: Schema = {"key": _string("Your API key. It may also come as header key, as Authorization or in the query.")}
TEXT: Schema = {
    **KEY,
    "prompt": {"type": "string", "minLength": 1, "maxLength": 10_000, "description": "What the picture should show."},
    "negative_prompt": _string("What it should not show."),
    "width": _whole("Width in pixels, divisible by 8:", 512, 64, None),
    "height": _whole("Height in pixels, divisible by 8:", 512, 64, None),
    "samples": _whole("How many pictures:", 1, 1, 4),
    "num_inference_steps": _whole("Denoising steps:", 20, 1, None),
    "guidance_scale": _real("How closely the prompt is followed, 1 to 20.", 7.5, 1, 20),
    "seed": {
        "type": ["integer", "string", "null"],
        "description": "0 to 4294967295: same seed, same picture. null or -1 draws one, which meta echoes.",
    },
    "scheduler": _string(f"The sampler: {', '.join(SCHEDULERS)}; A1111 names too."),
    "use_karras_sigmas": _yes("Karras spacing, where the scheduler has it.", "no"),
    "algorithm_type": _string(f"For the DPM-Solver schedulers: {', '.join(ALGORITHMS)}."),
    "clip_skip": _whole("Which of the text encoder's last layers is used:", 1, 1, 8),
    "model_id": _string("A checkpoint by the name that the operator gave it."),
    "lora_model": _string("LoRA names, separated by commas."),
    "lora_strength": {"type": ["string", "number", "null"], "description": "Their strengths, separated by commas."},
    "safety_checker": _yes("Replace an NSFW picture by a blank one.", "yes"),
    "enhance_prompt": _yes("Add quality words to the prompt; meta.prompt says what was used.", "yes"),
    "base64": _yes("Let output hold addresses ending in .base64, which serve base64 text.", "no"),
    "temp": _yes("Keep the pictures for 24 hours only.", "no"),
    "instant_response": _yes("Answer at once with processing.", "no"),
    "webhook": _string("Called with POST when the pictures are ready, or cannot be made."),
    "track_id": {"type": ["string", "number", "boolean", "null"], "description": "Comes back in the webhook's body."},
}
PICTURE: Schema = {
    **TEXT,
    "init_image": {"type": "string", "minLength": 1, "description": "An http(s) address, a data URI or base64."},
    "strength": _real("How much of the init image may be destroyed: above 0, at most 1.", 0.7, 0, 1),
}
MASKED: Schema = {
    **PICTURE,
    "mask_image": {"type": "string", "minLength": 1, "description": "Like init_image; white is painted anew."},
}

ERROR: Schema = _object(
    {"status": {"const": "error"}, "message": {"type": "string"}, "messege": {"type": "string"}},
    "status",
    "message",
    "messege",
)
FINAL: Schema = _object(
    {
        "status": {"enum": ["success", "processing", "failed"]},
        "id": {"type": "integer"},
        "output": {"type": ["array", "string"], "items": {"type": "string"}},
        "generationTime": {"type": "number"},
        "eta": {"type": "number"},
        "fetch_result": {"type": "string"},
        "future_links": {"type": "array", "items": {"type": "string"}},
        "nsfw_content_detected": {"type": "boolean"},
        "has_nsfw_concept": {"type": "array", "items": {"type": "boolean"}},
        "meta": {"type": "object"},
    },
    "status",
    "output",
)
DONE: Schema = {"status": {"const": "success"}}


def _error(text: str, said: str) -> tuple[str, object]:
    return text, {"status": "error", "message": said, "messege": said}


REFUSALS = Refusals(
    Shape("Error", ERROR),
    {
        400: _error("A field breaks a rule, which the message names", "prompt is required"),
        401: _error("No key, or one that is not valid", "Invalid API key"),
        404: _error("Nothing of that name is yours", "Not found"),
        408: _error("The body did not arrive in time", "body must arrive within 60 seconds"),
        413: _error("The body is too large", "body must have at most 25,165,824 bytes"),
        429: _error("Too much is waiting; Retry-After says when to try again", "Rate limit exceeded."),
        500: _error("Our mistake", "Internal server error. Please try again."),
        503: _error("A part of the server is away", "Service temporarily unavailable. Please try again later."),
    },
)
SUCCESS = {
    "status": "success",
    "generationTime": 2.920767068862915,
    "id": 302455,
    "output": [EXAMPLE_URL],
    "nsfw_content_detected": False,
    "has_nsfw_concept": [False],
    "meta": {
        "H": 512,
        "W": 512,
        "enable_attention_slicing": "true",
        "file_prefix": "05c3260d-6a2e-4aa5-82f0-e952f2a5fa10",
        "guidance_scale": 7.5,
        "model": "safelight-tiny",
        "n_samples": 1,
        "negative_prompt": "",
        "outdir": "out",
        "prompt": "a cat sitting on a bench",
        "revision": "main",
        "safety_checker": "none",
        "seed": 1793745243,
        "steps": 21,
        "vae": "safelight-tiny",
        "strength": 0.7,
    },
}
IMG2IMG = {
    "key": "",
    "prompt": "a cat sitting on a bench",
    "negative_prompt": None,
    "init_image": EXAMPLE_URL,
    "width": "512",
    "height": "512",
    "samples": "1",
    "num_inference_steps": "30",
    "safety_checker": "no",
    "enhance_prompt": "yes",
    "guidance_scale": 7.5,
    "strength": 0.7,
    "seed": None,
    "base64": "no",
    "webhook": None,
    "track_id": None,
}
TEXT2IMG = {name: value for name, value in IMG2IMG.items() if name not in ("init_image", "strength")}
INPAINT = IMG2IMG | {"mask_image": EXAMPLE_URL}
REQUEST_ID: Schema = {
    "type": ["integer", "string"],
    "minimum": 1,
    "description": "The id of a generation or upload, as a number or in quotes.",
}


GIVEN = Shape("Generation", FINAL)
KEY_ONLY = Shape("Key", _object(KEY))


def _generation(summary: str, takes: Shape, example: object) -> Operation:
    return Operation(summary, "Images", GIVEN, SUCCESS, REFUSALS, takes, example, repeatable=True)


def _other(summary: str, gives: Shape, answer: object, takes: Shape = KEY_ONLY, **example: object) -> Operation:
    return Operation(summary, "Assets and queue", gives, answer, REFUSALS, takes, {"key": "", **example})


OPERATIONS = {
    "text2img": _generation("A picture from a prompt", Shape("Text2img", _object(TEXT, "prompt")), TEXT2IMG),
    "img2img": _generation(
        "A picture from a picture and a prompt", Shape("Img2img", _object(PICTURE, "prompt", "init_image")), IMG2IMG
    ),
    "inpaint": _generation(
        "A part of a picture painted anew",
        Shape("Inpaint", _object(MASKED, "prompt", "init_image", "mask_image")),
        INPAINT,
    ),
    "fetch": Operation(
        "The pictures of an earlier request",
        "Images",
        GIVEN,
        SUCCESS,
        REFUSALS,
        Shape("Fetch", _object({**KEY, "request_id": REQUEST_ID})),
        {"key": "", "request_id": 302455},
    ),
    "system_load": _other(
        "How much is waiting",
        Shape(
            "Load",
            _object(
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
    ),
    "system_details": _other(
        "Checkpoints and waiting time",
        Shape(
            "Details",
            _object({"model_count": {"type": "integer"}, "queue_time": {"type": "integer"}, "status": {"const": "ok"}}),
        ),
        {"model_count": 1, "queue_time": 0, "status": "ok"},
    ),
    "schedulers_list": _other(
        "The samplers by name",
        Shape("Schedulers", _object({"schedulers": {"type": "array", "items": {"type": "string"}}}, "schedulers")),
        {"schedulers": [f"{name}Scheduler" for name in SCHEDULERS]},
    ),
    "base64_crop": _other(
        "Upload a picture, cut to a square of 512 pixels unless crop is false",
        Shape(
            "Uploaded",
            _object(
                DONE | {"messege": {"type": "string"}, "link": {"type": "string"}, "request_id": {"type": "integer"}},
                "status",
                "messege",
                "link",
                "request_id",
            ),
        ),
        {
            "status": "success",
            "messege": "image uploaded",
            "link": "http://127.0.0.1:8000/uploads/8d2f0c1e9f534f0f8c1a6f1f5a0c7e11.png",
            "request_id": 2398,
        },
        Shape(
            "Upload",
            _object(
                KEY | {"image": {"type": "string", "minLength": 1}, "crop": _yes("Cut to a square.", "true")}, "image"
            ),
        ),
        image="data:image/png;base64,iVBORw0KGgo=",
        crop="true",
    ),
    "base64_to_url": _other(
        "Upload a picture for 24 hours",
        Shape(
            "UploadedForADay",
            _object(DONE | {"id": {"type": "integer"}, "output": {"type": "array"}}, "status", "id", "output"),
        ),
        {"status": "success", "id": 1047, "output": [EXAMPLE_URL.replace("generations", "temp")]},
        Shape("UploadForADay", _object(KEY | {"base64_string": {"type": "string", "minLength": 1}})),
        base64_string="iVBORw0KGgo=",
    ),
    "delete_image": _other(
        "Erase a generation or upload, by id or by file name",
        Shape("Deleted", _object(DONE | {"messege": {"const": "image deleted"}}, "status", "messege")),
        {"status": "success", "messege": "image deleted"},
        Shape(
            "Delete",
            _object(
                KEY
                | {
                    "request_id": REQUEST_ID,
                    "image": _string("Instead of request_id: the file name or address of a picture."),
                }
            ),
        ),
        request_id=2398,
    ),
    "clear_cache": _other(
        "Erase everything that is kept for re-use",
        Shape("Cleared", _object(DONE | {"message": {"type": "string"}}, "status", "message")),
        {"status": "success", "message": "Cache cleared"},
    ),
}
