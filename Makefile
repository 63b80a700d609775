# The commands of AerialWorld. `make help` lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Extra arguments for installing torch, e.g. an index with builds for your GPU (see pytorch.org/get-started).
TORCH_ARGS ?=
# Options of the demo: make demo CITY=/path/to/plateau ARGS="--seed 3"
CITY ?=
ARGS ?=

LOCAL := src/aerialworld_core src/aerialworld_city src/aerialworld_sim src/aerialworld_missions \
         src/aerialworld_recorder src/aerialworld training models worlds launch
MYPYPATH := src/aerialworld_core:src/aerialworld_city:src/aerialworld_sim:src/aerialworld_missions:src/aerialworld_recorder:src/aerialworld:training
PACKAGES := $(foreach p,$(LOCAL),$(p)/setup.py)
# Beside a ROS 2 that is already sourced the wheels of rclpy must not be installed: two rclpy do not mix.
ifdef ROS_DISTRO
VENV_ARGS := --system-site-packages
SIM := src/aerialworld_sim[autopilot]
else
VENV_ARGS :=
SIM := src/aerialworld_sim[autopilot,ros]
endif

.PHONY: help install demo test test-all soak lint format bench clean
help:
	@echo "make demo      install, then run the whole pipeline on a generated city (CITY=PATH for a real one)"
	@echo "make test      install, lint, and run the tests (under 12 minutes on 2 cores)"
	@echo "make test-all  the same with the long tests"
	@echo "make soak      crash tests at their full counts"
	@echo "make lint      ruff and mypy        make format  ruff's formatter"
	@echo "make bench     every benchmark, JSON into out/benchmarks"
	@echo "make install   only the environment $(VENV)      make clean  remove it"

install: $(VENV)/.installed

$(VENV)/.installed: constraints.txt $(PACKAGES)
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "AerialWorld needs Python 3.11 or newer; try: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV_ARGS) $(VENV)
	$(PIP) install --quiet --upgrade pip
	$(PIP) install --quiet -c constraints.txt 'setuptools' wheel
	$(PIP) install --quiet -c constraints.txt $(TORCH_ARGS) torch
	$(PIP) install --quiet -c constraints.txt --no-build-isolation \
	    -e 'src/aerialworld_core[world]' -e src/aerialworld_city -e '$(SIM)' -e src/aerialworld_missions \
	    -e 'src/aerialworld_recorder[bags]' -e 'training[images,safetensors]' -e models -e worlds -e launch -e 'src/aerialworld[local,training,bags,video]'
	$(PIP) install --quiet -c constraints.txt -r requirements-dev.txt
	touch $@

demo: install
	$(BIN)/aerialworld demo $(if $(CITY),--city '$(CITY)') $(ARGS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=$(MYPYPATH) $(BIN)/mypy -p aerialworld_core -p aerialworld_city -p aerialworld_sim -p aerialworld_missions \
	    -p aerialworld_recorder -p aerialworld -p aerialworld_training

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not long and not soak'

test-all: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not soak'

soak: install
	$(BIN)/python -m pytest -m soak --timeout 7200

bench: install
	mkdir -p out/benchmarks
	set -e; for b in benchmarks/[a-z]*.py; do echo "== $$b"; $(BIN)/python $$b --json out/benchmarks/$$(basename $$b .py).json; done

clean:
	rm -rf $(VENV) build install log out
