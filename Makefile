# pgshunt - `make help` lists the targets. Two commands do everything on a fresh Debian 12: `make demo` and `make test`.
#
# V=1 shows the commands. BUILD=dir, CC=clang, SANITIZE=address,undefined, CFLAGS make a build of another kind.

PREFIX ?= /usr/local
BUILD ?= build
ifeq ($(origin CC),default)
CC := gcc
endif
VERSION := 0.1.0

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wpointer-arith -Wwrite-strings -Wformat=2
HARDEN := -fstack-protector-strong -fstack-clash-protection -fPIE -D_FORTIFY_SOURCE=2
CFLAGS ?= -O2 -g
ALL_CFLAGS := -std=gnu11 -D_GNU_SOURCE $(WARN) $(CFLAGS) $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=all,$(HARDEN)) \
	-Iinclude -I$(shell pg_config --includedir 2>/dev/null || echo /usr/include/postgresql) -DPGSHUNT_VERSION='"$(VERSION)"' $(EXTRA_CFLAGS) -MMD -MP
LDLIBS := -levent_core -levent_extra -levent_pthreads -lpq -lssl -lcrypto -linih -lpg_query -lprotobuf-c -lpthread
ALL_LDFLAGS := $(if $(SANITIZE),-fsanitize=$(SANITIZE),-pie -Wl,-z,relro,-z,now) $(LDFLAGS)

