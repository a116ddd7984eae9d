"""Images as PNG in one folder per class, as any training script reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from augment.storage.files import safe_name, write_text, writing


def save_class_folders(
    folder: Path, images: Any, labels: Iterable[int], classes: tuple[str, ...], rows: Iterable[dict[str, Any]] = ()
) -> None:
    """Write uint8 images ``(n, C, H, W)`` as PNG into one folder per class, named ``<zero-padded class>-<name>``.

    ``rows``: one provenance row per image, or none; written as ``metadata.jsonl`` with each image's ``file_name``.
    Raises DataError when the folder cannot be written, ValueError when images, labels and rows differ in number.
    """
    from PIL import Image

    provenance = list(rows) or [{}] * len(images)
    if len(provenance) != len(images):
        raise ValueError(f"There are {len(images)} images and {len(provenance)} rows.")
    width = len(str(max(len(classes) - 1, 0)))
    names = [f"{index:0{width}d}-{safe_name(name)}" for index, name in enumerate(classes)]
    lines = []
    with writing(folder):
        for name in names:
            (folder / name).mkdir(parents=True, exist_ok=True)
        for index, (image, label, row) in enumerate(zip(images, labels, provenance, strict=True)):
            file = f"{names[int(label)]}/{index:06d}.png"
            pixels = image.permute(1, 2, 0).contiguous().numpy()
            Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(folder / file, compress_level=1)
            lines.append(json.dumps({"file_name": file, "label": classes[int(label)], **row}) + "\n")
        write_text(folder / "metadata.jsonl", "".join(lines))
