# One word per thing that a developer does. `make test` is the whole gate, and what CI runs.
#
#   SEED=n        the seed of the random tests (printed by each run)
#   ORACLE=n      commands per random run against a real server (default 100,000)
#   BARS="1 2 8"  the bars of the comparison (default: all that `make compare` can measure)
#   ROUNDS=n      interleaved rounds of the comparison (default 5)
#   CLIENTS=n     clients of the proof (default: what this host bears, up to a million)
#   FUZZ_SECS=n   seconds per fuzz target

SHELL := /bin/bash
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
FUZZ_SECS ?= 60
SOAK_ROUNDS ?= 20
BARS ?= all
ROUNDS ?= 5
CLIENTS ?= auto

export RINGFOLD_ORACLE_COMMANDS ?= $(ORACLE)
export RINGFOLD_SEED ?= $(SEED)

.PHONY: build deb run test bench compare million fuzz soak tools peers clients

build: ## the server and the load generator, as released
	cargo build --release --workspace

deb: ## a Debian package: target/ringfold_VERSION_ARCH.deb
	cargo build --release --bin ringfold
	tuning/debian/build

run: ## a server on the default port
	cargo run --release

test: tools peers clients ## formatting, lints, every test
	cargo fmt --all -- --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test --workspace --no-fail-fast

bench: ## criterion benches of the hot parts (the comparison prints its usage and leaves)
	cargo bench --workspace

compare: peers ## side by side with other servers; writes benches/results/
	cargo build --release -p loadgen
	ulimit -n "$$(ulimit -Hn)"; cargo bench --bench compare -- --bars "$(BARS)" --rounds $(ROUNDS)

million: ## very many clients held and served, at most 15 minutes; writes benches/results/
	cargo build --release --workspace
	ulimit -n "$$(ulimit -Hn)"; cargo bench --bench million -- --clients $(CLIENTS)

fuzz: ## every fuzz target for FUZZ_SECS (cargo-fuzz's flags are unstable: RUSTC_BOOTSTRAP allows them)
	@command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
	set -e; for target in $$(cargo fuzz list --fuzz-dir tests/fuzz); do \
	  RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tests/fuzz $$target -- \
	    -max_total_time=$(FUZZ_SECS) -timeout=1 -rss_limit_mb=1024; \
	done

soak: peers clients ## the random and the fault tests again and again, each time with another seed
	for round in $$(seq $(SOAK_ROUNDS)); do \
	  RINGFOLD_SEED=$$RANDOM$$RANDOM RINGFOLD_ORACLE_COMMANDS=1000000 cargo test --test oracle || exit 1; \
	  RINGFOLD_RESHARDS=10 RINGFOLD_FLAPS=500 RINGFOLD_LOAD_CONNECTIONS=400 RINGFOLD_LOAD_SECONDS=90 cargo test --test system || exit 1; \
	  RINGFOLD_ACL_PAIRS=1000000 cargo test --lib rights_tests || exit 1; \
	  RINGFOLD_MANY=100000 cargo test --test million || exit 1; \
	  SIM_FIRST=$$RANDOM$$RANDOM SIM_SEEDS=500 cargo test --test sim many_seeds || exit 1; \
	done

# rustfmt and clippy come with rustup's default profile; a minimal one lacks them.
tools:
	@cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
	@cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
	@command -v git >/dev/null || ($(SUDO) apt-get update && $(SUDO) apt-get install -y --no-install-recommends git)

# The real server is the oracle of the tests; systemd-analyze checks the units of tuning/; `ip`
# makes hosts that can vanish. Debian starts a service as it installs one; a
# policy-rc.d that says 101 for the moment of the installation keeps port 6379 free.
peers:
	@if ! command -v redis-server >/dev/null || ! command -v redis-cli >/dev/null || \
	    ! command -v systemd-analyze >/dev/null || ! command -v ip >/dev/null; then \
	  set -e; \
	  $(SUDO) apt-get update; \
	  made=; \
	  if [ ! -e /usr/sbin/policy-rc.d ]; then \
	    printf '#!/bin/sh\nexit 101\n' | $(SUDO) tee /usr/sbin/policy-rc.d >/dev/null; \
	    $(SUDO) chmod 755 /usr/sbin/policy-rc.d; made=yes; \
	  fi; \
	  status=0; \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y --no-install-recommends redis-server redis-tools systemd iproute2 || status=$$?; \
	  [ -z "$$made" ] || $(SUDO) rm -f /usr/sbin/policy-rc.d; \
	  exit $$status; \
	fi

# Libraries of other languages, of fixed versions, below target/ and nowhere else.
clients:
	@missing=; command -v npm >/dev/null || missing="$$missing npm"; \
	python3 -c 'import ensurepip' 2>/dev/null || missing="$$missing python3-venv"; \
	[ -z "$$missing" ] || { $(SUDO) apt-get update && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $$missing; }
	@[ -x target/clients/python/bin/python ] || python3 -m venv target/clients/python
	@target/clients/python/bin/python -c 'import redis' 2>/dev/null || \
	  target/clients/python/bin/pip install --quiet --disable-pip-version-check redis==5.2.1
	@[ -e target/clients/node/node_modules/ioredis ] && [ -e target/clients/node/node_modules/redis ] || \
	  npm install --silent --no-fund --no-audit --prefix target/clients/node ioredis@5.4.2 redis@4.7.0
