"""The contract: what a generator is, and all that the core knows of one.

A plugin subclasses :class:`Generator`, names its :class:`GeneratorConfig`, and is found through the entry-point group
``augment.generators``. Images are float32 in [0, 1] at every public boundary; [-1, 1] is a plugin's private business.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor, nn
from torch.optim import Optimizer

from augment.errors import (
    LARGEST_BATCH,
    LARGEST_COUNT,
    LARGEST_OPTION,
    ConfigError,
    DataError,
    PluginError,
    invalid_values,
    too_large,
    unknown_name,
)
from augment.seeds import torch_rng

FORMAT = 1
"""Version of the saved folder's layout; a folder of another version is refused, not guessed at."""

UNLABELLED = -1
"""Label of an image whose class is not known; only generators tagged ``semi_supervised`` are trained with it."""

SAMPLE_CHUNK = 256
"""Images drawn per call of ``sample`` by :func:`draw`; part of what a seed means, so it is a constant."""


@dataclass(frozen=True)
class ImageSpec:
    """All a generator may know of the data: shape, number of classes, and their names where those are known.

    Attributes:
        channels: 1 for grey images, 3 for colour; at least 1.
        height: Pixels, at least 1.
        width: Pixels, at least 1.
        num_classes: At least 1.
        class_names: A name for every class, or none at all.

    Raises:
        ConfigError: For a number below 1, and for names of some classes only.

    Example:
        >>> from augment import ImageSpec
        >>> spec = ImageSpec(channels=1, height=28, width=20, num_classes=2, class_names=("cat", "dog"))
        >>> spec.shape
        (1, 28, 20)
    """

    channels: int
    height: int
    width: int
    num_classes: int
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("channels", "height", "width", "num_classes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"ImageSpec.{name} is {getattr(self, name)}; it must be at least 1.")
        object.__setattr__(self, "class_names", tuple(self.class_names))  # JSON has lists only
        if len(self.class_names) not in (0, self.num_classes):
            raise ConfigError(
                f"ImageSpec.class_names has {len(self.class_names)} names for {self.num_classes} classes. "
                "Name every class, or none."
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(C, H, W)``."""
        return self.channels, self.height, self.width


@dataclass(frozen=True)
class Tags:
    """Capabilities; the conformance kit and the commands choose by them.

    Attributes:
        conditional: ``sample`` follows ``labels``.
        reconstructs: Has ``reconstruct(images)``.
        decodes: Has ``decode(latents)`` for the output of ``encode``.
        likelihood: Has ``log_prob(images)``.
        semi_supervised: ``loss`` learns a feature space from the labels it is given, and takes :data:`UNLABELLED` where
            an image has none.
        edits: Has ``sample_from(images, labels, strength, *, rng=None)``: new images ``(n, C, H, W)`` in [0, 1] that
            start from given ones; ``strength`` in (0, 1], 1 forgets the image. ``labels`` are the classes to be, which
            a generator that is not conditional ignores. Row i depends on image i, label i and the noise alone.

    Example:
        >>> from augment import Generator, Tags
        >>> class Mine(Generator):
        ...     tags = Tags(conditional=True, likelihood=True)
        >>> Mine.tags.likelihood, Mine.tags.edits
        (True, False)
    """

    conditional: bool = False
    reconstructs: bool = False
    decodes: bool = False
    likelihood: bool = False
    semi_supervised: bool = False
    edits: bool = False


class GeneratorConfig(BaseModel):
    """Options every generator has, read by the training loop; each plugin extends them.

    Frozen; an unknown key or a wrong type is an error that lists the known ones.

    Example:
        >>> from pydantic import Field
        >>> from augment import GeneratorConfig
        >>> class MyConfig(GeneratorConfig):
        ...     latent_dim: int = Field(16, ge=1, description="numbers per image")
        >>> config = MyConfig.parse({"steps": 50})
        >>> config.steps, config.batch_size, config.latent_dim
        (50, 128, 16)
        >>> MyConfig.parse({"latents": 8})
        Traceback (most recent call last):
        augment.errors.ConfigError: Unknown option of MyConfig 'latents'. Did you mean 'latent_dim'? Known: ...
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    steps: int = Field(1000, ge=1, description="optimizer updates")
    batch_size: int = Field(128, ge=1, description="images per update")
    lr: float = Field(1e-3, gt=0, description="peak learning rate")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay (AdamW)")
    warmup: float = Field(0.05, ge=0, le=1, description="share of the steps with rising learning rate")
    grad_clip: float = Field(1.0, ge=0, description="largest gradient norm; 0 switches clipping off")
    ema_decay: float = Field(0.999, ge=0, lt=1, description="decay of the averaged weights; 0 switches averaging off")
    class_balanced: bool = Field(False, description="draw training labels uniformly instead of as they come")

    @model_validator(mode="before")
    @classmethod
    def _bounded(cls, options: Any) -> Any:
        """Of all models alike, as a plugin that gives an option another default also gives it other bounds."""
        limits = {"steps": LARGEST_COUNT, "batch_size": LARGEST_BATCH}
        for name, value in options.items() if isinstance(options, Mapping) else ():
            largest = limits.get(name, LARGEST_OPTION)
            if too_large(value) or (isinstance(value, int) and value > largest):
                raise ValueError(f"{name} may be {largest:,} at most")
        return options

    @classmethod
    def parse(cls, options: Mapping[str, Any]) -> Self:
        """Check options that are given by name.

        Args:
            options: Values by the names of fields; what is left out has its default.

        Returns:
            The config.

        Raises:
            ConfigError: Names the key, the value and what is known.
        """
        try:
            return cls(**options)
        except ValidationError as error:
            raise ConfigError(_explain(cls, error)) from None


def _explain(cls: type[GeneratorConfig], error: ValidationError) -> str:
    lines = []
    for problem in invalid_values(error):
        if problem.unknown:
            lines.append(unknown_name(f"option of {cls.__name__}", problem.name, cls.model_fields))
        elif problem.where:
            lines.append(f"Option {problem.name}={problem.value!r} of {cls.__name__}: {problem.message}.")
        else:  # of options together
            lines.append(f"Options of {cls.__name__}: {problem.message}.")
    return "\n".join(lines)


class StopTraining(Exception):  # noqa: N818 - it asks for something, as StopIteration does
    """Raised by a plugin's ``training_step`` to end training at once, with a reason in one sentence.

    For what more steps cannot cure (a GAN whose samples have collapsed, say). The step does not count; the weights are
    kept, and the reason stands in the result instead of "finished".

    Example:
        >>> from augment import StopTraining
        >>> from augment.testing import MinimalGenerator
        >>> class Patient(MinimalGenerator):
        ...     def training_step(self, images, labels, optimizers):
        ...         terms = super().training_step(images, labels, optimizers)
        ...         if terms["loss"] > 1e6:
        ...             raise StopTraining("The loss is out of hand.")
        ...         return terms
    """


LossTerms = Tensor | Mapping[str, Tensor]
"""A scalar to minimise, or named scalars of which ``"loss"`` is minimised and the others are reported by name."""


class Generator(nn.Module, ABC):
    """Base class of every generator: ``sample`` and ``encode``, and one of ``loss`` or ``training_step``.

    The constructor takes no data, device or seed; the training loop owns those. ``tags`` is set by the class and may be
    narrowed by an instance whose options switch a capability off.

    Args:
        config: Options, of the class's own ``Config``.
        spec: Shape and classes of the images.

    Example:
        The mean picture of each class, with noise on it:

        >>> import torch
        >>> from augment import Generator, GeneratorConfig, ImageSpec, Tags
        >>> class MeanPicture(Generator):
        ...     tags = Tags(conditional=True)
        ...
        ...     def __init__(self, config, spec):
        ...         super().__init__(config, spec)
        ...         self.means = torch.nn.Parameter(torch.full((spec.num_classes, *spec.shape), 0.5))
        ...
        ...     def sample(self, n, labels=None, *, rng=None):
        ...         if labels is None:
        ...             labels = torch.randint(self.spec.num_classes, (n,), generator=rng, device=self.device)
        ...         noise = torch.randn(n, *self.spec.shape, generator=rng, device=self.device)
        ...         return (self.means[labels] + 0.1 * noise).clamp(0, 1)
        ...
        ...     def encode(self, images):
        ...         return images.flatten(1)
        ...
        ...     def loss(self, images, labels):
        ...         return (images - self.means[labels]).square().mean()
        >>> generator = MeanPicture(GeneratorConfig(), ImageSpec(1, 8, 8, num_classes=10))
        >>> generator.sample(4).shape, generator.encode(generator.sample(4)).shape
        (torch.Size([4, 1, 8, 8]), torch.Size([4, 64]))
    """

    Config: ClassVar[type[GeneratorConfig]] = GeneratorConfig
    test_options: ClassVar[dict[str, Any]] = {}
    """A tiny configuration with which the conformance kit is fast."""
    family: ClassVar[str] = ""
    """What kind of model this is, for listings: "autoencoder", "GAN", "flow", "diffusion" ..."""
    tags: Tags = Tags()
    timesteps: int = 0
    """Steps of the noising process that option ``t`` of ``encode`` counts from 0; 0 where there is no such option."""
    name: str = ""
    """The registered name; the registry sets it on the class it hands out."""

    def __init__(self, config: GeneratorConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.config = config
        self.spec = spec

    @abstractmethod
    def sample(self, n: int, labels: Tensor | None = None, *, rng: torch.Generator | None = None) -> Tensor:
        """Draw new images.

        All randomness comes from ``rng``.

        Args:
            n: How many.
            labels: Int64 classes ``(n,)`` for a conditional generator; None for classes drawn uniformly.
            rng: A generator on the module's device; None uses the global one.

        Returns:
            Images ``(n, C, H, W)`` float32 in [0, 1].
        """

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """Turn images into features.

        Row i depends on image i alone: no batch mates, no labels. Further options are keyword-only.

        Args:
            images: ``(n, C, H, W)`` in [0, 1].

        Returns:
            Features ``(n, D)`` float32.
        """

    @property
    def layers(self) -> tuple[str, ...]:
        """What option ``layer`` of :meth:`encode` accepts, nearest to the image first; empty without that option."""
        return ()

    def encode_layers(self, images: Tensor, layers: Sequence[str], **options: Any) -> list[Tensor]:
        """Features of several layers, ``encode(images, layer=name, **options)`` for each name.

        A model whose layers come out of one pass overrides this.

        Args:
            images: ``(n, C, H, W)`` in [0, 1].
            layers: Names out of :attr:`layers`.
            **options: Further options of :meth:`encode`.

        Returns:
            Features ``(n, D)`` float32 of each layer, each with a D of its own, in the order of ``layers``.
        """
        encode: Any = self.encode  # option `layer` belongs to the plugins that have layers
        return [encode(images, layer=name, **options) for name in layers]

    def loss(self, images: Tensor, labels: Tensor) -> LossTerms:
        """Training objective on a batch.

        Args:
            images: ``(n, C, H, W)`` in [0, 1].
            labels: Int64 ``(n,)``.

        Returns:
            A scalar to minimise, or named scalars of which ``"loss"`` is minimised and the others are reported by name.
        """
        raise NotImplementedError(f"{type(self).__name__} defines neither loss() nor training_step().")

    def training_step(self, images: Tensor, labels: Tensor, optimizers: Sequence[Optimizer]) -> dict[str, Tensor]:
        """Make one update.

        Args:
            images: ``(n, C, H, W)`` in [0, 1].
            labels: Int64 ``(n,)``.
            optimizers: Those of :meth:`configure_optimizers`, wrapped so that ``step`` also averages gradients over
                processes, clips, guards against non-finite values and follows the schedule.

        Returns:
            Detached scalars by name, ``"loss"`` among them.
        """
        terms = self.loss_terms(images, labels)
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(terms["loss"])
        for optimizer in optimizers:
            optimizer.step()
        return {name: value.detach() for name, value in terms.items()}

    def loss_terms(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute :meth:`loss` as named terms.

        Args:
            images: ``(n, C, H, W)`` in [0, 1].
            labels: Int64 ``(n,)``.

        Returns:
            Scalars by name, ``"loss"`` first.
        """
        terms = self.loss(images, labels)
        if isinstance(terms, Tensor):
            return {"loss": terms}
        return {"loss": terms["loss"], **terms}

    def configure_optimizers(self) -> list[Optimizer]:
        """Make the optimizers; AdamW over all parameters that require gradients unless a plugin says otherwise.

        Returns:
            Optimizers, in the order in which :meth:`training_step` gets them.
        """
        parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
        fused = bool(parameters) and parameters[0].device.type in ("cpu", "cuda")
        config = self.config
        return [torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay, fused=fused)]

    def after_training(self, images: Tensor, labels: Tensor) -> None:  # noqa: B027 - an optional hook
        """Fit what is not trained by gradients (a prior over latents, say); called once before saving.

        Called in eval mode and without gradients, with the weights to be saved. Results belong into buffers, so that
        they are saved.

        Args:
            images: Up to some thousands of training images of every class, float32 in [0, 1].
            labels: Int64, one for each.
        """

    @property
    def device(self) -> torch.device:
        """Where the weights are; the CPU for a generator without any."""
        for tensor in (*self.parameters(), *self.buffers()):
            return tensor.device
        return torch.device("cpu")

    def save(self, folder: str | Path) -> None:
        """Write ``config.json``, ``model.safetensors`` and the card ``README.md``.

        Args:
            folder: Where to; made where it is not there.
        """
        from safetensors.torch import save_file

        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        weights = {name: tensor.detach().cpu() for name, tensor in self.state_dict().items()}
        # tied weights are written twice: the format has no aliases
        weights = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in weights.items()}
        save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
        (path / "model.safetensors").chmod(0o644)  # the library makes it private; a cluster's others read it too
        document = {
            "format": FORMAT,
            "generator": self.name,
            "spec": asdict(self.spec),
            "config": self.config.model_dump(mode="json"),
        }
        (path / "README.md").write_text(_card(self, document), encoding="utf-8")
        (path / "config.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a saved generator, on the CPU and in eval mode.

        Called on ``Generator`` itself this is an error: :func:`augment.registry.load_generator` finds the class by its
        name.

        Args:
            folder: Written by :meth:`save`.

        Returns:
            The generator.

        Raises:
            DataError: When the folder is incomplete, truncated, of another format or of another plugin.
        """
        path = Path(folder)
        document = read_saved(path)
        if document["generator"] != cls.name:
            raise DataError(f"{path} holds a {document['generator']!r} generator, not {cls.name!r}.")
        generator = cls(cls.Config.parse(document["config"]), ImageSpec(**document["spec"]))
        _load_weights(generator, path / "model.safetensors")
        return generator.eval()


def read_saved(folder: Path) -> dict[str, Any]:
    """Read ``config.json`` of a saved generator, and check it.

    Args:
        folder: Written by :meth:`Generator.save`.

    Returns:
        The document, with ``format``, ``generator`` (the registered name), ``spec`` and ``config``.

    Raises:
        DataError: Says what is wrong and what to do.

    Example:
        >>> from pathlib import Path
        >>> from augment import ImageSpec, create
        >>> from augment.generator import read_saved
        >>> create("ae", ImageSpec(1, 8, 8, num_classes=10)).save("my-ae")
        >>> document = read_saved(Path("my-ae"))
        >>> document["generator"], document["spec"]["num_classes"]
        ('ae', 10)
    """
    file = folder / "config.json"
    if not file.is_file():
        raise DataError(f"{folder} is not a saved generator: it has no config.json. Train one with `augment train`.")
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        complete = {"format", "generator", "spec", "config"} <= set(document)
    except (ValueError, TypeError, RecursionError):
        complete = False
    if not complete:
        raise DataError(f"{file} is damaged or not ours. Train the generator again, or copy the folder again.")
    if document["format"] != FORMAT:
        raise DataError(
            f"{folder} has format {document['format']}; this version reads format {FORMAT}. "
            "Train the generator again with this version, or install the version that wrote it."
        )
    return dict(document)


def _load_weights(generator: Generator, file: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not file.is_file():
        raise DataError(f"{file} is missing; the folder is incomplete. Train the generator again.")
    try:
        generator.load_state_dict(load_file(file))
    except SafetensorError as error:
        raise DataError(
            f"{file} is truncated or not a safetensors file ({error}). Pickles are never read. "
            "Copy the folder again, or train the generator again."
        ) from None
    except RuntimeError as error:
        raise DataError(
            f"{file} does not fit this version of {generator.name!r}: {str(error).splitlines()[-1].strip()} "
            "Train the generator again with this version."
        ) from None


def _card(generator: Generator, document: Mapping[str, Any]) -> str:
    spec = generator.spec
    options = "\n".join(f"- `{key}`: {value}" for key, value in document["config"].items())
    summary = (type(generator).__doc__ or "").strip().splitlines()
    parameters = sum(parameter.numel() for parameter in generator.parameters())
    return (
        f"# {generator.name}\n\n{summary[0] if summary else ''}\n\n"
        f"Images: {spec.channels} x {spec.height} x {spec.width}, {spec.num_classes} classes. "
        f"Parameters: {parameters:,}.\n\n## Load and sample\n\n"
        "```python\nfrom augment import load_generator\n\n"
        f'generator = load_generator(".")\nimages = generator.sample(16)  # float32 in [0, 1]\n```\n\n'
        f"or `augment sample FOLDER --n 100`.\n\n## Options\n\n{options}\n"
    )


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; the mode that was on before comes back.

    Not ``inference_mode``: a linear probe or a decoder may train on what is computed here.

    Args:
        module: To be used within a ``with`` block.

    Example:
        >>> import torch
        >>> from augment.generator import evaluating
        >>> layer = torch.nn.Linear(3, 1)
        >>> with evaluating(layer):
        ...     layer.training, layer(torch.ones(2, 3)).requires_grad
        (False, False)
        >>> layer.training
        True
    """
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(was_training)


def draw(
    generator: Generator, labels: Tensor, seed: int, *, first_chunk: int = 0, precision: str = "fp32"
) -> Iterator[Tensor]:
    """Sample one image per label, in chunks of :data:`SAMPLE_CHUNK` with a seed of their own, on the CPU.

    A shard that starts at label ``k * SAMPLE_CHUNK`` with ``first_chunk=k`` yields the same images as the whole.

    Args:
        generator: To sample from.
        labels: Int64 ``(n,)``, a class for each image.
        seed: Of the whole; that of a chunk is made from it.
        first_chunk: Number of the first chunk, for shards.
        precision: "bf16" samples under autocast.

    Yields:
        Images of each chunk, ``(m, C, H, W)`` float32 in [0, 1], m at most :data:`SAMPLE_CHUNK`.

    Raises:
        PluginError: When a plugin returns another shape or non-finite values.

    Example:
        >>> import torch
        >>> from augment import GeneratorConfig, ImageSpec
        >>> from augment.generator import draw
        >>> from augment.testing import MinimalGenerator
        >>> generator = MinimalGenerator(GeneratorConfig(), ImageSpec(1, 8, 8, num_classes=3))
        >>> labels = torch.arange(300) % 3
        >>> whole = torch.cat(list(draw(generator, labels, seed=1)))
        >>> (shard,) = draw(generator, labels[256:], seed=1, first_chunk=1)
        >>> whole.shape, torch.equal(shard, whole[256:])
        (torch.Size([300, 1, 8, 8]), True)
    """
    for index, part in enumerate(labels.split(SAMPLE_CHUNK), start=first_chunk):
        autocast = torch.autocast(generator.device.type, torch.bfloat16, enabled=precision == "bf16")
        with evaluating(generator), autocast:
            own = torch_rng(seed, "chunk", index, device=generator.device)
            images = generator.sample(len(part), part.to(generator.device), rng=own).float().cpu()
        expected = (len(part), *generator.spec.shape)
        if tuple(images.shape) != expected:
            raise PluginError(f"{generator.name}.sample returned {tuple(images.shape)} instead of {expected}.")
        if not bool(torch.isfinite(images).all()):
            raise PluginError(f"{generator.name}.sample returned non-finite values: its training has diverged.")
        yield images.clamp(0, 1)
