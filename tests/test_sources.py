"""Images made from real ones: which parents, where between codes, and the same whoever computes which chunk."""

import cloudpickle
import pytest
import torch

from augment.compute.device import Compute
from augment.compute.sampling import edit_images
from augment.compute.workers import Workers
from augment.datasets import LabelledImages
from augment.errors import ConfigError, PluginError, UsageError
from augment.generator import SAMPLE_CHUNK, GeneratorConfig, ImageSpec, Tags
from augment.synthesis.sources import (
    between_neighbours,
    check_source,
    classes_from_real,
    make_from_real,
    within_class_deviation,
)
from augment.synthesis.strategies import Neighbourhood, PartialNoise, Translation
from augment.testing import MinimalGenerator

SPEC = ImageSpec(1, 4, 4, 3)


class Shown(MinimalGenerator):
    """Codes are the first pixels; an edit shows the image, and its class in the last pixel."""

    tags = Tags(conditional=True, decodes=True, edits=True)

    def encode(self, images):
        return images.flatten(1)[:, :2]

    def decode(self, latents):
        return torch.cat([latents, latents.new_zeros(len(latents), 14)], 1).view(-1, 1, 4, 4)

    def sample_from(self, images, labels, strength, *, rng=None):
        noise = torch.rand(images.shape, generator=rng)
        made = (1 - strength) * images + strength * noise
        made[:, 0, 3, 3] = labels / 255
        return made


def generator(cls=Shown):
    torch.manual_seed(0)
    made = cls(GeneratorConfig(), SPEC).eval()
    made.name = "shown"
    return made


def real(*counts):
    """Every image of its own grey, the classes one after the other."""
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    grey = torch.arange(len(labels), dtype=torch.uint8)[:, None, None, None]
    return LabelledImages(grey.repeat(1, 1, 4, 4), labels)


# ---------------------------------------------------------------- which classes, which generators


def test_classes_that_are_made_from_real_images():
    source = PartialNoise(below=10)
    assert classes_from_real(source, (5, 5, 5, 0), (10, 9, 0, 3)) == [1, 2]


@pytest.mark.parametrize(
    ("source", "tags", "message"),
    [
        (PartialNoise(), Tags(conditional=True, decodes=True), "'partial-noise' needs a generator tagged edits,"),
        (Neighbourhood(), Tags(conditional=True, edits=True), "'neighbourhood' needs a generator tagged decodes,"),
        (Translation(), Tags(edits=True), "'translation' needs a generator tagged conditional,"),
        (Translation(), Tags(), "'translation' needs a generator tagged edits and conditional,"),
    ],
)
def test_a_generator_that_cannot_do_it_is_refused(source, tags, message):
    made = generator()
    made.tags = tags
    with pytest.raises(UsageError, match=message) as caught:
        make_from_real(made, torch.tensor([0]), real(1, 1, 1), source, seed=0)
    assert "'shown' with these options is not. `augment models` shows" in str(caught.value)


@pytest.mark.parametrize("source", [PartialNoise(), Neighbourhood()])
def test_variations_of_one_class_need_no_conditional_generator(source):
    made = generator()
    made.tags = Tags(decodes=True, edits=True)
    check_source(made, source)


# ---------------------------------------------------------------- parents


@pytest.mark.parametrize("source", [PartialNoise(), Neighbourhood(neighbours=2)])
def test_parents_are_of_the_class_and_take_turns(source):
    labels = torch.tensor([0] * 11 + [2] * 3)
    made = make_from_real(generator(), labels, real(4, 5, 7), source, seed=3)
    uses = made.parents.bincount(minlength=16)
    assert uses[:4].tolist() != [3, 3, 3, 2]  # by a seeded order, not the images' own
    assert sorted(uses[:4].tolist()) == [2, 3, 3, 3] and uses[4:9].sum() == 0
    assert sorted(uses[9:].tolist()) == [0, 0, 0, 0, 1, 1, 1]
    assert bool((made.parents[labels == 2] >= 9).all())


def test_a_translation_starts_from_every_image_of_the_frequent_classes():
    labels = torch.tensor([1] * 9)
    made = make_from_real(generator(), labels, real(3, 2, 6), Translation(below=3), seed=3)
    assert sorted(made.parents.tolist()) == [0, 1, 2, 5, 6, 7, 8, 9, 10]
    made = make_from_real(generator(), labels, real(3, 2, 6), Translation(below=4), seed=3)
    assert made.parents.unique().tolist() == [5, 6, 7, 8, 9, 10]
    assert made.images[:, 0, 3, 3].tolist() == [1] * 9  # as the rare class


def test_a_translation_needs_a_frequent_class():
    with pytest.raises(ConfigError, match=r"at least below=7, and the largest class has 6\. Give it a lower below"):
        make_from_real(generator(), torch.tensor([1]), real(3, 2, 6), Translation(below=7), seed=3)


