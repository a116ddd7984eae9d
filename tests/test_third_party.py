"""A stranger's package: built, installed into an environment of its own beside two broken ones, and used as any other.

Nothing of the core changes: the package's own entry-point line is all there is.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.libraries

EXAMPLE = Path(__file__).parents[1] / "examples" / "third_party"
BROKEN = {
    "lacking": '"""Needs a package that is not there."""\nimport no_such_package_anywhere\n',
    "exploding": '"""Fails when it is imported."""\nraise RuntimeError("no luck today")\n',
}


def run(*command, **more):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **more)


def build_wheel(folder):
    """A wheel of the example, from a copy, so that no build leftovers land in the checkout."""
    source = shutil.copytree(EXAMPLE, folder / "source", ignore=shutil.ignore_patterns("build", "*.egg-info", "dist"))
    built = run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "dist", source)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


def register_broken(site_packages, name):
    (site_packages / f"{name}_package.py").write_text(BROKEN[name])
    info = site_packages / f"{name}_package-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-package\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[augment.generators]\n{name} = {name}_package:Generator\n")


@pytest.fixture(scope="module")
def augment(tmp_path_factory):
    """``augment`` in an environment that sees this one's packages, the example's wheel and two broken packages."""
    folder = tmp_path_factory.mktemp("third_party")
    environment = folder / "environment"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    paths = {"base": str(environment), "platbase": str(environment)}
    site_packages = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    here = sysconfig.get_path("purelib")
    (site_packages / "outer.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    installed = run(
        sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", build_wheel(folder)
    )
    assert installed.returncode == 0, installed.stdout + installed.stderr
    for name in BROKEN:
        register_broken(site_packages, name)
    variables = {**os.environ, "AUGMENT_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}

    def command(*arguments):
        code = "import sys; from augment.cli import main; sys.exit(main())"
        return run(python, "-c", code, *arguments, env=variables, cwd=folder)

    return command


def document(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_is_listed(augment):
    models = {model["name"]: model for model in document(augment("models", "--json"))["models"]}
    assert models["eigen"]["available"]
    assert models["eigen"]["summary"].startswith("Eigen: a linear autoencoder")
    assert models["eigen"]["target"] == "augment_eigen:Eigen"


def test_a_broken_package_is_shown_with_the_reason_and_breaks_nobody(augment):
    models = {model["name"]: model for model in document(augment("models", "--json"))["models"]}
    assert not models["lacking"]["available"]
    assert "no_such_package_anywhere" in models["lacking"]["problem"]
    assert models["exploding"]["problem"] == "RuntimeError: no luck today"
    assert [name for name, model in models.items() if not model["available"]] == ["exploding", "lacking"]
    done = augment("plugins", "check", "exploding")
    assert done.returncode == 5
    assert "RuntimeError: no luck today (from exploding-package, exploding_package:Generator)" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_passes_the_checks(augment):
    checked = document(augment("plugins", "check", "eigen", "--json"))
    assert checked["passed"]
    assert {check["outcome"] for check in checked["checks"]} == {"passed"}


def test_it_runs_as_any_other(augment, tmp_path):
    small = ("--steps", "20", "--updates", "20", "--classifier", "cnn", "--size", "300", "--imbalance-factor", "10")
    where = ("--dataset", "digits", "--regime", "high", "--out", tmp_path, "--json", "--offline")
    result = document(augment("run", "--model", "eigen", "--set", "latent_dim=8", *where, *small))
    assert result["generators"][0]["name"] == "eigen"
    assert result["generators"][0]["config"]["latent_dim"] == 8
    assert {arm["arm"] for arm in result["arms"]} == {
        "real",
        "oversample",
        "balanced-softmax",
        "balanced-softmax+randaugment",
        "eigen",
        "eigen+balanced-softmax+randaugment",
    }
    assert len({arm["updates"] for arm in result["arms"]}) == 1
    assert result["verdict"]
    again = document(augment("sample", Path(result["folder"]) / "generator", "--n", "10", "--json"))
    assert again


def test_its_mistakes_are_told_as_any_others(augment, tmp_path):
    done = augment(
        "run", "--dataset", "digits", "--model", "eigen", "--set", "latent_dims=8", "--out", tmp_path, "--offline"
    )
    assert done.returncode == 3
    assert "Unknown option of EigenConfig 'latent_dims'. Did you mean 'latent_dim'" in done.stderr
