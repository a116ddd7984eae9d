import csv
import math
import random
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from augment.datasets import LabelledImages
from augment.errors import ConfigError, DataError, PluginError
from augment.generator import Generator, GeneratorConfig, ImageSpec, StopTraining, Tags
from augment.training import Diverged, Progress, checkpoint, fit, loop

SPEC = ImageSpec(1, 8, 8, 3)


class Tiny(Generator):
    """An autoencoder with noise on its input, batch statistics and a hook that counts."""

    name = "tiny"
    tags = Tags(reconstructs=True)

    def __init__(self, config: GeneratorConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.encoder = nn.Sequential(nn.Conv2d(spec.channels, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.SiLU())
        self.decoder = nn.ConvTranspose2d(6, spec.channels, 4, 2, 1)
        self.register_buffer("fitted", torch.zeros(2))
        self.noise = 0.1

    def encode(self, images):
        return self.encoder(images).flatten(1)

    def reconstruct(self, images):
        return torch.sigmoid(self.decoder(self.encoder(images)))

    def sample(self, n, labels=None, *, rng=None):
        return torch.rand(n, *self.spec.shape, generator=rng, device=self.device)

    def loss(self, images, labels):
        noisy = images + self.noise * torch.randn_like(images) * (1 + random.random() + np.random.rand())
        error = (self.reconstruct(noisy) - images).square().mean()
        return {"loss": error, "mse": error}

    def after_training(self, images, labels):
        assert not self.training and not torch.is_grad_enabled()
        assert images.dtype == torch.float32 and 0 <= images.min() and images.max() <= 1
        self.fitted += torch.stack([torch.ones(()), torch.rand(())])


class Adversarial(Tiny):
    """Two optimizers and no loss."""

    name = "adversarial"

    def configure_optimizers(self):
        return [torch.optim.AdamW(self.encoder.parameters(), lr=1e-3), torch.optim.SGD(self.decoder.parameters(), 1e-2)]

    def training_step(self, images, labels, optimizers):
        for optimizer in optimizers:
            error = (self.reconstruct(images) - images).abs().mean()
            optimizer.zero_grad()
            error.backward()
            optimizer.step()
        return {"loss": error.detach(), "critic": 1.5}

    loss = Generator.loss


def tiny(cls=Tiny, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(GeneratorConfig.parse({"batch_size": 8, "ema_decay": 0.9, "lr": 0.01, **options}), SPEC)


def images(*counts, seed=0):
    labels = torch.cat([torch.full((n,), label) for label, n in enumerate(counts)])
    pixels = torch.randint(0, 256, (len(labels), *SPEC.shape), generator=torch.Generator().manual_seed(seed))
    return LabelledImages(pixels.to(torch.uint8), labels)


DATA, HELD_OUT = images(9, 5, 6), images(4, 4, 4, seed=1)


def train(generator=None, data=DATA, validation=HELD_OUT, **how):
    generator = tiny() if generator is None else generator
    result = fit(generator, data, validation, **{"seed": 3, "steps": 12, "device": "cpu", "precision": "fp32", **how})
    return generator, result


def same(one, other):
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("cls", [Tiny, Adversarial])
@pytest.mark.parametrize("stop_at", [1, 5, 6, 11])
def test_n_plus_n_steps_equal_2n(cls, stop_at, tmp_path):
    whole, expected = train(tiny(cls), folder=tmp_path / "whole")
    _, part = train(tiny(cls), folder=tmp_path / "parts", stop_at=stop_at)
    assert (part.stopped, part.steps) == ("stop_at", stop_at)
    resumed, result = train(tiny(cls), folder=tmp_path / "parts", resume=True)
    assert same(whole, resumed) and result.best_step == expected.best_step
    states = [load_file(checkpoint.last_file(tmp_path / name)) for name in ("whole", "parts")]
    assert states[0].keys() == states[1].keys()
    assert any("exp_avg_sq" in name for name in states[0]) and any(name.startswith("average/") for name in states[0])
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    rows = [[{k: v for k, v in row.items() if k != "seconds"} for row in each.history] for each in (expected, result)]
    assert rows[0] == rows[1]


def test_resume_uses_the_stored_best_weights(tmp_path):
    options = {"lr": 0.05, "ema_decay": 0.0}
    whole, expected = train(tiny(**options), folder=tmp_path / "whole", steps=40)
    for stop in range(4, 40, 7):
        train(tiny(**options), folder=tmp_path / "parts", steps=40, stop_at=stop, resume=True)
    resumed, result = train(tiny(**options), folder=tmp_path / "parts", steps=40, resume=True)
    assert same(whole, resumed)
    assert (
        result.best_validation_loss
        == expected.best_validation_loss
        == min(row["val_loss"] for row in expected.history if "val_loss" in row)
    )


def test_what_comes_back_is_ready_to_use():
    generator, result = train()
    assert not generator.training and result.stopped == "finished" and result.steps == 12
    assert all(tensor.device.type == "cpu" and tensor.is_contiguous() for tensor in generator.state_dict().values())
    assert generator.fitted[0] == 1 and all(parameter.grad is None for parameter in generator.parameters())
    assert (result.device, result.precision, result.skipped_updates) == ("cpu", "fp32", 0)
    assert result.images_per_second > 0 and result.best_step is not None


def test_training_learns_and_seeds_matter():
    generator, result = train(steps=100)
    first, last = (result.history[index]["loss"] for index in (0, -1))
    assert last < 0.8 * first
    assert same(generator, train(steps=100)[0])
    assert not same(generator, train(steps=100, seed=4)[0])


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_final_weights_without_validation_are_the_averages(decay, tmp_path):
    generator, result = train(tiny(ema_decay=decay), validation=None, folder=tmp_path)
    state = load_file(checkpoint.last_file(tmp_path))
    kind = "average" if decay else "weights"
    assert torch.equal(generator.decoder.weight, state[f"{kind}/decoder.weight"])
    assert result.best_step is None and result.best_validation_loss is None
    assert not checkpoint.best_file(tmp_path).exists()
    if decay:
        assert not torch.equal(state["average/decoder.weight"], state["weights/decoder.weight"])


class Fragile(Tiny):
    """Its loss is not finite at some steps."""

    bad: tuple[int, ...] = ()
    poison = "loss"
    calls = 0

    def loss(self, images, labels):
        error = (self.reconstruct(images) - images).square().mean()
        self.calls += 1
        if self.calls - 1 not in self.bad:
            return error
        return error * math.nan if self.poison == "gradient" else error + torch.tensor(math.inf)


@pytest.mark.parametrize("poison", ["gradient", "loss"])
def test_non_finite_steps_are_skipped_and_counted(poison):
    generator = tiny(Fragile)
    generator.bad, generator.poison = (2, 5), poison
    generator, result = train(generator, validation=None)
    assert result.skipped_updates == 2 and result.stopped == "finished"
    assert all(torch.isfinite(tensor).all() for tensor in generator.state_dict().values())
    assert all(math.isfinite(value) for row in result.history for value in row.values())


def test_a_skipped_step_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    generator = tiny(Fragile)
    generator.bad, generator.poison = (3,), "gradient"
    seen = []
    monkeypatch.setattr(loop.Loop, "_observe", lambda self: seen.append(self.generator.decoder.weight.detach().clone()))
    train(generator, validation=None, steps=6)
    assert torch.equal(seen[2], seen[3]) and not torch.equal(seen[3], seen[4])


def test_many_non_finite_steps_end_it_and_keep_the_last_good_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    generator = tiny(Fragile)
    generator.bad, generator.poison = tuple(range(4, 100)), "gradient"
    with pytest.raises(Diverged, match="Lower lr") as caught:
        train(generator, validation=None, steps=100, folder=tmp_path)
    assert caught.value.exit_code == 3 and str(tmp_path) in str(caught.value)
    state = load_file(checkpoint.last_file(tmp_path))
    assert all(torch.isfinite(tensor).all() for tensor in state.values())


def test_wall_clock_budget_stops_cleanly_and_still_decays():
    _, result = train(steps=10**6, max_seconds=5)
    assert result.stopped == "max_seconds" and 1 < result.steps < 10**6
    rates = [row["lr"] for row in result.history]
    assert len(rates) >= 2 and rates[-1] < 0.8 * max(rates)  # by the clock: a slow machine makes few, long steps
    assert result.history[-1]["step"] == result.steps and "val_loss" in result.history[-1]


def test_a_generator_may_stop_its_training_and_says_why(tmp_path):
    class Weary(Tiny):
        done = 0

        def training_step(self, images, labels, optimizers):
            if self.done == 5:
                raise StopTraining("samples are all alike")
            self.done += 1
            return super().training_step(images, labels, optimizers)

    generator, result = train(tiny(Weary), steps=100, folder=tmp_path)
    assert (result.stopped, result.steps) == ("samples are all alike", 5)
    assert float(generator.fitted[0]) == 1  # completed like any other, from its weights of step 5
    assert result.history[-1]["step"] == 5 and "val_loss" in result.history[-1]


def test_gradients_are_clipped():
    def step_size(clip):
        generator = tiny(ema_decay=0, grad_clip=clip)
        generator.configure_optimizers = lambda: [torch.optim.SGD(generator.parameters(), lr=1.0)]
        before = [parameter.detach().clone() for parameter in generator.parameters()]
        _, result = train(generator, steps=1, validation=None)
        moved = torch.cat([(p - q).flatten() for p, q in zip(generator.parameters(), before, strict=True)])
        return float(moved.detach().norm()), result.history[0]["grad_norm"]

    moved, norm = step_size(0)
    assert moved == pytest.approx(norm, rel=1e-3) and norm > 1e-3
    assert step_size(1e-3) == (pytest.approx(1e-3, rel=1e-2), pytest.approx(norm))


def test_history_has_a_column_per_term(tmp_path):
    _, result = train(folder=tmp_path, steps=20)
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:6] == ["step", "seconds", "lr", "loss", "mse", "grad_norm"]
    assert {"val_loss", "val_mse", "val_ssim", "val_psnr"} <= set(rows[0])
    assert len(rows) == 20 == len(result.history) and sum(bool(row["val_loss"]) for row in rows) == 10
    assert rows[-1]["step"] == "20" and rows[-1]["val_loss"]
    long = train(steps=200)[1].history
    assert len(long) == 100 and long[0]["step"] == 2


def test_plugins_without_a_loss_have_no_validation_loss():
    _, result = train(tiny(Adversarial))
    assert {"critic", "grad_norm", "grad_norm_2", "val_ssim"} <= set(result.history[-1])
    assert "val_loss" not in result.history[-1] and result.best_step is None


@pytest.mark.parametrize(("terms", "message"), [({"mse": 1.0}, "loss"), ({"loss": 1.0, "lr": 2.0}, "'lr'")])
def test_terms_the_contract_does_not_allow(terms, message):
    generator = tiny()
    generator.training_step = lambda *args: terms
    with pytest.raises(PluginError, match=message):
        train(generator)


@pytest.mark.parametrize("counts", [(1, 0, 0), (5, 1, 0)])
def test_classes_with_one_image_or_none(counts):
    for balanced in (False, True):
        generator, _ = train(tiny(class_balanced=balanced), data=images(*counts), validation=None, steps=3)
        assert generator.fitted[0] == 1


def global_state():
    return (
        random.getstate(),
        str(np.random.get_state()),
        torch.get_rng_state().tolist(),
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        signal.getsignal(signal.SIGTERM),
        signal.getsignal(signal.SIGINT),
    )


class Meddling(Tiny):
    def loss(self, images, labels):
        torch.set_default_dtype(torch.float64)
        torch.use_deterministic_algorithms(True)
        torch.set_grad_enabled(True)
        return super().loss(images, labels)


def test_global_state_is_untouched():
    with torch.no_grad():
        before = global_state()
        train(tiny(Meddling))
        assert global_state() == before
        with pytest.raises(DataError):
            train(data=images(0, 0, 0))
        assert global_state() == before


def test_the_callers_random_state_does_not_matter():
    torch.manual_seed(5)
    one = train()[0]
    torch.manual_seed(6)
    assert same(one, train()[0])


def test_progress_is_told(monkeypatch):
    monkeypatch.setattr(loop, "PROGRESS_SECONDS", 0.0)
    told: list[Progress] = []
    train(on_progress=told.append)
    assert [each.step for each in told] == list(range(1, 13)) and told[0].steps == 12
    assert set(told[0].terms) == {"loss", "mse"} and told[-1].images_per_second > 0
    assert {"loss", "mse", "val_loss"} <= set(told[-1].terms)


def test_bf16_trains():
    generator, result = train(precision="bf16")
    assert result.precision == "bf16" and generator.decoder.weight.dtype == torch.float32
    assert not same(generator, train()[0])


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"steps": 0}, ConfigError, "steps is 0"),
        ({"stop_at": -1}, ConfigError, "stop_at is -1"),
        ({"max_seconds": 0.0}, ConfigError, "max_seconds"),
        ({"max_seconds": math.nan}, ConfigError, "max_seconds"),
        ({"device": "tpu"}, ConfigError, "Unknown device 'tpu'"),
        ({"precision": "fp8"}, ConfigError, "Unknown precision 'fp8'"),
        ({"data": images(0, 0, 0)}, DataError, "no training images"),
        ({"data": images(1, 1, 1, 1)}, DataError, "label 3"),
        (
            {"data": LabelledImages(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(2).long())},
            DataError,
            "3, 8",
        ),
    ],
)
def test_requests_that_are_not_possible(how, error, message):
    with pytest.raises(error, match=message):
        train(**how)
