"""The contract's own code: specs, options, saved folders and chunked drawing."""

import json

import pytest
import torch

from augment.errors import ConfigError, DataError, PluginError
from augment.generator import (
    FORMAT,
    SAMPLE_CHUNK,
    Generator,
    GeneratorConfig,
    ImageSpec,
    draw,
    evaluating,
    read_saved,
)
from augment.testing import MinimalGenerator

SPEC = ImageSpec(1, 4, 4, 3)


@pytest.fixture
def generator():
    torch.manual_seed(0)
    return MinimalGenerator(GeneratorConfig(), SPEC).eval()


@pytest.fixture
def saved(generator, tmp_path):
    generator.save(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.mark.parametrize("field", ["channels", "height", "width", "num_classes"])
def test_a_spec_needs_positive_sizes(field):
    with pytest.raises(ConfigError, match=rf"ImageSpec.{field} is 0; it must be at least 1"):
        ImageSpec(**{"channels": 1, "height": 8, "width": 8, "num_classes": 2, field: 0})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 1}, r"Unknown option of GeneratorConfig 'learning_rate'.*Known: batch_size, .*warmup"),
        ({"setps": 1}, "Did you mean 'steps'"),
        ({"steps": 0}, "Option steps=0 of GeneratorConfig: .*greater than or equal to 1"),
        ({"steps": "many"}, "Option steps='many' of GeneratorConfig: .*valid integer"),
        ({"lr": -1}, "Option lr=-1 "),
        ({"ema_decay": 1.0}, "Option ema_decay=1.0 "),
        ({"warmup": 1.5}, "Option warmup=1.5 "),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ConfigError, match=message):
        GeneratorConfig.parse(options)


def test_every_mistake_is_told_at_once():
    with pytest.raises(ConfigError) as caught:
        GeneratorConfig.parse({"steps": 0, "batchsize": 3})
    assert len(str(caught.value).splitlines()) == 2


def test_options_from_a_command_line_are_text():
    assert GeneratorConfig.parse({"steps": "5", "class_balanced": "true"}) == GeneratorConfig(
        steps=5, class_balanced=True
    )


def test_a_config_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        GeneratorConfig().steps = 3


def test_a_generator_without_an_objective_says_so():
    class NoObjective(MinimalGenerator):
        loss = Generator.loss

    with pytest.raises(NotImplementedError, match=r"NoObjective defines neither loss\(\) nor training_step\(\)"):
        NoObjective(GeneratorConfig(), SPEC).loss_terms(torch.zeros(1, 1, 4, 4), torch.zeros(1, dtype=torch.int64))


def test_a_bare_tensor_is_the_loss():
    class Bare(MinimalGenerator):
        def loss(self, images, labels):
            return images.mean()

    terms = Bare(GeneratorConfig(), SPEC).loss_terms(torch.ones(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64))
    assert terms == {"loss": torch.tensor(1.0)}


def test_the_loss_comes_first(generator):
    class Backwards(MinimalGenerator):
        def loss(self, images, labels):
            return {"mse": images.mean(), "loss": images.sum()}

    terms = Backwards(GeneratorConfig(), SPEC).loss_terms(torch.ones(1, 1, 4, 4), torch.zeros(1, dtype=torch.int64))
    assert list(terms) == ["loss", "mse"]


def test_save_writes_a_folder_that_describes_itself(saved):
    assert sorted(file.name for file in saved.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    document = json.loads((saved / "config.json").read_text())
    assert document["spec"] == {"channels": 1, "height": 4, "width": 4, "num_classes": 3, "class_names": []}
    assert document["config"]["steps"] == 1000
    assert "load_generator" in (saved / "README.md").read_text()


def test_load_gives_the_same_generator_on_the_cpu_in_eval_mode(generator, saved):
    loaded = MinimalGenerator.load(saved)
    assert (loaded.config, loaded.spec, loaded.training) == (generator.config, SPEC, False)
    assert loaded.device == torch.device("cpu")
    for name, value in generator.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])


def edit(saved, **changes):
    file = saved / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def truncate(saved):
    file = saved / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])


