# One command to run ketcd (`make run`), one to test it (`make test`); their parts below have names of their own.
# Everything that is installed is installed once: the build's needs on the machine, the tests' needs in
# $KETCD_PEERS (default: ketcd-peers in the user's cache directory).

SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run build dist test lint unit metadata broker process clients groups-long peers bench clean build-needs etcd

CARGO ?= cargo
SETUP := tests/setup
RUN_ARGS ?=
SKIP_LOG := $(CURDIR)/target/skipped.log
RUN_CARGO_TEST := KETCD_SKIP_LOG=$(SKIP_LOG) $(CARGO) test --no-fail-fast

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

run: build ## Build the release binary and start a broker on 127.0.0.1:9092 (RUN_ARGS="--port 9093" for more)
	@exec target/release/ketcd dev $(RUN_ARGS)

build: build-needs ## Build target/release/ketcd
	$(CARGO) build --release --locked

dist: build-needs ## Build target/dist/ketcd: the whole program optimised at once, for images and measurements
	$(CARGO) build --profile dist --locked

test: ## Everything that is tested: style, units, metadata against real etcds, the wire, real clients
	@$(SETUP)/test.sh

lint: build-needs ## rustfmt and clippy, warnings are errors
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

unit: build-needs ## The tests inside the source files
	$(RUN_CARGO_TEST) --lib --bins

metadata: build-needs etcd ## The metadata suite on the embedded store and on real etcd servers
	$(RUN_CARGO_TEST) --test metadata

broker: build-needs ## Raw frames against a broker in the test's process
	$(RUN_CARGO_TEST) --test broker

process: build-needs etcd ## Real processes: etcd taken away, kill -9, full disk, system calls, exit codes
	@$(SETUP)/strace.sh
	$(RUN_CARGO_TEST) --test process

clients: build-needs peers ## Real clients and Apache Kafka's tools against the real binary
	$(RUN_CARGO_TEST) --test clients

groups-long: build-needs peers ## Groups of real clients, ten times as many kills, deaths and rebalances
	KETCD_TEST_LONG=1 $(RUN_CARGO_TEST) --test clients -- groups::many groups::broker_dies

peers: ## Install the clients and servers that the tests talk to
	@for peer in kcat strace python node java kafka go; do $(SETUP)/$$peer.sh || exit 1; done

etcd:
	@[ ! -x $(SETUP)/etcd.sh ] || $(SETUP)/etcd.sh || echo "setup: the tests of the etcd that is missing will be skipped"

bench: build-needs ## The criterion benches
	$(CARGO) bench --locked

clean: ## Remove what was built (not what was installed)
	$(CARGO) clean

build-needs:
	@$(SETUP)/build.sh
