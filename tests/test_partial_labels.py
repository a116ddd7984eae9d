"""Few labels: the autoencoders' terms and priors, batches and validation; and the autoencoders' layers."""

import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from augment import registry
from augment.datasets import ImageSet, LabelledImages
from augment.errors import ConfigError, DataError
from augment.generator import UNLABELLED, ImageSpec, Tags, evaluating
from augment.testing import Subject
from augment.training import fit
from augment.training.batches import Batches, per_class_sample
from augment.training.processes import Processes
from augment.training.validation import MAX_IMAGES, Validation

MODELS = ("ae", "vae", "dvae", "vqvae")
TINY = ImageSpec(1, 8, 8, 3)
BOTH = {"supervision": 0.5, "decorrelation": 2.0}
CPU = torch.device("cpu")


def sibling(name):
    """A private module beside the plugins."""
    package = registry.get("vae").__module__.rpartition(".")[0]
    return sys.modules[f"{package}.{name}"]


@pytest.fixture(scope="module")
def classes():
    registry.get("vae")
    return sibling("_autoencoders")


def make(name, **options):
    return Subject(registry.get(name), TINY, options).create()


def images(n=6):
    return torch.rand(n, *TINY.shape, generator=torch.Generator().manual_seed(0))


def data(*labels):
    return LabelledImages((255 * images(len(labels))).to(torch.uint8), torch.tensor(labels))


def latents(n=8, d=5, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


# Terms


def test_cross_entropy_is_that_of_the_labelled_images(classes):
    logits, labels = latents(d=3), torch.tensor([0, -1, 2, 2, -1, 1, -1, 0])
    known = labels >= 0
    torch.testing.assert_close(classes.cross_entropy(logits, labels), F.cross_entropy(logits[known], labels[known]))


def projection_by_loops(z, labels):
    """The definition, pair by pair."""
    z, labels = np.asarray(z, dtype=float), np.asarray(labels)
    z, labels = z[labels >= 0], labels[labels >= 0]
    z = z - z.mean(0)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    pairs = [(z[i] @ z[j], labels[i] == labels[j]) for i in range(len(z)) for j in range(len(z)) if i != j]
    return np.mean([1 - cos for cos, same in pairs if same]) + np.mean([cos**2 for cos, same in pairs if not same])


def test_orthogonal_projection_follows_its_definition(classes):
    labels = torch.tensor([0, -1, 2, 2, -1, 1, 0, 0])
    found = classes.orthogonal_projection(latents(), labels)
    assert float(found) == pytest.approx(projection_by_loops(latents(), labels), rel=1e-5)


def test_orthogonal_projection_of_classes_that_are_apart(classes):
    corners = torch.eye(4)[[0, 0, 1, 2, 3, 3]]  # seen from their centre, cos = -1/3 between any two of four corners
    found = classes.orthogonal_projection(corners[[0, 2, 3, 4]].repeat(2, 1), torch.tensor([0, 1, 2, 3] * 2))
    assert float(found) == pytest.approx(1 / 9, abs=1e-6)


@pytest.mark.parametrize("labels", [[-1] * 4, [1] * 4, [-1, -1, 2, -1], [0, 1, 1, -1]])
def test_batches_with_few_labels_give_no_nan(classes, labels):
    z = torch.ones(4, 3, requires_grad=True)  # all in one place: no direction at all
    labels = torch.tensor(labels)
    terms = classes.cross_entropy(z, labels), classes.orthogonal_projection(z, labels)
    sum(terms).backward()
    entropy, projection = (term.item() for term in terms)
    assert np.isfinite(projection) and torch.isfinite(z.grad).all()
    assert entropy == pytest.approx(np.log(3) * bool((labels >= 0).any()))
    if len(labels[labels >= 0].unique()) < 2:
        assert projection == 0.0


@pytest.mark.parametrize("model", MODELS)
def test_terms_enter_the_loss_by_their_weights(model):
    labels = torch.tensor([0, 1, 2, -1, 0, 1])
    with_, without = make(model, **BOTH), make(model)
    missing = with_.load_state_dict(without.state_dict(), strict=False).missing_keys
    assert missing == ["latent_classes.classifier.weight", "latent_classes.classifier.bias"]
    terms, plain = {}, {}
    for found, generator in ((terms, with_), (plain, without)):
        torch.manual_seed(3)
        found.update(generator.eval().loss(images(), labels))
    assert set(terms) - set(plain) == {"supervision", "decorrelation"}
    total = plain["loss"] + 0.5 * terms["supervision"] + 2.0 * terms["decorrelation"]
    torch.testing.assert_close(terms["loss"], total)


@pytest.mark.parametrize("model", MODELS)
def test_weights_of_0_change_nothing(model, classes, monkeypatch):
    def trained():
        generator, toys = make(model), Subject(registry.get(model), TINY).toys(5, 3, 2)
        fit(generator, toys, toys, seed=1, device="cpu", precision="fp32", steps=4)
        return generator.state_dict()

    found = trained()
    monkeypatch.setattr(classes.LatentClasses, "__init__", lambda self, *how: torch.nn.Module.__init__(self))
    monkeypatch.setattr(classes.LatentClasses, "add_to", lambda self, terms, z, labels: terms)
    expected = trained()
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_decorrelation_turns_the_latents():
    subject = Subject(registry.get("ae"), TINY, {"decorrelation": 1.0})
    generator = subject.create().train()
    optimizer = torch.optim.Adam(generator.parameters(), 0.01)
    left = [float(generator.training_step(subject.images, subject.labels, [optimizer])["decorrelation"])]
    for _ in range(40):
        left.append(float(generator.training_step(subject.images, subject.labels, [optimizer])["decorrelation"]))
    assert left[0] > 0.4 and left[-1] == pytest.approx(1 / 4, abs=0.02)  # cos = -1/2 between three corners


@pytest.mark.parametrize("options", [{"supervision": 0.1}, {"decorrelation": 0.1}])
def test_the_tag_follows_the_options(options):
    for model in MODELS:
        assert not make(model).tags.semi_supervised
        assert make(model, **options).tags == Tags(True, True, True, semi_supervised=True)
    assert not make("vae", conditional=False, prior="normal", **options).tags.conditional
    with pytest.raises(ConfigError, match="supervision"):
        make("ae", supervision=-1)


# Images without a class, where one is looked for


def test_the_decoder_sees_the_withheld_class(classes):
    labels = torch.tensor([2, -1, 0])
    assert classes.one_hot(labels, 3).tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]
    generator = make("vae", **BOTH).eval()
    seen = []
    generator.expand.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0][:, -3:]))
    generator.loss(images(3), labels)
    generator.decode(latents(3, 4))
    assert seen[0].tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]] and not seen[1].any()


