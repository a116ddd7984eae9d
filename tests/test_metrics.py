"""Extractors: shipped, tampered with, trained and cached, any size, and Inception by its file."""

import shutil

import pytest
import torch

from augment.datasets import load_dataset
from augment.errors import DataError, MissingDataError
from augment.metrics import extractor as extractor_module
from augment.metrics import extractors, network
from augment.metrics.extractors import SHIPPED, WEIGHTS, load_extractor, planned_updates, read_extractor
from augment.metrics.network import DomainNetwork, train_network
from augment.storage.hashing import file_hash


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AUGMENT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture
def quick(monkeypatch):
    """A few updates in fp32 instead of the full budget."""
    monkeypatch.setattr("augment.compute.device.choose_precision", lambda *_: "fp32")
    monkeypatch.setattr(extractors, "MOST_UPDATES", 4)
    monkeypatch.setattr(extractors, "FEWEST_UPDATES", 4)


def pool(n=40, shape=(3, 12, 12), classes=4, seed=0):
    rng = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, *shape), generator=rng, dtype=torch.uint8)
    return {"images": images, "labels": torch.arange(n) % classes, "num_classes": classes}


def test_four_sets_ship_with_their_weights():
    assert set(SHIPPED) == {"digits", "mnist", "fashionmnist", "cifar10"}
    assert {file.stem for file in WEIGHTS.glob("*.safetensors")} == set(SHIPPED)


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_shipped_extractors_are_small_unchanged_and_work(name):
    channels, side = (3, 32) if name == "cifar10" else (1, 8 if name == "digits" else 28)
    assert (WEIGHTS / f"{name}.safetensors").stat().st_size < 1_000_000
    extractor = load_extractor(name, channels)
    images = pool(6, (channels, side, side))["images"]
    features, probabilities = extractor.features(images), extractor.probabilities(images)
    assert (extractor.name, extractor.sha256, extractor.dim) == (name, SHIPPED[name], 64)
    assert (features.shape, features.dtype) == ((6, 64), torch.float32)
    assert torch.allclose(probabilities.sum(dim=1), torch.ones(6), atol=1e-5)
    assert probabilities.shape == (6, 10)


def test_the_digits_extractor_knows_digits():
    digits = load_dataset("digits").test
    predicted = load_extractor("digits", 1).probabilities(digits.images).argmax(dim=1)
    assert (predicted == digits.labels).double().mean() > 0.95


def test_features_do_not_depend_on_batch_mates(monkeypatch):
    extractor = load_extractor("mnist", 1)
    images = pool(7, (1, 28, 28))["images"]
    whole = extractor.features(images)
    monkeypatch.setattr(extractor_module, "CHUNK", 2)
    assert torch.allclose(extractor.features(images), whole, atol=1e-5)


def test_a_tampered_file_is_refused(tmp_path, monkeypatch):
    file = tmp_path / "digits.safetensors"
    shutil.copy(WEIGHTS / "digits.safetensors", file)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    monkeypatch.setattr(extractors, "WEIGHTS", tmp_path)
    with pytest.raises(DataError, match="changed or damaged"):
        load_extractor("digits", 1)
    file.unlink()
    with pytest.raises(DataError, match="missing from the installation"):
        load_extractor("digits", 1)


def test_a_file_that_is_no_extractor_is_refused(tmp_path):
    from safetensors.torch import save_file

    file = tmp_path / "x.safetensors"
    for content in (b"", b"not safetensors at all", (WEIGHTS / "mnist.safetensors").read_bytes()[:1000]):
        file.write_bytes(content)
        with pytest.raises(DataError, match="not an extractor"):
            read_extractor(file, "x")
    save_file({"a": torch.zeros(2)}, file)
    with pytest.raises(DataError, match="not an extractor"):
        read_extractor(file, "x")


def test_another_set_trains_one_and_caches_it(quick, tmp_path, monkeypatch):
    first = load_extractor("my/folder of things", 3, **pool(shape=(3, 32, 32)))
    assert first.name.startswith("folder of things-trained-")
    assert len(list((tmp_path / "home" / "extractors").glob("*/extractor.safetensors"))) == 1
    monkeypatch.setattr(extractors, "train_network", None)  # would fail if it were called again
    again = load_extractor("my/folder of things", 3, **pool(shape=(3, 32, 32)))
    assert again.sha256 == first.sha256
    images = pool(shape=(3, 32, 32), seed=9)["images"]
    assert again.features(images).shape == (40, 64)
    assert torch.equal(again.features(images), first.features(images))


def test_training_is_deterministic_and_depends_on_the_pool(quick, tmp_path):
    before = torch.get_rng_state()
    hashes = [load_extractor("x", 3, **pool(), cache=tmp_path / place).sha256 for place in ("a", "b")]
    assert hashes[0] == hashes[1]
    assert load_extractor("x", 3, **pool(seed=1), cache=tmp_path / "a").sha256 != hashes[0]
    assert torch.equal(torch.get_rng_state(), before)


