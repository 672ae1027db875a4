# The C programs of bench/, with the rules and flags of the Makefile.  usage: make -f bench/bench.mk bench
include Makefile

BENCH_BIN := $(patsubst %.c,$(BUILD)/%,$(sort $(wildcard bench/*.c)))
BENCH_SUPPORT := $(call objs,$(sort $(wildcard bench/support/*.c)))
BENCH_LIBS = $(BUILD)/libbenchsupport.a $(TEST_LIBS)
bench: all $(BENCH_BIN)
.PHONY: bench

$(BUILD)/libbenchsupport.a: $(BENCH_SUPPORT)
	$(call say,AR,$@)rm -f $@ && ar crD $@ $^

$(BUILD)/bench/%: $(BUILD)/bench/%.o $(BENCH_LIBS)
	$(call say,LD,$@)$(CC) $(LDFLAGS_all) -o $@ $< $(BENCH_LIBS) $(call libs,$(PACKAGES_all))