def test_the_mixture_prior_fits_classes_to_their_labelled_images(classes):
    prior = sibling("ae").MixturePrior(2, 3, 2)
    z = latents(2000, 2)
    z[1000:] += 10
    labels = torch.full((2000,), UNLABELLED)
    labels[:300], labels[1990:] = 0, 1
    prior.fit(z, torch.zeros_like(z), labels)
    drawn = [prior.sample(torch.full((4000,), k), torch.Generator().manual_seed(0)) for k in range(3)]
    torch.testing.assert_close(drawn[0].mean(0), z[:300].mean(0), atol=0.1, rtol=0)
    torch.testing.assert_close(drawn[1].mean(0), z[1990:].mean(0), atol=0.3, rtol=0)
    assert float(drawn[1].std(0).max()) < 2  # two dimensions, 308 labels: next to nothing of the covariance of all
    torch.testing.assert_close(drawn[2].mean(0), z.mean(0), atol=0.3, rtol=0)
    torch.testing.assert_close(drawn[2].T.cov(), z.T.cov(), atol=2.0, rtol=0)


def test_the_mixture_prior_leans_on_images_without_a_label(classes):
    prior, z = sibling("ae").MixturePrior(4, 2, 1), latents(302, 4)
    for rows, spread in ((302, 1.0), (2, 0.01)):  # one image in each class: nothing varies within the classes
        prior.fit(z[:rows], torch.zeros(rows, 4), torch.tensor([0, 1, *[UNLABELLED] * 300])[:rows])
        drawn = prior.sample(torch.zeros(3000, dtype=torch.int64), torch.Generator().manual_seed(0))
        assert float((drawn - z[0]).std()) == pytest.approx(spread, rel=0.15)


@pytest.mark.parametrize("model", MODELS)
def test_no_label_at_all_leaves_samples_of_one_kind(model):
    generator = make(model, **BOTH)
    fit(generator, data(*[UNLABELLED] * 12), None, seed=0, device="cpu", precision="fp32")
    first, last = (
        generator.sample(4, torch.full((4,), label), rng=torch.Generator().manual_seed(0)) for label in (0, 2)
    )
    assert torch.isfinite(first).all() and torch.equal(first, last)


def test_labels_of_images_and_of_data_sets():
    part = data(2, -1, 2, -1, 0)
    assert part.counts(3) == (1, 0, 2) and part.subset([1]).labels.tolist() == [UNLABELLED]
    with pytest.raises(DataError, match="2 images of the training part have no label"):
        ImageSet("x", part, data(0, 1), ("a", "b", "c"))
    with pytest.raises(DataError, match="test part"):
        ImageSet("x", data(0, 1), part, ("a", "b", "c"))


def test_only_a_generator_for_few_labels_is_trained_on_them():
    with pytest.raises(DataError, match="training images without a label"):
        fit(make("vae"), data(0, -1, 2), None, seed=0, device="cpu")
    with pytest.raises(DataError, match="validation images without a label"):
        fit(make("vae"), data(0, 1, 2), data(0, -1), seed=0, device="cpu")
    result = fit(make("vae", **BOTH), data(0, -1, 2), data(-1, -1), seed=0, device="cpu", precision="fp32")
    assert np.isfinite(result.best_validation_loss)


# Batches


