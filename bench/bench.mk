# The C programs of bench/, with the rules and flags of the Makefile.  usage: make -f bench/bench.mk bench
include Makefile

BENCH_BIN := $(patsubst %.c,$(BUILD)/%,$(sort $(wildcard bench/*.c)))
bench: all $(BENCH_BIN)
.PHONY: bench

$(BUILD)/bench/%: $(BUILD)/bench/%.o $(TEST_LIBS)
	$(call say,LD,$@)$(CC) $(LDFLAGS_all) -o $@ $< $(TEST_LIBS) $(call libs,$(PACKAGES_all))
