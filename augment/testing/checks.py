"""Which sentences of the contract apply to a generator; each is one function that raises AssertionError."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from augment.generator import Generator
from augment.testing import conduct, leaks, learning, outputs
from augment.testing.subject import Subject

Check = Callable[[Subject], None]


def checks_for(generator: type[Generator] | Generator) -> Iterator[Check]:
    """Choose the checks that apply, by a generator's tags and by whether it minimises a loss.

    Args:
        generator: The class, or an instance, whose tags may be narrower.

    Yields:
        Functions that take a :class:`~augment.testing.Subject` and raise AssertionError.

    Example:
        >>> from augment.testing import MinimalGenerator, checks_for
        >>> names = [check.__name__ for check in checks_for(MinimalGenerator)]
        >>> names[0], "check_log_prob" in names, "check_sample_from" in names
        ('check_constructor', True, False)
    """
    yield conduct.check_constructor
    yield conduct.check_config
    yield learning.check_optimizers
    yield learning.check_loss_terms
    yield learning.check_training
    yield learning.check_parameters_move
    cls = generator if isinstance(generator, type) else type(generator)
    if cls.training_step is Generator.training_step:  # a game against an opponent need not lower a loss
        yield learning.check_loss_falls
    yield learning.check_resume
    yield learning.check_rare_classes
    yield outputs.check_sample
    yield outputs.check_sample_seeded
    yield outputs.check_draw_shards
    yield outputs.check_encode
    yield outputs.check_encode_rows
    yield outputs.check_encode_deterministic
    yield outputs.check_layers
    yield outputs.check_timesteps
    if generator.tags.conditional:
        yield outputs.check_labels_change_sample
    if generator.tags.reconstructs:
        yield outputs.check_reconstruct
    if generator.tags.decodes:
        yield outputs.check_decode
    if generator.tags.likelihood:
        yield outputs.check_log_prob
    if generator.tags.semi_supervised:
        yield learning.check_partial_labels
        yield learning.check_labels_shape_features
    if generator.tags.edits:
        yield outputs.check_sample_from
        yield outputs.check_sample_from_seeded
        yield outputs.check_sample_from_rows
        yield outputs.check_sample_from_strength
    if generator.tags.edits and generator.tags.conditional:
        yield outputs.check_labels_change_sample_from
    yield leaks.check_samples_are_new
    yield leaks.check_keeps_no_images
    yield conduct.check_save_load
    yield conduct.check_damaged_save
    yield conduct.check_global_state
    yield conduct.check_arguments
    yield conduct.check_modes
