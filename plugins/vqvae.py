"""Vector-quantised autoencoder with a class-conditional transformer prior over its codes.

van den Oord, Vinyals and Kavukcuoglu 2017, "Neural Discrete Representation Learning", arXiv 1711.00937; codebook by
moving averages and prior: Razavi, van den Oord and Vinyals 2019 (VQ-VAE-2), arXiv 1906.00446; revival of unused codes:
Dhariwal et al. 2020 (Jukebox), arXiv 2005.00341.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from augment.generator import ImageSpec, Tags

from ._autoencoders import (
    Backbone,
    ImageDecoder,
    ImageEncoder,
    LatentClassConfig,
    LatentClasses,
    one_hot,
    reconstruction_loss,
    unseen_classes,
)
from ._layers import LayeredGenerator, draw_labels, eval_mode


class VQVAEConfig(LatentClassConfig):
    """Options of ``vqvae``."""

    steps: int = Field(3000, ge=1, description="optimizer updates")
    batch_size: int = Field(32, ge=1, description="images per update")
    lr: float = Field(3e-3, gt=0, description="peak learning rate")
    class_balanced: bool = Field(True, description="draw training labels uniformly instead of as they come")
    width: int = Field(64, ge=8, multiple_of=4, description="channels of the coarse feature maps")
    backbone: Backbone = Field("resnet", description="residual blocks, or plain convolutions")
    reconstruction: Literal["bce", "mse"] = Field("bce", description="reconstruction loss, summed over pixels")
    codes: int = Field(512, ge=2, le=8192, description="size of the codebook")
    stride: Literal[1, 2] = Field(2, description="cells of the encoder's grid, along a side, behind one code")
    code_dim: int = Field(32, ge=1, le=512, description="length of a code's vector")
    commitment: float = Field(0.25, ge=0, description="weight of the commitment loss")
    codebook_decay: float = Field(0.97, ge=0, lt=1, description="decay of the codebook's moving averages")
    dead_below: float = Field(0.1, ge=0, description="codes used less often per batch, on average, are revived")
    prior_dim: int = Field(128, ge=32, multiple_of=32, description="width of the prior")
    prior_layers: int = Field(2, ge=1, description="layers of the prior")
    temperature: float = Field(0.8, gt=0, description="temperature of the codes drawn from the prior")


class VQVAE(LayeredGenerator):
    """VQ-VAE: ``sample`` draws codes from the learned prior and decodes them.

    One loop trains both: the prior's loss sees the codes, detached. ``encode`` gives the code vectors before they
    are rounded to the codebook, flattened ``(n, cells * code_dim)``; ``decode`` rounds and decodes.
    """

    Config = VQVAEConfig
    config: VQVAEConfig
    test_options: ClassVar[dict[str, Any]] = {
        "width": 16,
        "codes": 16,
        "code_dim": 4,
        "prior_dim": 32,
        "prior_layers": 1,
    }
    family = "autoencoder"
    tags = Tags(conditional=True, reconstructs=True, decodes=True)

    def __init__(self, config: VQVAEConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.encoder = ImageEncoder(spec, config.width, config.backbone)
        self.to_code = nn.Conv2d(config.width, config.code_dim, 3, stride=config.stride, padding=1)
        self.codebook = Codebook(config.codes, config.code_dim, config.codebook_decay, config.dead_below)
        spread = nn.Conv2d(config.code_dim, config.width * config.stride**2, 3, padding=1)
        self.from_code = nn.Sequential(spread, nn.PixelShuffle(config.stride), nn.ReLU())
        self.decoder = ImageDecoder(spec, config.width, config.backbone)
        grid = self.encoder.grid
        self.rows, self.columns = -(-grid.rows // config.stride), -(-grid.columns // config.stride)
        self.prior = CodePrior(
            config.codes,
            config.code_dim,
            self.rows,
            self.columns,
            spec.num_classes,
            config.prior_dim,
            config.prior_layers,
        )
        self.latent_classes = LatentClasses(config, self.rows * self.columns * config.code_dim, spec.num_classes)
        self.tags = replace(self.tags, semi_supervised=config.semi_supervised)

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Reconstruction, commitment and the prior's negative log-likelihood in nats per code."""
        vectors = self._encodings(self.encoder(images))
        codes = self.codebook.nearest(vectors)
        e = self.codebook.vectors[codes]
        logits = self.prior(e, self._one_hot(labels)).float()
        prior_nll = F.cross_entropy(logits.flatten(0, 1), codes.flatten())
        commitment = F.mse_loss(vectors, e)
        straight_through = vectors + (e - vectors).detach()
        reconstruction = reconstruction_loss(self._logits(straight_through), images, self.config.reconstruction)
        loss = reconstruction / images[0].numel() + self.config.commitment * commitment + prior_nll
        if self.training:
            self.codebook.update(vectors.detach(), codes)
        terms = {
            "loss": loss,
            f"reconstruction_{self.config.reconstruction}": reconstruction,
            "commitment": commitment,
            "prior_nll": prior_nll,
            "codebook_perplexity": self.codebook.perplexity(codes),
        }
        return self.latent_classes.add_to(terms, vectors.flatten(1), labels)

    def sample(self, n: int, labels: Tensor | None = None, *, rng: torch.Generator | None = None) -> Tensor:
        """Decode codes drawn from the prior; see :meth:`Generator.sample`."""
        labels = draw_labels(n, labels, self.spec.num_classes, rng, self.device)
        with eval_mode(self):
            codes = self.prior.sample(self.codebook.vectors, self._one_hot(labels), self.config.temperature, rng)
            return self._logits(self.codebook.vectors[codes]).float().sigmoid()

    @property
    def layers(self) -> tuple[str, ...]:
        """The encoder's feature maps, and code vectors before and after they are rounded to the codebook."""
        return "stem", "encoder", "vectors", "codes"

    def encode(self, images: Tensor, *, layer: str = "vectors", pool: int = 3) -> Tensor:
        """Code vectors before rounding, ``(n, cells * code_dim)``, cell by cell in reading order, or another layer.

        layer: ``vectors``; ``codes``, the same rounded to the codebook; ``stem`` or ``encoder``, feature maps; several,
        joined by commas; or ``all``.  pool: feature maps are averaged over a grid of pool x pool parts of the image, 1
        being all of it; vectors and codes are as they are. For a linear probe on MNIST ``encoder`` with pool=3 is
        better than either of these. Raises ConfigError for an unknown layer.
        """
        return self.encode_layer(images, layer, pool=pool)

    def activations(self, images: Tensor, layers: Sequence[str], **options: Any) -> dict[str, Tensor]:
        """See the base class."""
        stages = self.encoder.stages(images)
        vectors = self._encodings(stages["encoder"])
        codes = self.codebook.vectors[self.codebook.nearest(vectors)]
        outputs = {**stages, "vectors": vectors.flatten(1), "codes": codes.flatten(1)}
        return {name: outputs[name] for name in layers}

    def decode(self, latents: Tensor) -> Tensor:
        """Images ``(n, C, H, W)`` of the codes nearest to latents ``(n, cells * code_dim)``."""
        with eval_mode(self):
            vectors = latents.unflatten(1, (self.rows * self.columns, self.config.code_dim))
            return self._logits(self.codebook.vectors[self.codebook.nearest(vectors)]).float().sigmoid()

    def reconstruct(self, images: Tensor) -> Tensor:
        """``decode(encode(images))``; not samples."""
        return self.decode(self.encode(images))

    def after_training(self, images: Tensor, labels: Tensor) -> None:
        """Draw a class nobody was labelled as as a withheld one, where some images had no label."""
        self.prior.label.weight[:, unseen_classes(labels, self.spec.num_classes)] = 0

    def _encodings(self, maps: Tensor) -> Tensor:
        """Code vectors before rounding, ``(n, cells, code_dim)``, cell by cell in reading order."""
        z_e: Tensor = self.to_code(maps)
        return z_e.float().permute(0, 2, 3, 1).flatten(1, 2)

    def _one_hot(self, labels: Tensor) -> Tensor:
        return one_hot(labels, self.spec.num_classes)

    def _logits(self, vectors: Tensor) -> Tensor:
        grid = self.encoder.grid
        features = self.from_code(vectors.transpose(1, 2).unflatten(2, (self.rows, self.columns)))
        return self.decoder(features[..., : grid.rows, : grid.columns])  # type: ignore[no-any-return]


