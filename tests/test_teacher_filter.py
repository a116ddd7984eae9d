"""Cross-fitted teachers on a toy problem: what they must refuse and keep, who is asked, and when drawing stops."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from augment.compute.device import Compute
from augment.compute.workers import Workers
from augment.datasets import LabelledImages
from augment.errors import DataError
from augment.metrics.memorisation import pixel_copies
from augment.storage.typed_json import to_json
from augment.synthesis.acceptance import MOST, filtered
from augment.synthesis.strategies import Teacher
from augment.synthesis.synthesis import SyntheticSet
from augment.synthesis.teacher_filter import (
    MIN_HELD_OUT,
    SEEN_BY_ALL,
    FilterDecisions,
    FoldTeacher,
    Teachers,
    distance_to_nearest,
    stratified_parts,
)

SIZES = (200, 80, 12, 1)
SETTINGS = {"updates": 40, "seed": 3}


def toy(counts, *, seed):
    """A bright bar at a random place on noise: lying, standing, both, or none; by ascending class."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.repeat_interleave(torch.arange(4), torch.tensor(counts))
    images = torch.rand(len(labels), 1, 8, 8, generator=rng) * 60
    places = torch.randint(1, 7, (len(labels), 2), generator=rng)
    for image, label, (row, column) in zip(images, labels.tolist(), places.tolist(), strict=True):
        image[0, row, :] += 150 * (label in (0, 2))
        image[0, :, column] += 150 * (label in (1, 2))
    return LabelledImages(images.clamp(0, 255).to(torch.uint8), labels)


@pytest.fixture(scope="module")
def teachers():
    return Teachers.fit(toy(SIZES, seed=0), 4, Teacher(), **SETTINGS)


def share(decisions, reason, chosen=None):
    found = torch.tensor([each == reason for each in decisions.reasons])
    return float((found if chosen is None else found[chosen]).float().mean())


def test_fresh_images_of_the_true_distribution_are_kept(teachers):
    fresh = toy((300, 300, 0, 0), seed=1)
    decisions = teachers.judge(fresh.images, fresh.labels)
    for label in (0, 1):
        assert float(decisions.kept[fresh.labels == label].float().mean()) > 0.85
    half = replace(teachers, strategy=Teacher(low=0.0, far=0.5)).judge(fresh.images, fresh.labels)
    assert float(half.kept.float().mean()) == pytest.approx(0.5, abs=0.12)
    assert share(half, "distance") == pytest.approx(1 - float(half.kept.float().mean()))


def test_wrong_labels_are_refused_for_confidence(teachers):
    fresh = toy((100, 100, 0, 0), seed=2)
    decisions = teachers.judge(fresh.images, 1 - fresh.labels)
    assert share(decisions, "confidence") > 0.98
    assert float(decisions.probability.max()) < 0.6


def test_what_is_like_no_real_image_is_refused_for_distance(teachers):
    rng = torch.Generator().manual_seed(5)
    noise = torch.randint(0, 256, (100, 1, 8, 8), generator=rng, dtype=torch.uint8)
    lenient = replace(teachers, strategy=Teacher(low=0.0))
    assert share(lenient.judge(noise, torch.zeros(100, dtype=torch.int64)), "distance") == 1.0


def test_copies_are_refused_though_teachers_are_sure_of_them(teachers):
    real = teachers.real.subset(range(50))
    near = real.images.clone()
    near[:, 0, 0, 0] ^= 4
    for images in (real.images, near):
        decisions = teachers.judge(images, real.labels)
        assert bool(decisions.copy.all())
        assert not bool(decisions.kept.any())
        assert share(decisions, "copy") > 0.8


def test_the_first_ground_is_the_one_given(teachers):
    real = teachers.real.subset([0, 1])
    images, labels = real.images, torch.tensor([0, 1])  # two copies, the second with a wrong label
    strict = replace(teachers, strategy=Teacher(far=1.0, low=0.3))
    assert strict.judge(images, labels).reasons == ("copy", "confidence")


def test_the_band_has_an_upper_end(teachers):
    fresh = toy((50, 50, 0, 0), seed=6)
    probability = teachers.judge(fresh.images, fresh.labels).probability
    middle = float(probability.median())
    decisions = replace(teachers, strategy=Teacher(low=0.1, high=middle, far=1.0)).judge(fresh.images, fresh.labels)
    assert share(decisions, "confidence", probability > middle) == 1.0
    assert bool(decisions.kept[(probability > 0.1) & (probability <= middle)].any())


