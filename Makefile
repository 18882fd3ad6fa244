# Two commands set everything up on a fresh machine: `make search` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A machine without an NVIDIA driver gets the CPU build of torch, gigabytes smaller; `make TORCH=...` overrides.
TORCH ?= $(shell command -v nvidia-smi >/dev/null 2>&1 && echo "torch>=2.9,<3" || echo "torch==2.13.0")
CPU_INDEX := https://download.pytorch.org/whl/cpu
TORCH_INDEX ?= $(shell command -v nvidia-smi >/dev/null 2>&1 || { curl -sfo /dev/null -m 5 $(CPU_INDEX)/torch/ && echo "--extra-index-url $(CPU_INDEX)"; })

.PHONY: search test check format clean

search: $(VENV)/installed
	$(BIN)/nas run runs/digits.toml --resume

test: $(VENV)/installed-dev check
	$(BIN)/python -m pytest -n 2 --dist loadfile

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

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
