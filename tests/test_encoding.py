"""Options of ``encode``: passed on where the model has them, refused with what would work where it has not."""

from __future__ import annotations

import pytest
import torch

from augment import encoding
from augment.encoding import check_encode_options, encode_with
from augment.errors import UsageError
from augment.generator import GeneratorConfig, ImageSpec
from augment.testing import MinimalGenerator

SPEC = ImageSpec(1, 8, 8, 3)
IMAGES = torch.linspace(0, 1, 2 * 64).view(2, 1, 8, 8)


class Plain(MinimalGenerator):
    name = "plain"


class Layered(MinimalGenerator):
    name = "layered"

    def encode(self, images, *, t=50, layer="mid"):
        assert not self.training
        assert not torch.is_grad_enabled()
        return t * super().encode(images)


class Demanding(MinimalGenerator):
    name = "demanding"

    def encode(self, images, *, t):
        return super().encode(images)


@pytest.fixture
def known(monkeypatch):
    """What the cache knows of other models."""

    def put(**options):
        rows = [{"name": name, "encode_options": [{"name": key} for key in keys]} for name, keys in options.items()]
        monkeypatch.setattr(encoding, "kept_cards", lambda: rows)

    return put


def test_options_reach_the_model_in_eval_mode_without_gradients():
    generator = Layered(GeneratorConfig(), SPEC).train()
    plain = super(Layered, generator).encode(IMAGES)
    assert torch.allclose(encode_with(generator, IMAGES), 50 * plain)
    assert torch.allclose(encode_with(generator, IMAGES, t=2, layer="up"), 2 * plain)
    assert generator.training


def test_an_option_the_model_lacks_is_refused_with_the_models_that_have_it(known):
    known(ddpm=("t", "layer"), vae=(), clip=("t",))
    with pytest.raises(UsageError) as caught:
        encode_with(Plain(GeneratorConfig(), SPEC), IMAGES, t=50)
    assert str(caught.value) == (
        "Features of 'plain' have no option 't'; its encode has no options at all. Leave it out. "
        "Models that have t: ddpm, clip."
    )
    with pytest.raises(UsageError, match=r"no option 'noise'; its options and defaults are t=50, layer=mid\. `augment"):
        check_encode_options(Layered, {"t": 1, "noise": 2})


def test_a_required_option_that_is_missing_is_named():
    with pytest.raises(UsageError, match="Features of 'demanding' need t"):
        check_encode_options(Demanding, {})
    check_encode_options(Demanding, {"t": 1})