def test_pixel_copies_are_the_planted_ones():
    rng = torch.Generator().manual_seed(0)
    gallery, queries = torch.randint(0, 256, (2, 40, 3, 6, 6), generator=rng, dtype=torch.uint8)
    queries[5], queries[7] = gallery[1], gallery[2]
    queries[7, 0, 0, 0] ^= 8
    assert pixel_copies(queries, gallery).nonzero()[:, 0].tolist() == [5, 7]


def test_limits_of_large_classes_are_their_own_quantile(teachers):
    for label in (0, 1):
        own = teachers.held_out[teachers.real.labels == label]
        assert float(teachers.limits[label]) == pytest.approx(float(own.quantile(0.95)))
    lenient = replace(teachers, strategy=Teacher(far=1.0))
    assert float(lenient.limits[0]) == pytest.approx(float(teachers.held_out[teachers.real.labels == 0].max()))


def test_a_rare_class_borrows_limits_measured_against_as_few_images(teachers):
    labels = teachers.real.labels
    known = teachers.parts != SEEN_BY_ALL
    pooled = teachers.held_out[known & (labels < 2)].quantile(0.95)
    for rare, images in ((2, 8), (3, 1)):
        assert SIZES[rare] < MIN_HELD_OUT
        expected = []
        for fold, teacher in enumerate(teachers.members):
            for label in (0, 1):
                gallery = teacher.features[(teachers.parts != fold) & (labels == label)][:images]
                queries = teacher.features[(teachers.parts == fold) & (labels == label)]
                distances = (queries[:, None] - gallery[None]).square().mean(dim=2).sqrt()
                expected.append(distances.sort(dim=1).values[:, :3].mean(dim=1))
        assert float(teachers.limits[rare]) == pytest.approx(float(torch.cat(expected).quantile(0.95)), rel=1e-4)
        assert float(teachers.limits[rare]) > float(pooled)


def test_held_out_distances_are_nan_where_every_teacher_saw_the_image(teachers):
    assert teachers.held_out.isnan().nonzero()[:, 0].tolist() == [sum(SIZES) - 1]


def test_classes_too_small_throughout_share_one_limit():
    few = Teachers.fit(toy((6, 6, 5, 1), seed=0), 4, Teacher(), updates=5, seed=0)
    assert few.limits.unique().numel() == 1
    assert bool(few.limits.isfinite().all())


def test_distances_agree_with_scikit_learn():
    from sklearn.neighbors import NearestNeighbors

    rng = torch.Generator().manual_seed(0)
    queries, gallery = torch.randn(1500, 7, generator=rng), torch.randn(60, 7, generator=rng)
    expected = NearestNeighbors(n_neighbors=3).fit(gallery).kneighbors(queries)[0].mean(axis=1) / 7**0.5
    assert distance_to_nearest(queries, gallery).tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    both = (queries[:1] - gallery[:2]).square().mean(dim=1).sqrt().mean()
    assert float(distance_to_nearest(queries[:1], gallery[:2])) == pytest.approx(float(both))


def test_parts_are_stratified_and_leave_every_class_an_image():
    labels = torch.repeat_interleave(torch.arange(5), torch.tensor([31, 9, 2, 2, 1]))
    parts = stratified_parts(labels, 3, seed=0)
    table = torch.stack([torch.bincount(parts[(labels == label) & (parts >= 0)], minlength=3) for label in range(5)])
    assert bool((table.amax(dim=1) - table.amin(dim=1) <= 1).all())
    assert table.sum(dim=1).tolist() == [31, 9, 2, 2, 0]
    assert int(table.sum(dim=0).max() - table.sum(dim=0).min()) <= 1
    assert parts[-1] == SEEN_BY_ALL
    assert bool((table < torch.bincount(labels)[:, None]).all())
    again = stratified_parts(labels, 3, seed=0)
    assert parts.tolist() == again.tolist()
    assert parts.tolist() != stratified_parts(labels, 3, seed=1).tolist()


def test_teachers_are_trained_without_their_part(teachers):
    for fold, member in enumerate(teachers.members):
        assert bool((member.seen == (teachers.parts != fold)).all())
        assert member.features[member.seen].mean(dim=0).abs().max() < 1e-4
        assert set(teachers.real.labels[member.seen].tolist()) == {0, 1, 2, 3}


class Oracle:
    """Stands in for a CNN that is sure of one class, and notes which images it was asked about."""

    def __init__(self, sure_of):
        self.head = torch.nn.Linear(16, 2)
        torch.nn.init.zeros_(self.head.weight)
        self.head.bias.data = 1000.0 * torch.eye(2)[sure_of]
        self.asked = []

    def features(self, images):
        self.asked += images[:, 0, 0, 0].tolist()
        return images.flatten(1).float()


