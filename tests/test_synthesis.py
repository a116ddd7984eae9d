"""Images that come in exact numbers, from noise or made from real ones, with a row of provenance each."""

import pytest
import torch

from augment.compute.sampling import as_uint8
from augment.datasets import LabelledImages
from augment.errors import ConfigError, PluginError, UsageError
from augment.generator import SAMPLE_CHUNK, GeneratorConfig, ImageSpec, Tags, draw
from augment.seeds import derived_seed
from augment.synthesis.sources import make_from_real
from augment.synthesis.strategies import Neighbourhood, PartialNoise, Translation
from augment.synthesis.synthesis import (
    FROM_REAL,
    SyntheticSet,
    config_sha256,
    draw_unlabelled,
    synthesise,
    with_nearest,
)
from augment.testing import MinimalGenerator

# ---------------------------------------------------------------- from noise


class Shy(MinimalGenerator):
    """Conditional by its class, unconditional as it is made here."""

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.tags = Tags()


def generator(cls=MinimalGenerator, seed=0):
    torch.manual_seed(seed)
    made = cls(GeneratorConfig(), ImageSpec(1, 4, 5, 3))
    made.name = "minimal"
    return made.eval()


@pytest.mark.parametrize("counts", [(3, 0, 5), (0, 0, 1), (300, 1, 400)])
def test_counts_are_exact(counts):
    drawn = synthesise(generator(), counts, seed=1)
    assert drawn.counts(3) == counts
    assert drawn.images.shape == (sum(counts), 1, 4, 5) and drawn.images.dtype == torch.uint8
    assert drawn.labels.dtype == torch.int64 and drawn.labels.tolist() == sorted(drawn.labels.tolist())
    assert len(drawn.rows) == sum(counts)


def test_nothing_asked_for_is_nothing_drawn():
    class Counting(MinimalGenerator):
        def sample(self, n, labels=None, *, rng=None):
            raise AssertionError("asked for no image")

    drawn = synthesise(generator(Counting), (0, 0, 0), seed=1)
    assert drawn.images.shape == (0, 1, 4, 5)
    assert (drawn.counts(3), drawn.rows) == ((0, 0, 0), ())


def test_images_are_the_generators_rounded():
    counts = (2, 3, 4)
    drawn = synthesise(generator(), counts, seed=7)
    rng = torch.Generator().manual_seed(derived_seed(7, "chunk", 0))
    with torch.no_grad():
        floats = generator().sample(9, drawn.labels, rng=rng)
    assert torch.equal(drawn.images, (floats * 255).round().to(torch.uint8))


def test_rounding_covers_the_range_and_leaves_its_input_alone():
    floats = torch.tensor([0.0, 0.4 / 255, 0.6 / 255, 0.5, 1.0])
    before = floats.clone()
    assert as_uint8(floats).tolist() == [0, 0, 1, 128, 255]
    assert torch.equal(floats, before)


def test_the_seed_decides_and_nothing_else():
    first, again = (synthesise(generator(), (5, 5, 5), seed=3) for _ in range(2))
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, synthesise(generator(), (5, 5, 5), seed=4).images)
    made = generator()
    before = torch.get_rng_state()
    synthesise(made, (5, 5, 5), seed=3)
    assert torch.equal(before, torch.get_rng_state())


def test_shards_give_the_images_of_the_whole():
    counts = (SAMPLE_CHUNK + 9, 0, SAMPLE_CHUNK + 30)
    whole = synthesise(generator(), counts, seed=3)
    shards = [
        torch.cat(list(draw(generator(), part, 3, first_chunk=index)))
        for index, part in enumerate(whole.labels.split(SAMPLE_CHUNK))
    ]
    assert len(shards) == 3
    assert torch.equal(whole.images, as_uint8(torch.cat(shards)))


def test_a_row_for_every_image():
    drawn = synthesise(generator(), (SAMPLE_CHUNK, 1, 3), seed=9)
    assert [row["index"] for row in drawn.rows] == list(range(SAMPLE_CHUNK + 4))
    assert [row["class"] for row in drawn.rows] == drawn.labels.tolist()
    assert {row["seed"] for row in drawn.rows} == {9}
    assert {row["generator"] for row in drawn.rows} == {"minimal"}
    assert {row["config_sha256"] for row in drawn.rows} == {config_sha256(generator())}
    seeds = [row["chunk_seed"] for row in drawn.rows]
    assert seeds == [derived_seed(9, "chunk", 0)] * SAMPLE_CHUNK + [derived_seed(9, "chunk", 1)] * 4


