"""What the conformance kit does not cover of CLIP guidance: captions, the small CLIP, gradients, pretrained weights."""

import json
import math
import shutil
import sys

import huggingface_hub
import open_clip
import pytest
import torch
from open_clip.loss import ClipLoss
from open_clip.tokenizer import tokenize
from safetensors.torch import save_file
from torch.nn import functional as F

from augment import registry
from augment.datasets import load_dataset
from augment.errors import ConfigError, DataError, MissingDataError
from augment.generator import ImageSpec, draw
from augment.metrics.extractors import load_extractor
from augment.training import fit

pytestmark = pytest.mark.libraries

NAMES = ("T-shirt", "ankle_boot", "bag")
TINY = ImageSpec(1, 8, 8, 3, NAMES)
SMALL = {"channels": (8, 16), "sampling_steps": 3, "clip_width": 2}
LABELS = torch.tensor([0, 1, 2, 2])


def sibling(name):
    """A private module beside the plugins, without naming the package twice."""
    package = registry.get("clip_guided").__module__.rpartition(".")[0]
    return sys.modules[f"{package}.{name}"]


def make(spec=TINY, **options):
    torch.manual_seed(0)
    return registry.create("clip_guided", spec, {**SMALL, **options}).eval()


def captions_of(spec=TINY, **options):
    config = registry.get("clip_guided").Config.parse(options)
    return sibling("clip_guided").class_captions(config.captions, spec)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def images_of(spec=TINY, n=4):
    return torch.rand(n, *spec.shape, generator=rng())


# Captions


def test_without_captions_templates_speak_the_class_names():
    captions = captions_of()
    assert captions[0][0] == "a photo of a T-shirt" and captions[1][0] == "a photo of a ankle boot"
    assert len({len(texts) for texts in captions}) == 1 and len(captions[0]) > 1
    assert captions_of(ImageSpec(1, 8, 8, 2))[1][0] == "a photo of a class 1"


@pytest.mark.parametrize(
    "given",
    [
        ["a shirt", "a boot", "a bag"],
        [["a shirt"], "a boot", ["a bag"]],
        {"bag": "a bag", "T-shirt": ["a shirt"], "ankle_boot": "a boot"},
        {"0": "a shirt", "1": "a boot", "2": "a bag"},
    ],
)
def test_captions_in_any_form_are_the_same_captions(given, tmp_path):
    expected = (("a shirt",), ("a boot",), ("a bag",))
    file = tmp_path / "captions.json"
    file.write_text(json.dumps(given))
    assert captions_of(captions=given) == captions_of(captions=str(file)) == expected


def test_a_text_file_has_a_caption_per_line_and_a_template_one_per_class(tmp_path):
    file = tmp_path / "captions.txt"
    file.write_text("a shirt\n\na boot\n  a bag\n")
    assert captions_of(captions=str(file)) == (("a shirt",), ("a boot",), ("a bag",))
    assert captions_of(captions="one {class}, grey") == tuple(
        (f"one {name}, grey",) for name in ("T-shirt", "ankle boot", "bag")
    )


def test_the_captions_are_saved_and_not_their_path(tmp_path):
    file = tmp_path / "captions.json"
    file.write_text(json.dumps({"T-shirt": ["a shirt", "a top"], "ankle_boot": "a boot", "bag": "a bag"}))
    generator = make(captions=str(file))
    file.unlink()
    generator.save(tmp_path / "saved")
    again = registry.load_generator(tmp_path / "saved")
    assert again.config == generator.config
    assert again.config.captions["T-shirt"] == ("a shirt", "a top")
    with torch.no_grad():
        assert torch.equal(again.condition(LABELS), generator.condition(LABELS))


@pytest.mark.parametrize(
    "given, message",
    [
        (["a shirt", "a bag"], "2 entries for 3 classes.*T-shirt, ankle_boot, bag"),
        ({"T-shirt": "a", "bag": "b", "boots": "c"}, r"ankle_boot.*boots.*no classes"),
        (["a shirt", "A  Shirt", "a bag"], "'T-shirt' and 'ankle_boot' have the same caption"),
        (["a shirt", "", "a bag"], "not a caption"),
        (["a shirt", [], "a bag"], "not a caption"),
        (3, "template with {class}"),
        ("no/such/file.txt", "no/such/file.txt.*one caption per line"),
        ("a photo without a place for the class", "{class}"),
    ],
)
def test_captions_that_do_not_fit_say_what_to_write(given, message):
    with pytest.raises(ConfigError, match=message):
        captions_of(captions=given)


# The small CLIP


