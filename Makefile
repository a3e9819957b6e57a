# The front door. `make help` lists what there is.

CALLBRIDGE_CACHE ?= $(HOME)/.cache/callbridge
# One target folder outside the checkout: a fresh clone does not build everything again.
CARGO_TARGET_DIR ?= $(CALLBRIDGE_CACHE)/target
export CALLBRIDGE_CACHE CARGO_TARGET_DIR

.DEFAULT_GOAL := help
.PHONY: help deps deps-silero deps-daily test-deps demo serve test soak bench hearing load deb lint fmt doc book clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## install what building and running need (called by the others)
	@scripts/deps

deps-silero: deps ## install the speech detector silero, which agents may then choose
	@scripts/silero

deps-daily: ## install Daily's package: agents may then join rooms of Daily (docs/rooms.md)
	@scripts/daily

hearing: deps-silero ## compare the speech detectors on recordings, which are downloaded
	@scripts/hearing-sounds $(CALLBRIDGE_CACHE)/hearing
	cargo bench --locked --bench hearing -- --compare $(CALLBRIDGE_CACHE)/hearing

test-deps: ## install what only the tests need (called by `make test`)
	@scripts/test-deps

demo: deps ## a complete voice call with an agent, on this machine, with no key
	cargo run --locked -- demo

serve: deps ## start the gateway; it prints the address of a page to talk in
	cargo run --locked -- serve

test: deps test-deps ## run every test
	cargo test --locked

soak: deps ## ten thousand agents from their making to their end, and five minutes with a model that is lost
	CALLBRIDGE_LIFECYCLES=10000 cargo test --locked --test lifecycles -- --nocapture
	CALLBRIDGE_QUESTIONS=42 cargo test --locked --test drops -- --nocapture

bench: deps ## measure the hot paths
	cargo bench --locked

load: deps ## call a gateway 1 to 100 times at once; the table goes into docs/performance.md
	cargo run --locked --release -- load --calls 1,20,50,100 --duration 60 \
		--table docs/performance.md --json $(CARGO_TARGET_DIR)/load.json --plot $(CARGO_TARGET_DIR)/load.svg

deb: deps ## make the Debian package, in the target folder under debian/
	@scripts/deb

lint: ## check the style; warnings are errors
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings

fmt: ## put the style right
	cargo fmt

doc: ## build the documentation; warnings are errors
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

book: ## make a book of docs/, in the target folder below book/
	@scripts/book

clean: ## delete what was built (models and test packages stay)
	cargo clean
