# One command to run ketcd (`make run`), one to test it (`make test`); their parts below have names of their own.
# Everything that is installed is installed once: the build's needs on the machine, the tests' needs in
# $KETCD_PEERS (default: ketcd-peers in the user's cache directory).

SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run build dist test lint unit properties metadata broker process clients groups-long sim sim-bugs cluster chaos seeded peers bench bench-failover clean build-needs etcd

CARGO ?= cargo
SETUP := tests/setup
RUN_ARGS ?=
SKIP_LOG := $(CURDIR)/target/skipped.log
RUN_CARGO_TEST := KETCD_SKIP_LOG=$(SKIP_LOG) $(CARGO) test --no-fail-fast

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

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

properties: build-needs ## The same with TIMES=n (100) times as many random cases for each property
	PROPTEST_CASES=$$((256 * $${TIMES:-100})) $(RUN_CARGO_TEST) --release --lib -- --skip sim::

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

sim: build-needs ## The simulated cluster: SEEDS=n seeds on all cores (FROM=m), or one with its trace (SEED=x); BUG=.. leaves a guard out
	@test=$${SEED:+one_seed_is_told_in_full}; KETCD_SIM_SEEDS=$${SEEDS:-100000} KETCD_SIM_FROM=$${FROM:-0} \
	KETCD_SIM_SEED=$$SEED KETCD_SIM_BUG=$$BUG $(CARGO) test --release --lib -- --nocapture sim::seeds::$${test:-many_seeds}

sim-bugs: build-needs ## How soon the simulation finds each seeded bug (BUG=.. for one)
	@KETCD_SIM_BUG=$$BUG $(CARGO) test --release --lib -- --nocapture sim::seeds::every_seeded_bug

cluster: build-needs etcd ## Three real brokers and a real etcd, killed, paused, cut off, stopped under load; one checker
	@$(SETUP)/python.sh
	@$(SETUP)/java.sh
	$(RUN_CARGO_TEST) --test cluster

chaos: build-needs etcd ## The same at random for as long as KETCD_CHAOS_{KILLS,PARTITIONS,PAUSES,OUTAGES,RECORDS,MINUTES,SEED} ask for
	@$(SETUP)/python.sh
	@$(SETUP)/java.sh
	@KETCD_CHAOS_KILLS=$${KETCD_CHAOS_KILLS:-100} KETCD_CHAOS_PARTITIONS=$${KETCD_CHAOS_PARTITIONS:-40} \
	KETCD_CHAOS_PAUSES=$${KETCD_CHAOS_PAUSES:-30} KETCD_CHAOS_OUTAGES=$${KETCD_CHAOS_OUTAGES:-10} \
	KETCD_CHAOS_RECORDS=$${KETCD_CHAOS_RECORDS:-1000000} $(CARGO) test --release --test cluster -- --nocapture chaos

seeded: build-needs etcd ## The test of the cluster's tests: brokers with one guard left out are found out
	$(RUN_CARGO_TEST) --features seeded-bugs --test cluster -- seeded

peers: ## Install the clients and servers that the tests talk to
	@for peer in kcat strace python node java kafka go; do $(SETUP)/$$peer.sh || exit 1; done

etcd:
	@[ ! -x $(SETUP)/etcd.sh ] || $(SETUP)/etcd.sh || echo "setup: the tests of the etcd that is missing will be skipped"

bench: build-needs ## The criterion benches
	$(CARGO) bench --locked

bench-failover: build-needs etcd ## How long nothing is acknowledged at a fault, and what many partitions cost (three brokers)
	$(CARGO) bench --locked --bench failover

clean: ## Remove what was built (not what was installed)
	$(CARGO) clean

build-needs:
	@$(SETUP)/build.sh
