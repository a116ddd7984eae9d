"""Diffusion model steered by CLIP: conditioned on captions, and guided by image-text similarity while sampling.

Nichol et al. 2021 (GLIDE), arXiv 2112.10741; gradient guidance: Dhariwal and Nichol 2021, arXiv 2105.05233; of the
clean image alone: Bansal et al. 2023, arXiv 2302.07121; CLIP: Radford et al. 2021, arXiv 2103.00020.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn
from torch.optim import Optimizer

from augment.errors import ConfigError, DataError
from augment.generator import ImageSpec

from ._clip import FOLDER, HUB, Judge, SmallCLIP, class_logits, load_pretrained
from .ddpm import DDPM, DDPMConfig

SMALL = "small"
LEAST_SIGNAL = 0.1
"""Smallest sqrt(alpha_bar) that the gradient through the U-Net is divided by."""

CLIP = "clip"
"""Name of the CLIP's image embedding among the layers."""

TEMPLATES = (
    "a photo of a {class}",
    "a picture of a {class}",
    "an image of the {class}",
    "a small photo of one {class}",
)
"""Used where no captions are given; several, so that what is learned is the class's name and not the sentence."""

PLACE = "{class}"

Captions = str | tuple[tuple[str, ...], ...] | dict[str, tuple[str, ...]]
"""A template, captions in class order, or captions by class."""

HOW = (
    'Write a template with {class} in it, one caption per class in class order, as in ["a boot", "a bag"], captions by '
    'class, as in {"boot": ["a boot", "a shoe"]}, or the path of a file: JSON of that kind, or text with one caption '
    "per line"
)


class CLIPGuidedConfig(DDPMConfig):
    """Options of ``clip_guided``."""

    steps: int = Field(2500, ge=1, description="optimizer updates")
    captions: Captions | None = Field(
        None, description="a file, a template with {class}, a list or a mapping; none: four templates with class names"
    )
    clip: str = Field(SMALL, description="small (trained here), an open_clip architecture, or local-dir:FOLDER")
    clip_weights: str | None = Field(None, description="for an architecture: a tag of open_clip, or a file")
    clip_scale: float = Field(5.0, ge=0, description="strength of the gradient of image-text similarity; 0 is none")
    clip_objective: Literal["log_softmax", "similarity"] = Field(
        "log_softmax", description="what the gradient raises: the caption's share among all classes', or the cosine"
    )
    clip_gradient: Literal["image", "network"] = Field(
        "image", description="differentiate CLIP alone, or through the U-Net as well (slower)"
    )
    clip_width: int = Field(8, ge=2, multiple_of=2, description="channels of the small CLIP's first residual layer")
    clip_batch: int = Field(32, ge=2, description="images per update the small CLIP learns from, of those of the batch")
    clip_lr: float = Field(2e-3, gt=0, description="peak learning rate of the small CLIP")

    @field_validator("captions", mode="before")
    @classmethod
    def _captions_themselves(cls, value: Any) -> Captions | None:
        return parse_captions(value)

    @model_validator(mode="after")
    def _weights_belong_to_an_architecture(self) -> Self:
        whole = self.clip == SMALL or self.clip.startswith((FOLDER, HUB))
        if whole and self.clip_weights is not None:
            raise ValueError(
                f"clip={self.clip} takes no clip_weights; for those name an architecture, as in clip=ViT-B-32"
            )
        return self


