"""CLIP as a judge of images: how well an image fits the captions of each class, and where the gradient points.

Radford et al. 2021, arXiv 2103.00020. Two of them, alike from outside: :class:`SmallCLIP`, built of open_clip's towers
and trained here on the images at hand, and :class:`PretrainedCLIP`, frozen, found by architecture and tag, by a file,
or in a folder; never a silent random one. Images are ``(n, C, H, W)`` in [0, 1].
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional as F

from augment.corruptions import blur, gaussian
from augment.errors import ConfigError, MissingDataError, unknown_name

SIDE = 32
"""Pixels a side of what the small CLIP's image tower sees: the least its four poolings allow."""

NOISE, SHIFT = 0.25, 2 / SIDE
"""Strongest noise and largest shift (a share of the side) of the images the small CLIP learns from."""

TURN, ZOOM = 0.08, 0.15
"""Largest angle (in half turns) and change of size of the views it learns from without captions: a 6 stays a 6."""

TEMPERATURE = 0.2
"""Of the contrast of views; 0.1 and 0.5 gave worse features."""

MAX_SCALE = 100.0
"""Largest inverse temperature, as in the paper."""

FOLDER, HUB = "local-dir:", "hf-hub:"
WHAT_WORKS = (
    "What works without a network: clip=small, which is trained here and needs no download; clip_weights=FILE with a "
    "checkpoint of that architecture; clip=local-dir:FOLDER with open_clip_config.json and the weights."
)


class Judge(Protocol):
    """What guidance and conditioning need of a CLIP."""

    def image_embeddings(self, images: Tensor) -> Tensor:
        """``(n, D)``, of length 1."""

    def class_embeddings(self) -> Tensor:
        """``(num_classes, D)``: of a class's captions the mean embedding, of length 1."""

    def scale(self) -> Tensor:
        """Inverse temperature of the softmax over captions."""


def class_logits(judge: Judge, images: Tensor) -> Tensor:
    """Scaled cosine similarities of images and classes, ``(n, num_classes)``."""
    return judge.scale() * judge.image_embeddings(images) @ judge.class_embeddings().T


class SmallCLIP(nn.Module):
    """A residual network and a one-layer text transformer, trained from scratch together with its generator.

    captions: per class, in class order. The vocabulary is that of the captions alone: the other 49,000 tokens of
    open_clip's would be most of the weights, and none would ever be trained. One class's captions tell no image from
    another, so that the image tower then learns from pairs of views: see :func:`view_contrast`.
    """

    tokens: Tensor

    def __init__(self, captions: Sequence[Sequence[str]], width: int, dim: int = 64) -> None:
        from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
        from open_clip.tokenizer import tokenize

        super().__init__()
        most = max(len(texts) for texts in captions)
        whole = tokenize([text for texts in captions for text in _repeated(texts, most)])
        length = int(whole.argmax(1).max()) + 1
        # numbered anew in the old order, in which the end of a text, where the tower reads it off, comes last
        vocabulary, tokens = torch.unique(whole[:, :length], return_inverse=True)
        self.register_buffer("tokens", tokens.view(len(captions), most, length), persistent=False)
        self.towers = CLIP(
            dim,
            CLIPVisionCfg(layers=(1, 1, 1, 1), width=width, head_width=32, image_size=SIDE),
            CLIPTextCfg(context_length=length, vocab_size=len(vocabulary), width=dim, heads=2, layers=1),
        )
        if len(captions) == 1:
            self.head = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))

    def image_embeddings(self, images: Tensor) -> Tensor:
        """See :class:`Judge`."""
        with _plain(images):
            return F.normalize(self.towers.visual(in_colour(_resized(images.float(), SIDE))), dim=-1)

    def text_embeddings(self, tokens: Tensor) -> Tensor:
        """Embeddings ``(n, D)``, of length 1, of tokens ``(n, length)``."""
        with _plain(tokens):
            return F.normalize(self.towers.encode_text(tokens), dim=-1)

    def class_embeddings(self) -> Tensor:
        """See :class:`Judge`."""
        return _ensemble(self.text_embeddings(self.tokens.flatten(0, 1)), self.tokens.shape[1])

    def scale(self) -> Tensor:
        """See :class:`Judge`."""
        return self.towers.logit_scale.clamp(max=math.log(MAX_SCALE)).exp()  # type: ignore[no-any-return]

    def contrastive_loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Contrast of images and captions in which every pair of one class is a positive, one caption drawn per class.

        Yang et al. 2022 (UniCL), arXiv 2204.03610. Captions of absent classes are negatives too. In training mode
        images are shifted, blurred and noised, as what guidance shows to a CLIP is an unfinished image. With one class
        it is the contrast of two such views of each image, turned and zoomed besides.
        """
        if len(self.tokens) == 1:
            return self._contrast_of_views(images)
        if self.training:
            images = _view(images)
            if len(images) == 1:  # batch normalisation has no variance to divide by
                images, labels = images.repeat(2, 1, 1, 1), labels.repeat(2)
            drawn = torch.randint(self.tokens.shape[1], (len(self.tokens),), device=self.tokens.device)
            texts = self.text_embeddings(self.tokens[torch.arange(len(drawn), device=drawn.device), drawn])
        else:
            texts = self.class_embeddings()
        with _plain(images):
            return unified_contrast(self.scale() * self.image_embeddings(images) @ texts.T, labels)

    def _contrast_of_views(self, images: Tensor) -> Tensor:
        views = torch.cat([_view(images, TURN, ZOOM), _view(images, TURN, ZOOM)])
        with _plain(images):
            return view_contrast(F.normalize(self.head(self.towers.visual(in_colour(views))), dim=-1))


def view_contrast(z: Tensor) -> Tensor:
    """Mean cross-entropy of finding an image's other view among all: NT-Xent of SimCLR.

    z: ``(2 n, D)`` of length 1, first one view of each image, then the other in the same order. Chen et al. 2020,
    arXiv 2002.05709; in the place of captions, as beside them in SLIP, Mu et al. 2021, arXiv 2112.12750.
    """
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    logits = (z @ z.T / TEMPERATURE).masked_fill(itself, -torch.inf)
    return F.cross_entropy(logits, torch.arange(len(z), device=z.device).roll(len(z) // 2))


def unified_contrast(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean of image-to-caption and caption-to-image cross-entropy for ``logits`` ``(n, classes)``."""
    same = F.one_hot(labels, logits.shape[1]).T.float()
    present = same.sum(1) > 0
    by_caption = -(logits.T.log_softmax(1) * same).sum(1)[present] / same.sum(1)[present]
    return (F.cross_entropy(logits, labels) + by_caption.mean()) / 2