def with_oracles(parts, sure_of):
    """Six real images, number i all of brightness 10 i, and an oracle without each part."""
    brightness = torch.arange(len(parts), dtype=torch.uint8) * 10
    images = brightness[:, None, None, None].expand(-1, 1, 4, 4).clone()
    real, parts = LabelledImages(images, torch.arange(len(parts)) % 2), torch.tensor(parts)
    features, prior = images.flatten(1).float(), torch.tensor([0.5, 0.5])
    members = tuple(
        FoldTeacher(Oracle(known), parts != fold, prior, torch.zeros(16), torch.ones(16), features)
        for fold, known in enumerate(sure_of)
    )
    return Teachers(real, 2, Teacher(folds=len(sure_of), far=1.0), parts, members, 0.0)


def test_a_teacher_that_saw_the_parent_is_not_asked():
    teachers = with_oracles([0, 0, 1, 1, 2, SEEN_BY_ALL], sure_of=[0, 1, 1])
    images = torch.tensor([1, 2, 3, 4, 5], dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 4, 4).clone()
    parents = torch.tensor([0, 2, 4, -1, 5])
    decisions = teachers.judge(images, torch.zeros(5, dtype=torch.int64), parents)
    assert [member.cnn.asked for member in teachers.members] == [[1, 4, 5], [2, 4, 5], [3, 4, 5]]
    assert decisions.probability.tolist() == pytest.approx([1, 0, 0, 1 / 3, 1 / 3])
    without = teachers.judge(images, torch.zeros(5, dtype=torch.int64))
    assert without.probability.tolist() == pytest.approx([1 / 3] * 5)


def test_the_parent_is_not_among_the_images_a_distance_is_measured_to():
    teachers = with_oracles([0, 1, 1, 1, 0, 1], sure_of=[0, 0])
    image = torch.full((1, 1, 4, 4), 1, dtype=torch.uint8)
    of_parent = teachers.judge(image, torch.tensor([0]), torch.tensor([0]))
    assert float(of_parent.distance) == pytest.approx(19)  # teacher 0 saw class 0 at brightness 20 alone
    assert float(teachers.judge(image, torch.tensor([0])).distance) == pytest.approx((19 + (1 + 39) / 2) / 2)


def test_label_smoothing_is_taken_out_of_probabilities():
    prior = torch.tensor([0.9, 0.09, 0.01])
    truth = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]])  # of images, classes being alike
    trained = truth * prior / (truth @ prior)[:, None]
    smooth = 0.9 * trained + 0.1 * prior
    raw = smooth / prior / (smooth / prior).sum(dim=1, keepdim=True)  # what a balanced softmax learns
    assert float(raw[0, 0]) < 0.9
    teacher = FoldTeacher(Oracle(0), torch.zeros(0), prior, *[torch.zeros(0)] * 3)
    assert teacher.unsmoothed(raw).numpy() == pytest.approx(truth.numpy(), abs=1e-5)


def test_a_class_without_images_takes_no_probability():
    teacher = FoldTeacher(Oracle(0), torch.zeros(0), torch.tensor([0.5, 0.5, 0.0]), *[torch.zeros(0)] * 3)
    found = teacher.unsmoothed(torch.tensor([[0.0, 0.4, 0.6]]))
    assert found.tolist() == [pytest.approx([0, 1, 0])]


def test_the_same_seed_gives_the_same_teachers_whatever_the_workers():
    real = toy(SIZES, seed=0)
    teachers = Teachers.fit(real, 4, Teacher(), updates=4, seed=1)
    workers = Workers(1)
    try:
        others = Teachers.fit(real, 4, Teacher(), updates=4, seed=1, compute=Compute(workers=workers))
    finally:
        workers.close()
    assert others.parts.tolist() == teachers.parts.tolist()
    assert others.limits.tolist() == teachers.limits.tolist()
    fresh = toy((30, 30, 10, 5), seed=8)
    ours, theirs = (each.judge(fresh.images, fresh.labels) for each in (teachers, others))
    assert ours.reasons == theirs.reasons
    assert ours.probability.tolist() == theirs.probability.tolist()


def test_errors_say_what_to_do(teachers):
    with pytest.raises(DataError, match="no class has two images"):
        Teachers.fit(toy((1, 1, 1, 1), seed=0), 4, Teacher(), **SETTINGS)
    image = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    with pytest.raises(DataError, match="none of class 4"):
        teachers.judge(image, torch.tensor([4]))
    with pytest.raises(DataError, match="float32"):
        teachers.judge(image.float(), torch.tensor([0]))
    with pytest.raises(DataError, match="2 labels"):
        teachers.judge(image, torch.tensor([0, 0]))


