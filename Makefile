# `make` prints what the targets do. Nothing here is needed to use cargo directly, except that without
# deploy/development/cargo RocksDB is built by its crate: 30 CPU minutes for each profile instead of 5 once.
.DEFAULT_GOAL := help
.PHONY: help run cluster chaos release test test-kubernetes sim fuzz kafka-faults fmt

cargo := deploy/development/cargo
prerequisites := deploy/development/prerequisites

# For `make run`, for instance: make run ARGUMENTS='--listen-address 0.0.0.0 --host-name hub.example.test'
ARGUMENTS ?=

help:
	@echo 'make run       build a hub and start it with a device `demo` (ARGUMENTS="..." adds flags of `ironhub all`)'
	@echo 'make cluster   build and start a cluster of processes: 3 shards, 2 gateways, Kafka, haproxy (DO=stop|status|addresses)'
	@echo 'make release   build ironhub and ironhub-loadtest, optimised, into the release folder of cargo'
	@echo 'make test      everything CI checks: format, clippy, unit, property and integration tests, SDK suites'
	@echo 'make test-kubernetes  the Helm chart on a fresh Kubernetes of three nodes, made for it (root; the first time ten minutes more);'
	@echo '                      REPORT=file.md keeps what it saw'
	@echo 'make sim       run the simulated hub through many seeds (SEEDS=1000 FIRST=1), or one with its trace (SEED=17)'
	@echo 'make chaos     a cluster in namespaces under load while its parts, links, disks and clocks fail (MINUTES=5 SEED=1 DEVICES=6,'
	@echo '               ONLY=split: one kind of fault); a verdict at the end; wants root'
	@echo 'make fuzz      run the libFuzzer targets by hand, a minute each (TARGET=sas_token SECONDS=600: one, longer)'
	@echo 'make kafka-faults  the event log on three real Kafka brokers that are killed, and on one with TLS and passwords'
	@echo 'make fmt       format the sources'
	@echo
	@echo 'What the system lacks is installed first on Debian and Ubuntu; elsewhere you get a list.'

# The profile that tests use: twice as fast to build as a release, fast enough to try things.
run:
	@$(prerequisites) build
	$(cargo) build --profile ci --locked --package hub
	@echo
	@exec "$$(deploy/development/target-folder)/ci/ironhub" all --with-device demo $(ARGUMENTS)

DO ?= start
cluster:
	@$(prerequisites) cluster
	@if [ '$(DO)' = start ]; then $(cargo) build --profile ci --locked --package hub; fi
	@deploy/development/cluster $(DO)

release:
	@$(prerequisites) build
	$(cargo) build --release --locked --package hub --package ironhub-loadtest
	@folder=$$(deploy/development/target-folder)/release; ls -lh "$$folder/ironhub" "$$folder/ironhub-loadtest"

test:
	@deploy/development/check

test-kubernetes:
	@$(prerequisites) test
	$(cargo) build --profile ci --locked --workspace --bins
	@folder=$$(deploy/development/target-folder)/ci; IRONHUB_BINARY="$${IRONHUB_BINARY:-$$folder/ironhub}" \
		IRONHUB_LOADTEST_BINARY="$${IRONHUB_LOADTEST_BINARY:-$$folder/ironhub-loadtest}" tests/kubernetes/run $(if $(REPORT),--report $(REPORT))

# Built like the tests, so that a seed that CI printed comes to the same here.
sim:
	@$(prerequisites) build
	@SIM_SEED='$(SEED)' SIM_TRACE='$(SEED)' SIM_FIRST_SEED='$(FIRST)' SIM_SEEDS='$(SEEDS)' \
		$(cargo) test --profile ci --locked --workspace --test sim

MINUTES ?= 5
chaos:
	@$(prerequisites) chaos
	$(cargo) build --profile ci --locked --package hub
	@IRONHUB_BINARY="$${IRONHUB_BINARY:-$$(deploy/development/target-folder)/ci/ironhub}" \
		tests/chaos/run --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(if $(DEVICES),--devices $(DEVICES)) $(if $(ONLY),--only $(ONLY))

fuzz:
	@deploy/development/fuzz "$(TARGET)" $(SECONDS)

kafka-faults:
	@$(prerequisites) build
	$(cargo) test --profile ci --locked --workspace --test it kafka_ -- --ignored --nocapture --test-threads=1

fmt:
	cargo fmt --all
