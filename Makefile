# demo and test need rustup's stable Rust and a C linker; lint needs mandoc and
# shellcheck too. Targets for packagers obey DESTDIR and the directories below.
PREFIX = /usr/local
bindir = $(PREFIX)/bin
mandir = $(PREFIX)/share/man
bashcompdir = $(PREFIX)/share/bash-completion/completions
zshcompdir = $(PREFIX)/share/zsh/site-functions
fishcompdir = $(PREFIX)/share/fish/vendor_completions.d

CARGO = cargo
INSTALL = install
TOOLS = $(basename $(notdir $(wildcard crates/ipcutils/src/bin/*.rs)))
HOST := $(shell rustc -vV | sed -n 's/^host: //p')
# A C library within the tool starts faster and runs on any distribution. The
# target is named so that procedural macros, which cannot be static, are built
# as usual.
RELEASE = target/$(HOST)/release
STATIC = RUSTFLAGS="-C target-feature=+crt-static" $(CARGO) build --release --locked --target $(HOST)

all: release

release:
	$(STATIC)

demo:
	$(CARGO) build --locked
	PATH="$(CURDIR)/target/debug:$$PATH" ./demo.sh

# More than half of their time the tests wait: more of them at once than there
# are processors.
THREADS = RUST_TEST_THREADS=$${RUST_TEST_THREADS:-$$((2 * $$(nproc)))}

test:
	$(THREADS) PROPTEST_CASES=$${PROPTEST_CASES:-5000} tests/alone.sh $(CARGO) test --workspace --locked

# On a machine where other programs are busy, or where something is missing, ten
# runs of the tests: make test-elsewhere RUNS="neighbours bare".
test-elsewhere:
	tests/elsewhere.sh $(RUNS)

lint:
	$(CARGO) fmt --check
	# A macro declares these, which cargo fmt does not see.
	rustfmt --edition 2024 --check crates/ipcutils/src/tools/*.rs
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --locked
	mandoc -Tlint -Wwarning man/*.[1-9]
	shellcheck .ci/run $$(git ls-files '*.sh')
	# The floor plan, and that every flag of a hint can be typed.
	$(CARGO) test --locked -q -p ipcutils --test ipcutils -- house::

# All topics, or one: make bench TOPIC=queues.
bench: release
	IPCUTILS_BIN_DIR="$(CURDIR)/$(RELEASE)" $(CARGO) bench --locked -p ipcutils -- $(TOPIC)

# The tests that kill and race, IPCUTILS_TORTURE times as long, and the times that
# are promised, for which the machine should do nothing else.
torture:
	IPCUTILS_TORTURE=$${IPCUTILS_TORTURE:-50} tests/alone.sh $(CARGO) test --locked -p ipcutils --test ipcutils -- torture shmlock shmwait shmwake waiting within_two_seconds no_patience claims
	IPCUTILS_TORTURE=$${IPCUTILS_TORTURE:-50} $(CARGO) test --locked -p libipc -- ring races

# An error, SIGTERM, SIGINT and SIGKILL at each system call of each tool.
inject:
	IPCUTILS_INJECT=1 $(THREADS) tests/alone.sh $(CARGO) test --locked -p ipcutils --test ipcutils -- inject:: --nocapture

# Random arguments, addresses, headers and records: FUZZ inputs for each of them.
FUZZ = 2000000
fuzz:
	PROPTEST_CASES=$(FUZZ) $(THREADS) tests/alone.sh $(CARGO) test --locked --workspace -- fuzz

# Write anew what is generated and committed.
bless:
	BLESS=1 $(CARGO) test --locked -p ipcutils --test ipcutils -- docs::completions

install: release
	$(INSTALL) -d $(DESTDIR)$(bindir) $(DESTDIR)$(mandir)/man1 \
		$(DESTDIR)$(bashcompdir) $(DESTDIR)$(zshcompdir) $(DESTDIR)$(fishcompdir)
	set -e; for page in man/*.[57]; do \
		$(INSTALL) -D -m 644 $$page $(DESTDIR)$(mandir)/man$${page##*.}/$${page##*/}; \
	done
	set -e; for tool in $(TOOLS); do \
		$(INSTALL) -m 755 $(RELEASE)/$$tool $(DESTDIR)$(bindir)/$$tool; \
		$(INSTALL) -m 644 man/$$tool.1 $(DESTDIR)$(mandir)/man1/$$tool.1; \
		$(INSTALL) -m 644 completions/$$tool.bash $(DESTDIR)$(bashcompdir)/$$tool; \
		$(INSTALL) -m 644 completions/_$$tool $(DESTDIR)$(zshcompdir)/_$$tool; \
		$(INSTALL) -m 644 completions/$$tool.fish $(DESTDIR)$(fishcompdir)/$$tool.fish; \
	done

uninstall:
	for tool in $(TOOLS); do \
		rm -f $(DESTDIR)$(bindir)/$$tool $(DESTDIR)$(mandir)/man1/$$tool.1 $(DESTDIR)$(bashcompdir)/$$tool \
			$(DESTDIR)$(zshcompdir)/_$$tool $(DESTDIR)$(fishcompdir)/$$tool.fish; \
	done
	for page in man/*.[57]; do rm -f $(DESTDIR)$(mandir)/man$${page##*.}/$${page##*/}; done

.PHONY: all release demo test test-elsewhere lint bench torture inject fuzz bless install uninstall
