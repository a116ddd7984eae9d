"""SMOTE on pixels and on codes: between images of one class, in exact numbers, and what few images come to."""

import pytest
import torch
from imblearn.over_sampling import SMOTE

from augment.errors import DataError, UsageError
from augment.generator import GeneratorConfig, ImageSpec, Tags
from augment.seeds import random_state
from augment.synthesis.copies import latent_smote, smote_images
from augment.testing import MinimalGenerator

pytestmark = pytest.mark.libraries


def images(*counts, seed=0):
    """Random pixels; class c has them in 64 c .. 64 c + 60."""
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    noise = torch.randint(61, (len(labels), 1, 3, 3), generator=torch.Generator().manual_seed(seed))
    return (noise + 64 * labels[:, None, None, None]).to(torch.uint8), labels


class FirstPixels(MinimalGenerator):
    """Codes are two pixels, and decoded as a grey image of the first with the second at the end."""

    tags = Tags(decodes=True)

    def encode(self, images):
        return images.flatten(1)[:, :2]

    def decode(self, latents):
        return torch.cat([latents[:, :1].repeat(1, 8), latents[:, 1:]], 1).view(-1, 1, 3, 3)


def generator(cls=FirstPixels):
    torch.manual_seed(0)
    made = cls(GeneratorConfig(), ImageSpec(1, 3, 3, 3)).eval()
    made.name = "first-pixels"
    return made


def between(points, ends, tolerance):
    """Whether each point lies on the line from one of ``ends`` to another, up to a distance."""
    one, step = ends[:, None], ends[None] - ends[:, None]
    for point in points:
        share = ((point - one) * step).sum(-1) / step.square().sum(-1).clamp(min=1e-9)
        distance = (point - one - share.clamp(0, 1)[..., None] * step).norm(dim=-1)
        if float(distance.min()) > tolerance:
            return False
    return True


def test_exact_numbers_by_class_with_a_row_each():
    x, y = images(6, 7, 8)
    made = smote_images(x, y, (4, 0, 9), seed=5)
    assert made.labels.tolist() == [0] * 4 + [2] * 9 and made.counts(3) == (4, 0, 9)
    assert made.images.shape == (13, 1, 3, 3) and made.images.dtype == torch.uint8
    assert [row["class"] for row in made.rows] == made.labels.tolist()
    assert [row["index"] for row in made.rows] == list(range(13))
    assert {(row["source"], row["generator"], row["seed"], row["parent"]) for row in made.rows} == {
        ("smote", None, 5, None)
    }
    assert set(made.parents.tolist()) == {-1}


def test_images_lie_between_two_of_their_class():
    x, y = images(7, 30, 9)
    made = smote_images(x, y, (40, 0, 40), seed=5)
    rounding = 9**0.5 / 2
    for label in (0, 2):
        points, ends = (each.flatten(1).float() for each in (made.images[made.labels == label], x[y == label]))
        assert between(points, ends, rounding)
        assert not between(points, ends[::2], rounding)  # the test can tell


def test_it_is_what_imbalanced_learn_makes():
    x, y = images(7, 30, 9)
    made = smote_images(x, y, (12, 0, 0), neighbours=3, seed=5)
    theirs, _ = SMOTE(sampling_strategy={0: 19}, k_neighbors=3, random_state=random_state(5, "smote", 0)).fit_resample(
        x.flatten(1).numpy().astype("float32"), y.numpy()
    )
    assert torch.equal(made.images.flatten(1), torch.from_numpy(theirs[len(x) :]).round().to(torch.uint8))


def test_classes_have_randomness_of_their_own():
    x, _ = images(8)
    twice = torch.cat([x, x]), torch.tensor([0] * 8 + [1] * 8)
    made = smote_images(*twice, (20, 20), seed=5)
    assert not torch.equal(made.images[:20], made.images[20:])


def test_seeds():
    data = images(7, 5)
    one, again, other = (smote_images(*data, (9, 9), seed=seed).images for seed in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_more_than_the_largest_class_has():
    assert smote_images(*images(7, 5), (70, 0), seed=0).counts(2) == (70, 0)


def test_few_images_have_few_neighbours_and_an_only_one_is_copied():
    x, y = images(1, 2, 20)
    made = smote_images(x, y, (3, 40, 0), seed=0)
    assert torch.equal(made.images[:3], x[:1].expand(3, -1, -1, -1))
    assert made.parents.tolist() == [0] * 3 + [-1] * 40
    assert [row["parent"] for row in made.rows[:4]] == [0, 0, 0, None]
    points = made.images[3:].flatten(1).float()
    assert between(points, x[1:3].flatten(1).float(), 1.5) and len(points.unique(dim=0)) > 30


def test_nothing_to_start_from():
    with pytest.raises(DataError, match="SMOTE is to make 4 images of class 1, which has no real image"):
        smote_images(*images(5, 0, 5), (0, 4, 0), seed=0)
    with pytest.raises(DataError, match="at least two classes"):
        smote_images(*images(5), (4,), seed=0)


def test_no_image_wanted():
    made = smote_images(*images(5, 5), (0, 0), seed=0)
    assert made.images.shape == (0, 1, 3, 3) and made.rows == ()


def test_codes_lie_between_two_of_their_class():
    x, y = images(9, 30, 1)
    made = latent_smote(generator(), x, y, (50, 0, 2), seed=5)
    assert made.counts(3) == (50, 0, 2) and made.images.dtype == torch.uint8
    codes = made.images.flatten(1)[:, [0, 8]].float()
    ends = x.flatten(1)[:, :2].float()
    assert between(codes[:50], ends[:9], 2**0.5 / 2 + 1e-3) and not between(codes[:50], ends[:9:2], 0.75)
    assert torch.equal(codes[50:], ends[-1].expand(2, -1))  # decoded from its own code
    assert made.parents.tolist() == [-1] * 50 + [39] * 2
    assert {(row["source"], row["generator"]) for row in made.rows} == {("latent-smote", "first-pixels")}
    assert all(len(row["config_sha256"]) == 64 for row in made.rows)


def test_a_generator_without_decoder_is_refused():
    made = generator()
    made.tags = Tags(conditional=True)
    with pytest.raises(UsageError, match="'latent-smote' decodes points between codes, and 'first-pixels' is not"):
        latent_smote(made, *images(5, 5), (4, 0), seed=0)
