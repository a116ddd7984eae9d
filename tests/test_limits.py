"""Numbers beyond what libraries take: told in our words, at once."""

from __future__ import annotations

import pytest
import torch

from augment import registry
from augment.classifiers.batches import batches
from augment.classifiers.learning import Learning, RealLast
from augment.errors import LARGEST_BATCH, LARGEST_COUNT, LARGEST_SEED, ConfigError, no_room, too_large
from augment.seeds import numpy_rng, random_state, torch_rng
from augment.studies.run.config import RunConfig

HUGE = 10**29


@pytest.mark.parametrize(
    "arguments",
    [
        ("score", "--real", "digits", "--fake", ".", "--seed", -HUGE),
        ("sample", ".", "--seed", HUGE),
        ("sample", ".", "--n", HUGE),
        ("sample", ".", "--class-counts", f"{HUGE},1"),
        ("train", "--dataset", "digits", "--model", "vae", "--out", "g", "--seed", HUGE),
        ("train", "--dataset", "digits", "--model", "vae", "--out", "g", "--steps", HUGE),
        ("train", "--dataset", "digits", "--model", "vae", "--out", "g", "--max-minutes", "nan"),
        *(
            ("run", "--dataset", "digits", "--model", "vae", *more)
            for more in (
                ("--updates", HUGE),
                ("--steps", HUGE),
                ("--seeds", HUGE),
                ("--seed", HUGE),
                ("--seed", -HUGE),
                ("--regime-seed", HUGE),
                ("--size", HUGE),
                ("--image-size", HUGE),
                ("--class-counts", f"{HUGE},1"),
                ("--imbalance-factor", "inf"),
                ("--imbalance-factor", "nan"),
                ("--max-minutes", "inf"),
                ("--set", f"batch_size={HUGE}"),
                ("--set", f"latent_dim={HUGE}"),
                ("--set", "lr=Infinity"),
                ("--set", "lr=1e400"),
                ("--set", "lr=NaN"),
            )
        ),
        ("features", "--dataset", "digits", "--model", "ddpm", "--t", HUGE),
        ("features", "--dataset", "digits", "--model", "vae", "--labels-per-class", HUGE),
        ("features", "--dataset", "digits", "--model", "vae", "--episodes", HUGE),
        ("sweep", "--dataset", "digits", "--model", "vae", "--seeds", HUGE),
        ("sweep", "--dataset", "digits", "--model", "vae", "--updates", f"10,{HUGE}"),
    ],
    ids=lambda arguments: " ".join(str(part)[:16] for part in arguments),
)
def test_no_command_meets_them_with_a_traceback(augment, arguments):
    code, out, err = augment(*arguments)
    assert code in (2, 3) and out == "" and "Traceback" not in err and len(err) < 1200


@pytest.mark.parametrize("name", registry.registered())
def test_the_same_bounds_hold_for_every_model(name):
    config = registry.get(name).Config
    for option, largest in (("steps", LARGEST_COUNT), ("batch_size", LARGEST_BATCH)):
        with pytest.raises(ConfigError, match=f"{option} may be {largest:,} at most"):
            config.parse({option: largest + 1})
    with pytest.raises(ConfigError):
        config.parse({"lr": float("inf")})


def test_the_largest_seed_works_in_every_part():
    config = RunConfig.parse(dataset="digits", model="vae", seed=LARGEST_SEED)
    for name in ("weights", "chunk", "batches"):
        torch_rng(config.seed, name)
        numpy_rng(config.seed, name)
        assert 0 <= random_state(config.seed, name) < 2**32


def test_depth_does_not_hide_a_number():
    assert too_large({"a": [1, (2, {"b": HUGE})]}) and too_large(-HUGE)
    assert not too_large({"a": [1, 2.5, "10", None, True]})


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 GB")])
def test_too_little_memory_is_told_with_what_to_do(augment, monkeypatch, error):
    def fails(*_args, **_kwargs):
        raise error

    monkeypatch.setattr("augment.cli.listing.inspect_dataset", fails)
    code, _, err = augment("datasets", "inspect", "digits")
    assert no_room(error) and code == 3 and "--image-size" in err and len(err.splitlines()) == 1


def test_other_runtime_errors_are_bugs_with_a_traceback(augment, monkeypatch):
    def fails(*_args, **_kwargs):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr("augment.cli.listing.inspect_dataset", fails)
    with pytest.raises(RuntimeError, match="shapes differ"):
        augment("datasets", "inspect", "digits")


def test_many_updates_begin_at_once():
    learning = Learning(last=RealLast(share=0.2))
    given = {"learning": learning, "seed": 0, "synthetic": torch.tensor([False, True])}
    first = next(batches(torch.tensor([0, 1]), updates=LARGEST_COUNT, batch_size=4, **given))
    assert first.shape == (4,)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.2, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("updates", [1, 3, 10, 97, 600])
def test_the_last_phase_begins_where_counting_finds_it(share, updates):
    learning = Learning(last=RealLast(share=share))
    synthetic = torch.tensor([False] * 5 + [True] * 5)
    drawn = batches(
        torch.zeros(10, dtype=torch.int64),
        updates=updates,
        batch_size=64,
        learning=learning,
        seed=0,
        synthetic=synthetic,
    )
    has_synthetic = [bool(synthetic[index].any()) for index in drawn]
    first_real = sum(update / updates < learning.real_from for update in range(updates))
    assert has_synthetic == [True] * first_real + [False] * (updates - first_real)
