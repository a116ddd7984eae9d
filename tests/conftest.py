"""What all tests share: a cache of their own, and one thread, so that tests side by side do not slow each other."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """No test reads or writes the person's cache; the tests of one session share one."""
    monkeypatch.setenv("AUGMENT_HOME", str(tmp_path_factory.getbasetemp() / "augment-home"))


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)