def test_images_without_a_label_lend_nothing():
    mixed = real(3, 2, 6)
    mixed.labels[5:] = -1
    made = make_from_real(generator(), torch.tensor([1] * 5), mixed, Translation(below=3), seed=3)
    assert set(made.parents.tolist()) == {0, 1, 2}


@pytest.mark.parametrize("source", [PartialNoise(), Neighbourhood()])
def test_a_class_without_images_has_nothing_to_start_from(source):
    with pytest.raises(ConfigError, match=rf"Class 1 has no real image that '{source.name}' could start from"):
        make_from_real(generator(), torch.tensor([0, 1]), real(3, 0, 2), source, seed=0)


def test_a_class_does_not_depend_on_which_others_are_wanted():
    data, source = real(9, 8, 7), Neighbourhood()
    both = make_from_real(generator(), torch.tensor([0] * 5 + [1] * 4), data, source, seed=3)
    alone = make_from_real(generator(), torch.tensor([1] * 4), data, source, seed=3)
    assert torch.equal(both.parents[5:], alone.parents) and torch.equal(both.images[5:], alone.images)


# ---------------------------------------------------------------- edited


def test_an_edit_starts_from_its_parent_as_strong_as_asked():
    data, labels = real(3, 3, 3), torch.tensor([0] * 300 + [1] * 5)
    made = make_from_real(generator(), labels, data, PartialNoise(strength=0.25), seed=3)
    inner = made.images[:, 0, :3].float()
    kept = 0.75 * data.images[made.parents][:, 0, :3].float()
    noise = (inner - kept) / (0.25 * 255)
    assert float(noise.min()) >= -0.01 and float(noise.max()) <= 1.01
    assert float(noise.mean()) == pytest.approx(0.5, abs=0.02)
    assert made.images[:, 0, 3, 3].tolist() == labels.tolist()


MANY = torch.zeros(SAMPLE_CHUNK + 5, dtype=torch.int64)


class Abroad(Workers):
    """Runs calls here, after a journey by pickle."""

    def submit(self, function, *arguments):
        function, arguments = cloudpickle.loads(cloudpickle.dumps((function, arguments)))
        return super().submit(function, *arguments)


@pytest.mark.parametrize("source", [PartialNoise(), Neighbourhood(), Translation(below=4)])
def test_images_do_not_depend_on_who_computes_which_chunk(source):
    data, told = real(3, 4, 5), []
    alone = make_from_real(generator(), MANY, data, source, seed=7)
    shared = make_from_real(
        generator(),
        MANY,
        data,
        source,
        seed=7,
        compute=Compute(workers=Abroad(0)),
        on_progress=lambda *place: told.append(place),
    )
    assert torch.equal(alone.images, shared.images) and torch.equal(alone.parents, shared.parents)
    assert alone.images.dtype == torch.uint8 and alone.images.shape == (len(MANY), 1, 4, 4)
    assert told == [(SAMPLE_CHUNK, len(MANY)), (len(MANY), len(MANY))]


def test_a_chunk_travels_without_the_others():
    class Weighing(Workers):
        def submit(self, function, *arguments):
            sizes.append(len(cloudpickle.dumps(arguments)))
            return super().submit(function, *arguments)

    for n in (2, 8):
        sizes = []
        edit_images(
            generator(),
            torch.zeros(n * SAMPLE_CHUNK, 1, 4, 4, dtype=torch.uint8),
            MANY[:1].expand(n * SAMPLE_CHUNK),
            0.5,
            seed=0,
            compute=Compute(workers=Weighing(0)),
        )
        assert len(sizes) == n and max(sizes) < 20_000  # of 4096 bytes of pixels, 2048 of labels, and the generator


@pytest.mark.parametrize("source", [PartialNoise(), Neighbourhood(), Translation(below=4)])
def test_seeds(source):
    one, again, other = (make_from_real(generator(), MANY, real(3, 4, 5), source, seed=seed) for seed in (7, 7, 8))
    assert torch.equal(one.images, again.images) and torch.equal(one.parents, again.parents)
    assert not torch.equal(one.images, other.images) and not torch.equal(one.parents, other.parents)


def test_chunks_have_noise_of_their_own():
    labels = torch.zeros(SAMPLE_CHUNK + 1, dtype=torch.int64)
    made = make_from_real(generator(), labels, real(1, 1, 1), PartialNoise(), seed=7)
    assert not torch.equal(made.images[0], made.images[SAMPLE_CHUNK])  # same parent, same place in the chunk


@pytest.mark.parametrize("source", [PartialNoise(), Neighbourhood(), Translation(below=2)])
def test_no_label_no_image(source):
    made = make_from_real(generator(), torch.zeros(0, dtype=torch.int64), real(1, 2, 3), source, seed=7)
    assert made.images.shape == (0, 1, 4, 4) and made.parents.shape == (0,)