def test_the_small_vocabulary_reads_as_the_whole_one():
    clip = make(captions=["a shirt!", "a very long boot", "bag"]).clip
    texts = ["a shirt!", "a very long boot", "bag"]
    whole = tokenize(texts)[:, : clip.tokens.shape[2]]
    towers = clip.towers
    mine = clip.tokens[:, 0]
    weights = torch.zeros(49408, towers.token_embedding.weight.shape[1])
    with torch.no_grad():
        weights[whole.flatten()] = towers.token_embedding.weight[mine.flatten()]
        small = clip.text_embeddings(mine)
        towers.token_embedding = torch.nn.Embedding.from_pretrained(weights)
        torch.testing.assert_close(clip.text_embeddings(whole), small)


def test_class_embeddings_are_means_over_captions():
    clip = make(captions=[["a shirt", "a top"], ["a boot", "a boot"], ["a bag"]]).clip
    with torch.no_grad():
        embeddings, single = clip.class_embeddings(), clip.text_embeddings(clip.tokens.flatten(0, 1))
    torch.testing.assert_close(embeddings[0], F.normalize(single[0] + single[1], dim=0))
    torch.testing.assert_close(embeddings[2], single[4])


def test_with_one_image_per_class_the_contrast_is_that_of_clip():
    logits = torch.randn(3, 3, generator=rng())
    labels = torch.tensor([2, 0, 1])
    paired = logits[:, labels]  # column i is the caption of image i
    eye = torch.eye(3)
    expected = ClipLoss()(paired, eye, logit_scale=torch.tensor(1.0))
    torch.testing.assert_close(sibling("_clip").unified_contrast(logits, labels), expected)


def test_images_of_one_class_are_all_positives_of_its_caption():
    labels = torch.tensor([0, 0, 0, 2])
    logits = 50 * F.one_hot(labels, 3).float()
    by_caption = (math.log(3) + 0) / 2  # three positives share caption 0; no image asks for caption 1
    assert float(sibling("_clip").unified_contrast(logits, labels)) == pytest.approx(by_caption / 2, abs=1e-5)


@pytest.mark.parametrize("spec", [ImageSpec(2, 9, 13, 2), ImageSpec(3, 64, 64, 2), ImageSpec(1, 8, 8, 1)])
def test_any_channels_sizes_and_a_batch_of_one_image(spec):
    generator = make(spec).train()
    terms = generator.loss_terms(images_of(spec, 1), torch.zeros(1, dtype=torch.int64))
    assert all(torch.isfinite(term) for term in terms.values())
    generator.eval()
    assert torch.isfinite(generator.sample(2, torch.zeros(2, dtype=torch.int64), rng=rng())).all()


# Training


def test_neither_loss_reaches_the_other_half():
    generator = make().train()
    terms = generator.loss_terms(images_of(), LABELS)
    torch.testing.assert_close(terms["loss"], terms["diffusion"] + terms["contrastive"])
    terms["diffusion"].backward(retain_graph=True)
    assert all(p.grad is None for p in generator.clip.parameters())
    assert generator.from_text.weight.grad.abs().sum() > 0
    generator.zero_grad()
    terms["contrastive"].backward()
    assert {name.partition(".")[0] for name, p in generator.named_parameters() if p.grad is not None} == {"clip"}


def test_the_best_weights_are_those_of_the_best_diffusion():
    terms = make().loss_terms(images_of(), LABELS)
    assert set(terms) == {"loss", "contrastive"}
    torch.manual_seed(0)
    generator = make()
    torch.manual_seed(1)
    total = generator.loss_terms(images_of(), LABELS)["loss"]
    torch.manual_seed(1)
    torch.testing.assert_close(total, generator.loss(images_of(), LABELS))


def test_the_small_clip_has_a_learning_rate_of_its_own():
    unet, clip = make(lr=1e-4, clip_lr=5e-3).configure_optimizers()
    assert (unet.defaults["lr"], clip.defaults["lr"]) == (1e-4, 5e-3)


# Conditioning and guidance


def test_the_null_class_is_a_learned_vector_and_captions_tell_classes_apart():
    generator = make()
    with torch.no_grad():
        generator.no_text.fill_(7.0)
        rows = generator.condition(torch.tensor([0, 3, 1]))
    assert torch.equal(rows[1], torch.full_like(rows[1], 7.0))
    assert (rows[0] - rows[2]).abs().mean() > 0.1  # also of an untrained CLIP, whose captions are nearly alike


