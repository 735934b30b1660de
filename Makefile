# make demo       run the quickstart notebook and predict the pockets of an adenosine receptor (results in runs/demo)
# make test       lint, then the tests (PYTEST_ARGS="-k surface" for some of them)
# make lint       ruff, mypy, bandit, and notebooks without stray outputs
# make corpus     fetch some 900 real structure files of other packages into .cache and try every one (ten minutes)
# make fuzz       try random damage on the readers, in a process that may die (FUZZ_MINUTES=30; Linux)
# make audit      look the pinned versions up among known vulnerabilities (asks the package index)
# make colab      run quickstart, finetune_gpu and 01-09 in Google Colab's versions, simulated (COLAB_PYTHON=python3.13: in that one)
# make notebooks  run every notebook from top to bottom (executed copies and HTML in runs/notebooks)
# make references rewrite what notebooks are tested against, show what moved (NOTEBOOKS="quickstart 04_smoothing" for some)
# make clean      remove the environment, results and caches
#
# The first of them makes .venv, without PyTorch for the demo; it is brought up to date when pyproject.toml or constraints.txt changes.
# Another interpreter: make PYTHON=python3.12. More for pip: make PIP_ARGS=... PyTorch with or without CUDA: make TORCH=cuda or TORCH=cpu.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test lint colab notebooks references clean corpus fuzz audit
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
PYTEST_ARGS ?=
# On Linux the package index has PyTorch with 5 GB of CUDA libraries; PyTorch's own index has one for the CPU alone.
TORCH ?= $(shell [ "$$(uname -s)" = Linux ] && ! nvidia-smi --list-gpus >/dev/null 2>&1 && echo cpu || echo cuda)
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu/
ANSWERS = $(PYTHON) -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)' $(TORCH_INDEX) 2>/dev/null
READY := $(VENV)/.ready
COMPLETE := $(VENV)/.complete
HARDENING := $(VENV)/.hardening
FUZZ_MINUTES ?= 30
BIN := $(VENV)/bin
COLAB_PYTHON ?= $(BIN)/python
COLAB = .cache/colab-$(shell $(COLAB_PYTHON) -c 'import sys; print(*sys.version_info[:2], sep=".")')/.ready
COURSE := $(sort $(wildcard notebooks/*.ipynb tutorial/*.ipynb))
NOTEBOOKS ?=
ALL_NOTEBOOKS := $(sort $(wildcard notebooks/*.ipynb tutorial/*.ipynb tutorial/*/*.ipynb))

help:
	@sed -n 's/^# make /make /p' $(firstword $(MAKEFILE_LIST))

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "s2p needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true)." >&2; \
	  echo "Name another interpreter: make PYTHON=python3.12" >&2; exit 1; }
	@echo "Installing s2p and what it needs into $(VENV) (once) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e ".[notebooks]"
	@touch $@

$(COMPLETE): $(READY)
	@echo "Installing PyTorch and what tests need into $(VENV) (once; PyTorch is large) ..."
	@if [ $(TORCH) = cpu ]; then \
	  if $(ANSWERS) && $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps --index-url $(TORCH_INDEX) torch; \
	  then echo "PyTorch came without CUDA, because no NVIDIA GPU was found (otherwise: make TORCH=cuda)."; \
	  else echo "No PyTorch from $(TORCH_INDEX); pip takes it from where it looks by itself, perhaps with 5 GB of CUDA."; fi; \
	fi
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e ".[notebooks,torch,dev]"
	@touch $@

demo: $(READY)
	$(BIN)/s2p notebook quickstart -o runs/demo
	PYTHONPATH=docs $(BIN)/jupyter nbconvert --to offline_page.OfflinePage --log-level ERROR runs/demo/quickstart.ipynb
	$(BIN)/s2p predict data/examples/6WQA.cif -o runs/demo --format csv,json,pdb,pml,cxc,html,box
	@echo "Look at runs/demo/6WQA_report.html and runs/demo/quickstart.html in a browser."

# Two test processes with one thread each: more threads than cores make PyTorch slower, not faster. One that is done takes
# over tests of the other, or the notebooks would all wait for one of them.
test: export OMP_NUM_THREADS := 1
test: lint
	@$(MAKE) --no-print-directory colab-versions
	$(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST_ARGS)

lint: $(COMPLETE)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive s2p
ifneq ($(ALL_NOTEBOOKS),)
	$(BIN)/nbstripout --verify --keep-id --extra-keys "metadata.papermill cell.metadata.papermill" $(ALL_NOTEBOOKS)
endif

# A Python other than that of .venv can borrow nothing from there: it gets all that s2p needs.
.PHONY: colab-versions
colab-versions: $(COMPLETE) tests/colab.txt
	@if [ ! $(COLAB) -nt tests/colab.txt ]; then \
	  echo "Putting the versions of Google Colab into $(dir $(COLAB)) (once) ..."; rm -rf $(dir $(COLAB)); \
	  more="--no-deps"; [ "$(COLAB_PYTHON)" = "$(BIN)/python" ] || more="pip setuptools wheel .[colab]"; \
	  $(COLAB_PYTHON) -m pip install --quiet --disable-pip-version-check --no-compile $(PIP_ARGS) --target $(dir $(COLAB)) -r tests/colab.txt $$more; \
	  rm -rf $(dir $(COLAB))s2p $(dir $(COLAB))s2p_pockets-*; touch $(COLAB); \
	fi

colab: export OMP_NUM_THREADS := 1
colab: colab-versions
	S2P_COLAB=all S2P_COLAB_PYTHON=$(COLAB_PYTHON) $(BIN)/python -m pytest -n 2 tests/course/test_colab.py $(PYTEST_ARGS)

notebooks: $(COMPLETE)
	@for notebook in $(basename $(notdir $(COURSE))); do \
	  echo "$$notebook"; $(BIN)/s2p notebook $$notebook -o runs/notebooks; \
	  PYTHONPATH=docs $(BIN)/jupyter nbconvert --to offline_page.OfflinePage --log-level WARN runs/notebooks/$$notebook.ipynb; \
	done

# Look at what moved before you commit it; the table of notebooks follows their first cells.
references: export OMP_NUM_THREADS := 1
references: $(COMPLETE)
	$(BIN)/python tests/notebooks/update.py $(NOTEBOOKS)
	$(BIN)/python tests/notebooks/table.py
	@git --no-pager diff --stat -- tests/notebooks/reference notebooks tutorial || true

$(HARDENING): $(COMPLETE)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e ".[hardening]"
	@touch $@

corpus: export OMP_NUM_THREADS := 1
corpus: $(HARDENING)
	$(BIN)/python tests/corpus.py

fuzz: export OMP_NUM_THREADS := 1
fuzz: $(HARDENING)
	$(BIN)/python tests/fuzz.py --minutes $(FUZZ_MINUTES)

# --strict: a version that cannot be looked up is a failure, not a pass.
audit: $(HARDENING)
	$(BIN)/pip-audit --strict --disable-pip --no-deps --requirement constraints.txt

clean:
	rm -rf $(VENV) runs build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
