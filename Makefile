# ARP: arp-agent, arp-orchestrator, arpctl.  `make help` lists the targets.
# Knobs: CC, BUILD (output folder), DESTDIR, PREFIX, V=1 (show commands), SAN=address,undefined

PREFIX  ?= /usr/local
BUILD   ?= build
VERSION ?= 0.3.0
V       ?= 0
# The Python that Debian's python3-yaml belongs to.
PYTHON  ?= /usr/bin/python3
Q       := $(if $(filter 1,$(V)),,@)
say      = $(if $(filter 1,$(V)),,@printf '  %-6s %s\n' $(1) $(2);)

PACKAGES_shared       := libcrypto libcjson
PACKAGES_agent        := $(PACKAGES_shared) libmicrohttpd libseccomp libgit2
PACKAGES_orchestrator := $(PACKAGES_shared) libmicrohttpd libcurl libpq libzip popt
PACKAGES_cli          := $(PACKAGES_shared) libcurl libzip popt
PACKAGES_all          := $(sort $(PACKAGES_agent) $(PACKAGES_orchestrator) $(PACKAGES_cli))

WARN    := -Wall -Wextra -Werror -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings \
           -Wformat=2 -Wundef -Wvla -Wimplicit-fallthrough
HARDEN  := -fstack-protector-strong -fstack-clash-protection -fPIE -D_FORTIFY_SOURCE=2
# Paths inside the binaries name the project, not the machine that built it: two builds of one commit are the same bytes.
PREFIXMAP := -ffile-prefix-map=$(CURDIR)=arp
OPT     ?= -O2 -g
SAN     ?=
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all)
CPPFLAGS_all := -I. -D_GNU_SOURCE -DARP_VERSION='"$(VERSION)"' $(shell pkg-config --cflags $(PACKAGES_all))
CFLAGS_all := -std=c17 $(OPT) $(WARN) $(if $(SAN),$(filter-out -D_FORTIFY_SOURCE=2,$(HARDEN)),$(HARDEN)) $(PREFIXMAP) \
           $(SANFLAGS) -pthread $(CFLAGS)
LDFLAGS_all := -pie -Wl,-z,relro,-z,now -Wl,-z,noexecstack -Wl,--as-needed -Wl,--gc-sections -pthread $(SANFLAGS) $(LDFLAGS)

SRC_shared       := $(sort $(wildcard shared/*.c))
SRC_agent        := $(filter-out agent/main.c agent/sh/%,$(sort $(wildcard agent/*.c agent/*/*.c)))
SRC_orchestrator := $(filter-out orchestrator/main.c,$(sort $(wildcard orchestrator/*.c orchestrator/*/*.c)))
SRC_cli          := $(filter-out cli/main.c,$(sort $(wildcard cli/*.c cli/*/*.c)))
PARTS            := shared agent orchestrator cli

objs = $(patsubst %.c,$(BUILD)/%.o,$(1))
libs = $(shell pkg-config --libs $(1))
lib  = $(BUILD)/lib$(1).a

PROGRAMS := $(if $(wildcard agent/main.c),$(BUILD)/arp-agent) \
            $(if $(wildcard orchestrator/main.c),$(BUILD)/arp-orchestrator) \
            $(if $(wildcard cli/main.c),$(BUILD)/arpctl)

all: $(PROGRAMS) $(BUILD)/arp-sh
.PHONY: all check unit suites docs lint format format-check analyze asan install clean help distclean
.SECONDARY:
.DELETE_ON_ERROR:

help:
	@printf '%s\n' 'all          the three programs and the shell shim, in $$BUILD' \
	  'check        unit tests, include directions, format' \
	  'unit         unit tests only' \
	  'asan         unit tests under AddressSanitizer and UBSan (BUILD=build-asan)' \
	  'analyze      cppcheck and gcc -fanalyzer' \
	  'docs         rewrite the tables in README.md and docs/ from the code' \
	  'format       rewrite the sources with clang-format' \
	  'install      to $$DESTDIR$$PREFIX'

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CPPFLAGS_all) $(CFLAGS_all) -MMD -MP -c -o $@ $<

