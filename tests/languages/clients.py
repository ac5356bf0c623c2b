"""The programs of ``programs/``, each run as its language is run. They are the vendor's blocks; address and body come as arguments.

What a language needs beside itself is found where that language looks for it: OkHttp in CLASSPATH, node's `request` in NODE_PATH.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]

PROGRAMS = Path(__file__).parent / "programs"
PRINTED_PICTURE = "https://raw.githubusercontent.com/CompVis/stable-diffusion/main/data/inpainting_examples/overture-creations-5sI6fQgYIuo.png"
IMG2IMG: Json = {  # the page's own
    "key": "",
    "prompt": "a cat sitting on a bench",
    "negative_prompt": None,
    "init_image": PRINTED_PICTURE,
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
PRINTED: dict[str, Json] = {
    "v3/img2img": IMG2IMG,
    "v3/fetch": {"key": "", "request_id": 2398},
    "v5/clear_cache": {"key": ""},
    "v3/delete_image": {"key": "", "request_id": 2398},
}


@dataclass(frozen=True)
class Client:
    """One language's way to send a request. ``probe`` is a command that ends well where all that it needs is here."""

    name: str
    command: tuple[str, ...]
    probe: tuple[str, ...] = ()

    def is_here(self) -> bool:
        return bool(shutil.which(self.command[0])) and (not self.probe or _run(self.probe).returncode == 0)

    def send(self, address: str, body: Json) -> str:
        """What the program prints: the answer."""
        done = _run((*self.command, address, json.dumps(body, indent=4)))
        assert done.returncode == 0, done.stderr
        return done.stdout


def _run(command: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    words = [word.replace("PROGRAMS", str(PROGRAMS)) for word in command]
    return subprocess.run(words, capture_output=True, text=True, timeout=180, check=False)


_CLASSES = os.environ.get("CLASSPATH", "")
CLIENTS = (
    Client(
        "OkHttp", ("java", "-cp", _CLASSES, "PROGRAMS/OkHttp.java"), ("javap", "-cp", _CLASSES, "okhttp3.OkHttpClient")
    ),
    Client("the JDK's HttpClient", ("java", "PROGRAMS/Jdk.java")),
    Client("PHP's curl", ("php", "PROGRAMS/curl.php"), ("php", "-r", "exit(extension_loaded('curl') ? 0 : 1);")),
    Client("node's request", ("node", "PROGRAMS/request.js"), ("node", "-e", "require('request')")),
    Client("node's fetch", ("node", "PROGRAMS/fetch.js"), ("node", "-e", "fetch")),
    Client("Python's requests", (sys.executable, "PROGRAMS/python_requests.py")),
    Client("curl --http2", ("sh", "PROGRAMS/curl.sh"), ("sh", "-c", "curl --version | grep -q HTTP2")),
)
