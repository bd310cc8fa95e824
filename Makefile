# The commands of the README. Each installs what it needs and this machine lacks (.ci/setup).
# Only `make install` writes outside this folder, and only below DESTDIR; nothing else needs root but set-up.

MACHINE := $(shell uname -m)
TARGET  := $(MACHINE)-unknown-linux-musl
CARGO   := cargo
RELEASE := target/$(TARGET)/release
PLUGINS := $(sort $(notdir $(wildcard plugins/*)))

DESTDIR :=
BINDIR  := /opt/cni/bin
PREFIX  := /usr/local
UNITDIR := /usr/lib/systemd/system

export TARGET

.PHONY: build image tutorial test test-dhcp test-faults test-vm test-vm-all test-reference test-clients bench bench-dhcp bench-masquerade bench-packets bench-vlan
.PHONY: install install-links install-tools install-systemd deb test-deb clean
.PHONY: lint lint-setup lint-format lint-clippy lint-doc lint-shell lint-fuzz

# The plugins have a cargo call of their own: built together with the lab they would get the features it wants of their
# dependencies, and with serde_json's `std` comes run-time detection that every start pays for.
build:
	@.ci/setup build
	$(CARGO) build --locked --target $(TARGET) --release $(addprefix --package=,$(PLUGINS))
	$(CARGO) build --locked --target $(TARGET) --release --package=plumb-lab --package=plumb-image

# A container image of the plugins, by podman or docker: conf-examples/kubernetes installs from it.
image: build
	@integration/image/build $(abspath $(RELEASE))

# The topology of the tutorial, built up and proven to work, as an ordinary user or as root.
tutorial: build
	@.ci/setup tutorial
	@$(RELEASE)/topology up --check conf-examples/tutorial/topology.toml

# Everything that is tested on this kernel, then test-vm; what could not run is listed at the end.
test: build
	@.ci/setup test tutorial vm
	@PLUGIN_DIR=$(abspath $(RELEASE)) .ci/test

# Every plugin and the chain killed, and failing, at each system call of ADD and DEL: some ten minutes. `make test` tries a
# few of these points.
test-faults: build
	@.ci/setup test
	@PLUGIN_DIR=$(abspath $(RELEASE)) FAULTS=all && export PLUGIN_DIR FAULTS && \
		$(CARGO) test --locked --target $(TARGET) --package=plumb-tests --test=faults

# dhcp-ipam with a thousand attachments; `make test` has a hundred.
test-dhcp: build
	@.ci/setup test
	@PLUGIN_DIR=$(abspath $(RELEASE)) CROWD=1000 && export PLUGIN_DIR CROWD && \
		$(CARGO) test --locked --target $(TARGET) --package=plumb-tests --test=dhcp_ipam -- --nocapture many

# On a stock Debian kernel in a virtual machine: what needs one and a selection of the rest, or (slow) everything; with
# VM_TESTS="masquerade vlan" of everything what is made from a source with one of these in its path.
test-vm: build
	@.ci/setup test tutorial vm
	@PLUGIN_DIR=$(abspath $(RELEASE)) integration/vm/test
test-vm-all: build
	@.ci/setup test tutorial vm
	@PLUGIN_DIR=$(abspath $(RELEASE)) integration/vm/test all $(VM_TESTS)

# Cross-built for aarch64, and what of it runs under emulation.
.PHONY: check-aarch64
check-aarch64:
	@.ci/setup build aarch64
	@.ci/check-aarch64

# The contract tests against the Go plugins that ours take the place of.
test-reference: build
	@.ci/setup test
	@PLUGIN_DIR=$$(.ci/reference-plugins) && export PLUGIN_DIR && \
		$(CARGO) test --locked --target $(TARGET) --package=plumb-tests --test=contract

# The plugins under real container runtimes, on throwaway machines: as root, whom they need.
test-clients: build
	@.ci/setup test tutorial clients
	@PLUGIN_DIR=$(abspath $(RELEASE)) REFERENCE_DIR=$$(.ci/reference-plugins) KUBERNETES_VALIDATE=$$(.ci/kubernetes-validate) && \
		export PLUGIN_DIR REFERENCE_DIR KUBERNETES_VALIDATE && \
		$(CARGO) test --locked --target $(TARGET) --package=plumb-clients

# Our chain against the Go plugins' for the same work. BENCH=quick for a first impression.
bench: build
	@.ci/setup test
	@PLUGIN_DIR=$(abspath $(RELEASE)) REFERENCE_DIR=$$(.ci/reference-plugins) && export PLUGIN_DIR REFERENCE_DIR && \
		$(CARGO) bench --locked --target $(TARGET) --package=plumb-tests --bench=chain

# Writes anew which functions the linker puts first (cni-common/first): those that an ADD and a DEL execute. Some minutes. To be
# done when what they do has changed much; a list that is out of date costs a little time and memory, and nothing else.
.PHONY: first-functions
first-functions:
	@.ci/setup build test
	CARGO_PROFILE_RELEASE_STRIP=none $(CARGO) build --locked --target $(TARGET) --target-dir target/symbols --release \
		--package=bridge-attach --package=static-ipam --package=masquerade
	BENCH=functions PLUGIN_DIR=$(abspath target/symbols/$(TARGET)/release) REFERENCE_DIR=. \
		$(CARGO) bench --locked --target $(TARGET) --package=plumb-tests --bench=chain

# The same beside the rules of 10, 1,000 and 5,000 containers, which are there without their containers: some ten minutes,
# most of it iptables.
bench-masquerade: build
	@.ci/setup test
	@BENCH=masquerade PLUGIN_DIR=$(abspath $(RELEASE)) REFERENCE_DIR=$$(.ci/reference-plugins) && export BENCH PLUGIN_DIR REFERENCE_DIR && \
		$(CARGO) bench --locked --target $(TARGET) --package=plumb-tests --bench=chain

# Our dhcp-ipam against the Go plugin's dhcp: an ADD, and the daemon at a thousand leases.
bench-dhcp: build
	@.ci/setup test
	@PLUGIN_DIR=$(abspath $(RELEASE)) REFERENCE_DIR=$$(.ci/reference-plugins) && export PLUGIN_DIR REFERENCE_DIR && \
		$(CARGO) bench --locked --target $(TARGET) --package=plumb-tests --bench=dhcp

# What a packet costs with 1000 attached: our masquerade's rules against the Go firewall's.
bench-packets: build
	@.ci/setup test
	@PLUGIN_DIR=$(abspath $(RELEASE)) REFERENCE_DIR=$$(.ci/reference-plugins) && export PLUGIN_DIR REFERENCE_DIR && \
		$(CARGO) bench --locked --target $(TARGET) --package=plumb-tests --bench=packets

# Our vlan against the Go plugin's, on a stock kernel: of an emulated machine only the ratios mean something.
bench-vlan: build
	@.ci/setup test vm
	@PLUGIN_DIR=$(abspath $(RELEASE)) REFERENCE_DIR=$$(.ci/reference-plugins) && export PLUGIN_DIR REFERENCE_DIR && \
		$(CARGO) --config 'target.$(TARGET).runner="$(abspath integration/vm/run)"' bench --locked --target $(TARGET) \
		--package=plumb-tests --features=stock-kernel --bench=vlan

lint: lint-format lint-clippy lint-doc lint-shell lint-fuzz

lint-format lint-clippy lint-doc lint-shell lint-fuzz: lint-setup
lint-setup:
	@.ci/setup build lint
lint-format:
	$(CARGO) fmt --all --check
lint-clippy:
	$(CARGO) clippy --locked --target $(TARGET) --workspace --all-targets --all-features --quiet -- -D warnings
lint-doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --target $(TARGET) --workspace --no-deps --quiet
lint-shell:
	shellcheck -x $$(git grep -lI -e '^#!/bin/sh' -e '^#!/usr/bin/env bash' -e '^# shellcheck shell=')

# The fuzz targets compile: nothing else builds them. For the compiler's own target, as libFuzzer is C++.
lint-fuzz:
	RUSTFLAGS="--cfg fuzzing" $(CARGO) check --locked --quiet --manifest-path fuzz/Cargo.toml

# Each file appears complete or not at all, also where a runtime is executing the one it replaces.
install: build
	install -d "$(DESTDIR)$(BINDIR)"
	@set -e; for plugin in $(PLUGINS); do \
		echo "install $(DESTDIR)$(BINDIR)/$$plugin"; \
		install -m 755 $(RELEASE)/$$plugin "$(DESTDIR)$(BINDIR)/.$$plugin.new"; \
		mv -f "$(DESTDIR)$(BINDIR)/.$$plugin.new" "$(DESTDIR)$(BINDIR)/$$plugin"; \
	done

# Under the names of the Go plugins they take the place of.
install-links: install
	@set -e; for link in bridge=bridge-attach static=static-ipam dhcp=dhcp-ipam firewall=masquerade; do \
		name=$${link%%=*}; plugin=$${link##*=}; \
		[ -e "$(DESTDIR)$(BINDIR)/$$plugin" ] || continue; \
		echo "link $(DESTDIR)$(BINDIR)/$$name -> $$plugin"; \
		ln -sfn $$plugin "$(DESTDIR)$(BINDIR)/.$$name.new"; \
		mv -fT "$(DESTDIR)$(BINDIR)/.$$name.new" "$(DESTDIR)$(BINDIR)/$$name"; \
	done

# The programs that people run; they find the plugins in /opt/cni/bin.
install-tools: build
	install -d "$(DESTDIR)$(PREFIX)/bin"
	install -m 755 $(RELEASE)/topology $(RELEASE)/pipework "$(DESTDIR)$(PREFIX)/bin"
	install -d "$(DESTDIR)$(PREFIX)/share/plumb"
	cp -R conf-examples "$(DESTDIR)$(PREFIX)/share/plumb"

# A Debian package in target/; integration/package has a page about it.
deb: build
	@MACHINE=$(firstword $(subst -, ,$(TARGET))) integration/package/build $(RELEASE) target
test-deb: build
	@.ci/setup deb
	@package=$$(MACHINE=$(firstword $(subst -, ,$(TARGET))) integration/package/build $(RELEASE) target) && integration/package/check "$$package"

# The daemon of dhcp-ipam as a service that systemd starts at the first ADD: systemctl enable --now dhcp-ipam.socket
# What puts masquerade's rules back after the host's firewall: systemctl enable --now masquerade-reload
install-systemd: install
	install -d "$(DESTDIR)$(UNITDIR)"
	install -m 644 plugins/dhcp-ipam/systemd/dhcp-ipam.socket "$(DESTDIR)$(UNITDIR)/dhcp-ipam.socket"
	sed 's|/opt/cni/bin|$(BINDIR)|' plugins/dhcp-ipam/systemd/dhcp-ipam.service > "$(DESTDIR)$(UNITDIR)/dhcp-ipam.service"
	sed 's|/opt/cni/bin|$(BINDIR)|' plugins/masquerade/systemd/masquerade-reload.service \
		> "$(DESTDIR)$(UNITDIR)/masquerade-reload.service"

clean:
	rm -rf target .cache fuzz/target fuzz/artifacts