define part_rules
$(call lib,$(1)): $(call objs,$(SRC_$(1)))
	@mkdir -p $$(@D)
	$$(call say,AR,$$@)rm -f $$@ && ar crD $$@ $$^
endef
$(foreach p,$(PARTS),$(eval $(call part_rules,$(p))))

# GET /openapi.json: the page docs/openapi.yaml in the program.
OPENAPI := $(BUILD)/orchestrator/routes/openapi_json
$(OPENAPI).c: docs/openapi.yaml docs/openapi.py
	@mkdir -p $(@D)
	$(call say,GEN,$@)$(PYTHON) docs/openapi.py c $< >$@
$(OPENAPI).o: $(OPENAPI).c orchestrator/routes/openapi.h
	$(call say,CC,$<)$(CC) $(CPPFLAGS_all) $(CFLAGS_all) -c -o $@ $<
$(call lib,orchestrator): $(OPENAPI).o

# The built-in engine's prompt and tools in the agent; their digests stand in env.json.
BUILTIN_TEXT := $(BUILD)/agent/builtin_text
$(BUILTIN_TEXT).c: agent/builtin/embed.py agent/builtin/prompt.md agent/builtin/tools.json
	@mkdir -p $(@D)
	$(call say,GEN,$@)$(PYTHON) $^ >$@
$(BUILTIN_TEXT).o: $(BUILTIN_TEXT).c agent/builtin_text.h
	$(call say,CC,$<)$(CC) $(CPPFLAGS_all) $(CFLAGS_all) -c -o $@ $<
$(call lib,agent): $(BUILTIN_TEXT).o

$(BUILD)/arp-agent: $(BUILD)/agent/main.o $(call lib,agent) $(call lib,shared)
	$(call say,LD,$@)$(CC) $(LDFLAGS_all) -o $@ $^ $(call libs,$(PACKAGES_agent))
$(BUILD)/arp-orchestrator: $(BUILD)/orchestrator/main.o $(call lib,orchestrator) $(call lib,shared)
	$(call say,LD,$@)$(CC) $(LDFLAGS_all) -o $@ $^ $(call libs,$(PACKAGES_orchestrator))
$(BUILD)/arpctl: $(BUILD)/cli/main.o $(call lib,cli) $(call lib,shared)
	$(call say,LD,$@)$(CC) $(LDFLAGS_all) -o $@ $^ $(call libs,$(PACKAGES_cli))

# What stands in a workspace where a CLI looks for its shell, whatever libc is there: static, and one file.
$(BUILD)/arp-sh: agent/sh/arp_sh.c
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) -static -std=c17 -O2 $(WARN) $(filter-out -fPIE,$(HARDEN)) $(PREFIXMAP) -I. -D_GNU_SOURCE -MMD -MP -MF $@.d -o $@ $<

