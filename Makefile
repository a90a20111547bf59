# `make` alone lists what can be made. Needs Python >= 3.11 and (GNU) make; all else is set up here, in .venv*/.
# Options: PYTHON=python3.12 picks the interpreter, ARGS="..." is handed on, SERVERS=embedded|all picks what tests run.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?=
ARGS ?=
SERVERS ?= all

RUN := .venv/bin/python -m
LOCK := .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --custom-compile-command "make lock"

ifneq (,$(filter test soak,$(MAKECMDGOALS)))
ifeq (,$(filter <all> <embedded>,<$(SERVERS)>))
$(error SERVERS is "$(SERVERS)"; it is either "all" (every test) or "embedded" (those that need no server))
endif
endif

.PHONY: help demo test check bench soak docs lock clean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: .venv/ready ## send a storm through a ticket shop, bare and protected (ARGS="--seconds 10 --json")
	@$(RUN) seawall.cli storm examples.ticketwave.storm $(ARGS)

test: .venv/ready ## run every test (ARGS="-k breaker", SERVERS=embedded|all)
	@[ "$(SERVERS)" = embedded ] || $(RUN) tests.provision
	@SEAWALL_TEST_SERVERS=$(SERVERS) $(RUN) pytest $(ARGS)

check: .venv/ready ## run the static checks: format, lint, types, floors, names
	@echo "check: ruff format"
	@$(RUN) ruff format --check .
	@echo "check: ruff"
	@$(RUN) ruff check .
	@echo "check: mypy"
	@$(RUN) mypy
	@echo "check: pyright"
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(RUN) pyright
	@echo "check: import-linter"
	@.venv/bin/lint-imports --no-logo
	@echo "check: floors and names"
	@$(RUN) pytest -q tests/test_floors.py tests/test_face.py
	@echo "check: all green"

bench: .venv-bench/ready ## measure seawall against its peers (ARGS="...")
	@.venv-bench/bin/python -m benchmarks $(ARGS)

# The report is committed, so it shows no path of this machine.
soak: .venv/ready ## run the long cases in full; the dated report goes to docs/soak/
	@[ "$(SERVERS)" = embedded ] || $(RUN) tests.provision
	@mkdir -p docs/soak; exec 4>&1; \
	report=docs/soak/$$(date -u +%Y-%m-%d-%H%M).txt; \
	status=$$({ { echo "make soak, $$(date -u +%Y-%m-%dT%H:%MZ), $$(.venv/bin/python -V), $$(uname -sm)"; \
	    SEAWALL_SOAK=1 SEAWALL_TEST_SERVERS=$(SERVERS) $(RUN) pytest -v -s --no-header -m soak $(ARGS) 2>&1; \
	    echo $$? >&3; } | tee .venv/soak.txt >&4; } 3>&1); \
	sed -e "s|$(CURDIR)|.|g" -e "s|$$HOME|~|g" -e "s|$${TMPDIR:-/tmp}/|TMP/|g" .venv/soak.txt > $$report; \
	echo "soak: report in $$report"; exit $$status

docs: .venv-docs/ready ## build the documentation into site/, strictly and for reading without a network
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build --strict --clean --site-dir site
	@! grep -rnoE '<(script|img|iframe|source|link)[^>]* (src|href)="?(https?:)?//[^" >]*|url\(["'\'']?(https?:)?//[^)]*' \
	    --include='*.html' --include='*.css' site || { echo "docs: site/ loads the above from the network" >&2; exit 1; }
	@echo "docs: open site/index.html"

lock: .venv-lock/ready ## pin requirements/*.in in requirements/*.txt (ARGS=--upgrade for newer versions)
	@$(LOCK) $(ARGS) pyproject.toml --extra http --extra cli --extra sql --extra redis --extra rabbitmq --extra otel requirements/dev.in -o requirements/dev.txt
	@$(LOCK) $(ARGS) requirements/docs.in -o requirements/docs.txt
	@$(LOCK) $(ARGS) pyproject.toml --extra bench requirements/bench.in -o requirements/bench.txt
	@echo "lock: requirements/dev.txt, docs.txt and bench.txt are up to date"