def batches(labels, **how):
    part = LabelledImages(torch.zeros(len(labels), 1, 8, 8, dtype=torch.uint8), torch.as_tensor(labels))
    alone = Processes(0, 1, CPU)
    return Batches(part, **{"batch_size": 6, "seed": 1, "class_balanced": False, "processes": alone, **how})


PARTIAL = torch.tensor([0] * 30 + [-1] * 20 + [2] * 3 + [-1] * 7)


@pytest.mark.parametrize("size", [1, 5, 6])
def test_half_of_a_batch_has_no_label_and_takes_its_turn(size):
    seen = [batches(PARTIAL, batch_size=size).indices(step) for step in range(27 * 6)]
    unlabelled = [PARTIAL[rows] == UNLABELLED for rows in seen]
    assert {int(rows.sum()) for rows in unlabelled} == {size - size // 2}
    counts = torch.bincount(torch.cat(seen), minlength=60)[PARTIAL == UNLABELLED]
    assert counts.tolist() == [6 * (size - size // 2)] * 27


@pytest.mark.parametrize("class_balanced", [False, True])
def test_the_labelled_half_is_drawn_by_class(class_balanced):
    draw = batches(PARTIAL, batch_size=200, class_balanced=class_balanced)
    rows = torch.cat([draw.indices(step) for step in range(40)])
    rows = rows[PARTIAL[rows] != UNLABELLED]
    assert float((PARTIAL[rows] == 2).float().mean()) == pytest.approx(0.5, abs=0.03)
    assert len(rows.unique()) == 33


def test_a_step_of_partial_labels_needs_no_state_and_is_shared_out_evenly():
    draw = batches(PARTIAL)
    joint = [draw.indices(step) for step in range(12)]
    assert torch.equal(batches(PARTIAL).indices(11), joint[11])
    assert torch.equal(draw.indices(2), joint[2]) and not torch.equal(joint[2], joint[3])
    for rank in (0, 1):
        labels = batches(PARTIAL, processes=Processes(rank, 2, CPU))(4)[1]
        assert 1 <= int((labels == UNLABELLED).sum()) <= 2 and len(labels) == 3


@pytest.mark.parametrize("class_balanced", [False, True])
def test_images_without_any_label_come_in_turn(class_balanced):
    draw = batches([UNLABELLED] * 10, batch_size=4, class_balanced=class_balanced)
    assert torch.cat([draw.indices(step) for step in range(5)]).bincount().tolist() == [2] * 10


def test_samples_for_a_prior_count_no_label_as_no_class():
    labels = torch.tensor([0] * 50 + [2] * 3 + [-1] * 200)
    chosen = labels[per_class_sample(labels, per_class=40, total=60, seed=0)]
    assert torch.bincount(chosen + 1).tolist() == [30, 30, 0, 3]
    assert len(per_class_sample(labels[53:], per_class=40, total=60, seed=0)) == 40


@pytest.mark.parametrize(
    "labelled, plain, expected", [(40, 5000, 40), (900, 5000, 256), (900, 100, 412), (900, 0, 512)]
)
def test_validation_keeps_few_labels_in_sight(labelled, plain, expected):
    part = data(*[1] * labelled, *[UNLABELLED] * plain)
    shown = Validation(part, seed=0, device=CPU)._labels
    assert int((shown == 1).sum()) == expected and len(shown) == MAX_IMAGES


# Layers


@pytest.mark.parametrize("model", MODELS)
def test_layers_come_out_of_one_pass(model):
    generator = make(model)
    names = ("stem", "encoder", "vectors", "codes") if model == "vqvae" else ("stem", "encoder", "latent")
    assert generator.layers == names
    passes = []
    generator.encoder.stem.register_forward_hook(lambda *call: passes.append(call))
    wanted = [*names, f"{names[-1]},stem"]
    with evaluating(generator):
        found = generator.encode_layers(images(), wanted)
        assert len(passes) == 1
        for name, features in zip(wanted, found, strict=True):
            assert torch.equal(generator.encode(images(), layer=name), features)
        assert torch.equal(found[-1], torch.cat([found[-2], found[0]], dim=1))
        default = generator.encode(images())
        assert torch.equal(default, found[2]) and generator.decode(default).shape == images().shape
        with pytest.raises(ConfigError, match="Did you mean 'encoder'"):
            generator.encode(images(), layer="encodr")


def test_feature_maps_are_averaged_and_codes_are_rounded():
    generator = make("vqvae", codes=5)
    with evaluating(generator):
        maps = generator.encoder(images())
        torch.testing.assert_close(generator.encode(images(), layer="encoder", pool=1), maps.mean((2, 3)))
        assert generator.encode(images(), layer="encoder", pool=2).shape == (6, 4 * maps.shape[1])
        codes = generator.encode(images(), layer="codes").unflatten(1, (-1, generator.config.code_dim))
        distances = torch.cdist(codes.flatten(0, 1), generator.codebook.vectors)
        torch.testing.assert_close(distances.min(1).values, torch.zeros(len(distances)), atol=1e-3, rtol=0)
        assert torch.equal(generator.decode(codes.flatten(1)), generator.reconstruct(images()))