def test_what_a_plugin_did_wrong():
    class Flat(Shown):
        def sample_from(self, images, labels, strength, *, rng=None):
            return images.flatten(1)

        def decode(self, latents):
            return torch.full((len(latents), 1, 4, 4), torch.nan)

    for source, message in (
        (PartialNoise(), r"shown.sample_from returned \(1, 16\) in"),
        (Neighbourhood(), "diverged"),
    ):
        with pytest.raises(PluginError, match=message):
            make_from_real(generator(Flat), torch.tensor([0]), real(2, 2, 2), source, seed=0)


def test_precision_reaches_the_generator():
    class Asking(Shown):
        def shade(self, n):
            return torch.full((n, 1, 4, 4), 1.0 if torch.is_autocast_enabled("cpu") else 0.0)

        def sample_from(self, images, labels, strength, *, rng=None):
            return self.shade(len(images))

        def decode(self, latents):
            return self.shade(len(latents))

    for source in (PartialNoise(), Neighbourhood()):
        for precision, value in (("fp32", 0), ("bf16", 255)):
            made = make_from_real(
                generator(Asking),
                torch.tensor([0]),
                real(2, 2, 2),
                source,
                seed=0,
                compute=Compute(precision=precision),
            )
            assert made.images.unique().tolist() == [value]


# ---------------------------------------------------------------- between neighbours

CORNERS = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 10.0], [1.5, 10.0]])


def points(codes, n, *, deviation=None, seed=0, **options):
    deviation = torch.ones(codes.shape[1]) if deviation is None else torch.tensor(deviation)
    source = Neighbourhood(**options)
    return between_neighbours(codes, n, deviation, source, torch.Generator().manual_seed(seed))


def test_points_lie_between_a_parent_and_its_nearest():
    parents, z = points(CORNERS, 4000, neighbours=1, spread=0)
    assert parents.bincount().tolist() == [1000] * 4
    nearest = torch.tensor([1, 0, 3, 2])
    step = (z - CORNERS[parents])[:, 0] / (CORNERS[nearest[parents]] - CORNERS[parents])[:, 0]
    assert torch.equal(z[:, 1], CORNERS[parents][:, 1])
    assert 0 <= float(step.min()) and float(step.max()) <= 1
    hundredths = step.sort().values
    assert float((hundredths - torch.linspace(0, 1, 4000)).abs().max()) < 0.03  # uniform: Kolmogorov-Smirnov


def test_every_neighbour_has_its_turn_and_no_other():
    line = torch.tensor([[0.0], [1.0], [3.0], [100.0]])
    parents, z = points(line, 3000, neighbours=2, spread=0)
    reached = z[parents == 0].squeeze(1)
    assert float(reached.max()) > 2.9 and float(z[parents != 3].max()) <= 3
    # of the two, 1 and 3: half of the points lie on [0, 1] evenly, half on [0, 3]
    assert float((reached > 1).float().mean()) == pytest.approx(0.5 * 2 / 3, abs=0.05)
    assert points(line, 50, neighbours=99, spread=0)[1].shape == (50, 1)  # as many as there are


def test_spread_is_in_deviations_of_each_dimension():
    _, z = points(torch.zeros(2, 2), 20_000, spread=0.5, deviation=[1.0, 4.0])
    assert z.mean(0).tolist() == pytest.approx([0, 0], abs=0.05)
    assert z.std(0).tolist() == pytest.approx([0.5, 2.0], rel=0.03)


def test_an_only_image_has_no_neighbour():
    parents, z = points(torch.tensor([[3.0, 4.0]]), 5, spread=0)
    assert parents.tolist() == [0] * 5 and z.tolist() == [[3.0, 4.0]] * 5


def test_an_only_image_varies_as_the_other_classes_do():
    data = real(1, 0, 30)
    made = make_from_real(generator(), torch.zeros(500, dtype=torch.int64), data, Neighbourhood(spread=4), seed=0)
    assert made.parents.unique().tolist() == [0]
    moved = made.images[:, 0, 0, 0].float()
    expected = 4 * torch.arange(1, 31).float().std()  # of class 2; half of it is cut off at black
    assert float(moved[moved > 0].square().mean().sqrt()) == pytest.approx(float(expected), rel=0.1)


def test_deviation_within_classes_pools_them():
    from numpy.testing import assert_allclose

    codes = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([4] * 5 + [0] * 6 + [7])
    squares = [(part - part.mean(0)).square().sum(0) for part in (codes[:5], codes[5:11])]
    assert_allclose(within_class_deviation(codes, labels), (sum(squares) / (12 - 3)).sqrt(), rtol=1e-5)
    assert within_class_deviation(codes[:2], torch.tensor([0, 1])).tolist() == [0, 0, 0]
