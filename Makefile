# The two commands of the README, on a machine with Python 3.11 or newer, git and make; CONTRIBUTING.md has the others.
PYTHON ?= python3
BIN = .venv/bin
OLDEST = .venv-oldest
UV = $(BIN)/python -m uv --no-config
# Arguments of pytest, as in: make test-oldest ARGS="-m libraries"
ARGS =

# A processor without AVX, FMA and bf16: PyTorch, oneDNN, MKL and OpenBLAS then take other paths and round otherwise.
OLD_CPU = ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2 OPENBLAS_CORETYPE=Nehalem

.PHONY: run test test-old-cpu test-oldest test-pythons lint clean

run: .venv/.run
	$(BIN)/augment run --dataset fashionmnist --regime high --model dvae

test: .venv/.dev
	$(BIN)/python -m pytest -n 2 $(ARGS)

test-old-cpu: .venv/.dev
	$(OLD_CPU) $(BIN)/python -m pytest -n 2 $(ARGS)

# The oldest releases that pyproject.toml allows, in an environment of their own.
test-oldest: $(OLDEST)/.dev
	$(OLDEST)/bin/python -m pytest -n 2 $(ARGS)

# The newest releases on every other Python that this machine has; ARGS as above, by default what meets other libraries.
test-pythons: .venv/.dev
	.ci/pythons $(ARGS)

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

$(OLDEST)/.dev: pyproject.toml .venv/.dev
	rm -rf $(OLDEST)
	$(UV) venv -q --seed --python $(BIN)/python $(OLDEST)
	$(UV) pip install -q --python $(OLDEST)/bin/python --resolution lowest-direct -e '.[dev]'
	touch $@

.venv:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; name it with make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "On Debian: apt-get install python3-venv"; exit 1; }

clean:
	rm -rf .venv .venv-* build *.egg-info
