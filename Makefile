# Everything runs from a clone, as root. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
STAMPS := .setup
BIN := $(VENV)/bin
POLICY ?= policies/documents/privacy-router.json

.PHONY: help setup demo demo-down mininet test lint soak bench clean

help:
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

setup: $(STAMPS)/packages $(STAMPS)/venv  ## system packages and the virtual environment, nothing else

demo: setup  ## the main job: build the chain in a sandbox, drive traffic through it (KEEP=1 leaves it up)
	@$(BIN)/python mininet/demo.py --policy $(POLICY) $(if $(KEEP),--keep)

demo-down: setup  ## remove a lab that KEEP=1 left up
	@$(BIN)/python mininet/demo.py --down

mininet: setup  ## the switch side by hand: a controller and Mininet's prompt, in a sandbox
	@$(BIN)/python mininet/by_hand.py $(POLICY)

test: setup lint  ## all tests: unit, integration, the demo's lines
	$(BIN)/python -m pytest -q -m "not alone" -n 2 --dist loadfile --no-loadscope-reorder
	$(BIN)/python -m pytest -q -m alone tests/integration

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --strict mininet/*.py

soak: setup  ## the long forms of the suites
	SOAK=1 $(BIN)/python -m pytest -q

bench: setup  ## the figures of README.md, as ratios measured in one run (docs/ say where theirs are from)
	@$(BIN)/python bench/run.py

clean:  ## remove what setup made in this clone
	rm -rf $(VENV) $(STAMPS) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMPS)/packages: packaging/system-packages.sh
	@sh packaging/system-packages.sh
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/venv: packaging/venv.sh packaging/requirements.txt packaging/ryu-build-constraints.txt setup.cfg setup.py \
                pyproject.toml ryu_apps/ryu_on_current_eventlet.pth | $(STAMPS)/packages
	@PYTHON=$(PYTHON) sh packaging/venv.sh $(VENV)
	@mkdir -p $(STAMPS) && touch $@
