# The two commands of the README, on a machine with Python 3.11 or newer, git and make.
PYTHON ?= python3
BIN = .venv/bin

.PHONY: run test lint clean

run: .venv/.run
	$(BIN)/augment run --dataset fashionmnist --regime high --model dvae

test: .venv/.dev
	$(BIN)/python -m pytest -n 2

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/.run: pyproject.toml | .venv
	$(BIN)/pip install -q -e .
	touch $@

.venv/.dev: pyproject.toml | .venv
	$(BIN)/pip install -q -e '.[dev]'
	touch $@ .venv/.run

.venv:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; name it with make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "On Debian: apt-get install python3-venv"; exit 1; }

clean:
	rm -rf .venv build *.egg-info
