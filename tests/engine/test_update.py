"""The weighted sum: any samplers together, and each bit the picture's own."""

from __future__ import annotations

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

from safelight.engine.generation import Generation
from safelight.engine.samplers import Samplers
from safelight.engine.tables import Step
from safelight.engine.update import advance, guide, temper, weighted_sum

from .stand_ins import MicroModel

SHAPE = (4, 8, 8)


def step_of(sampler: str, at: int) -> Step:
    asked = Generation("", width=64, height=64, steps=9, sampler=sampler)
    return Samplers().table(MicroModel().own, asked).steps[at]


def test_a_step_is_its_weights_times_its_terms() -> None:
    step = step_of("UniPCMultistep", 4)
    stack, output = torch.randn(step.stack, *SHAPE), torch.randn(1, *SHAPE)
    (after,) = advance([step], [stack], output, [torch.empty(0, *SHAPE)])
    expected = torch.einsum("ab,bchw->achw", step.weights, torch.cat([stack, output]))
    torch.testing.assert_close(after, expected)


def test_company_changes_no_bit() -> None:
    steps = [step_of(name, 4) for name in ("DDIM", "UniPCMultistep", "EulerAncestralDiscrete", "PNDM", "HeunDiscrete")]
    stacks = [torch.randn(step.stack, *SHAPE) for step in steps]
    noises = [torch.randn(step.draws, *SHAPE) for step in steps]
    outputs = torch.randn(len(steps), *SHAPE)
    together = advance(steps, stacks, outputs, noises)
    for i, step in enumerate(steps):
        (alone,) = advance([step], [stacks[i]], outputs[i : i + 1], [noises[i]])
        assert alone.numpy().tobytes() == together[i].numpy().tobytes()


def test_padding_changes_not_even_the_sign_of_a_zero() -> None:
    terms = torch.tensor([-0.0, 0.0, -1.0]).view(1, 3, 1, 1, 1)
    narrow = weighted_sum(torch.tensor([[[1.0]]]), terms[:, :1])
    wide = weighted_sum(torch.tensor([[[1.0, 0.0, 0.0]]]), terms)
    assert narrow.numpy().tobytes() == wide.numpy().tobytes()


def test_guidance_pairs_rows_and_leaves_single_ones_alone() -> None:
    outputs = torch.randn(3, *SHAPE)
    scale = torch.tensor([7.5, 7.5])
    guided = guide(outputs, torch.tensor([0, 2]), torch.tensor([1, 2]), scale)
    torch.testing.assert_close(guided[0], outputs[0] + 7.5 * (outputs[1] - outputs[0]))
    assert torch.equal(guided[1], outputs[2])


def test_tempering_equals_the_rescaling_of_diffusers_and_none_changes_no_bit() -> None:
    guided, prompted = torch.randn(2, 3, *SHAPE) * torch.tensor([2.0, 1.0])[:, None, None, None, None]
    expected = rescale_noise_cfg(guided, prompted, 0.6)
    ours = torch.stack([temper(a, b, 0.6) for a, b in zip(guided, prompted, strict=True)])
    torch.testing.assert_close(ours, expected)
    assert torch.equal(temper(guided[0], prompted[0], 0.0), guided[0])
