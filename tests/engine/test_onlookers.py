"""Segmentation and pose by small random networks of the true classes: what transformers' own steps find, drawn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    ConvNextConfig,
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrResNetConfig,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    UperNetConfig,
    UperNetForSemanticSegmentation,
    VitPoseBackboneConfig,
    VitPoseConfig,
    VitPoseForPoseEstimation,
)
from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil
from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil
from transformers.models.vitpose.image_processing_pil_vitpose import VitPoseImageProcessorPil

from safelight.engine.hints import to_hint
from safelight.engine.pose import COLOURS, LIMBS, Pose, joints_of, skeletons
from safelight.engine.segmentation import COLOURS as OF_CLASSES
from safelight.engine.segmentation import Segmentation
from safelight.errors import EngineFailed, Invalid

from .checkpoints import seeded
from .oracle import picture

CPU = torch.device("cpu")
PHOTO = picture(96, 64, seed=2)
LABELS = {"num_labels": 150}


def write_segformer(folder: Path) -> Any:
    sizes = {"hidden_sizes": [8, 8, 16, 16], "depths": [1] * 4, "num_attention_heads": [1] * 4, "mlp_ratios": [2] * 4}
    return written(SegformerForSemanticSegmentation, SegformerConfig(**sizes, **LABELS, decoder_hidden_size=16), folder)


def write_upernet(folder: Path) -> Any:
    stages = ["stage1", "stage2", "stage3", "stage4"]
    backbone = ConvNextConfig(hidden_sizes=[8, 8, 16, 16], depths=[1] * 4, out_features=stages)
    config = UperNetConfig(backbone_config=backbone, hidden_size=16, auxiliary_in_channels=16, **LABELS)
    return written(UperNetForSemanticSegmentation, config, folder)


def written(kind: Any, config: Any, folder: Path) -> Any:
    network = seeded(kind, 0, config).eval()
    network.save_pretrained(folder)
    SegformerImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)
    return network


@pytest.mark.parametrize("write", [write_segformer, write_upernet])
def test_each_class_is_drawn_in_its_colour(write: Callable[[Path], Any], tmp_path: Path) -> None:
    network = write(tmp_path)
    eye = SegformerImageProcessorPil.from_pretrained(tmp_path)
    with torch.no_grad():
        logits = network(**eye(images=Image.fromarray(PHOTO), return_tensors="pt")).logits
    whole = torch.nn.functional.interpolate(logits, size=(64, 96), mode="bilinear", align_corners=False)
    hint = to_hint("segmentation", PHOTO, None, 96, 64, {"segmentation": Segmentation(tmp_path, CPU)})
    assert np.array_equal((hint[0] * 255).round().permute(1, 2, 0).numpy(), OF_CLASSES[whole.argmax(1)[0]])
    assert len({*map(tuple, OF_CLASSES.tolist())}) == 149  # two classes share one
    wall, sky, person, flag = (tuple(OF_CLASSES[i].tolist()) for i in (0, 2, 12, 149))
    assert (wall, sky, person, flag) == ((120, 120, 120), (6, 230, 230), (150, 5, 61), (92, 0, 255))


def write_people(folder: Path) -> Any:
    backbone = RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1] * 4, layer_type="basic", out_indices=[2, 3, 4]
    )
    small = {"encoder_hidden_dim": 16, "d_model": 16, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "decoder_layers": 1}
    config = RTDetrConfig(
        backbone_config=backbone, **small, encoder_in_channels=[8, 16, 16], decoder_in_channels=[16] * 3,
        encoder_attention_heads=2, decoder_attention_heads=2, num_queries=3,
        id2label={0: "person", 1: "bicycle"},
    )  # fmt: skip
    network = seeded(RTDetrForObjectDetection, 0, config).eval()
    with torch.no_grad():
        for head in network.model.decoder.class_embed:
            head.bias.copy_(torch.tensor([4.0, -4.0]))
    network.save_pretrained(folder)
    RTDetrImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)
    return network


def write_vitpose(folder: Path) -> Any:
    backbone = VitPoseBackboneConfig(
        image_size=[64, 48], hidden_size=16, num_hidden_layers=2, num_attention_heads=2, out_indices=[2]
    )
    network = seeded(VitPoseForPoseEstimation, 0, VitPoseConfig(backbone_config=backbone, num_labels=17)).eval()
    with torch.no_grad():
        network.head.conv.bias += 1  # all joints are sure
    network.save_pretrained(folder)
    VitPoseImageProcessorPil(size={"height": 64, "width": 48}).save_pretrained(folder)
    return network


def test_people_are_drawn_as_openpose_draws_them(tmp_path: Path) -> None:
    finder, estimator = write_people(tmp_path / "people"), write_vitpose(tmp_path / "pose")
    look = RTDetrImageProcessorPil.from_pretrained(tmp_path / "people")
    close = VitPoseImageProcessorPil.from_pretrained(tmp_path / "pose")
    photo = Image.fromarray(PHOTO)
    with torch.no_grad():
        found = finder(**look(images=photo, return_tensors="pt"))
        people = look.post_process_object_detection(found, 0.3, [(64, 96)])[0]["boxes"].numpy()
        boxes = [[left, top, right - left, bottom - top] for left, top, right, bottom in people]
        answer = estimator(**close(images=photo, boxes=[boxes], return_tensors="pt"))
    told = close.post_process_pose_estimation(answer, boxes=[boxes])[0]
    assert len(told) == 3
    wanted = skeletons([joints_of(dict(enumerate(each["keypoints"].tolist()))) for each in told], 64, 96)
    pose = Pose(tmp_path / "people", tmp_path / "pose", CPU)
    hint = to_hint("pose", PHOTO, None, 96, 64, {"pose": pose})
    assert np.array_equal((hint[0] * 255).round().permute(1, 2, 0).numpy(), wanted)
    assert wanted.any()


def test_a_skeleton_has_openposes_joints_limbs_and_colours() -> None:
    coco = {0: (50.0, 10.0), 5: (70.0, 30.0), 6: (30.0, 30.0), 8: (20.0, 60.0), 16: (30.0, 90.0)}
    joints = joints_of(coco)
    assert joints == {0: (50, 10), 1: (50, 30), 2: (30, 30), 3: (20, 60), 5: (70, 30), 10: (30, 90)}
    drawn = skeletons([joints], 100, 100)
    assert [tuple(drawn[int(y), int(x)]) for x, y in (joints[0], joints[1], joints[10])] == [
        (255, 0, 0),
        (255, 85, 0),
        (0, 170, 255),
    ]
    assert tuple(drawn[30, 40]) == (153, 0, 0)  # from the neck to the right shoulder, darker
    assert tuple(drawn[75, 25]) == (0, 0, 0)  # no knee was found, so nothing leads to the ankle
    assert (len(COLOURS), len(LIMBS)) == (18, 17)
    assert not skeletons([], 8, 8).any()


@pytest.mark.parametrize(("kind", "setting"), [("segmentation", "SAFELIGHT_SEGMENTATION"), ("pose", "SAFELIGHT_POSE")])
def test_without_a_network_it_is_refused_by_name(kind: str, setting: str) -> None:
    with pytest.raises(Invalid, match=f"{kind} is drawn by a model that this server does not have; {setting}"):
        to_hint(kind, PHOTO, None, 64, 64)


def test_networks_of_other_kinds_are_refused_by_name(tmp_path: Path) -> None:
    write_segformer(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    weights = load_file(tmp_path / "model.safetensors")
    del weights["decode_head.classifier.bias"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(EngineFailed, match=r"lacks 1 weights, decode_head\.classifier\.bias for one"):
        Segmentation(tmp_path, CPU)(PHOTO)
    changed = config | {"architectures": ["OneFormerForUniversalSegmentation"]}
    (tmp_path / "config.json").write_text(json.dumps(changed))
    with pytest.raises(EngineFailed, match="is not a segmentation network that Safelight runs"):
        Segmentation(tmp_path, CPU)(PHOTO)
    with pytest.raises(EngineFailed, match="is not a network that finds people that Safelight runs"):
        Pose(tmp_path, tmp_path, CPU)(PHOTO)