SRC := $(sort $(wildcard src/*/*.c src/*/*/*.c))
OBJ := $(SRC:%.c=$(BUILD)/%.o)
LIB_OBJ := $(filter-out $(BUILD)/src/daemon/main.o,$(OBJ))
UNIT_SRC := $(sort $(wildcard tests/unit/*/test_*.c tests/unit/*/*/test_*.c))
UNIT_BIN := $(UNIT_SRC:%.c=$(BUILD)/%)
FUZZ_SRC := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_BIN := $(FUZZ_SRC:%.c=$(BUILD)/%)
FUZZ_PART_SRC := $(sort $(filter-out $(FUZZ_SRC),$(wildcard tests/fuzz/*.c)))
FAULT_SRC := $(sort $(shell grep -l '"fault.h"' src/path/sql/*.c))
PROPERTY_SRC := $(sort $(wildcard tests/property/*.c))
TOOL_SRC := $(sort $(wildcard tools/*.c))

# Parallel by itself; `make -j1` is heard, and a make started by this one shares its parent's jobs.
ifeq ($(MAKELEVEL),0)
ifeq ($(findstring -j,$(shell tr '\0' ' ' </proc/$$PPID/cmdline 2>/dev/null)),)
MAKEFLAGS += -j$(shell nproc)
endif
endif
MAKEFLAGS += --no-builtin-rules --no-print-directory
Q := $(if $(V),,@)
PROGRESS = $(if $(V),@:,@printf '  %-7s %s\n')
.SECONDARY:
.DELETE_ON_ERROR:

.PHONY: all
all: $(BUILD)/pgshunt ## build/pgshunt (the default)

# --- rules

# Names the missing Debian packages, where the compiler would only name a missing header.
.PHONY: have-deps
have-deps:
	@tools/deps --check build

# Objects made by another compiler or with other flags are not mixed.
.PHONY: force
$(BUILD)/flags: force
	@mkdir -p $(@D)
	@echo '$(subst ','\'',$(CC) $(ALL_CFLAGS))' | cmp -s - $@ || echo '$(subst ','\'',$(CC) $(ALL_CFLAGS))' >$@

$(BUILD)/pgshunt: $(OBJ)
	$(PROGRESS) LINK $@
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(OBJ) $(LDLIBS)

$(BUILD)/tests/%.o: ALL_CFLAGS += -Itests/unit

$(BUILD)/%.o: %.c $(BUILD)/flags | have-deps
	$(PROGRESS) CC $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(BUILD)/libpgshunt.a: $(LIB_OBJ)
	$(PROGRESS) AR $@
	@rm -f $@
	$(Q)ar rcs $@ $(LIB_OBJ)

# A unit test is one file: tests/unit/<group>/<module>/test_<what>.c, linked with everything but main.
$(BUILD)/tests/unit/%: $(BUILD)/tests/unit/%.o $(BUILD)/libpgshunt.a
	$(PROGRESS) LINK $@
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(BUILD)/libpgshunt.a $(LDLIBS)

# A fuzz target is one file, tests/fuzz/fuzz_<what>.c with LLVMFuzzerTestOneInput, and what it takes of the other files there; corpus in
# tests/fuzz/corpus/<what>/. The fuzzer is to look for new paths in our code, not in the tests'.
$(BUILD)/tests/fuzz/%.o: ALL_CFLAGS += -fno-sanitize=fuzzer-no-link -fno-sanitize-coverage=inline-8bit-counters,pc-table

$(BUILD)/tests/fuzz/parts.a: $(FUZZ_PART_SRC:%.c=$(BUILD)/%.o)
	@rm -f $@
	$(Q)ar rcs $@ $^

$(BUILD)/tests/fuzz/%: $(BUILD)/tests/fuzz/%.o $(BUILD)/tests/fuzz/parts.a $(BUILD)/libpgshunt.a
	$(PROGRESS) LINK $@
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)

# fuzz_sql with one of the bugs of src/path/sql/fault.h: build/fuzz/planted/<NAME>.
$(BUILD)/planted/%: $(FAULT_SRC) $(BUILD)/tests/fuzz/fuzz_sql.o $(BUILD)/tests/fuzz/parts.a $(BUILD)/libpgshunt.a
	$(PROGRESS) LINK $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -MMD -MP,$(ALL_CFLAGS)) -DFAULT_LEX_$* $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)

$(BUILD)/tests/property/property: $(PROPERTY_SRC:%.c=$(BUILD)/%.o) $(BUILD)/libpgshunt.a
	$(PROGRESS) LINK $@
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(PROPERTY_SRC:%.c=$(BUILD)/%.o) $(BUILD)/libpgshunt.a $(LDLIBS)

$(BUILD)/tools/%: $(BUILD)/tools/%.o $(BUILD)/libpgshunt.a
	$(PROGRESS) LINK $@
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(BUILD)/libpgshunt.a $(LDLIBS)

# What the parts of tests/run need of a build directory.
.PHONY: objects unit-bins fuzz-bins
objects: $(OBJ)
unit-bins: $(UNIT_BIN)
fuzz-bins: $(FUZZ_BIN)

# --- people's targets

.PHONY: deps
deps: ## install the Debian packages that are missing (apt-get, as root or through sudo)
	@tools/deps

.PHONY: demo lab
demo: ## everything on a fresh machine: packages, build, a primary with two standbys, the tour
	@tools/deps build test
	@$(MAKE) all
	@tools/demo

lab: ## like demo, but leaves cluster and proxy up to play with
	@tools/deps build test
	@$(MAKE) all
	@tools/demo --keep

.PHONY: test unit wire e2e
test: ## all tests; the last line is "N passed, N failed, N skipped"
	@tools/deps build test
	@BUILD=$(BUILD) tests/run

unit: unit-bins ## unit tests only
	@BUILD=$(BUILD) tests/run --no-build unit

wire: all ## scripted client and fake servers around the real program
	@BUILD=$(BUILD) tests/run --no-build wire

e2e: all ## real cluster, real drivers
	@BUILD=$(BUILD) tests/run --no-build e2e

.PHONY: property regress
property: all $(BUILD)/tests/property/property ## random sessions directly and through pgshunt, every reply the same
	@BUILD=$(BUILD) tests/run --no-build property

regress: all $(BUILD)/tests/property/property ## the same with SESSIONS (20000) sessions of SEED (1)
	@BUILD=$(BUILD) tests/run --no-build --sessions $(or $(SESSIONS),20000) --seed $(or $(SEED),1) property

.PHONY: lint format
lint: objects $(patsubst %.c,$(BUILD)/%,$(TOOL_SRC)) ## layers, headers, format, file sizes, globals, generated pages, static checks
	@BUILD=$(BUILD) tools/lint

format: ## put the format of the C sources right (clang-format; keeps hand-made tables)
	@tools/lint --format

.PHONY: asan tsan fuzz fuzz-build fuzz-build-fast fuzz-planted
asan: ## build/asan/pgshunt and its unit tests: address and undefined behaviour sanitizers
	@$(MAKE) BUILD=build/asan SANITIZE=address,undefined all unit-bins

tsan: ## build/tsan/pgshunt and its unit tests: thread sanitizer
	@$(MAKE) BUILD=build/tsan SANITIZE=thread all unit-bins

FUZZ_BUILD ?= build/fuzz
fuzz-build:
	@$(MAKE) BUILD=$(FUZZ_BUILD) CC=clang SANITIZE=address,undefined CFLAGS='-O1 -g' EXTRA_CFLAGS=-fsanitize=fuzzer-no-link \
		fuzz-bins $(FAULTS:%=$(FUZZ_BUILD)/planted/%)

# Without sanitizers three times as many texts can be tried.
fuzz-build-fast:
	@$(MAKE) BUILD=$(FUZZ_BUILD)/fast CC=clang CFLAGS='-O2 -g' EXTRA_CFLAGS='-fsanitize-coverage=inline-8bit-counters,pc-table' \
		$(FUZZ_BUILD)/fast/tests/fuzz/fuzz_sql

fuzz: fuzz-build fuzz-build-fast ## FUZZ_RUNS (10,000,000) executions of the SQL oracle, a share of that of the other targets
	@tests/fuzz/campaign --runs $(or $(FUZZ_RUNS),10000000) --seed $(or $(FUZZ_SEED),1)

fuzz-planted: ## the SQL fuzzer finds each bug of src/path/sql/fault.h within 1,000,000 executions
	@tests/fuzz/planted

.PHONY: bench
bench: all ## compare with Debian's pgbouncer and pgpool2 in one run
	@tools/deps build test bench
	@tools/bench/run

DOC_PAGES := docs/configuration.md conf/pgshunt.full.ini docs/session-states.md docs/metrics.md
.PHONY: docs
docs: $(BUILD)/tools/docgen ## write the reference pages from the tables in the sources (leaves git clean)
	@for page in $(DOC_PAGES); do \
		mkdir -p $${page%/*} && $(BUILD)/tools/docgen $$page >$(BUILD)/page.new && mv $(BUILD)/page.new $$page && echo "wrote $$page" || exit 1; \
	done

.PHONY: install
install: all ## DESTDIR and PREFIX are honoured
	install -D -m 755 $(BUILD)/pgshunt $(DESTDIR)$(PREFIX)/bin/pgshunt
	@for file in $(wildcard conf/*.ini); do install -v -D -m 644 $$file $(DESTDIR)$(PREFIX)/share/doc/pgshunt/$${file##*/}; done
	@for file in README.md $(wildcard docs/*.md); do install -v -D -m 644 $$file $(DESTDIR)$(PREFIX)/share/doc/pgshunt/$${file##*/}; done
	@for file in $(wildcard conf/*.service); do install -v -D -m 644 $$file $(DESTDIR)$(PREFIX)/lib/systemd/system/$${file##*/}; done

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: clean
clean: ## remove the build directory
	rm -rf $(BUILD)

-include $(OBJ:.o=.d) $(UNIT_SRC:%.c=$(BUILD)/%.d) $(FUZZ_SRC:%.c=$(BUILD)/%.d) $(FUZZ_PART_SRC:%.c=$(BUILD)/%.d) $(PROPERTY_SRC:%.c=$(BUILD)/%.d) $(TOOL_SRC:%.c=$(BUILD)/%.d)