class Codebook(nn.Module):
    """Code vectors that follow the mean of the encodings assigned to them; all of them start as encodings."""

    vectors: Tensor
    usage: Tensor
    sums: Tensor

    def __init__(self, codes: int, code_dim: int, decay: float, dead_below: float) -> None:
        super().__init__()
        self.decay, self.dead_below = decay, dead_below
        self.register_buffer("vectors", torch.randn(codes, code_dim))
        self.register_buffer("usage", torch.zeros(codes))
        self.register_buffer("sums", torch.zeros(codes, code_dim))

    @torch.no_grad()
    def nearest(self, vectors: Tensor) -> Tensor:
        """Index ``(...)`` of the code nearest to each vector ``(..., code_dim)``."""
        with torch.autocast(vectors.device.type, enabled=False):  # bfloat16 would confuse neighbouring codes
            scores = vectors.float() @ self.vectors.T - 0.5 * (self.vectors**2).sum(1)
        return scores.argmax(-1)

    @torch.no_grad()
    def update(self, vectors: Tensor, codes: Tensor) -> None:
        """Move the averages by a batch; a code that has fallen out of use is put on a random encoding of it."""
        flat, assigned = vectors.flatten(0, -2).float(), codes.flatten()
        count = torch.bincount(assigned, minlength=len(self.usage)).float()
        total = torch.zeros_like(self.sums).index_add_(0, assigned, flat)
        self.usage.lerp_(count, 1 - self.decay)
        self.sums.lerp_(total, 1 - self.decay)
        dead = self.usage < self.dead_below
        fresh = flat[torch.randint(len(flat), (len(dead),), device=flat.device)]
        self.usage[dead] = 1.0
        self.sums[dead] = fresh[dead]
        self.vectors.copy_(self.sums / self.usage.clamp(min=1e-5)[:, None])

    @staticmethod
    def perplexity(codes: Tensor) -> Tensor:
        """Exponential of the entropy of a batch's use of the codes: how many codes are in use, in effect."""
        share = torch.bincount(codes.flatten()).float() / codes.numel()
        return torch.special.entr(share).sum().exp()  # type: ignore[no-any-return]


