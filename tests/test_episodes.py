"""Which images are labelled: exactly k of each class, nested in k, never those that choices are made on."""

import pytest
import torch

from augment.errors import ConfigError, DataError
from augment.studies.features.episodes import default_ks, draw_episodes, draw_search

LABELS = torch.arange(4).repeat(60)[torch.randperm(240, generator=torch.Generator().manual_seed(3))]


def test_every_episode_has_exactly_k_of_each_class():
    episodes = draw_episodes(LABELS, 4, (2, 7), 3, seed=5)
    for k in (2, 7):
        rows = episodes.rows(k)
        assert rows.shape == episodes.labels(k).shape == (3, 4 * k)
        assert torch.equal(LABELS[rows], episodes.labels(k))
        assert all(len(row.unique()) == 4 * k for row in rows)


def test_fewer_labels_are_some_of_the_more():
    episodes = draw_episodes(LABELS, 4, (2, 7), 3, seed=5)
    for few, many in zip(episodes.rows(2).tolist(), episodes.rows(7).tolist(), strict=True):
        assert set(few) < set(many)


def test_episodes_follow_their_recorded_seeds():
    episodes = draw_episodes(LABELS, 4, (3,), 3, seed=5)
    assert episodes.seeds == (5, 6, 7)
    assert not torch.equal(episodes.order[0], episodes.order[1])
    assert torch.equal(draw_episodes(LABELS, 4, (3,), 1, seed=6).order[0], episodes.order[1])
    one = episodes.single(3, 1)
    assert one.seeds == (6,) and torch.equal(one.rows(3)[0], episodes.rows(3)[1])


def test_a_class_with_too_few_images_is_named_with_its_number():
    labels = torch.cat([LABELS[LABELS != 2], torch.full((5,), 2)])
    with pytest.raises(DataError, match=r"k = 8 labels .*class 2: 5.*up to 5 is possible"):
        draw_episodes(labels, 4, (1, 8), 2, seed=0)
    assert default_ks(labels, 4) == (1, 2, 4)


@pytest.mark.parametrize("ks, episodes", [((0, 2), 1), ((), 1), ((2,), 0)])
def test_numbers_below_one_are_refused(ks, episodes):
    with pytest.raises(ConfigError, match="at least 1"):
        draw_episodes(LABELS, 4, ks, episodes, seed=0)


def test_choices_are_made_on_images_that_no_episode_has():
    search = draw_search(LABELS, 4, seed=1)
    assert not set(search.validation.tolist()) & set(search.fit.all_rows.tolist())
    assert torch.bincount(LABELS[search.validation]).tolist() == [15] * 4  # half of 60, less what probes are fitted on
    assert search.fit.ks == (15,)
    episodes = draw_episodes(LABELS, 4, (45,), 2, seed=1, taken=search.validation)
    assert not set(search.validation.tolist()) & set(episodes.all_rows.tolist())


def test_large_classes_give_a_hundred_images_to_choose_on():
    search = draw_search(torch.arange(2).repeat(1000), 2, seed=1)
    assert len(search.validation) == 200 and search.fit.ks == (16,)


def test_classes_too_small_to_choose_on_are_refused():
    with pytest.raises(DataError, match="Give --t and --layer by name"):
        draw_search(torch.arange(3).repeat(3), 3, seed=0)
