"""How many images of which class, and images that come in exact numbers with a row of provenance each."""

import pytest
import torch

from augment.errors import ConfigError, PluginError, UsageError
from augment.generator import SAMPLE_CHUNK, GeneratorConfig, ImageSpec, Tags, chunk_seed, draw
from augment.sampling import as_uint8
from augment.synthesis import (
    Strategy,
    SyntheticSet,
    balance,
    config_sha256,
    default_strategy,
    partial,
    ratio,
    synthesise,
    with_nearest,
)
from augment.testing import MinimalGenerator

# ---------------------------------------------------------------- strategies


def test_balance_fills_to_the_largest():
    assert balance((2015, 500, 20)) == (0, 1515, 1995)
    assert balance((7, 7)) == (0, 0)


def test_partial_fills_a_share_of_the_deficit_up_to_a_cap():
    # deficits 0, 1515, 1995; half of them 757.5, 997.5; five per real image 10075, 2500, 100
    assert partial((2015, 500, 20)) == (0, 758, 100)
    assert partial((100, 40, 10), share=1.0, cap=1000) == balance((100, 40, 10))
    assert partial((100, 40, 10), share=1.0, cap=2) == (0, 60, 20)
    assert partial((100, 40, 10), share=0.25) == (0, 15, 22)
    assert partial((100, 40, 10), share=0) == partial((100, 40, 10), cap=0) == (0, 0, 0)


def test_ratio_adds_to_every_class():
    assert ratio((100, 40, 10)) == (100, 40, 10)
    assert ratio((100, 40, 10), 0.5) == (50, 20, 5)
    assert ratio((100, 40, 10), 2.5) == (250, 100, 25)


@pytest.mark.parametrize(
    ("text", "options", "counts"),
    [
        ("balance", {}, (0, 60, 90)),
        ("partial", {}, (0, 30, 45)),
        ("partial:share=1", {"share": 1.0}, (0, 60, 50)),
        ("partial:cap=2,share=0.5", {"cap": 2.0, "share": 0.5}, (0, 30, 20)),
        ("ratio", {}, (100, 40, 10)),
        ("ratio:ratio=.3", {"ratio": 0.3}, (30, 12, 3)),
    ],
)
def test_a_strategy_as_it_is_typed(text, options, counts):
    strategy = Strategy.parse(text)
    assert dict(strategy.options) == options
    assert strategy.counts((100, 40, 10)) == counts


@pytest.mark.parametrize("text", ["balance", "partial:share=0.5,cap=5", "ratio:ratio=0.123456789", "partial:cap=1e-07"])
def test_a_strategy_is_written_as_it_is_read(text):
    assert str(Strategy.parse(text)) == text
    assert Strategy.parse(str(Strategy.parse(text))) == Strategy.parse(text)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("balanced", UsageError, "Unknown strategy 'balanced'. Did you mean 'balance'.*balance, partial, ratio"),
        ("", UsageError, "Unknown strategy ''"),
        ("partial:shar=1", UsageError, "Unknown option of strategy 'partial' 'shar'. Did you mean 'share'"),
        ("ratio:cap=1", UsageError, "Unknown option of strategy 'ratio' 'cap'.*Known: ratio"),
        ("balance:share=1", UsageError, "Unknown option of strategy 'balance' 'share'.*Known: none"),
        ("partial:share=.5,share=.7", UsageError, "share.* more than once"),
        ("partial:share=1.01", ConfigError, "share='1.01': a number from 0 to 1 "),
        ("partial:share=-0.1", ConfigError, "share='-0.1'"),
        ("partial:cap=1001", ConfigError, "cap='1001': a number from 0 to 1000"),
        ("partial:cap=inf", ConfigError, "cap='inf'"),
        ("ratio:ratio=nan", ConfigError, "ratio='nan'"),
        ("ratio:ratio=much", ConfigError, "ratio='much': a number from 0 to 1000 is needed"),
        ("ratio:ratio", ConfigError, "ratio=''"),
        ("ratio:ratio=", ConfigError, "ratio=''"),
    ],
)
def test_a_strategy_that_makes_no_sense(text, error, message):
    with pytest.raises(error, match=message):
        Strategy.parse(text)


def test_the_default_fills_deficits_where_there_are_any():
    assert default_strategy((10, 10, 9)).name == "partial"
    assert default_strategy((10, 10, 10)).name == "ratio"


# ---------------------------------------------------------------- images


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
    rng = torch.Generator().manual_seed(chunk_seed(7, 0))
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
    assert seeds == [chunk_seed(9, 0)] * SAMPLE_CHUNK + [chunk_seed(9, 1)] * 4


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
    assert [row["nearest_training_index"] for row in near.rows] == [4, 0, 2]
    assert [row["nearest_training_distance"] for row in near.rows] == [0.25, 0.0, 0.12346]
    assert all(before.items() <= after.items() for before, after in zip(drawn.rows, near.rows, strict=True))