class CausalBlock(nn.Module):
    """Pre-norm transformer block (Vaswani et al. 2017, arXiv 1706.03762), causal, with a key-value cache."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim))

    def forward(self, x: Tensor, cache: list[Tensor] | None = None) -> Tensor:
        """``(n, t, dim)`` to the same; with a cache ``[keys, values]`` x is the next position alone, t = 1."""
        n, length, dim = x.shape
        heads = self.qkv(self.norm1(x)).view(n, length, 3, self.heads, dim // self.heads)
        q, k, v = heads.permute(2, 0, 3, 1, 4).unbind(0)
        if cache is not None:
            cache[:] = (
                [torch.cat([old, new], dim=2) for old, new in zip(cache, (k, v), strict=True)] if cache else [k, v]
            )
            k, v = cache
        scores = q @ k.transpose(2, 3) * (dim // self.heads) ** -0.5
        if cache is None:
            scores = scores + torch.full_like(scores[0, 0], -1e4).triu(1)
        y = scores.softmax(-1).to(v.dtype) @ v  # half the time of the fused kernel, on a CPU and at this length
        x = x + self.out(y.transpose(1, 2).reshape(n, length, dim))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class CodePrior(nn.Module):
    """Class-conditional autoregressive transformer over the codes of an image in reading order.

    A position enters as its four neighbours drawn before it (left, and three above), as in PixelCNN (van den Oord et
    al. 2016, arXiv 1606.05328): what attention would take long to find. Codes enter as their codebook vectors, not as
    rows of a table of its own: while the codebook moves, a code's meaning moves with it.
    """

    def __init__(
        self, codes: int, code_dim: int, rows: int, columns: int, num_classes: int, dim: int, layers: int
    ) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns
        self.label = nn.Linear(num_classes, dim)
        self.neighbours = nn.Linear(4 * code_dim, dim)
        self.position = nn.Parameter(0.02 * torch.randn(rows * columns, dim))
        self.blocks = nn.ModuleList(CausalBlock(dim, max(1, dim // 32)) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, codes)

    def forward(self, vectors: Tensor, one_hot: Tensor) -> Tensor:
        """Logits ``(n, cells, codes)`` of every code given those before it; ``vectors`` ``(n, cells, code_dim)``."""
        canvas = F.pad(vectors.unflatten(1, (self.rows, self.columns)), (0, 0, 1, 1, 1, 0))
        above, left = canvas[:, :-1], canvas[:, 1:, :-2]
        around = torch.cat([above[:, :, :-2], above[:, :, 1:-1], above[:, :, 2:], left], dim=-1).flatten(1, 2)
        x = self.neighbours(around) + self.label(one_hot)[:, None] + self.position
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))  # type: ignore[no-any-return]

    def sample(self, codebook: Tensor, one_hot: Tensor, temperature: float, rng: torch.Generator | None) -> Tensor:
        """Draw codes ``(n, cells)``, one position after the other."""
        n, label = len(one_hot), self.label(one_hot)
        canvas = codebook.new_zeros(n, self.rows + 1, self.columns + 2, codebook.shape[1])
        caches: list[list[Tensor]] = [[] for _ in self.blocks]
        codes = []
        for index, position in enumerate(self.position):
            row, column = divmod(index, self.columns)
            around = torch.cat([canvas[:, row, column : column + 3].flatten(1), canvas[:, row + 1, column]], dim=1)
            x = (self.neighbours(around) + label + position)[:, None]
            for block, cache in zip(self.blocks, caches, strict=True):
                x = block(x, cache)
            logits = self.head(self.norm(x))[:, 0].float() / temperature
            codes.append(torch.multinomial(logits.softmax(-1), 1, generator=rng).squeeze(1))
            canvas[:, row + 1, column + 1] = codebook[codes[-1]]
        return torch.stack(codes, dim=1)
