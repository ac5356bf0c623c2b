"""How the people in a picture stand, by two networks of the operator's: one that finds them (RT-DETR), and one that finds
their joints (ViTPose). As a hint for a ControlNet: the skeleton that OpenPose draws (Cao et al. 2019), on black.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from transformers import RTDetrForObjectDetection, RTDetrV2ForObjectDetection, VitPoseForPoseEstimation
from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil
from transformers.models.vitpose.image_processing_pil_vitpose import VitPoseImageProcessorPil

from safelight.engine.generation import Pixels
from safelight.engine.onlooker import Onlooker
from safelight.errors import EngineFailed

FINDERS: dict[str, Any] = {kind.__name__: kind for kind in (RTDetrForObjectDetection, RTDetrV2ForObjectDetection)}
ESTIMATORS: dict[str, Any] = {"VitPoseForPoseEstimation": VitPoseForPoseEstimation}
SURE = 0.3  # from which a person or a joint is one

Point = tuple[float, float]
Joints = Mapping[int, Point]  # by OpenPose's numbers


class Pose(Onlooker):
    """A skeleton for every person; black where there is nobody."""

    def __init__(self, finder: Path, estimator: Path, device: torch.device) -> None:
        super().__init__(device)
        self._folders = finder, estimator

    def read(self) -> None:
        finder, estimator = self._folders
        self._finder = self.network(finder, "network that finds people", FINDERS)
        self._estimator = self.network(estimator, "network that finds joints", ESTIMATORS)
        if (joints := self._estimator.config.num_labels) != len(FROM_COCO) - 1:
            raise EngineFailed(f"{estimator.name} finds {joints} joints, not COCO's {len(FROM_COCO) - 1}")
        self._look: Any = RTDetrImageProcessorPil.from_pretrained(finder, local_files_only=True)
        self._close: Any = VitPoseImageProcessorPil.from_pretrained(estimator, local_files_only=True)

    def draw(self, picture: Pixels) -> Pixels:
        people = self._people(picture)
        return skeletons(self._joints(picture, people) if len(people) else [], *picture.shape[:2])

    def _people(self, picture: Pixels) -> Any:
        """Boxes (N, 4): left, top, width, height."""
        seen = self._look(images=Image.fromarray(picture), return_tensors="pt")
        answer = self._finder(pixel_values=seen["pixel_values"].to(self._device, torch.float32))
        [found] = self._look.post_process_object_detection(answer, SURE, [picture.shape[:2]])
        person = {name: label for label, name in self._finder.config.id2label.items()}.get("person", 0)
        boxes = found["boxes"][found["labels"] == person].cpu().numpy()
        boxes[:, 2:] -= boxes[:, :2]
        return boxes

    def _joints(self, picture: Pixels, people: Any) -> list[Joints]:
        seen = self._close(images=Image.fromarray(picture), boxes=[people], return_tensors="pt")
        pixels = seen["pixel_values"].to(self._device, torch.float32)
        several = self._estimator.config.backbone_config.num_experts > 1  # of data sets; the first is COCO's
        expert = torch.zeros(len(pixels), dtype=torch.long, device=self._device) if several else None
        answer = self._estimator(pixel_values=pixels, dataset_index=expert)
        [found] = self._close.post_process_pose_estimation(answer, boxes=[people], threshold=SURE)
        return [
            joints_of(dict(zip(each["labels"].tolist(), each["keypoints"].tolist(), strict=True))) for each in found
        ]


def joints_of(coco: Mapping[int, Point]) -> Joints:
    """OpenPose has a neck too, between the shoulders."""
    joints = {i: coco[number] for i, number in enumerate(FROM_COCO) if number in coco}
    if RIGHT_SHOULDER in joints and LEFT_SHOULDER in joints:
        (x, y), (u, v) = joints[RIGHT_SHOULDER], joints[LEFT_SHOULDER]
        joints[NECK] = (x + u) / 2, (y + v) / 2
    return joints


def skeletons(people: list[Joints], height: int, width: int) -> Pixels:
    canvas = np.zeros((height, width, 3), np.uint8)
    for joints in people:
        for limb, (a, b) in enumerate(LIMBS):
            if a in joints and b in joints:
                _draw_limb(canvas, joints[a], joints[b], [0.6 * value for value in COLOURS[limb]])
    for joints in people:
        for i, (x, y) in joints.items():
            cv2.circle(canvas, (int(x), int(y)), THICK, COLOURS[i], -1)
    return canvas


def _draw_limb(canvas: Pixels, start: Point, end: Point, colour: list[float]) -> None:
    (x, y), (u, v) = start, end
    middle, half = (int((x + u) / 2), int((y + v) / 2)), int(math.dist(start, end) / 2)
    cv2.ellipse(canvas, middle, (half, THICK), math.degrees(math.atan2(v - y, u - x)), 0, 360, colour, -1)


THICK = 4  # pixels, half of a limb's
NECK, RIGHT_SHOULDER, LEFT_SHOULDER = 1, 2, 5
FROM_COCO = (0, -1, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)  # COCO's number of each of OpenPose's joints
LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10),
    (1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
COLOURS = [
    [round(255 * part) for part in colorsys.hsv_to_rgb(i / 18, 1, 1)] for i in range(18)
]  # of joints, and of limbs