class Linear:
    """A judge whose gradients one can write down: logits are weights times pixels."""

    def __init__(self, weights):
        self.weights = weights

    def image_embeddings(self, images):
        return images.flatten(1)

    def class_embeddings(self):
        return self.weights

    def scale(self):
        return torch.tensor(1.0)


def guided(objective, gradient, scale=0.3):
    """A generator with a linear network, so that x0 = (signal - noise / 2) x_t, and a linear judge."""
    generator = make(clip_objective=objective, clip_gradient=gradient, clip_scale=scale, prediction="v")
    generator.clip = None
    del generator.clip
    object.__setattr__(generator, "clip", Linear(torch.randn(3, 64, generator=rng(1)) / 8))
    generator._network = lambda x_t, t, condition: x_t / 2
    generator.condition = lambda labels: None
    return generator


@pytest.mark.parametrize("objective", ["log_softmax", "similarity"])
@pytest.mark.parametrize("gradient", ["image", "network"])
def test_the_clean_image_moves_by_variance_times_gradient(objective, gradient):
    generator = guided(objective, gradient)
    x_t, t = 0.2 * torch.randn(4, 1, 8, 8, generator=rng(2)), torch.tensor([100, 300, 500, 700])
    signal, noise = generator.diffusion.scales(t)
    slope = signal - noise / 2
    x_0, weights = slope * x_t, generator.clip.weights
    slopes = weights[LABELS]
    if objective == "log_softmax":
        slopes = slopes - (((x_0 + 1) / 2).flatten(1) @ weights.T).softmax(1) @ weights
    variance = noise**2 if gradient == "image" else noise**2 / signal * slope
    expected = (x_0 + 0.3 * variance * slopes.view_as(x_0) / 2).clamp(-1, 1)
    with torch.no_grad():
        torch.testing.assert_close(generator.predict(x_t, t, LABELS), expected)


def test_guidance_leaves_no_trace_and_works_where_gradients_are_off():
    generator = make(clip_scale=2.0)
    wanted = [p.requires_grad for p in generator.parameters()]
    with torch.inference_mode():
        inside = generator.sample(4, LABELS, rng=rng())
    plain = generator.sample(4, LABELS, rng=rng())
    assert torch.equal(inside.clone(), plain) and not plain.requires_grad
    assert [p.requires_grad for p in generator.parameters()] == wanted
    assert all(p.grad is None for p in generator.parameters())


def test_what_the_labels_reach():
    assert make(clip_scale=0).tags.conditional
    assert make(conditional=False).tags.conditional
    assert not make(conditional=False, clip_scale=0).tags.conditional
    generator = make(conditional=False, clip_scale=50.0)
    one, other = (generator.sample(4, torch.full((4,), label), rng=rng()) for label in (0, 1))
    assert not torch.equal(one, other)


def test_features_are_of_clip_and_of_the_unet():
    generator, images = make(), images_of()
    assert generator.layers == ("down0", "down1", "mid", "up0", "up1", "clip")
    passes = []
    generator.unet.register_forward_pre_hook(lambda *_: passes.append(1))
    with torch.no_grad():
        z = generator.encode(images)
        torch.testing.assert_close(z.norm(dim=1), torch.ones(4))
        assert not passes  # CLIP alone
        unet, both = generator.encode_layers(images, ["mid", "clip,mid"], t=300)
        assert len(passes) == 1 and torch.equal(both, torch.cat([z, unet], dim=1))
        assert torch.equal(unet, generator.encode(images, layer="mid", t=300))
    for layer in ("clip", "mid"):
        with pytest.raises(ConfigError, match=r"0\.\.999"):
            generator.encode(images, layer=layer, t=1000)


@pytest.fixture(scope="module")
def digits():
    """A diffusion model of digits that knows no classes, with a CLIP that does."""
    data = load_dataset("digits")
    torch.manual_seed(0)
    options = {"steps": 110, "batch_size": 32, "lr": 3e-3, "ema_decay": 0.98, "sampling_steps": 6}
    generator = registry.create("clip_guided", data.spec, {**options, "channels": (16, 32), "conditional": False})
    fit(generator, data.train, None, seed=0, device="cpu", precision="fp32")
    return generator


@pytest.mark.parametrize("objective", ["log_softmax", "similarity"])
def test_guidance_makes_images_what_their_captions_say(digits, objective):
    judge, labels = load_extractor("digits", 1), torch.arange(150) % 10
    consistency = []
    for scale in (0.0, 1.0, 10.0):
        digits.config = digits.config.model_copy(update={"clip_scale": scale, "clip_objective": objective})
        images = (torch.cat(list(draw(digits, labels, seed=0))) * 255).round().to(torch.uint8)
        consistency.append(float((judge.probabilities(images).argmax(1) == labels).float().mean()))
    assert consistency[0] < 0.15  # chance: the U-Net is told nothing
    assert consistency[1] > consistency[0] + 0.05 and consistency[2] > consistency[1] + 0.08


