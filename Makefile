# Everything that a person types in this repository. `make help` lists it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help venv demo test test-slow lint types lock clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

venv: ## make the virtual environment for using groot_ray (.venv)
	@$(PYTHON) scripts/venv.py --venv $(VENV)

venv-dev:
	@$(PYTHON) scripts/venv.py --venv $(VENV) --extra dev

demo: venv ## the main job in small: real ALOHA episodes in, a finetuned checkpoint with an evaluation out
	@$(BIN)/groot-ray run examples/demo.yaml

test: venv-dev ## all tests that need neither a GPU nor a cluster
	@$(BIN)/python -m pytest -m "not slow and not faults and not cluster"

test-slow: venv-dev ## the long ones
	@$(BIN)/python -m pytest -m "slow and not faults and not cluster"

lint: venv-dev ## style of the code
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: venv-dev ## types of all but what is torch and Ray Train
	@$(BIN)/mypy

lock: venv-dev ## resolve requirements.lock anew (all of pyproject.toml but torch)
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-emit-package torch --no-annotate --no-header \
	  --no-emit-index-url --no-emit-find-links --upgrade pyproject.toml -o requirements.new
	@grep -vE '^(nvidia-|cuda-|triton)' requirements.new > requirements.lock && rm requirements.new # those belong to torch's build

clean: ## remove what the targets made, except outputs
	rm -rf $(VENV) .tools .pytest_cache .mypy_cache .ruff_cache .hypothesis

-include k8s/kubernetes.mk
