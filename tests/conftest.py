"""What all tests share: a cache of their own, and one thread, so that tests side by side do not slow each other."""

from __future__ import annotations

import signal
import sys

import pytest
import torch

from augment.cli import main


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """No test reads or writes the person's cache; the tests of one session share one."""
    monkeypatch.setenv("AUGMENT_HOME", str(tmp_path_factory.getbasetemp() / "augment-home"))


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def interruptible():
    """A shell starts what it runs in the background deaf to SIGINT, which tests raise."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def augment(capsys, monkeypatch, tmp_path):
    """Run the command line in an empty folder; returns exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["augment", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        out, err = capsys.readouterr()
        return code, out, err

    yield call
    for kind, handler in before.items():
        signal.signal(kind, handler)
