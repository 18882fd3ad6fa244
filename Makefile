# Two commands set everything up on a fresh machine: `make search` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A machine without an NVIDIA driver gets the CPU build of torch, gigabytes smaller; `make TORCH=...` overrides.
TORCH ?= $(shell command -v nvidia-smi >/dev/null 2>&1 && echo "torch>=2.9,<3" || echo "torch==2.13.0")
CPU_INDEX := https://download.pytorch.org/whl/cpu
TORCH_INDEX ?= $(shell command -v nvidia-smi >/dev/null 2>&1 || { curl -sfo /dev/null -m 5 $(CPU_INDEX)/torch/ && echo "--extra-index-url $(CPU_INDEX)"; })

LOWEST := .venv-lowest
# Whole runs from training to report, the archive, every export, the command line, workers.
LOWEST_TESTS := tests/nas/run/test_preflight.py tests/nas/archive/test_archive.py tests/nas/cli/test_main.py \
	tests/nas/export/test_onnx.py tests/nas/export/test_forms.py tests/nas/evaluation/test_dispatch.py tests/test_imports.py

# The versions that the package allows beside the one of `make test`.
PYTHONS ?= 3.12 3.13
PYTHONS_TESTS := tests/test_imports.py tests/test_siblings.py tests/nas/cli/test_main.py \
	tests/nas/export/test_onnx.py tests/nas/targets/test_template.py

.PHONY: search test test-lowest test-pythons docs check format clean

search: $(VENV)/installed
	$(BIN)/nas run runs/digits.toml --resume

test: $(VENV)/installed-dev check
	$(BIN)/python -m pytest -n 2 --dist loadfile

# The lowest versions that pyproject.toml allows, torch aside: older ones have no small build.
test-lowest: $(LOWEST)/installed
	$(LOWEST)/bin/python -m pytest $(LOWEST_TESTS) -m "not slow and not ray"
	$(LOWEST)/bin/python -W ignore -m pytest -W ignore tests/nas/evaluation/test_cluster.py -k "work_is_shared"

# Other versions of Python, as far as this machine has them; any that is missing is named.
test-pythons: $(addprefix test-python-,$(PYTHONS))

test-python-%:
	@if [ -n "$$(.ci/python $*)" ]; then $(MAKE) .venv-$*/installed && \
		.venv-$*/bin/python -m pytest $(PYTHONS_TESTS) -m "not slow and not ray"; \
	else echo "Python $* is not on this machine; nothing is tested with it"; fi

# The page of commands is made from the command line itself; the site goes to site/.
docs: $(VENV)/installed-docs
	$(BIN)/python -m typer nas.cli.main utils docs --name nas --title "Command line" --output docs/cli.md
	$(BIN)/zensical build --clean --strict

check: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

format: $(VENV)/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# The CPU build comes from PyTorch's own index; where that cannot be reached, the configured ones must do.
$(VENV)/torch: | $(VENV)/bin/python
	$(BIN)/pip install "$(TORCH)" $(TORCH_INDEX)
	touch $@

$(VENV)/installed: pyproject.toml $(VENV)/torch
	$(BIN)/pip install -e .
	touch $@

$(VENV)/installed-dev: pyproject.toml $(VENV)/torch
	$(BIN)/pip install -e ".[dev]"
	touch $@ $(VENV)/installed

$(VENV)/installed-docs: pyproject.toml $(VENV)/torch
	$(BIN)/pip install -e ".[docs]"
	touch $@

.venv-3.%/installed: pyproject.toml
	$$(.ci/python 3.$*) -m venv .venv-3.$*
	.venv-3.$*/bin/pip install uv
	.venv-3.$*/bin/uv pip install --python .venv-3.$*/bin/python "$(TORCH)" $(TORCH_INDEX)
	.venv-3.$*/bin/uv pip install --python .venv-3.$*/bin/python -e ".[dev]"
	touch $@

$(LOWEST)/installed: pyproject.toml
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/pip install "$(TORCH)" uv $(TORCH_INDEX)
	$(LOWEST)/bin/uv pip install --python $(LOWEST)/bin/python --resolution lowest-direct \
		--upgrade-package networkx --upgrade-package numpy -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) $(LOWEST) .venv-3.* build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
