# SPDX-License-Identifier: GPL-2.0
#
# LLFree for Linux. The kernel's own Makefiles are below build/linux.

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := run

# Variables override the settings of "make menuconfig" in .config, and .config overrides
# the defaults here, which are those of Kconfig.
-include .config
setting = $(or $(subst ",,$(CONFIG_$1)),$2)

LINUX_SRC ?= $(call setting,LINUX_SRC)
FLAVOUR ?= $(call setting,FLAVOUR,amd64)
ALLOC ?= $(call setting,ALLOC,llfree)
DEBUG_KERNEL ?= $(call setting,DEBUG_KERNEL)
SMP ?= $(call setting,SMP,2)
MEM ?= $(call setting,MEM,1G)
NUMA ?= $(call setting,NUMA,1)
HOURS ?= $(call setting,HOURS,2)
FUZZ_SECONDS ?= $(call setting,FUZZ_SECONDS,1800)
QUICK ?= $(call setting,QUICK)
BENCH_ARGS ?= $(call setting,BENCH_ARGS)
export LINUX_SRC ALLOC FUZZ_SECONDS

# Return a non-empty text if a switch is on.
on = $(filter-out 0 n,$($1))
GUEST := --kernel build/x86_64$(if $(call on,DEBUG_KERNEL),-debug) --alloc $(ALLOC) --mem $(MEM) \
	--smp $(SMP) --numa $(NUMA)
GUEST_KERNEL := $(if $(call on,DEBUG_KERNEL),debug-kernel,kernel)
WORKLOAD := scripts/guest/workload

##@ Build

menuconfig nconfig olddefconfig: prepare
menuconfig: ## Choose what make builds, boots and measures (the list is in Kconfig)
menuconfig nconfig olddefconfig:
	@scripts/deps menuconfig
	@$(MAKE) -C build/linux O=$(CURDIR)/build/kconfig KBUILD_KCONFIG=$(CURDIR)/Kconfig \
		KCONFIG_CONFIG=$(abspath $(or $(KCONFIG_CONFIG),.config)) $@

deps: ## Install the Debian packages that are missing
	@scripts/deps

prepare: deps ## Make or update build/linux (LINUX_SRC=tree or tarball for another source)
	@scripts/prepare

kernel: prepare ## Build the release kernel, build/x86_64
	@scripts/build x86_64

debug-kernel: prepare ## Build the kernel with lockdep, DEBUG_VM and more, build/x86_64-debug
	@scripts/build x86_64-debug

deb: prepare ## Build Debian packages in build/deb (FLAVOUR=amd64, cloud-amd64 or rt-amd64)
	@scripts/deps debian
	@scripts/deb --flavour $(FLAVOUR)

clean: ## Remove build outputs (but not build/linux, which may hold your edits)
	rm -rf $(filter-out build/linux build/linux.state build/linux.lock,\
		$(wildcard build/* build/.[a-z]*))
	@if [ -d build/linux/.git ]; then git -C build/linux worktree prune; fi

help: ## Print this text
	@sed -n -e 's/^##@ \(.*\)/\n\1:/p' \
		-e 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' \
		$(firstword $(MAKEFILE_LIST)) | expand -t 20

##@ Run

run: $(GUEST_KERNEL) ## Build the kernel, boot it, run the workload, report (the default; ALLOC=buddy compares)
	scripts/vm $(GUEST) --timeout $(if $(call on,DEBUG_KERNEL),3600,1800) -- $(WORKLOAD)

debug: debug-kernel ## Boot the debug kernel and run the workload
	scripts/vm --kernel build/x86_64-debug --alloc $(ALLOC) --mem 2G --smp 2 \
		--timeout 3600 -- $(WORKLOAD)

shell: $(GUEST_KERNEL) ## Run a shell in the guest
	@scripts/vm $(GUEST)

pool-demo: kernel ## Make a pool on an NVDIMM, kill the guest, and show that the data has survived
	@scripts/pool-demo --alloc $(ALLOC)

##@ Test

# T=list and T=--help need no packages.
TEST_DEPS := $(if $(filter list -h --help,$(T)),,deps)

test: $(TEST_DEPS) ## Run the usual tests (T="um checkpatch" for two steps, T=list for the names)
	@scripts/test $(T)

test-full: $(TEST_DEPS) ## Run all tests, also tests with other kernels (T= as for test)
	@scripts/test --full $(T)

kunit: prepare ## Run the KUnit suites in QEMU and in User Mode Linux (A=um for one)
	@scripts/kunit $(A)

boots: kernel ## Boot 20 times in a row with each of 1, 2, 8 CPUs and 64M, 512M, 8G
	@scripts/boots

check-model: prepare ## Explore interleavings exhaustively; run mutation tests (EFFORT=20 for long)
	@$(MAKE) -C tools/testing/llfree check-model

check-fuzz: prepare ## Fuzz the core with clang's libFuzzer (FUZZ_SECONDS=1800)
	@$(MAKE) -C tools/testing/llfree check-fuzz

check-san: deps ## Run KUnit and work on kernels with KASAN and UBSAN, with KCSAN, with KMSAN
	@scripts/test kasan kcsan kmsan

check-arm64: deps ## Run KUnit and work on emulated arm64
	@scripts/test arm64

selftests: prepare ## Run the kernel's own mm selftests with both allocators (A="-t cow")
	@scripts/deps selftests
	@scripts/build x86_64-selftests
	@scripts/selftests $(A)

text: prepare ## Compare the code without CONFIG_LLFREE with the unpatched kernel's
	@scripts/check-text

soak: kernel debug-kernel ## Stress both allocators in QEMU for HOURS=2, report in build/soak
	scripts/soak --hours $(HOURS)

bisect-check: prepare ## Build and boot the kernel after each patch, with both allocators (hours)
	@scripts/test each-patch

##@ Measure

bench: kernel ## Measure both allocators: build/bench/index.html (QUICK=1, BENCH_ARGS=)
	@scripts/deps figures
	scripts/bench $(if $(call on,QUICK),--quick) $(BENCH_ARGS)

bench-count: kernel ## Count instructions instead of time, on one CPU: build/bench-count
	@scripts/deps figures
	scripts/bench --count $(BENCH_ARGS)

bench-um: prepare ## Measure natively on one CPU, in User Mode Linux: build/bench-um
	@scripts/build um-bench
	@scripts/deps figures
	scripts/bench --um $(if $(call on,QUICK),--quick) $(BENCH_ARGS)

latency: prepare ## Measure the slowest operations of the core, and searches in bad states
	@$(MAKE) -C tools/testing/llfree latency

traces: kernel ## Record page allocations of real loads on both allocators: build/traces (QUICK=1)
	@scripts/deps traces
	scripts/trace-pages --alloc buddy $(if $(call on,QUICK),--seconds 30 --mem 1G)
	scripts/trace-pages --alloc llfree $(if $(call on,QUICK),--seconds 30 --mem 1G)

histograms: prepare ## Draw orders and lifetimes of the allocations that make traces has recorded
	@scripts/deps traces
	@scripts/histograms

fragmentation: traces ## Record, replay against the core, and compare free huge blocks (QUICK=1)
	@scripts/histograms
	@scripts/replay
	@scripts/age-model $(if $(call on,QUICK),--mib 1024 --seeds 1)

##@ Post

patches: ## Write patches/ from the commits in build/linux
	@scripts/save-patches

series: prepare ## Write the mails to post to build/series, and check that they apply
	@scripts/series

.PHONY: run deps prepare kernel debug-kernel test test-full check-model check-fuzz \
	check-san check-arm64 soak bench bench-count bench-um latency kunit debug boots \
	shell pool-demo patches selftests series text bisect-check deb clean help \
	menuconfig nconfig olddefconfig traces histograms fragmentation
