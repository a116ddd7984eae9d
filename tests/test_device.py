import json

import pytest
import torch

from augment.compute import device
from augment.errors import ConfigError

CPUINFO = "processor : 0\nmodel name : Some CPU\nflags : fpu {flags}\n\nprocessor : 1\nmodel name : Some CPU\n"


@pytest.fixture
def cpu(tmp_path, monkeypatch):
    """A machine without accelerators whose CPU has bf16, with an empty cache."""
    monkeypatch.setenv("AUGMENT_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(device, "processor", lambda: ("Some CPU", frozenset({"avx512_bf16"})))
    return monkeypatch


def gpus(monkeypatch, count=2, bf16=True):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16 or including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *args: "Old GPU")


def test_auto_takes_the_fastest_device(cpu):
    assert device.choose_device() == torch.device("cpu")
    cpu.setattr(torch.backends.mps, "is_available", lambda: True)
    assert device.choose_device("auto") == torch.device("mps")
    gpus(cpu)
    assert device.choose_device() == torch.device("cuda") and device.choose_device("cuda:1") == torch.device("cuda:1")
    assert device.choose_device("cpu") == torch.device("cpu")
    assert device.available_devices() == ["cuda", "cuda:0", "cuda:1", "mps", "cpu"]


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
def test_a_device_that_is_not_there(cpu, name):
    with pytest.raises(ConfigError, match=f"{name!r} is not there: PyTorch finds cpu"):
        device.choose_device(name)


def test_unknown_names_are_errors_with_the_nearest_known_one(cpu):
    with pytest.raises(ConfigError, match="Unknown device 'cpus'. Did you mean 'cpu'"):
        device.choose_device("cpus")
    gpus(cpu)
    with pytest.raises(ConfigError, match="'cuda:2' is not there: PyTorch finds cuda, cuda:0, cuda:1, cpu"):
        device.choose_device("cuda:2")
    with pytest.raises(ConfigError, match="Unknown precision 'bf61'. Did you mean 'bf16'"):
        device.choose_precision("bf61", "cpu")


@pytest.mark.parametrize(("speedup", "chosen"), [(3.0, "bf16"), (1.05, "fp32"), (0.2, "fp32")])
def test_the_race_decides_on_a_cpu(cpu, speedup, chosen):
    cpu.setattr(device, "race", lambda: speedup)
    assert device.choose_precision("auto", torch.device("cpu")) == chosen
    assert device.choose_precision("bf16", "cpu") == "bf16" and device.choose_precision("fp32", "cpu") == "fp32"


def test_the_race_is_run_once_per_processor_and_version(cpu, tmp_path):
    runs = []
    cpu.setattr(device, "race", lambda: runs.append(1) or 2.5)
    assert [device.bf16_speedup() for _ in range(3)] == [2.5] * 3 and len(runs) == 1
    cpu.setattr(torch, "__version__", "99.0")
    device.bf16_speedup()
    cpu.setattr(device, "processor", lambda: ("Another CPU", frozenset({"amx_bf16"})))
    device.bf16_speedup()
    assert len(runs) == 3
    file = tmp_path / "cache" / "precision.json"
    assert sorted(key.split(" | ")[0] for key in json.loads(file.read_text())) == [
        "Another CPU",
        "Some CPU",
        "Some CPU",
    ]
    file.write_text("{ damaged")
    assert device.bf16_speedup() == 2.5 and len(runs) == 4


def test_a_cache_that_cannot_be_written_does_not_matter(cpu, tmp_path):
    (tmp_path / "cache").write_text("a file in the way")
    cpu.setattr(device, "race", lambda: 2.0)
    assert device.choose_precision("auto", "cpu") == "bf16"


def test_a_cpu_without_the_instructions_is_not_raced(cpu, monkeypatch):
    cpu.setattr(device, "race", lambda: pytest.fail("raced"))
    cpu.setattr(device, "processor", lambda: ("Old CPU", frozenset({"avx2"})))
    assert device.choose_precision("auto", "cpu") == "fp32"
    assert device.choose_precision("auto", "mps") == "fp32"


def test_processor_is_read_from_linux(tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text(CPUINFO.format(flags="avx512_bf16 sse"))
    assert device.processor(file) == ("Some CPU", frozenset({"fpu", "avx512_bf16", "sse"}))
    assert device.processor(tmp_path / "missing") == ("", frozenset())


@pytest.mark.parametrize("bf16", [True, False])
def test_precision_on_a_gpu(cpu, bf16):
    gpus(cpu, bf16=bf16)
    assert device.choose_precision("auto", "cuda") == ("bf16" if bf16 else "fp32")
    assert device.choose_precision("fp32", "cuda") == "fp32"
    if bf16:
        assert device.choose_precision("bf16", "cuda") == "bf16"
    else:
        with pytest.raises(ConfigError, match="Old GPU has no bf16"):
            device.choose_precision("bf16", "cuda")


def test_the_race_measures_and_leaves_no_trace():
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    with torch.no_grad():
        assert device.race(rounds=1) > 0
        assert not torch.is_grad_enabled()
    assert torch.get_num_threads() == threads
    assert torch.equal(before, torch.get_rng_state())