# --- tests: one program per file, named after the file it mirrors; each ends with "N passed, N failed" ---------------------
UNIT_SRC := $(sort $(shell find tests/unit -name '*_test.c' 2>/dev/null))
UNIT_BIN := $(patsubst %.c,$(BUILD)/%,$(UNIT_SRC))
TEST_SUPPORT := $(call objs,$(sort $(wildcard tests/support/*.c)))
$(BUILD)/libtestsupport.a: $(TEST_SUPPORT)
	@mkdir -p $(@D)
	$(call say,AR,$@)rm -f $@ && ar crD $@ $^
TEST_LIBS = $(BUILD)/libtestsupport.a $(foreach p,agent orchestrator cli shared,$(call lib,$(p)))

$(BUILD)/tests/%_test: $(BUILD)/tests/%_test.o $(TEST_LIBS)
	$(call say,LD,$@)$(CC) $(LDFLAGS_all) -o $@ $< $(TEST_LIBS) $(call libs,$(PACKAGES_all)) -lcunit

$(BUILD)/tests/unit/agent/shim_test $(BUILD)/tests/unit/agent/shim_peer_test $(BUILD)/tests/unit/agent/turn_test: | $(BUILD)/arp-sh
unit: $(UNIT_BIN)
	$(Q)tests/run.sh $(BUILD) $(UNIT_BIN)

# Integration, tamper and fault suites: built here, run by ci_v0.3.sh against the real stack.
SUITE_SRC := $(sort $(wildcard tests/integration/*/*_test.c tests/tamper/*_test.c tests/fault/*_test.c tests/escape/*_test.c \
             tests/tools/*_test.c))
SUITE_BIN := $(patsubst %.c,$(BUILD)/%,$(SUITE_SRC))
# Attempts to escape run inside workspaces, whatever libc is there: static, and each its one file.
ESCAPE_SRC := $(filter-out %_test.c,$(sort $(wildcard tests/escape/*.c)))
ESCAPE_BIN := $(patsubst %.c,$(BUILD)/%,$(ESCAPE_SRC))
$(ESCAPE_BIN): $(BUILD)/%: %.c
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) -static -std=c17 -O2 $(WARN) -I. -D_GNU_SOURCE -MMD -MP -MF $@.d -o $@ $<
# The orchestrator with tests/fault/points.c in place of its empty fault points.
FAULTY := $(BUILD)/tests/arp-orchestrator-faulty
$(FAULTY): $(BUILD)/orchestrator/main.o $(BUILD)/tests/fault/points.o $(call lib,orchestrator) $(call lib,shared)
	$(call say,LD,$@)$(CC) $(LDFLAGS_all) -o $@ $^ $(call libs,$(PACKAGES_orchestrator))
# What stands in for a model provider: nothing of the code under test is in it.
PROVIDER := $(BUILD)/tests/arp-scripted-provider
SCRIPTED_CLI := $(BUILD)/tests/arp-scripted-cli
$(PROVIDER): $(call objs,$(sort $(filter-out tests/provider/scripted_cli.c,$(wildcard tests/provider/*.c))))
	$(call say,LD,$@)$(CC) $(LDFLAGS_all) -o $@ $^ $(call libs,libmicrohttpd libcjson)
# A coding agent that does what its prompt says, honest or not: it runs inside workspaces.
$(SCRIPTED_CLI): tests/provider/scripted_cli.c
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) -static -std=c17 -O2 $(WARN) -D_GNU_SOURCE -o $@ $<
suites: all $(SUITE_BIN) $(ESCAPE_BIN) $(FAULTY) $(PROVIDER) $(SCRIPTED_CLI)

# Tables in README.md and docs/ that are printed from the code.
docs: $(BUILD)/arp-orchestrator
	$(Q)tests/lint/tables.sh write $(BUILD)/arp-orchestrator
lint: $(BUILD)/arp-orchestrator
	$(Q)tests/lint/include_direction.sh
	$(Q)tests/lint/tables.sh check $(BUILD)/arp-orchestrator

C_FILES := $(sort $(shell find $(PARTS) tests bench -name '*.[ch]' -not -path '*/node_modules/*' 2>/dev/null))
CLANG_FORMAT ?= clang-format-14
format:
	$(Q)$(CLANG_FORMAT) -i $(C_FILES)
format-check:
	$(Q)$(CLANG_FORMAT) --dry-run -Werror $(C_FILES)

check: all unit lint format-check

asan:
	$(Q)$(MAKE) BUILD=build-asan SAN=address,undefined OPT='-O1 -g' all unit

# cppcheck 2.10 does not know the cleanup attribute, so its leak checks report every fd and object that cleans itself up; gcc 12's
# reports memory that a function hands over in a struct of its caller's. Leaks are looked for by the sanitized tests. cppcheck also asks for
# readdir_r, which glibc deprecates.
analyze:
	$(Q)cppcheck --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 --quiet \
	  --suppress=missingIncludeSystem --suppress=resourceLeak --suppress=memleak --suppress=readdirCalled --library=posix -I. -D_GNU_SOURCE -DARP_VERSION='"x"' -j 2 $(PARTS)
	$(Q)$(MAKE) BUILD=build-analyze CC=gcc OPT='-O1 -g' CFLAGS='-fanalyzer -Wno-analyzer-malloc-leak' all

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/arp/migrations
	install -m 0755 $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin
	install -m 0644 migrations/*.sql $(DESTDIR)$(PREFIX)/share/arp/migrations

clean distclean:
	rm -rf build build-asan build-clang build-analyze

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
