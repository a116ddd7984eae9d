"""A prior over codes: a class-conditional autoregressive transformer, trained beside the codebook they come from."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