clean: ## remove all that make made
	rm -rf .venv .venv-bench .venv-docs .venv-lock site build dist
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---------------------------------------------------------------------------------------------------------- set-up
# Each environment ends with the file `ready`, written last: an interrupted set-up is simply done again.

.venv/ready: requirements/dev.txt pyproject.toml
	$(call set_up,.venv,-r requirements/dev.txt)
	$(call install_seawall,.venv)
	$(call finish,.venv)

.venv-bench/ready: requirements/bench.txt pyproject.toml
	$(call set_up,.venv-bench,-r requirements/bench.txt)
	$(call install_seawall,.venv-bench)
	$(call finish,.venv-bench)

.venv-docs/ready: requirements/docs.txt
	$(call set_up,.venv-docs,-r requirements/docs.txt)
	$(call finish,.venv-docs)

.venv-lock/ready:
	$(call set_up,.venv-lock,uv)
	$(call finish,.venv-lock)

# True for an environment that was finished, in this folder, with an interpreter that is still there and the one asked for.
usable = [ "$$(cat $(1)/ready 2>/dev/null)" = "$(CURDIR)" ] && [ -x $(1)/bin/python ] && \
    { [ -z "$(PYTHON)" ] || [ "$$("$(PYTHON)" -V 2>&1)" = "$$($(1)/bin/python -V 2>&1)" ]; }

# One that is not usable is made anew whatever the date of its `ready`.
anew := $(foreach venv,.venv .venv-bench .venv-docs .venv-lock,$(if $(shell $(call usable,$(venv)) && echo yes),,$(venv)/ready))
.PHONY: $(anew)

# Finds $$python, an interpreter that is new enough and can make environments; on Debian as root, installs what it lacks.
define find_python
python=; bare=; \
for candidate in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
    "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
    if "$$candidate" -c 'import venv; from ensurepip import version' >/dev/null 2>&1; then python=$$candidate; break; fi; \
    bare=$${bare:-$$candidate}; \
done; \
if [ -z "$$python$$bare" ]; then \
    echo "seawall: $(if $(PYTHON),PYTHON=$(PYTHON) is no,there is no) Python >= 3.11. Install one" >&2; \
    echo "    (Debian 12, Ubuntu 24.04 or newer: apt-get install python3 python3-venv; macOS: brew install python@3.13)" >&2; \
    echo "    or name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.13" >&2; \
    exit 1; \
fi; \
if [ -z "$$python" ]; then \
    python=$$bare; \
    package=$$("$$bare" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
    if [ "$$("$$bare" -c 'import sys; print(sys.base_prefix)')" != /usr ] || ! command -v apt-get >/dev/null; then \
        echo "seawall: $$bare has no venv or ensurepip module: install them, or name another: PYTHON=..." >&2; exit 1; \
    elif [ "$$(id -u)" != 0 ]; then \
        echo "seawall: $$bare has no venv module. Run: sudo apt-get install $$package" >&2; exit 1; \
    fi; \
    echo "seawall: installing $$package with apt-get, since $$bare has no venv module"; \
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends $$package; } >/dev/null; \
fi
endef

# set_up: environment, what pip installs into it
define set_up
@set -e; \
if $(call usable,$(1)); then \
    echo "seawall: bringing $(1) up to date"; \
else \
    $(find_python); \
    echo "seawall: setting up $(1) with $$("$$python" -V) (some seconds to a minute, once)"; \
    rm -rf $(1); \
    "$$python" -m venv $(1); \
fi; \
$(1)/bin/python -m pip install -qq --no-compile --disable-pip-version-check $(2)
endef

install_seawall = @$(1)/bin/python -m pip install -qq --no-compile --disable-pip-version-check --no-build-isolation --no-deps -e .
finish = @echo "$(CURDIR)" > $(1)/ready
