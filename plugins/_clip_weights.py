"""Pretrained CLIPs of open_clip: by architecture and tag, by a file, or from a folder; never a silent random one."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import nn

from augment.errors import ConfigError, MissingDataError, unknown_name

from ._clip import PretrainedCLIP, embed_captions

FOLDER, HUB = "local-dir:", "hf-hub:"
WHAT_WORKS = (
    "What works without a network: clip=small, which is trained here and needs no download; clip_weights=FILE with a "
    "checkpoint of that architecture; clip=local-dir:FOLDER with open_clip_config.json and the weights."
)


def load_pretrained(clip: str, weights: str | None, captions: Sequence[Sequence[str]]) -> PretrainedCLIP:
    """The CLIP of that name with the captions embedded.

    clip: an architecture of open_clip, ``local-dir:FOLDER`` or ``hf-hub:REPOSITORY``.  weights: for an architecture, a
    tag or a file.  Raises ConfigError for names that do not exist, MissingDataError (exit 4) for weights that are not
    here and cannot be downloaded; both say what would work.
    """
    _check_names(clip, weights)
    try:
        model, tokenizer = _create(clip, weights)
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        source = clip if weights is None else f"{clip} with clip_weights={weights}"
        reason = str(error).strip().splitlines()[0]
        raise MissingDataError(f"The weights of {source} could not be loaded ({reason}). {WHAT_WORKS}") from error
    texts = embed_captions(model, tokenizer, captions)
    return PretrainedCLIP(model.visual, texts, model.logit_scale.detach().exp(), fingerprint(model))


def _create(clip: str, weights: str | None) -> tuple[Any, Any]:
    import open_clip

    found = open_clip.get_pretrained_cfg(clip, weights) if weights else {}
    with _silent():
        model = open_clip.create_model(
            clip,
            pretrained=weights,
            require_pretrained=True,
            # some tags were trained with another activation than their architecture's file says
            force_quick_gelu=bool(found.get("quick_gelu")),
        )
        return model.eval(), open_clip.get_tokenizer(clip)


def _check_names(clip: str, weights: str | None) -> None:
    import open_clip

    if clip.startswith((FOLDER, HUB)):
        folder = Path(clip.removeprefix(FOLDER))
        if clip.startswith(FOLDER) and not (folder / "open_clip_config.json").is_file():
            raise MissingDataError(f"{clip}: {folder} is not a folder with open_clip_config.json in it. {WHAT_WORKS}")
        return
    if clip not in open_clip.list_models():
        raise ConfigError(unknown_name("clip", clip, ("small", *open_clip.list_models())))
    tags = open_clip.list_pretrained_tags_by_model(clip)
    if weights is None or not (weights in tags or Path(weights).is_file()):
        looks_like_a_file = weights is not None and ("/" in weights or Path(weights).suffix)
        kind = MissingDataError if looks_like_a_file else ConfigError
        raise kind(
            f"Option clip_weights={weights} is neither a file nor a tag of {clip} ({', '.join(tags)}). {WHAT_WORKS}"
        )


def fingerprint(model: nn.Module) -> str:
    """SHA-256 of all weights, by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def _silent() -> Iterator[None]:
    """open_clip logs to the root logger, which would also set that up; our errors say what matters."""
    root, sink = logging.getLogger(), logging.NullHandler()
    others, root.handlers = root.handlers, [sink]
    try:
        yield
    finally:
        root.handlers = others
