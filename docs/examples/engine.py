"""Four pictures from one photo, by the engine alone: python engine.py CHECKPOINT PHOTO "PROMPT"."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from safelight.engine import images
from safelight.engine.engine import Engine
from safelight.engine.generation import Generation
from safelight.engine.shelf import Shelf

checkpoint, photo, prompt = sys.argv[1:]
pixels = np.asarray(Image.open(photo).convert("RGB"))
with Engine(Shelf({"mine": Path(checkpoint)}, default="mine")) as engine:
    tickets = [engine.submit(Generation(prompt, init_image=pixels, strength=s, seed=7)) for s in (0.2, 0.4, 0.6, 0.8)]
    for ticket in tickets:  # all four share every call of the model that they can
        picture = ticket.result().pictures[0]
        Path(f"strength-{ticket.generation.strength}.png").write_bytes(images.encode(picture.pixels))
