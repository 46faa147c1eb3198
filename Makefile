# Everything a developer runs. `make setup` is the only target that installs anything; the others call it.
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo test lint unit root proto bench conformance machine clean help

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

setup: ## Debian packages and .venv/bin/podwright
	@scripts/setup

demo: setup ## the whole life of a pod, with a daemon of its own, in under 20 s; BACKEND=docker: on a Docker Engine
	@scripts/demo $(BACKEND)

test: setup ## lint, types, unit, wire, and root tests against real runtimes, CNI, conmon and a registry
	@scripts/test

lint: setup ## ruff, mypy --strict and the layers
	@scripts/lint

unit: setup ## the tests that need no root
	@$(BIN)/pytest -q tests/unit tests/wire

proto: setup ## generate the CRI code from proto/
	@$(BIN)/python proto/generate.py

bench: setup ## Podwright (crun, runc) against Debian's containerd on the same work
	@DEBIAN_FRONTEND=noninteractive scripts/setup bench
	@$(BIN)/python -m bench

conformance: setup ## critest against a daemon of its own; CRITEST names the binary
	@scripts/conformance

machine: setup ## tests of cgroup v2 and systemd, in a machine by QEMU that has both; PYTEST="-k oom" selects
	@scripts/machine $(PYTEST)

clean: ## remove what the targets above made in the checkout
	rm -rf $(VENV) .demo .bench .conformance .conformance.log .conformance.json .machine .mypy_cache .ruff_cache .pytest_cache
