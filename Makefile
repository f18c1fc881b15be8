# Every command for working on this repository. `make help` lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help venv venv-dev demo test test-slow lint format types docs docs-serve hooks lock clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-20s %s\n", $$1, $$2}' \
	  $(MAKEFILE_LIST)

##@ Use

venv: ## create .venv for using groot_ray
	@$(PYTHON) scripts/venv.py --venv $(VENV)

demo: venv ## run the pipeline in small: real ALOHA episodes in, a finetuned and evaluated checkpoint out
	@$(BIN)/groot-ray run examples/demo.yaml

##@ Develop

venv-dev: # the environment of the targets below
	@$(PYTHON) scripts/venv.py --venv $(VENV) --extra dev

format: venv-dev ## format code and Markdown
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .
	@$(BIN)/rumdl fmt --quiet .

lint: venv-dev ## check style, import layers, Markdown and the files of .github
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/rumdl check .
	@$(BIN)/python scripts/check_github.py

types: venv-dev ## check types of the whole package
	@$(BIN)/mypy

test: venv-dev ## run the tests that need neither a GPU nor a cluster
	@$(BIN)/python -m pytest -m "not slow and not faults and not cluster"

test-slow: venv-dev ## run the tests that take longer than half a minute
	@$(BIN)/python -m pytest -m "slow and not faults and not cluster"

docs: venv-dev ## build the documentation site in site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs-serve: venv-dev ## show the documentation site while you edit it
	@$(BIN)/mkdocs serve

hooks: venv-dev ## run the quick checks before each commit (pre-commit)
	@$(BIN)/pre-commit install

lock: venv-dev ## resolve requirements.lock again: the newest versions that pyproject.toml allows, without torch
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-emit-package torch --upgrade \
	  --no-annotate --no-header --no-emit-index-url --no-emit-find-links pyproject.toml -o requirements.new
	@grep -vE '^(nvidia-|cuda-|triton)' requirements.new > requirements.lock && rm requirements.new # belong to torch's build

clean: ## remove what the targets made, except outputs
	rm -rf $(VENV) .tools site .pytest_cache .mypy_cache .ruff_cache .rumdl_cache .import_linter_cache .hypothesis

-include k8s/kubernetes.mk
