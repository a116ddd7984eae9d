"""The Ray cluster itself: joining it without noise, and how many cells fit on it."""

from __future__ import annotations

import logging
import os
import signal
import socket
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from augment.errors import UsageError

_ANSWERS_WITHIN = 5.0
"""Seconds for the address of a cluster to answer; Ray itself would try for two minutes and then end the process."""


def connect(address: str | None) -> tuple[Any, bool]:
    """The module ``ray``, connected, and whether this call connected it. Raises UsageError when that fails.

    address: ``auto``, ``host:port``, ``ray://host:port``, or None for this machine's own cluster, started if need be.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import ray
    except ImportError as error:
        raise UsageError(
            f'Ray is not installed ({error}). Install it with pip install "augment-toolkit[ray]", or leave out '
            "--executor ray to use the processes of this machine."
        ) from None
    if ray.is_initialized():
        return ray, False
    target = address if address not in (None, "auto") else os.environ.get("RAY_ADDRESS", address)
    _check_answers(target)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        with warnings.catch_warnings(), _own_signal_handlers():
            warnings.simplefilter("ignore")
            ray.init(
                address=target,
                ignore_reinit_error=True,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    except Exception as error:  # Ray has many kinds for an address without a cluster and for other versions there
        raise UsageError(_no_cluster(target, str(error).strip())) from None
    # Ray would write of dead nodes to standard output, where a program reads the sweep's own document.
    ray._private.worker._worker_logs_enabled = False
    return ray, True


def _check_answers(address: str | None) -> None:
    """Does anything listen at ``host:port``?"""
    host, _, port = (address or "").rpartition("://")[2].partition("/")[0].rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWERS_WITHIN).close()
    except (OSError, OverflowError) as error:
        raise UsageError(_no_cluster(address, f"nothing answers there ({error})")) from None


def _no_cluster(address: str | None, reason: str) -> str:
    where = f"at {address}" if address else "on this machine"
    return (
        f"No Ray cluster could be reached {where}: {reason}. Start one with `ray start --head` and give the address "
        "that it prints, or leave out --address to use this machine alone."
    )


@contextmanager
def _own_signal_handlers() -> Iterator[None]:
    """Ray replaces the handler of SIGTERM; a sweep ends by its own, which keeps what is finished."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        try:
            signal.signal(signal.SIGTERM, before)
        except (ValueError, TypeError):  # not the main thread, where Ray leaves the handler alone, too
            pass


def slots(nodes: Sequence[Mapping[str, Any]], cpus: float, gpus: float) -> int:
    """How many cells of ``cpus`` and ``gpus`` fit on the living nodes, one by one; at most one per millicpu."""
    return sum(_fits(node["Resources"], cpus, gpus) for node in nodes if node["Alive"])


def _fits(resources: Mapping[str, float], cpus: float, gpus: float) -> int:
    needs = {"CPU": cpus, "GPU": gpus}
    rooms = [int(resources.get(kind, 0.0) / need + 1e-9) for kind, need in needs.items() if need > 0]
    return min(rooms) if rooms else int(1000 * resources.get("CPU", 0.0))
