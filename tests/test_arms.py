"""Arms: how they are written, what they are made of, which classifiers they suit."""

import pytest
import torch

from augment.arms import FULL, QUICK, Arm, arms_of, components, parse_arm
from augment.arms.grammar import Usage
from augment.classifiers.learning import Decay, Learning
from augment.datasets import LabelledImages
from augment.errors import ConfigError, UsageError
from augment.synthesis.copies import duplicates
from augment.synthesis.strategies import Balance, Partial

DEFAULT = Usage.parse("partial")


def arm(text, model="vae", default=DEFAULT):
    return parse_arm(text, model, default)


def test_the_plain_arms():
    real, balanced = arm("real"), arm("oversample")
    assert (real.adds, real.generator, real.usage, real.learning) == (None, None, Usage(), Learning())
    assert balanced.learning == Learning("oversample") and balanced.family == "classical"
    assert arm("class-weights").learning.imbalance == "class-weights"
    assert arm("mixup").learning == Learning(mixing="mixup")
    assert arm("noise:rotation+classical").learning.transforms == ("noise:rotation", "classical")


def test_a_generator_is_added_to_oversampling_unless_another_way_is_named():
    plain, adjusted = arm("vae"), arm("vae+balanced-softmax+mixup:alpha=0.4")
    assert (plain.adds, plain.generator, plain.family) == ("synthetic", "vae", "generative")
    assert plain.learning == Learning("oversample") and plain.usage == DEFAULT
    assert adjusted.learning == Learning("balanced-softmax", mixing="mixup", alpha=0.4)
    assert arm("vae+real").learning.imbalance == "as-is"


def test_model_stands_for_the_runs_model_and_order_does_not_matter():
    assert arm("model+mixup").name == "vae+mixup" and arm("model+mixup").generator == "vae"
    assert arm("mixup+dvae").generator == "dvae"
    assert arm("mixup+vae").learning == arm("vae+mixup").learning


def test_strategies_in_an_arm_take_the_place_of_the_runs():
    found = arm("vae+balance+decay:end=0.5")
    assert found.usage.counts == Balance() and found.learning.weight == Decay(end=0.5)
    assert arm("vae+decay").usage.counts == Partial()
    assert arm("duplicate", default=Usage.parse("partial+teacher+decay")).usage.filter is None
    assert arm("duplicate", default=Usage.parse("partial+teacher+decay")).learning.weight == Decay()


def test_smote_fills_up_whatever_the_run_does():
    assert str(arm("smote").usage) == "balance" and arm("smote").family == "classical"
    latent = arm("latent-smote:dvae")
    assert (latent.adds, latent.generator, latent.family) == ("latent-smote", "dvae", "generative")
    assert arm("latent-smote").generator == "vae"


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("oversampel", UsageError, "Did you mean 'oversample'"),
        ("vea", UsageError, "Did you mean 'vae'"),
        ("vae+dvae", UsageError, "'vae' and 'dvae', which exclude"),
        ("oversample+class-weights", UsageError, "exclude each other"),
        ("mixup+cutmix", UsageError, "exclude each other"),
        ("oversample+teacher", UsageError, "adds no images"),
        ("vae:steps=3", UsageError, "--set vae.KEY=VALUE"),
        ("real:x=1", UsageError, "has no options"),
        ("mixup:alpha=0", ConfigError, "above 0"),
        ("mixup:beta=1", UsageError, "alpha"),
        ("vae+partial:share=7", ConfigError, "share"),
        ("vae+partial+balance", UsageError, "exclude each other"),
        ("", UsageError, "Unknown component"),
    ],
)
def test_what_cannot_be_meant_is_refused(text, error, words):
    with pytest.raises(error, match=words):
        arm(text)


