# make demo       a textured mesh from a prompt, with a report
# make test       lint, the layer test and the test suite;  make test-all  with the slow tests
# make venv       only the environment;  make lint, make bench, make compare, make dso
# Needs make and Python 3.11 or 3.12 (PYTHON=python3.12 selects it). All installs go into .venv.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
WORKDIR ?= runs/demo
PROMPT ?= a red bear

# The settings of jax3dgen/core/launch.py, for tests and benchmarks, which do not use the launcher.
QUICK := env MALLOC_ARENA_MAX=1 MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184

# Two workers; a file is run by one of them, so that its module fixtures are made once.
PARALLEL := $(RUN) -m pytest -q -n 2 --dist loadfile
TESTS := --ignore=tests/test_layers.py tests  # which `lint` has run

# The tables of docs/results/dso.md: rows of dso.jsonl there are not computed again, the rest takes
# hours. All parts share a workdir, so that they share samples, labels and runs.
dso: venv
	for part in main rivals steps pool variants transfer tilts; do \
	  $(RUN) -m experiments.dso_study --config configs/dso_study.py:$$part --workdir runs/dso $(FLAGS) || exit 1; done

.PHONY: demo test test-all lint bench compare dso venv dev lock clean

demo: venv
	$(RUN) -m experiments.distill --config configs/embedded.py --config.prompt='$(PROMPT)' --workdir $(WORKDIR)
	@echo "The results are in $(WORKDIR): open $(WORKDIR)/report.html in a browser."

test: dev lint
	$(QUICK) $(PARALLEL) $(TESTS)

test-all: dev lint
	$(QUICK) $(PARALLEL) --slow $(TESTS)

lint: dev
	$(RUN) -m ruff check .
	$(QUICK) $(RUN) -m pytest -q tests/test_layers.py

# The tables of docs/results/janus.md and diversity.md: rows of janus.jsonl and diversity.jsonl there
# are not run again, the rest takes hours. FLAGS=--merge adds the new runs to these files.
compare: venv
	for part in janus.py janus.py:core janus.py:others janus.py:forms janus.py:sweep \
	    janus.py:ablations janus.py:particles janus.py:phrases janus.py:without_sparsity \
	    janus.py:conditional janus.py:light_sparsity diversity.py; do \
	  $(RUN) -m experiments.compare --config configs/compare_$$part --workdir runs/compare/$$part $(FLAGS) || [ $$? = 3 ] || exit 1; done

bench: dev
	$(QUICK) $(RUN) -m benchmarks.run

# The environment is rebuilt only if a lock file or the package metadata has changed.
venv: $(VENV)/runtime.stamp
dev: $(VENV)/dev.stamp

$(VENV)/runtime.stamp: requirements/runtime.txt setup.cfg pyproject.toml
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet -r requirements/runtime.txt
	$(RUN) -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

# torch and transformers, for tests and benchmarks only; pip's own settings select the CPU build.
$(VENV)/dev.stamp: $(VENV)/runtime.stamp requirements/dev.txt requirements/torch.txt
	$(RUN) -m pip install --quiet -r requirements/torch.txt
	$(RUN) -m pip install --quiet -r requirements/dev.txt
	touch $@

# Resolves the lock files again, with uv: the newest releases that setup.cfg allows, for Python 3.11
# and 3.12. setuptools is in the runtime file because the package itself is built in .venv.
UV ?= uv
LOCK := $(UV) pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header
DEV := build fast-simplification pytest pytest-xdist ruff xatlas
TORCH := torch==2.13.0 transformers diffusers

lock:
	echo setuptools | $(LOCK) --upgrade setup.cfg - -o requirements/runtime.txt
	printf '%s\n' $(DEV) | $(LOCK) --upgrade -c requirements/runtime.txt - -o requirements/dev.txt
	printf '%s\n' $(TORCH) | $(LOCK) --upgrade -c requirements/runtime.txt - | \
	    grep -vE '^(nvidia|cuda|triton)' > requirements/torch.txt

clean:
	rm -rf $(VENV) .jax_cache .pytest_cache .ruff_cache build dist *.egg-info
