# `make run` and `make test` are all a new user needs; both install what is missing.

VENV ?= .venv
PY := $(VENV)/bin/python
ARGS ?=

.PHONY: run test lint bench schema deb hil model reel clean

run: $(VENV)/.run
	$(VENV)/bin/bin-daemon demo $(ARGS)

test: $(VENV)/.dev lint
	$(PY) -m pytest --cov --cov-report=term $(ARGS)

lint: $(VENV)/.dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

bench: $(VENV)/.run
	$(VENV)/bin/bin-daemon bench $(ARGS)

schema: $(VENV)/.run
	$(VENV)/bin/bin-daemon check-config --schema > firmware_config/bin-daemon.schema.json

deb: $(VENV)/.python
	firmware_config/debian/build

# The installed package in a virtual Pi; the first build of that takes long (tests/hil/README.md).
hil: deb $(VENV)/.dev
	tests/hil/run $(ARGS)

# The workshop has an environment of its own: TensorFlow is large, and no bin needs it.
model: $(VENV)/.python
	test -x $(VENV)-export/bin/python || python3 -m venv $(VENV)-export
	$(VENV)-export/bin/python -m pip install -q -e ".[export]"
	for step in train quantize evaluate package; do \
		$(VENV)-export/bin/python -m export $$step || exit 1; done

reel: $(VENV)/.python
	test -x $(VENV)-reel/bin/python || python3 -m venv $(VENV)-reel
	$(VENV)-reel/bin/python -m pip install -q -e ".[reel]"
	$(VENV)-reel/bin/python -m export.reel --out firmware_config/reel

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