class PretrainedCLIP:
    """A frozen image tower with the embeddings of the captions; no module, so that it is no part of the weights.

    visual: open_clip's image tower, with its ``preprocess_cfg``.  texts: ``(num_classes, D)``, of length 1.
    """

    def __init__(self, visual: nn.Module, texts: Tensor, scale: Tensor, sha256: str) -> None:
        self.visual, self.texts, self.sha256 = visual.eval().requires_grad_(False), texts, sha256
        self._scale = scale
        settings: Any = visual.preprocess_cfg
        size = settings["size"]
        self.side = size if isinstance(size, int) else size[0]
        self.mean = torch.tensor(settings["mean"]).view(1, 3, 1, 1)
        self.std = torch.tensor(settings["std"]).view(1, 3, 1, 1)

    def image_embeddings(self, images: Tensor) -> Tensor:
        """See :class:`Judge`."""
        device = images.device
        self.visual.to(device)
        x = (in_colour(_resized(images, self.side)) - self.mean.to(device)) / self.std.to(device)
        return F.normalize(self.visual(x).float(), dim=-1)

    def class_embeddings(self) -> Tensor:
        """See :class:`Judge`."""
        return self.texts.to(next(self.visual.parameters()).device)

    def scale(self) -> Tensor:
        """See :class:`Judge`."""
        return self._scale.to(next(self.visual.parameters()).device)


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

    pretrained_cfg = open_clip.get_pretrained_cfg(clip, weights) if weights else {}
    with _silent():
        model = open_clip.create_model(
            clip,
            pretrained=weights,
            require_pretrained=True,
            # some tags were trained with another activation than their architecture's file says
            force_quick_gelu=bool(pretrained_cfg.get("quick_gelu")),
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


def embed_captions(model: Any, tokenizer: Any, captions: Sequence[Sequence[str]]) -> Tensor:
    """Class embeddings ``(num_classes, D)`` by a whole CLIP of open_clip."""
    with torch.no_grad():
        parts = [F.normalize(model.encode_text(tokenizer(list(texts))).float(), dim=-1) for texts in captions]
        return torch.cat([_ensemble(part, len(part)) for part in parts])


def _ensemble(texts: Tensor, per_class: int) -> Tensor:
    """Mean of each class's caption embeddings, of length 1 (arXiv 2103.00020, section 3.1.4)."""
    return F.normalize(texts.unflatten(0, (-1, per_class)).mean(1), dim=-1)


def _repeated(texts: Sequence[str], length: int) -> list[str]:
    """Exactly ``length`` texts, in turn."""
    return [texts[index % len(texts)] for index in range(length)]


def _plain(tensor: Tensor) -> torch.autocast:
    """No autocast: towers this small spend longer on casting than bfloat16 saves, and cosines want the digits."""
    return torch.autocast(tensor.device.type, enabled=False)


def _resized(images: Tensor, side: int) -> Tensor:
    if images.shape[-2:] == (side, side):
        return images
    return F.interpolate(
        images, (side, side), mode="bilinear", align_corners=False, antialias=max(images.shape[-2:]) > side
    )


def in_colour(images: Tensor) -> Tensor:
    """Three channels: colour as it is, any other number of channels as the grey of their mean."""
    return images if images.shape[1] == 3 else images.mean(1, keepdim=True).expand(-1, 3, -1, -1)


def _view(images: Tensor, turn: float = 0.0, zoom: float = 0.0) -> Tensor:
    """Images of :data:`SIDE` pixels, moved, blurred and noised, each by amounts of its own."""
    with _plain(images):
        return gaussian(blur(_moved(_resized(images.float(), SIDE), turn, zoom), 1.0), NOISE)


def _moved(images: Tensor, turn: float, zoom: float) -> Tensor:
    """Each image shifted by up to :data:`SHIFT` of its side, turned and zoomed, the border repeated.

    turn: largest angle, in half turns.  zoom: largest change of size, as a share.
    """
    n, device = len(images), images.device
    across, down, angle, size = 2 * torch.rand(4, n, device=device) - 1
    angle, size = math.pi * turn * angle, 1 + zoom * size
    cos, sin = size * angle.cos(), size * angle.sin()
    theta = torch.stack([cos, -sin, 2 * SHIFT * across, sin, cos, 2 * SHIFT * down], dim=1).view(n, 2, 3)
    where = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, where, padding_mode="border", align_corners=False)