def test_named_sets_and_the_models_own_arm():
    assert arms_of((), "quick", "vae") == tuple(name.replace("model", "vae") for name in QUICK)
    assert arms_of(("real",), None, "vae") == ("real", "vae")
    assert arms_of(("real", "vae+mixup"), None, "vae") == ("real", "vae+mixup")
    assert arms_of(("model+mixup", "real"), "quick", "vae")[-1] == "vae+mixup"
    with pytest.raises(UsageError, match="Did you mean 'full'"):
        arms_of((), "ful", "vae")


@pytest.mark.parametrize("name", FULL)
def test_every_arm_of_the_full_set_can_be_read(name):
    assert arm(name).name == name.replace("model", "vae")


def test_every_component_that_is_listed_can_be_used():
    for name, kind, about in components():
        text = f"vae+{name}" if kind.startswith("strategy") else name
        assert about and arm(text).name == text


def test_trees_take_the_arms_that_mean_something_to_them():
    suited = {name for name in FULL if arm(name).suits("cart-pca")}
    added = {"duplicate", "copies:randaugment", "smote", "latent-smote", "model"}
    assert suited == {"real", "oversample", "class-weights", *added}
    assert all(arm(name).suits("cnn") and arm(name).suits("cart-cnn") for name in FULL)
    assert arm("vae+real-last").suits("cart-pca")  # which sees all images
    assert arm("vae+weight").suits("cart-pixels") and not arm("vae+decay").suits("cart-pixels")


@pytest.mark.parametrize(
    ("text", "transform"),
    [("copies", "randaugment"), ("copies:erasing", "erasing"), ("copies:noise:blur+oversample", "noise:blur")],
)
def test_copies_name_their_transform(text, transform):
    spec = arm(text, default=Usage.parse("partial+teacher"))
    assert (spec.adds, spec.transform, spec.family, spec.generator) == ("copies", transform, "classical", None)
    assert str(spec.usage) == "partial" and spec.suits("cart-pca") and spec.suits("cnn")


def test_a_prior_by_origin_needs_two_origins():
    spec = arm("vae+balanced-softmax:prior=origin")
    assert (spec.learning.imbalance, spec.learning.prior) == ("balanced-softmax", "origin")
    assert arm("vae+balanced-softmax").learning.prior == "mixture"
    with pytest.raises(UsageError, match="adds no images, so all have one origin"):
        arm("balanced-softmax:prior=origin")
    with pytest.raises(ConfigError, match="Did you mean 'origin'"):
        arm("vae+balanced-softmax:prior=orign")
    with pytest.raises(UsageError, match="Did you mean 'prior'"):
        arm("vae+balanced-softmax:priors=origin")


def test_an_arm_held_against_itself_is_judged_and_brings_no_other_arm():
    spec = arm("balanced-softmax:again")
    assert (spec.name, spec.again, spec.family) == ("balanced-softmax:again", True, "generative")
    assert spec.learning == arm("balanced-softmax").learning
    both = ("balanced-softmax", "balanced-softmax:again")
    assert arms_of(both, None, "vae") == both


@pytest.fixture
def real():
    labels = torch.tensor([0] * 5 + [1] * 2)
    return LabelledImages(torch.arange(7, dtype=torch.uint8)[:, None, None, None].repeat(1, 1, 8, 8), labels)


def test_duplicates_are_copies_in_exact_numbers_spread_evenly(real):
    added = duplicates(real, (0, 7, 3), seed=1)
    assert added.counts(3) == (0, 7, 0)  # nothing to copy in class 2
    assert torch.equal(added.images, real.images[added.parents])
    assert sorted(added.parents.bincount(minlength=7).tolist()[5:]) == [3, 4]
    assert [row["parent"] for row in added.rows] == added.parents.tolist()


def test_an_arm_knows_which_of_its_images_were_added(real):
    added = duplicates(real, (0, 3), seed=1)
    built = Arm("duplicate", real, Learning("oversample"), LabelledImages(added.images, added.labels))
    assert Arm("real", real).train is real and not Arm("real", real).synthetic.any()
    assert built.synthetic.tolist() == [False] * 7 + [True] * 3
    assert built.train.labels.tolist() == [0] * 5 + [1] * 5
