"""What everything in a picture is, by an operator's network that tells ADE20K's 150 classes apart, as a hint for a
ControlNet: each class in the colour that the data set gives it, as the published ControlNets were trained.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import SegformerForSemanticSegmentation, UperNetForSemanticSegmentation
from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil

from safelight.engine.generation import Pixels
from safelight.engine.onlooker import Onlooker
from safelight.errors import EngineFailed

CLASSES: dict[str, Any] = {
    kind.__name__: kind for kind in (SegformerForSemanticSegmentation, UperNetForSemanticSegmentation)
}


class Segmentation(Onlooker):
    """In ADE20K's colours."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        super().__init__(device)
        self._folder = folder

    def read(self) -> None:
        self._network = self.network(self._folder, "segmentation network", CLASSES)
        if (labels := self._network.config.num_labels) != len(COLOURS):
            raise EngineFailed(f"{self._folder.name} tells {labels} classes apart, not ADE20K's {len(COLOURS)}")
        self._eye: Any = SegformerImageProcessorPil.from_pretrained(self._folder, local_files_only=True)

    def draw(self, picture: Pixels) -> Pixels:
        seen = self._eye(images=Image.fromarray(picture), return_tensors="pt")
        answer = self._network(pixel_values=seen["pixel_values"].to(self._device, torch.float32))
        [found] = self._eye.post_process_semantic_segmentation(answer, [picture.shape[:2]])
        drawn: Pixels = COLOURS[found.cpu().numpy()]
        return drawn


ADE20K = """
    787878 b47878 06e6e6 503232 04c803 787850 8c8c8c cc05ff e6e6e6 04fa07 e005ff ebff07 96053d 787846 08ff33
    ff0652 8fff8c ccff04 ff3307 cc4603 0066c8 3de6fa ff0633 0b66ff ff0747 ff09e0 0907e6 dcdcdc ff095c 7009ff
    08ffd6 07ffe0 ffb806 0aff47 ff290a 07ffff e0ff08 6608ff ff3d06 ffc207 ff7a08 00ff14 ff0829 ff0599 0633ff
    eb0cff a09614 00a3ff 8c8c8c fa0a0f 14ff00 1fff00 ff1f00 ffe000 99ff00 0000ff ff4700 00ebff 00adff 1f00ff
    0bc8c8 ff5200 00fff5 003dff 00ff70 00ff85 ff0000 ffa300 ff6600 c2ff00 008fff 33ff00 0052ff 00ff29 00ffad
    0a00ff adff00 00ff99 ff5c00 ff00ff ff00f5 ff0066 ffad00 ff0014 ffb8b8 001fff 00ff3d 0047ff ff00cc 00ffc2
    00ff52 000aff 0070ff 3300ff 00c2ff 007aff 00ffa3 ff9900 00ff0a ff7000 8fff00 5200ff a3ff00 ffeb00 08b8aa
    8500ff 00ff5c b800ff ff001f 00b8ff 00d6ff ff0070 5cff00 00e0ff 70e0ff 46b8a0 a300ff 9900ff 47ff00 ff00a3
    ffcc00 ff008f 00ffeb 85ff00 ff00eb f500ff ff007a fff500 0abed4 d6ff00 00ccff 1400ff ffff00 0099ff 0029ff
    00ffcc 2900ff 29ff00 ad00ff 00f5ff 4700ff 7a00ff 00ffb8 005cff b8ff00 0085ff ffd600 19c2c2 66ff00 5c00ff
"""
COLOURS = np.array([list(bytes.fromhex(colour)) for colour in ADE20K.split()], np.uint8)
