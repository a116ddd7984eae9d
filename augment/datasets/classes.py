"""Some classes of a data set, and several taken for one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from augment.datasets.image_set import ImageSet, LabelledImages
from augment.errors import ConfigError, unknown_name


def with_classes(data: ImageSet, classes: Sequence[str], merged: Mapping[str, Sequence[str]]) -> ImageSet:
    """The set with some classes joined, and then with some taken.

    Args:
        data: As it was loaded.
        classes: Names to take, of joined classes by their new name; none takes all.
        merged: New name -> names of the classes that are one.

    Returns:
        The set, its classes in the order of ``data``, a joined one in the place of its first member.

    Raises:
        ConfigError: For a name that is unknown or stands twice, and where fewer than two classes are left.
    """
    if not classes and not merged:
        return data
    joined = _joined(data, merged)
    found = _taken(joined, classes) if classes else joined
    if len(found.classes) < 2:
        raise ConfigError(
            f"{data.name}: {_listed(found.classes)} alone is left; a classifier needs two classes or more."
        )
    return found


def _joined(data: ImageSet, merged: Mapping[str, Sequence[str]]) -> ImageSet:
    becomes: dict[str, str] = {}
    for new, members in merged.items():
        for member in members:
            _check_known(member, data, "--merge-classes")
            if member in becomes:
                raise ConfigError(
                    f"--merge-classes: {member!r} is joined twice, in {becomes[member]!r} and in {new!r}."
                )
            becomes[member] = new
    for new in merged:
        if new in data.classes and new not in becomes:
            raise ConfigError(f"--merge-classes: there is a class {new!r} already. Join it, too, or take another name.")
    if not becomes:
        return data
    names = tuple(dict.fromkeys(becomes.get(name, name) for name in data.classes))
    labels = torch.tensor([names.index(becomes.get(name, name)) for name in data.classes])
    notes = (f"Classes {_listed(members)} are one, {new}." for new, members in merged.items())
    return _relabelled(data, labels, names, *notes)


def _taken(data: ImageSet, classes: Sequence[str]) -> ImageSet:
    for name in classes:
        _check_known(name, data, "--classes")
    names = tuple(name for name in data.classes if name in classes)
    labels = torch.tensor([names.index(name) if name in classes else -1 for name in data.classes])
    left_out = len(data.classes) - len(names)
    note = f"{len(names):,} of {len(data.classes):,} classes are taken: {_listed(names)}."
    return _relabelled(data, labels, names, note) if left_out else data


def _relabelled(data: ImageSet, becomes: Tensor, names: tuple[str, ...], *notes: str) -> ImageSet:
    """becomes: the new label of each old one ``(K,)``, -1 for images that are left out."""

    def part(images: LabelledImages) -> LabelledImages:
        labels = becomes[images.labels]
        rows = (labels >= 0).nonzero()[:, 0]
        return LabelledImages(images.images[rows], labels[rows])

    train, test = part(data.train), part(data.test)
    return replace(data, train=train, test=test, classes=names, sha256="", notes=(*data.notes, *notes))


def _check_known(name: str, data: ImageSet, option: str) -> None:
    if name not in data.classes:
        raise ConfigError(f"{option}: {unknown_name(f'class of {data.name}', name, data.classes)}")


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