class Judge:
    """Stands in for teachers: keeps an image whose first pixel is below its class's share of 256."""

    def __init__(self, shares, rounds=4):
        self.shares = torch.tensor(shares)
        self.strategy = Teacher(rounds=rounds)
        self.seconds = 1.5
        self.limits = torch.ones(len(shares))

    def judge(self, images, labels, parents):
        kept = images[:, 0, 0, 0] < 256 * self.shares[labels]
        reasons = tuple(None if keep else "distance" for keep in kept.tolist())
        nothing = torch.zeros(len(labels))
        return FilterDecisions(nothing + 0.75, nothing + 0.5, kept, reasons)


def drawing(asked):
    """Random images; what was asked for is appended to ``asked``."""

    def draw(counts, number):
        asked.append(counts)
        labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
        rng = torch.Generator().manual_seed(number)
        images = torch.randint(0, 256, (len(labels), 1, 1, 1), generator=rng, dtype=torch.uint8)
        rows = tuple({"index": index, "seed": number, "chunk_place": index} for index in range(len(labels)))
        return SyntheticSet(images=images, labels=labels, parents=torch.arange(len(labels)), rows=rows)

    return draw


def test_counts_are_exact_and_rows_tell_where_images_come_from():
    asked = []
    kept, report = filtered(drawing(asked), (40, 0, 25), Judge([0.9, 0.5, 0.4]))
    assert kept.counts(3) == (40, 0, 25)
    assert kept.labels.tolist() == [0] * 40 + [2] * 25
    assert [row["index"] for row in kept.rows] == list(range(65))
    assert len(asked) == report.rounds > 1
    assert asked[1][0] == 0 or asked[0][0] < 40 / 0.9  # what is complete is not drawn again
    for image, label, parent, row in zip(kept.images, kept.labels, kept.parents, kept.rows, strict=True):
        again = drawing([])(asked[row["filter_round"]], row["seed"])
        assert row["filter_round"] == row["seed"]
        assert again.images[row["chunk_place"]].equal(image)
        assert (int(again.labels[row["chunk_place"]]), row["chunk_place"]) == (int(label), int(parent))
        assert (row["teacher_probability"], row["teacher_distance"]) == (0.75, 0.5)
    assert report.shortfall("abc") is None


def test_the_report_adds_up():
    asked = []
    _, report = filtered(drawing(asked), (200, 30), Judge([0.5, 1.0]))
    document = json.loads(json.dumps(to_json(report.outcome(["shirt", "bag"]))))
    shirt, bag = document["per_class"]
    for row, drawn in zip((shirt, bag), map(sum, zip(*asked, strict=True)), strict=True):
        assert row["drawn"] == drawn == row["passed"] + sum(row["refused"].values())
        assert row["acceptance"] == row["passed"] / drawn
    assert (shirt["class"], shirt["wanted"], shirt["kept"], shirt["refused"]["confidence"]) == ("shirt", 200, 200, 0)
    assert shirt["acceptance"] == pytest.approx(0.5, abs=0.1)
    assert (bag["acceptance"], bag["kept"]) == (1.0, 30)
    assert bag["passed"] > 30  # drawn with a margin; the surplus is judged and not kept
    assert document["drawn"] == shirt["drawn"] + bag["drawn"]
    assert set(document["seconds"]) == {"teachers", "drawing", "judging"}
    assert document["seconds"]["teachers"] == 1.5


def test_rounds_end_and_what_is_missing_is_said():
    asked = []
    kept, report = filtered(drawing(asked), (10, 20), Judge([0.0, 1.0], rounds=3))
    assert kept.counts(2) == (0, 20)
    assert [counts[1] for counts in asked[1:]] == [0, 0]
    assert len(asked) == report.rounds == 3
    assert max(counts[0] for counts in asked) <= MOST * 10
    assert report.missing == 10
    assert report.shortfall(["shirt", "bag"]) == (
        "The teacher filter found too few images after 3 rounds: shirt 0 of 10."
    )


def test_later_rounds_draw_by_the_acceptance_seen():
    asked = []
    filtered(drawing(asked), (1000,), Judge([0.5]))
    assert 1100 < asked[0][0] < 1150  # 1000 / 0.9 and a margin
    found = int((drawing([])(asked[0], 0).images < 128).sum())
    assert asked[1][0] == pytest.approx((1000 - found) / 0.5, rel=0.15)


def test_nothing_wanted_is_nothing_drawn(teachers):
    def draw(counts, number):
        empty = toy(counts, seed=number)
        return SyntheticSet(images=empty.images, labels=empty.labels, parents=empty.labels, rows=())

    kept, report = filtered(draw, (0, 0, 0, 0), teachers)
    assert len(kept.images) == report.missing == 0
    assert report.outcome("abcd").acceptance is None