def test_a_row_is_enough_to_draw_its_image_again():
    drawn = synthesise(generator(), (SAMPLE_CHUNK, 1, 3), seed=9)
    row = drawn.rows[-1]
    rng = torch.Generator().manual_seed(row["chunk_seed"])
    with torch.no_grad():
        chunk = generator().sample(4, drawn.labels[SAMPLE_CHUNK:], rng=rng)
    assert torch.equal(as_uint8(chunk)[row["index"] % SAMPLE_CHUNK], drawn.images[-1])


def test_the_config_hash_covers_name_shape_and_options():
    torch.manual_seed(0)
    spec = ImageSpec(1, 4, 5, 3)

    def digest(name="minimal", config=None, spec=spec):
        made = MinimalGenerator(config or GeneratorConfig(), spec)
        made.name = name
        return config_sha256(made)

    assert digest() == digest()
    others = {digest("other"), digest(config=GeneratorConfig(steps=7)), digest(spec=ImageSpec(1, 5, 4, 3))}
    assert len({digest(), *others}) == 4


def test_a_generator_without_classes_is_refused():
    with pytest.raises(ConfigError, match="'minimal' with these options samples without classes"):
        synthesise(generator(Shy), (1, 1, 1), seed=0)


@pytest.mark.parametrize("counts", [(1, -1, 2), (1, 2), (1, 2, 3, 4)])
def test_counts_that_do_not_fit_the_classes(counts):
    with pytest.raises(ConfigError, match="3 classes"):
        synthesise(generator(), counts, seed=0)


def test_a_generator_that_returns_too_few_is_refused():
    class Short(MinimalGenerator):
        def sample(self, n, labels=None, *, rng=None):
            return super().sample(n, labels, rng=rng)[1:]

    with pytest.raises(PluginError, match=r"returned \(5, 1, 4, 5\) instead of \(6, 1, 4, 5\)"):
        synthesise(generator(Short), (1, 2, 3), seed=0)


def test_progress_is_told_up_to_the_end():
    told = []
    synthesise(generator(), (SAMPLE_CHUNK, 0, 10), seed=0, on_progress=lambda *args: told.append(args))
    assert told == [(SAMPLE_CHUNK, SAMPLE_CHUNK + 10), (SAMPLE_CHUNK + 10, SAMPLE_CHUNK + 10)]


def test_rows_name_the_nearest_training_image():
    drawn = synthesise(generator(), (1, 1, 1), seed=0)
    near = with_nearest(drawn, torch.tensor([4, 0, 2]), torch.tensor([0.25, 0.0, 0.123456789]))
    assert isinstance(near, SyntheticSet) and near.images is drawn.images
    assert near.parents is drawn.parents
    assert [row["nearest_training_index"] for row in near.rows] == [4, 0, 2]
    assert [row["nearest_training_distance"] for row in near.rows] == [0.25, 0.0, 0.12346]
    assert all(before.items() <= after.items() for before, after in zip(drawn.rows, near.rows, strict=True))


# ---------------------------------------------------------------- made from real images


class Editing(MinimalGenerator):
    """Fades from the image to one drawn for the label."""

    tags = Tags(conditional=True, decodes=True, edits=True)

    def sample_from(self, images, labels, strength, *, rng=None):
        return (1 - strength) * images + strength * self.sample(len(images), labels, rng=rng)


REAL = LabelledImages(
    torch.randint(256, (18, 1, 4, 5), generator=torch.Generator().manual_seed(0)).to(torch.uint8),
    torch.tensor([0] * 4 + [1] * 10 + [2] * 4),
)
SOURCES = [PartialNoise(below=5), Neighbourhood(below=5), Translation(below=5)]


@pytest.mark.parametrize("source", SOURCES)
def test_rare_classes_are_made_from_real_images_and_the_others_from_noise(source):
    counts = (3, 300, 2)
    made = synthesise(generator(Editing), counts, real=REAL, source=source, seed=3)
    assert made.labels.tolist() == [0] * 3 + [1] * 300 + [2] * 2 and made.counts(3) == counts
    drawn = synthesise(generator(Editing), (0, 300, 0), seed=3)
    assert torch.equal(made.images[3:-2], drawn.images)  # as without a source
    rare = torch.tensor([0] * 3 + [2] * 2)
    alone = make_from_real(generator(Editing), rare, REAL, source, seed=derived_seed(3, FROM_REAL))
    ends = [*range(3), 303, 304]
    assert torch.equal(made.images[ends], alone.images) and torch.equal(made.parents[ends], alone.parents)
    assert set(made.parents[3:-2].tolist()) == {-1}


