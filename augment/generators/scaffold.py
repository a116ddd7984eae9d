"""A new generator's package: what ``augment plugins new`` writes. It passes the contract's checks as it stands."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from string import Template

from augment import registry
from augment.errors import DataError, UsageError

_PYPROJECT = Template("""\
[build-system]
requires = ["setuptools>=61"]
build-backend = "setuptools.build_meta"

[project]
name = "$distribution"
version = "0.1.0"
description = "The generator $name for augment."
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["augment-toolkit"]

[project.entry-points."augment.generators"]
$name = "$module:$cls"

[tool.setuptools]
py-modules = ["$module"]
""")

_MODULE = Template('''\
"""$cls: a small class-conditional variational autoencoder, to be replaced by a method of your own.

Source: Kingma and Welling, "Auto-Encoding Variational Bayes", 2013, arXiv:1312.6114.
"""

from typing import ClassVar

import torch
from augment import Generator, GeneratorConfig, ImageSpec, Tags
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional


class ${cls}Config(GeneratorConfig):
    """Options, set on the command line by ``--set key=value``."""

    latent_dim: int = Field(16, ge=1, description="size of the latent vector")
    width: int = Field(256, ge=1, description="hidden units")
    beta: float = Field(0.1, ge=0, description="weight of the KL divergence, per latent dimension")


class $cls(Generator):
    """The first line is shown on the card of a saved generator."""

    Config = ${cls}Config
    tags = Tags(conditional=True, reconstructs=True, decodes=True)
    test_options: ClassVar = {"width": 16, "latent_dim": 4}  # makes the checks fast

    def __init__(self, config: ${cls}Config, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        pixels = spec.channels * spec.height * spec.width
        self.encoder = nn.Sequential(
            nn.Flatten(), nn.Linear(pixels, config.width), nn.SiLU(), nn.Linear(config.width, 2 * config.latent_dim)
        )
        self.classes = nn.Embedding(spec.num_classes, config.latent_dim)
        self.decoder = nn.Sequential(
            nn.Linear(config.latent_dim, config.width), nn.SiLU(), nn.Linear(config.width, pixels), nn.Sigmoid()
        )

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """What training minimises is named "loss"; the other terms are written to the history by their names."""
        mu, log_var = self.encoder(images).chunk(2, dim=1)
        z = mu + torch.randn_like(mu) * (0.5 * log_var).exp()
        x = self.decoder(z).view_as(images)
        mse = functional.mse_loss(x, images)
        kl = 0.5 * ((mu - self.classes(labels)).square() + log_var.exp() - 1 - log_var).mean()
        return {"loss": mse + self.config.beta * kl, "mse": mse, "kl": kl}

    def sample(self, n: int, labels: Tensor | None = None, *, rng: torch.Generator | None = None) -> Tensor:
        """Draw from each class's Gaussian N(class mean, I) and decode; all randomness comes from rng."""
        if labels is None:
            labels = torch.randint(self.spec.num_classes, (n,), generator=rng, device=self.device)
        eps = torch.randn(n, self.config.latent_dim, generator=rng, device=self.device)
        return self.decode(self.classes(labels) + eps)

    def encode(self, images: Tensor) -> Tensor:
        """The posterior mean: no noise, no labels; BatchNorm or Dropout would have to be in eval mode here."""
        return self.encoder(images)[:, : self.config.latent_dim]

    def decode(self, latents: Tensor) -> Tensor:
        """Images in [0, 1] of what encode returns."""
        return self.decoder(latents).view(-1, *self.spec.shape)

    def reconstruct(self, images: Tensor) -> Tensor:
        """Images through the bottleneck; never to be called samples."""
        return self.decode(self.encode(images))
''')

_TEST = Template("""\
from augment.testing import parametrize_with_checks


@parametrize_with_checks(["$name"])
def test_contract(check):
    check()
""")

_README = Template("""\
# $distribution

The generator `$name` for `augment`. Write your method into `$module.py`, then

    pip install -e .
    augment plugins check $name
    augment run --dataset digits --regime high --model $name

`python -m pytest` runs the same checks as tests. What a generator has to do is said by
`python -c "import augment; help(augment.Generator)"`; which checks apply follows from its `tags`.
""")


def write_plugin(folder: Path, name: str) -> list[Path]:
    """Write a package with the generator ``name`` into ``folder`` and return the files written.

    ``folder`` becomes the package's root (pyproject.toml, README.md, one module, one test file). Raises UsageError for
    a name that cannot be a model's, DataError for a folder that has something in it or cannot be written.
    """
    _require_name(name)
    words = {
        "name": name,
        "distribution": f"augment-{name.replace('_', '-')}",
        "module": f"augment_{name}",
        "cls": "".join(part.capitalize() for part in name.split("_")),
    }
    files = {
        folder / "pyproject.toml": _PYPROJECT,
        folder / "README.md": _README,
        folder / f"augment_{name}.py": _MODULE,
        folder / "tests" / f"test_augment_{name}.py": _TEST,
    }
    _require_empty(folder)
    try:
        for file, template in files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(template.substitute(words), encoding="utf-8")
    except OSError as error:
        raise DataError(f"{folder} cannot be written: {error.strerror}. Choose another with --folder.") from None
    return list(files)


def _require_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise UsageError(
            f"{name!r} cannot be a model's name: use lower-case letters, digits and single underscores, beginning "
            "with a letter, and no word of Python's own; for example my_model."
        )
    if name in registry.registered():
        raise UsageError(f"The model {name!r} exists already, from {registry.version(name)}. Choose another name.")


def _require_empty(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file. Choose a folder that is new or empty with --folder.")
    if folder.is_dir() and any(folder.iterdir()):
        raise DataError(f"{folder} is not empty, and nothing is overwritten. Choose a new folder with --folder.")