def test_a_cached_file_that_was_cut_off_is_trained_anew(quick, tmp_path):
    first = load_extractor("x", 3, **pool())
    (file,) = (tmp_path / "home" / "extractors").glob("*/extractor.safetensors")
    file.write_bytes(file.read_bytes()[:5000])
    assert load_extractor("x", 3, **pool()).sha256 == first.sha256


def test_a_cache_that_cannot_be_written_says_so(quick, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="AUGMENT_HOME"):
        load_extractor("x", 3, **pool(), cache=tmp_path / "file")


def test_a_shipped_set_at_another_size_gets_its_own_extractor(quick):
    assert load_extractor("digits", 1, **pool(shape=(1, 16, 16))).name.startswith("digits-trained-")
    assert load_extractor("digits", 1, **pool(shape=(1, 8, 8))).name == "digits"
    assert load_extractor("mnist", 3, **pool(shape=(3, 28, 28))).name.startswith("mnist-trained-")


def test_nothing_to_train_on_is_missing_data():
    with pytest.raises(MissingDataError, match="shipped: .*mnist") as error:
        load_extractor("kmnist", 1)
    assert error.value.exit_code == 4


def test_the_network_learns_and_takes_any_size():
    images = torch.zeros(64, 1, 12, 12, dtype=torch.uint8)
    labels = torch.arange(64) % 2
    images[labels == 1, :, 4:8] = 200
    network = train_network(images, labels, 2, updates=15, seed=0).for_inference()
    with torch.inference_mode():
        assert (network(images)[1].argmax(dim=1) == labels).all()
    for shape in ((1, 1), (3, 2), (8, 8), (31, 17), (64, 64)):
        features, logits = DomainNetwork(3, 5).eval()(torch.zeros(2, 3, *shape, dtype=torch.uint8))
        assert (features.shape, logits.shape) == ((2, 64), (2, 5))


def test_folding_keeps_the_function():
    network = train_network(**pool(), updates=3, seed=0)
    images = pool(seed=5)["images"]
    with torch.inference_mode():
        expected = network(images)
        found = network.for_inference()(images)
    assert torch.allclose(found[0], expected[0], atol=1e-4)
    assert torch.allclose(found[1], expected[1], atol=1e-4)


def test_the_budget_grows_with_the_pool_and_falls_with_the_size():
    assert planned_updates(50, 64) == 100
    assert planned_updates(5000, 28 * 28) == 391
    assert planned_updates(60000, 28 * 28) == 800
    assert planned_updates(60000, 64 * 64) == 200


def test_wrong_images_are_refused():
    extractor = load_extractor("mnist", 1)
    good = pool(2, (1, 28, 28))["images"]
    for bad, message in (
        (good.float(), "uint8"),
        (good[0], "uint8"),
        (good[:0], "N > 0"),
        (good.expand(-1, 3, -1, -1), "channel"),
    ):
        with pytest.raises(DataError, match=message):
            extractor.features(bad)


def test_inception_is_never_downloaded(tmp_path):
    for find in (network.find_weights, lambda: load_extractor("mnist", 1, inception=tmp_path / "none.pth")):
        with pytest.raises(MissingDataError, match="https://github.com/toshas/torch-fidelity") as error:
            find()
        assert error.value.exit_code == 4


def test_another_file_is_not_opened_as_inception(tmp_path):
    file = tmp_path / "weights.pth"
    file.write_bytes(b"a pickle, perhaps")
    with pytest.raises(DataError, match="not opened"):
        load_extractor("mnist", 1, inception=file)


def test_inception_is_found_in_the_cache_and_takes_grey_images(tmp_path, monkeypatch):
    from torch_fidelity import feature_extractor_inceptionv3 as source

    monkeypatch.setattr(source, "load_state_dict_from_url", lambda *_, **__: {})
    with monkeypatch.context() as patch, torch.device("meta"):
        patch.setattr(source.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        body = source.FeatureExtractorInceptionV3(network.INCEPTION_NAME, ["2048"])
    file = tmp_path / "home" / "inception" / network.INCEPTION_FILE
    file.parent.mkdir(parents=True)
    torch.save({name: torch.ones(tensor.shape) for name, tensor in body.state_dict().items()}, file)
    monkeypatch.setattr(network, "INCEPTION_SHA256", file_hash(file))
    extractor = load_extractor("anything", 1, inception=network.find_weights())
    features, logits = extractor.extract(torch.zeros(2, 1, 28, 28, dtype=torch.uint8))
    assert (features.shape, logits.shape) == ((2, 2048), (2, 1008))
    assert (extractor.name, extractor.dim) == ("inception-v3-compat", 2048)