@pytest.mark.parametrize("source", SOURCES)
def test_rows_name_source_and_parent(source):
    made = synthesise(generator(Editing), (3, 6, 2), real=REAL, source=source, seed=3)
    assert [row["index"] for row in made.rows] == list(range(11))
    assert [row["class"] for row in made.rows] == made.labels.tolist()
    assert [row["source"] for row in made.rows] == [source.name] * 3 + ["noise"] * 6 + [source.name] * 2
    assert [row["parent"] for row in made.rows] == [None if one == -1 else one for one in made.parents.tolist()]
    assert {row["seed"] for row in made.rows} == {3}


def test_a_row_is_enough_to_edit_its_image_again():
    source, counts = PartialNoise(below=5), (3, 6, SAMPLE_CHUNK)
    made = synthesise(generator(Editing), counts, real=REAL, source=source, seed=3)
    row = made.rows[-1]
    edited = [one for one in made.rows if one["chunk_seed"] == row["chunk_seed"]]
    parents, labels = (torch.tensor([one[key] for one in edited]) for key in ("parent", "class"))
    rng = torch.Generator().manual_seed(row["chunk_seed"])
    with torch.no_grad():
        chunk = generator(Editing).sample_from(REAL.images[parents] / 255, labels, source.strength, rng=rng)
    assert len(edited) == 3 and row["chunk_place"] == 2  # the last three of 259
    assert torch.equal(as_uint8(chunk)[row["chunk_place"]], made.images[-1])


def test_codes_have_no_noise_of_a_chunk():
    made = synthesise(generator(Editing), (3, 6, 2), real=REAL, source=SOURCES[1], seed=3)
    assert [row["chunk_place"] for row in made.rows] == [None] * 3 + [*range(6)] + [None] * 2
    assert [row["chunk_seed"] is None for row in made.rows] == [True] * 3 + [False] * 6 + [True] * 2


@pytest.mark.parametrize("source", [PartialNoise(below=4), Neighbourhood(below=4), Translation(below=4)])
def test_no_class_is_rare(source):
    made = synthesise(generator(Editing), (3, 6, 2), real=REAL, source=source, seed=3)
    assert torch.equal(made.images, synthesise(generator(Editing), (3, 6, 2), seed=3).images)
    assert {row["source"] for row in made.rows} == {"noise"}


def test_variations_alone_need_no_classes():
    made = generator(Editing)
    made.tags = Tags(edits=True)
    varied = synthesise(made, (2, 0, 2), real=REAL, source=SOURCES[0], seed=3)
    assert varied.labels.tolist() == [0, 0, 2, 2]
    with pytest.raises(ConfigError, match="samples without classes"):
        synthesise(made, (2, 1, 2), real=REAL, source=SOURCES[0], seed=3)


def test_a_source_needs_real_images_and_a_generator_that_can():
    with pytest.raises(UsageError, match="Source 'partial-noise' makes images from real ones"):
        synthesise(generator(Editing), (1, 1, 1), source=SOURCES[0], seed=3)
    with pytest.raises(UsageError, match="needs a generator tagged edits, and 'minimal' with these options is not"):
        synthesise(generator(), (1, 1, 1), real=REAL, source=SOURCES[0], seed=3)


def test_progress_counts_both_kinds():
    told, counts = [], (3, SAMPLE_CHUNK + 1, 2)
    synthesise(
        generator(Editing), counts, real=REAL, source=SOURCES[0], seed=3, on_progress=lambda *args: told.append(args)
    )
    assert told == [(5, 262), (5 + SAMPLE_CHUNK, 262), (262, 262)]


def test_images_without_classes():
    drawn = draw_unlabelled(generator(), 4, seed=3)
    assert drawn.labels.tolist() == [0] * 4 and drawn.parents.tolist() == [-1] * 4
    assert {(row["class"], row["source"], row["parent"]) for row in drawn.rows} == {(None, "noise", None)}
