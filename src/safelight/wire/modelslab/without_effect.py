"""Fields that the vendor documents and that do nothing here: callers are told so in a header, readers by the reference."""

from __future__ import annotations

from safelight.wire.forms import Form

FIELDS = {
    "enhance_style": "`enhance_prompt` adds its own words",
    "full_url": "addresses are always whole",
    "init_image_2": "one init image is used",
    "injected_noise_alpha": "of another engine",
    "ip_adapter_id": "there are no IP adapters",
    "ip_adapter_image": "there are no IP adapters",
    "ip_adapter_scale": "there are no IP adapters",
    "loadbalancer": "load is shared by itself",
    "multi_lingual": "prompts are not translated",
    "pag_scale": "of another engine",
    "rescale": "pictures have the size that was asked for",
    "sample": "a misprint of `samples` on one page",
    "scale_down": "pictures have the size that was asked for",
    "self_attention": "quality is the model's own",
    "sigma_threshold": "of another engine",
    "tomesd": "tokens are never merged: it would change pictures",
    "use_cfg_zero_star": "of another engine",
    "use_zero_init": "of another engine",
    "watermark": "pictures are never marked",
    "zero_steps": "of another engine",
}
_OFF = (False, 0, "no", "false", "0")  # asks for what is the case anyway


def without_effect(form: Form) -> tuple[str, ...]:
    """Those of a request that ask for something."""
    return tuple(name for name in FIELDS if form.has(name) and form.fields[name] not in _OFF)