DAMAGE = {
    "no config": (lambda saved: (saved / "config.json").unlink(), "is not a saved generator.*augment train"),
    "half a config": (lambda saved: (saved / "config.json").write_text('{"format": 1,'), "is damaged or not ours"),
    "another json": (lambda saved: (saved / "config.json").write_text("[1, 2]"), "is damaged or not ours"),
    "a number": (lambda saved: (saved / "config.json").write_text("3"), "is damaged or not ours"),
    "another format": (
        lambda saved: edit(saved, format=FORMAT + 1),
        f"has format 2; this version reads format {FORMAT}",
    ),
    "another plugin": (lambda saved: edit(saved, generator="gan"), "holds a 'gan' generator, not ''"),
    "another size": (
        lambda saved: edit(saved, spec={"channels": 1, "height": 5, "width": 4, "num_classes": 3}),
        "does not fit this version of",
    ),
    "no weights": (lambda saved: (saved / "model.safetensors").unlink(), "model.safetensors is missing"),
    "half the weights": (truncate, "is truncated or not a safetensors file.*Copy the folder again"),
    "a pickle": (
        lambda saved: torch.save({}, saved / "model.safetensors"),
        "is truncated or not a safetensors file .*Pickles are never read",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_folder_is_refused(saved, damage):
    spoil, message = DAMAGE[damage]
    spoil(saved)
    with pytest.raises(DataError, match=message):
        MinimalGenerator.load(saved)


def test_options_of_another_version_are_named(saved):
    edit(saved, config={"steps": 5, "old_option": 1})
    with pytest.raises(ConfigError, match="old_option"):
        MinimalGenerator.load(saved)


def test_read_saved_returns_the_document(saved):
    assert set(read_saved(saved)) == {"format", "generator", "spec", "config"}


def test_draw_does_not_depend_on_shards(generator):
    labels = torch.arange(2 * SAMPLE_CHUNK + 7) % 3
    whole = torch.cat(list(draw(generator, labels, seed=4)))
    assert whole.shape == (len(labels), 1, 4, 4)
    shards = [
        images
        for k in (2, 0, 1)
        for images in draw(generator, labels[k * SAMPLE_CHUNK : (k + 1) * SAMPLE_CHUNK], seed=4, first_chunk=k)
    ]
    assert torch.equal(whole, torch.cat([shards[1], shards[2], shards[0]]))
    assert not torch.equal(whole[:8], whole[SAMPLE_CHUNK : SAMPLE_CHUNK + 8])


def test_draw_follows_its_seed_alone(generator):
    labels = torch.zeros(5, dtype=torch.int64)
    first = next(draw(generator, labels, seed=1))
    torch.manual_seed(123)
    assert torch.equal(first, next(draw(generator.train(), labels, seed=1)))
    assert generator.training
    assert not torch.equal(first, next(draw(generator, labels, seed=2)))


def test_draw_of_nothing(generator):
    assert sum(len(images) for images in draw(generator, torch.empty(0, dtype=torch.int64), seed=0)) == 0


class Misshapen(MinimalGenerator):
    def sample(self, n, labels=None, *, rng=None):
        return super().sample(n, labels, rng=rng)[1:]


class Diverged(MinimalGenerator):
    def sample(self, n, labels=None, *, rng=None):
        return super().sample(n, labels, rng=rng) * torch.nan


@pytest.mark.parametrize(
    ("cls", "message"), [(Misshapen, r"returned \(2, 1, 4, 4\) instead of \(3, "), (Diverged, "diverged")]
)
def test_draw_refuses_what_a_plugin_must_not_return(cls, message):
    with pytest.raises(PluginError, match=message):
        next(draw(cls(GeneratorConfig(), SPEC), torch.zeros(3, dtype=torch.int64), seed=0))


def test_draw_clamps(generator):
    class Bright(MinimalGenerator):
        def sample(self, n, labels=None, *, rng=None):
            return super().sample(n, labels, rng=rng) * 3 - 1

    images = next(draw(Bright(GeneratorConfig(), SPEC), torch.zeros(9, dtype=torch.int64), seed=0))
    assert (float(images.min()), float(images.max())) == (0.0, 1.0)


def test_evaluating_restores_the_mode_even_after_an_error(generator):
    generator.train()
    with pytest.raises(ZeroDivisionError), evaluating(generator):
        assert not generator.training
        assert not torch.is_grad_enabled()
        raise ZeroDivisionError
    assert generator.training
    assert not torch.is_inference_mode_enabled()