# Pretrained weights


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A CLIP as open_clip's ``local-dir:`` reads it, tiny and random."""
    return write_clip(tmp_path_factory.mktemp("clip"), seed=0)


ARCHITECTURE = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


def write_clip(path, seed):
    torch.manual_seed(seed)
    model = open_clip.CLIP(**ARCHITECTURE)
    settings = {"mean": [0.2, 0.3, 0.4], "std": [0.5, 0.6, 0.7]}
    (path / "open_clip_config.json").write_text(json.dumps({"model_cfg": ARCHITECTURE, "preprocess_cfg": settings}))
    save_file(model.state_dict(), path / "open_clip_model.safetensors")
    return path


def test_a_local_folder_gives_the_embeddings_of_open_clip(folder):
    generator, images = make(clip=f"local-dir:{folder}"), images_of(ImageSpec(3, 16, 16, 3))
    model = open_clip.create_model(f"local-dir:{folder}").eval()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in ([0.2, 0.3, 0.4], [0.5, 0.6, 0.7]))
    with torch.no_grad():
        expected = F.normalize(model.encode_image((images - mean) / std), dim=-1)
        torch.testing.assert_close(generator.encode(images), expected)
        texts = F.normalize(model.encode_text(tokenize(list(captions_of()[1]))), dim=-1)
        torch.testing.assert_close(generator.clip.class_embeddings()[1], F.normalize(texts.mean(0), dim=-1))


def test_a_pretrained_clip_is_frozen_guides_and_is_not_saved(folder, tmp_path):
    generator = make(clip=f"local-dir:{folder}", clip_scale=20.0)
    assert not any("visual" in name for name in generator.state_dict())
    assert set(generator.train().loss_terms(images_of(), LABELS)) == {"loss"}
    generator.eval().save(tmp_path)
    again = registry.load_generator(tmp_path)
    images = generator.sample(4, LABELS, rng=rng())
    assert torch.equal(again.sample(4, LABELS, rng=rng()), images)
    generator.config = generator.config.model_copy(update={"clip_scale": 0.0})
    assert not torch.equal(generator.sample(4, LABELS, rng=rng()), images)


def test_loading_with_other_weights_or_none_says_so(folder, tmp_path):
    theirs = tmp_path / "clip"
    shutil.copytree(folder, theirs)
    make(clip=f"local-dir:{theirs}").save(tmp_path / "saved")
    write_clip(theirs, seed=1)
    with pytest.raises(DataError, match="hash"):
        registry.load_generator(tmp_path / "saved")
    shutil.rmtree(theirs)
    with pytest.raises(MissingDataError, match="clip=small") as missing:
        registry.load_generator(tmp_path / "saved")
    assert missing.value.exit_code == 4


def test_an_architecture_with_a_file(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", ARCHITECTURE)
    file = folder / "open_clip_model.safetensors"
    assert make(clip="tiny", clip_weights=str(file)).clip.sha256 == make(clip=f"local-dir:{folder}").clip.sha256
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(MissingDataError, match="clip=small"):
        make(clip="tiny", clip_weights=str(broken))


def test_weights_that_are_missing_offline_say_what_would_work(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        MissingDataError, match=r"ViT-B-32 with clip_weights=laion2b_s34b_b79k.*clip=small.*local-dir:"
    ) as error:
        make(clip="ViT-B-32", clip_weights="laion2b_s34b_b79k")
    assert error.value.exit_code == 4


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"clip": "ViT-B32"}, ConfigError, "ViT-B-32"),
        ({"clip": "ViT-B-32"}, ConfigError, "laion2b_s34b_b79k"),
        ({"clip": "ViT-B-32", "clip_weights": "laion3b"}, ConfigError, "laion2b_s34b_b79k"),
        ({"clip": "ViT-B-32", "clip_weights": "no/such/file.pt"}, MissingDataError, "neither a file.*clip=small"),
        ({"clip": "local-dir:no/such/folder"}, MissingDataError, "open_clip_config.json.*clip=small"),
        ({"clip_weights": "laion2b_s34b_b79k"}, ConfigError, "clip=small takes no clip_weights"),
    ],
)
def test_names_that_do_not_exist(options, error, message):
    with pytest.raises(error, match=message):
        make(**options)