class CLIPGuided(DDPM):
    """Text-conditioned diffusion with CLIP guidance: ``sample`` denoises towards the captions of the labels.

    The U-Net is told a class by the CLIP embedding of its captions, a learned vector standing for none. While sampling,
    the clean image x0 behind each x_t is moved by ``clip_scale * Var[x0 | x_t] * grad log p(caption | x0)``: Bayes'
    rule, with the variance at noise level sigma taken as sigma^2 (``clip_gradient=image``) or from the U-Net's
    derivative (``network``). A pretrained CLIP is not saved along: its name and the hash of its weights are, and
    ``load`` fetches it again. With one class, as on images without labels, captions tell the small CLIP nothing: its
    image tower then learns by contrast of two views of each image (SimCLR), and it guides nothing.
    """

    Config = CLIPGuidedConfig
    config: CLIPGuidedConfig
    test_options: ClassVar[dict[str, Any]] = {**DDPM.test_options, "clip_width": 4}
    clip: Judge
    clip_sha256: Tensor

    def __init__(self, config: CLIPGuidedConfig, spec: ImageSpec) -> None:
        captions = class_captions(config.captions, spec)
        super().__init__(config, spec)
        if config.clip == SMALL:
            self.clip = SmallCLIP(captions, config.clip_width)
        else:
            pretrained = load_pretrained(config.clip, config.clip_weights, captions)
            self.clip = pretrained
            self.register_buffer("clip_sha256", torch.tensor(list(bytes.fromhex(pretrained.sha256)), dtype=torch.uint8))
        if config.conditional:
            time_dim = 4 * config.channels[0]
            with torch.no_grad():
                dim = self.clip.class_embeddings().shape[1]
            self.from_text = nn.Linear(dim, time_dim)
            self.no_text = nn.Parameter(torch.zeros(time_dim))
        self.tags = replace(self.tags, conditional=config.conditional or config.clip_scale > 0)

    def _build_unet(self, **options: Any) -> nn.Module:
        if self.config.conditional:
            options = {"class_embed_type": "identity", **options}
        return super()._build_unet(**options)

    def loss_terms(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The loss of ``ddpm``, and that of the small CLIP; neither's gradient reaches the other."""
        diffusion = self.loss(images, labels)
        if not isinstance(self.clip, SmallCLIP):
            return {"loss": diffusion}
        if not self.training:  # the best weights are the best diffusion; a CLIP is surest long after it is best
            return {"loss": diffusion, "contrastive": self.clip.contrastive_loss(images, labels)}
        few = slice(self.config.clip_batch)
        contrastive = self.clip.contrastive_loss(images[few], labels[few])
        return {"loss": diffusion + contrastive, "diffusion": diffusion, "contrastive": contrastive}

    def configure_optimizers(self) -> list[Optimizer]:
        """AdamW for the U-Net and one for the small CLIP, so that each has its own learning rate and clipping."""
        if not isinstance(self.clip, SmallCLIP):
            return super().configure_optimizers()
        config, own = self.config, set(self.clip.parameters())
        rest = [parameter for parameter in self.parameters() if parameter not in own]
        fused = self.device.type in ("cpu", "cuda")
        return [
            torch.optim.AdamW(rest, lr=config.lr, weight_decay=config.weight_decay, fused=fused),
            torch.optim.AdamW(self.clip.parameters(), lr=config.clip_lr, weight_decay=config.weight_decay, fused=fused),
        ]

    def condition(self, labels: Tensor) -> Tensor | None:
        """Embeddings ``(n, 4 * channels[0])`` of the classes' captions, or the learned vector of the null class."""
        if not self.config.conditional:
            return None
        with torch.no_grad():
            texts = self.clip.class_embeddings()
            # captions are much alike: what they share says nothing, and the rest is made as large as the U-Net expects
            texts = texts - texts.mean(0) if len(texts) > 1 else texts
            texts = texts / texts.square().mean().sqrt().clamp(min=1e-6)
        table = torch.cat([self.from_text(texts).float(), self.no_text[None]])
        return table[labels]

    def predict(self, x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """The clean image behind x_t, moved up the gradient of its fit to the captions; see the class."""
        config = self.config
        speechless = self.spec.num_classes == 1 and isinstance(self.clip, SmallCLIP)
        if not config.clip_scale or speechless:
            return super().predict(x_t, t, labels)
        with torch.inference_mode(False), torch.enable_grad():
            x_t, t, labels = (tensor.clone() for tensor in (x_t, t, labels))  # they may be inference tensors
            signal, noise = self.diffusion.scales(t)
            if config.clip_gradient == "network":
                origin = x_t.requires_grad_()
                x_0 = super().predict(x_t, t, labels)
                variance = noise**2 / signal.clamp(min=LEAST_SIGNAL)
            else:
                with torch.no_grad():
                    x_0 = super().predict(x_t, t, labels)
                origin = x_0.requires_grad_()
                variance = noise**2
            (gradient,) = torch.autograd.grad(self._fit(x_0, labels).sum(), origin)
        return (x_0.detach() + config.clip_scale * variance * gradient.float()).clamp(-1, 1)

    def _fit(self, x_0: Tensor, labels: Tensor) -> Tensor:
        """How well each clean image in [-1, 1] fits its class's captions, ``(n,)``."""
        logits = class_logits(self.clip, self.grid.crop((x_0 + 1) / 2))
        scores = logits.log_softmax(1) if self.config.clip_objective == "log_softmax" else logits
        return scores.gather(1, labels[:, None]).squeeze(1)

    @property
    def layers(self) -> tuple[str, ...]:
        """Those of ``ddpm``, and ``clip``: CLIP's image embeddings, of length 1."""
        return (*super().layers, CLIP)

    def encode(
        self, images: Tensor, *, t: int = 150, layer: str = CLIP, pool: int = 4, noise_draws: int = 1, seed: int = 0
    ) -> Tensor:
        """CLIP image embeddings ``(n, D)`` of length 1, or U-Net activations as of ``ddpm``.

        layer: ``clip``; ``down0`` .., ``mid``, ``up0`` .. of the U-Net; several joined by commas, or ``all``. CLIP sees
        the image without noise; the other options are of the U-Net's layers, and as those of ``ddpm``.
        """
        return self.encode_layer(images, layer, t=t, pool=pool, noise_draws=noise_draws, seed=seed)

    def activations(self, images: Tensor, layers: Sequence[str], **options: Any) -> dict[str, Tensor]:
        """See the base class."""
        outputs = super().activations(images, [name for name in layers if name != CLIP], **options)
        if CLIP in layers:
            outputs[CLIP] = self.clip.image_embeddings(images)
        return outputs

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """See :meth:`Generator.load`; raises DataError where the pretrained CLIP is not the one of the training."""
        generator = super().load(folder)
        if not isinstance(generator.clip, SmallCLIP):
            saved, current = bytes(generator.clip_sha256.tolist()).hex(), getattr(generator.clip, "sha256", "")
            if saved != current:
                raise DataError(
                    f"{folder} was trained with the CLIP {generator.config.clip} of hash {saved[:12]}; the weights "
                    f"found now have {current[:12]}. Put the former back, or train the generator again."
                )
        return generator


def parse_captions(value: Any) -> Captions | None:
    """The captions a person gave, with a file replaced by what it holds; raises ValueError that says what to write."""
    if isinstance(value, str) and PLACE not in value:
        value = _read(Path(value))
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return {str(name): _several(texts) for name, texts in value.items()}
    if isinstance(value, Sequence):
        return tuple(_several(texts) for texts in value)
    raise ValueError(f"{value!r} is no captions. {HOW}.")


def _several(texts: Any) -> tuple[str, ...]:
    """One caption or several, as a tuple of texts that say something."""
    texts = (texts,) if isinstance(texts, str) else texts
    words = isinstance(texts, Sequence) and all(isinstance(text, str) and text.strip() for text in texts)
    if not words or not texts:
        raise ValueError(f"{texts!r} is not a caption, nor a list of some. {HOW}.")
    return tuple(text.strip() for text in texts)


def _read(path: Path) -> Any:
    try:
        text = path.expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError, RuntimeError) as error:  # a home folder that is not there is a RuntimeError
        raise ValueError(f"no captions can be read from a file {str(path)!r} ({error}). {HOW}") from None
    try:
        captions = json.loads(text)
    except (ValueError, RecursionError):
        return [line for line in text.splitlines() if line.strip()]
    if not isinstance(captions, list | dict):
        raise ValueError(f"the file {path} holds {captions!r}. {HOW}")
    return captions


def class_captions(captions: Captions | None, spec: ImageSpec) -> tuple[tuple[str, ...], ...]:
    """The captions of each class, in class order; raises ConfigError unless every class has one of its own."""
    names = spec.class_names or tuple(f"class {label}" for label in range(spec.num_classes))
    if captions is None or isinstance(captions, str):
        templates = TEMPLATES if captions is None else (captions,)
        per_class = tuple(tuple(text.replace(PLACE, _spoken(name)) for text in templates) for name in names)
    elif isinstance(captions, dict):
        per_class = _by_class(captions, names)
    else:
        per_class = captions
    if len(per_class) != len(names):
        raise ConfigError(
            f"Option captions has {len(per_class)} entries for {len(names)} classes. "
            f"Write one per class, in this order: {', '.join(names)}."
        )
    _require_distinct(per_class, names)
    return per_class


def _spoken(name: str) -> str:
    return name.replace("_", " ").strip()


def _by_class(captions: Mapping[str, tuple[str, ...]], names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Captions by name, or by number, in class order."""
    by_number = {str(label) for label in range(len(names))} == set(captions)
    keys = [str(label) for label in range(len(names))] if by_number else list(names)
    missing, unknown = [key for key in keys if key not in captions], sorted(set(captions) - set(keys))
    if missing or unknown:
        problems = [f"none for {missing}"] * bool(missing) + [f"{unknown} are no classes"] * bool(unknown)
        raise ConfigError(
            f"Option captions: {' and '.join(problems)}. Write one entry for each of: {', '.join(names)}; or for each "
            f"number from 0 to {len(names) - 1}."
        )
    return tuple(captions[key] for key in keys)


def _require_distinct(captions: Sequence[Sequence[str]], names: Sequence[str]) -> None:
    """Captions are all that tells classes apart."""
    owner: dict[str, int] = {}
    for label, texts in enumerate(captions):
        for text in texts:
            other = owner.setdefault(" ".join(text.lower().split()), label)
            if other != label:
                raise ConfigError(
                    f"Option captions: {names[other]!r} and {names[label]!r} have the same caption {text!r}, so the "
                    "model could not tell them apart. Give each class captions of its own."
                )
