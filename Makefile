# `make run` and `make test` are all a new user needs; both install what is missing.

VENV ?= .venv
PY := $(VENV)/bin/python
ARGS ?=

.PHONY: run test lint bench schema deb hil model recipes reel studio clean

run: $(VENV)/.run
	$(VENV)/bin/bin-daemon demo $(ARGS)

# Coverage is that of both environments together; each package has to reach its own bound.
test: $(VENV)/.dev $(VENV)-export/.done lint
	$(VENV)-export/bin/python -m pytest -q --cov --cov-report= -m tensorflow tests/unit
	$(PY) -m pytest -n auto --dist worksteal --cov --cov-append --cov-report= $(ARGS)
	$(PY) -m coverage report --include "bin_daemon/*" --fail-under 90
	$(PY) -m coverage report --include "export/*" --fail-under 80

lint: $(VENV)/.dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-cache

bench: $(VENV)/.run
	$(VENV)/bin/bin-daemon bench $(ARGS)

schema: $(VENV)/.run
	$(VENV)/bin/bin-daemon check-config --schema > firmware_config/bin-daemon.schema.json

deb: $(VENV)/.python
	firmware_config/debian/build

# The installed package in a virtual Pi; the first build of that takes long (tests/hil/README.md).
hil: deb $(VENV)/.dev
	tests/hil/run $(ARGS)

# Five folds for the figures, and the model that is shipped, from all pictures; hours without a
# graphics card, and what is interrupted goes on where it was. Trainings side by side on a core each
# are a third faster than one after the other on all of them.
EXPORT := $(VENV)-export/bin/python -m export
MODEL ?= waste6
FOLDS ?= 0 1 2 3 4
JOBS ?= $(shell nproc)

# The ImageNet weights that waste6 and organic2 start from: those at hand, or Keras's.
BACKBONE := mobilenet_v2_1.0_224_imagenet_folded.npz
BACKBONE := $(or $(wildcard ../shared/backbones/$(BACKBONE)),export/sets/$(BACKBONE))

model: $(VENV)-export/.done $(BACKBONE) $(if $(filter waste6,$(MODEL)),studio)
	printf '%s\n' $(FOLDS) none | TF_NUM_INTRAOP_THREADS=1 xargs -P $(JOBS) -I FOLD sh -c \
		'$(EXPORT) train --recipe $(MODEL) --fold FOLD --run $(MODEL)-FOLD && \
		$(EXPORT) quantize --run $(MODEL)-FOLD'
	printf '%s\n' $(FOLDS:%=$(MODEL)-%) | xargs -P $(JOBS) -n 1 $(EXPORT) evaluate --run
	$(EXPORT) evaluate --run $(MODEL)-none --pool $(FOLDS:%=$(MODEL)-%)
	$(EXPORT) evaluate --run $(MODEL)-none
	$(EXPORT) report --run $(MODEL)-none
	$(EXPORT) package --run $(MODEL)-none --to models/$(MODEL) $(if $(DESPITE),--despite "$(DESPITE)")

export/sets/%.npz: | $(VENV)-export/.done
	$(EXPORT) backbone

# Every published backbone for a few minutes on drawn pictures; `make recipes ARGS=ResNet152` for one.
recipes: $(VENV)-export/.done
	$(EXPORT) recipes $(ARGS)

reel: $(VENV)/.python
	test -x $(VENV)-reel/bin/python || python3 -m venv $(VENV)-reel
	$(VENV)-reel/bin/python -m pip install -q -e ".[reel]"
	$(VENV)-reel/bin/python -m export reel --out firmware_config/reel

# Rendered training pictures. With other LLVMs than 19 Dr.Jit was seen to abort (export/rendering/reel).
studio: $(VENV)/.llvm
	test -x $(VENV)-reel/bin/python || python3 -m venv $(VENV)-reel
	$(VENV)-reel/bin/python -m pip install -q -e ".[reel]"
	DRJIT_LIBLLVM_PATH=$${DRJIT_LIBLLVM_PATH:-$$(ls /usr/lib/*/libLLVM-19.so* | head -n 1)} \
		$(VENV)-reel/bin/python -m export studio --out export/sets/studio --count 600 $(ARGS)

clean:
	rm -rf $(VENV) $(VENV)-export $(VENV)-reel build dist *.egg-info .coverage*

# Installs Debian's packages in the shell's $$missing.
define apt_missing
if [ -n "$$missing" ]; then \
	echo "installing:$$missing"; \
	sudo=""; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	$$sudo apt-get update -q && \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; \
fi
endef

$(VENV)/.python:
	@missing=""; \
	python3 -c "import ensurepip, venv" 2>/dev/null || missing="$$missing python3-venv"; \
	$(apt_missing)
	@python3 -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed')"
	@mkdir -p $(VENV) && touch $@

# The workshop has an environment of its own: TensorFlow is large, and no bin needs it. Compiling all
# of it beforehand would take longer than the tests that use some of it.
$(VENV)-export/.done: $(VENV)/.python setup.cfg pyproject.toml
	test -x $(VENV)-export/bin/python || python3 -m venv $(VENV)-export
	$(VENV)-export/bin/python -m pip install -q --disable-pip-version-check --no-compile -e ".[export,dev]"
	@touch $@

$(VENV)/.llvm: $(VENV)/.python
	@missing=""; \
	ls /usr/lib/*/libLLVM-19.so* >/dev/null 2>&1 || missing="$$missing libllvm19"; \
	$(apt_missing)
	@touch $@

# mosquitto is the broker of the demo and of the tests, openssl makes the tests' certificates,
# systemd-analyze checks the unit.
$(VENV)/.apt: $(VENV)/.python
	@missing=""; \
	command -v mosquitto >/dev/null || test -x /usr/sbin/mosquitto || missing="$$missing mosquitto"; \
	command -v openssl >/dev/null || missing="$$missing openssl"; \
	command -v systemd-analyze >/dev/null || missing="$$missing systemd"; \
	$(apt_missing)
	@touch $@

$(VENV)/.run: $(VENV)/.apt setup.cfg pyproject.toml
	test -x $(PY) || python3 -m venv $(VENV)
	$(PY) -m pip install -q --disable-pip-version-check -e ".[litert]"
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(PY) -m pip install -q --disable-pip-version-check -e ".[litert,dev]"
	@touch $@
