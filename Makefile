# vmsig. The two commands of the README: `make run` and `make check`. Everything is built below $(BUILD).
#
#   make            libraries, programs, man pages          make run        the built-in topology, live events
#   make check      all tests, short forms of long runs     make bench      latency and throughput
#   make bench-peers   the same beside others: ck_ring, boost, iceoryx, ZeroMQ, nng, NATS
#   make chaos      random kills: KILLS=100000 SEED=1 MINUTES=30; every event is accounted for; goes on where it was
#   make faults     system calls that fail, one at a time, in every program (hours)
#   make coverage   which branches the tests of rings, schema, topology, context and gateway take
#   make soak-wake  SLEEPS=100000000 sleeps, none of which is overslept
#   make step       each instruction of what must survive one (minutes)
#   make linux-guest  a kernel and a shell from Debian's packages, for docs/examples/qemu-linux.yaml
#   make install    PREFIX=/usr/local DESTDIR=              make clean
#
# A file named *_main.c is a program; every other .c of a room belongs to the library.

BUILD   ?= build
PREFIX  ?= /usr/local
VERSION := 0.1.0
ifeq ($(origin CC),default)
CC      := gcc
endif
OPT     ?= -O2 -g
SAN     ?=
WARN    := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror

CPPFLAGS += -D_GNU_SOURCE -DVMSIG_VERSION='"$(VERSION)"' -Iinclude -I. -isystem $(BUILD)/gen
CFLAGS   += -std=c11 $(OPT) $(WARN) -fPIC -fno-semantic-interposition $(SAN)
LDFLAGS  += $(SAN)
LIBS     := -lprotobuf-c -lyaml -ljansson -lsodium -lnuma -ldl

PROTOS  := $(wildcard schema/*.proto)
GEN     := $(PROTOS:schema/%.proto=$(BUILD)/gen/%.pb-c.c)
MAINS   := $(wildcard actors/*/*_main.c actors/*/*/*_main.c supervisor/*_main.c supervisor/*/*_main.c \
             bench/*_main.c)
LIB_SRC := $(filter-out $(MAINS),$(wildcard schema/*.c rings/*.c actors/*/*.c actors/*/*/*.c supervisor/client/*.c))
SUP_SRC := $(filter-out $(MAINS),$(wildcard supervisor/*.c supervisor/keeper/*.c supervisor/cli/*.c))
BENCH_SRC := $(filter-out $(MAINS),$(wildcard bench/*.c))
LIB_OBJ := $(LIB_SRC:%.c=$(BUILD)/obj/%.o) $(GEN:$(BUILD)/gen/%.c=$(BUILD)/obj/gen/%.o)
SUP_OBJ := $(SUP_SRC:%.c=$(BUILD)/obj/%.o)
BENCH_OBJ := $(BENCH_SRC:%.c=$(BUILD)/obj/%.o)
# supervisor/cli/vmsig_main.c -> build/bin/vmsig; actors/context/vmsig-context_main.c -> build/bin/vmsig-context
PROGRAMS := $(patsubst %_main.c,$(BUILD)/bin/%,$(notdir $(MAINS)))
MAN     := $(wildcard docs/man/*.[1-8])
TESTS   := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/*/test_*.c))
# programs that tests start: tests/ROOM/prog_NAME.c
PROGS   := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/*/prog_*.c))
PLUGINS := $(patsubst tests/plugins/%.c,$(BUILD)/plugins/%.so,$(wildcard tests/plugins/*.c)) \
           $(patsubst docs/examples/plugins/%.c,$(BUILD)/plugins/%.so,$(wildcard docs/examples/plugins/*.c))
EXAMPLES := $(patsubst docs/examples/%.c,$(BUILD)/examples/%,$(wildcard docs/examples/*.c))

GUEST   := $(BUILD)/tests/guest/guest.elf
LINUX_GUEST := $(BUILD)/linux-guest/vmlinuz

# A line for each step; with V=1 the commands themselves.
say = $(if $(V),,@printf '  %-5s %s\n' '$(1)' '$(2:$(BUILD)/%=%)';)

.PHONY: all tests run check bench bench-peers soak-wake chaos coverage faults step linux-guest install docs fuzz fuzzers clean packages packages-check format
.SECONDARY:
.DELETE_ON_ERROR:

all: $(BUILD)/lib/libvmsig.a $(BUILD)/lib/libvmsig.so $(PROGRAMS) $(EXAMPLES)

# `run`, `check` and `bench` build on all processors, unless make was told otherwise.
JOBS = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))

# ---- what Debian packages it takes; installed when missing -------------------------------------------
packages:
	@sh tools/packages.sh build
packages-check:
	@sh tools/packages.sh build check

run: packages
	@$(MAKE) $(JOBS) --no-print-directory all
	@$(BUILD)/bin/vmsig up $(ARGS)

check: packages-check
	@$(MAKE) $(JOBS) --no-print-directory all tests
	@$(if $(findstring qemu,$(or $(ONLY),qemu)),$(MAKE) --no-print-directory linux-guest || true)
	@sh tests/run.sh $(BUILD) $(ONLY)

tests: $(TESTS) $(PROGS) $(PLUGINS) $(GUEST) $(BUILD)/nomem.so

bench: packages
	@$(MAKE) $(JOBS) --no-print-directory all $(GUEST)
	@$(BUILD)/bin/vmsig bench $(ARGS)

# What others offer for the same, in the same run; their packages are installed on request. One table and one plot.
#   make bench-peers DOCS=yes      writes them into docs/performance.md
PEERS_SRC := $(wildcard bench/peers/*.c bench/peers/*.cpp)
PEERS_OBJ := $(patsubst %,$(BUILD)/obj/%.o,$(basename $(PEERS_SRC)))
PEERS_LIBS := -lzmq -lnng -lnats -liceoryx_posh -liceoryx_hoofs -liceoryx_platform
bench-peers: packages
	@sh tools/packages.sh bench-peers
	@$(MAKE) $(JOBS) --no-print-directory all $(BUILD)/bin/vmsig-bench-peers
	@$(BUILD)/bin/vmsig-bench-peers $(ARGS) --table $(BUILD)/peers.md --plot $(BUILD)/peers.svg
	@$(if $(DOCS),sh tools/between.sh docs/performance.md peers $(BUILD)/peers.md && cp $(BUILD)/peers.svg docs/peers.svg)

$(BUILD)/obj/bench/peers/%.o: bench/peers/%.cpp
	@mkdir -p $(@D)
	$(call say,C++,$@)$(CXX) -std=c++17 $(CPPFLAGS) -isystem /usr/include/iceoryx/v2.0.3 $(OPT) -Wall -Wextra -Werror -MD -MP -c $< -o $@

$(BUILD)/bin/vmsig-bench-peers: $(PEERS_OBJ) $(BUILD)/lib/libbench.a $(BUILD)/lib/libsupervisor.a $(BUILD)/lib/libvmsig.a
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CXX) $(LDFLAGS) -o $@ $^ $(LIBS) $(PEERS_LIBS) -lm -lpthread

# two processes that wake each other, SLEEPS times; one wake-up that is lost, and it fails (`make check`: a million)
soak-wake: packages-check
	@$(MAKE) --no-print-directory $(BUILD)/tests/rings/test_ring_wake
	@VMSIG_SLEEPS=$(or $(SLEEPS),100000000) $(BUILD)/tests/rings/test_ring_wake -j1 --filter 'ring_two/no_wake_up_is_lost'

# an operation dies after each of its instructions in turn; `make check` tries some
step: packages-check
	@$(MAKE) --no-print-directory $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/step/test_*.c))
	@for t in tests/step/test_*.c; do VMSIG_STEP_STRIDE=$${VMSIG_STEP_STRIDE:-1} $(BUILD)/$${t%.c} -j1 || exit 1; done

chaos: packages-check
	@$(MAKE) --no-print-directory all $(BUILD)/tests/chaos/prog_pulse $(BUILD)/tests/chaos/prog_chaos
	@sh tests/chaos/series.sh $(BUILD) $(or $(KILLS),1000) $(or $(SEED),1) $(or $(MINUTES),0)

# branches of the rooms that the tests below exercise; gcov counts what a process did that ended by itself
COVERED  := rings schema supervisor/topology actors/gateway actors/context actors/hosts
COV_BUILD = $(BUILD)/coverage
COV_TESTS = $(patsubst tests/%.c,$(COV_BUILD)/tests/%,$(wildcard $(foreach r,rings schema topology gateway context hosts core sim audit runtime memctx,tests/$(r)/test_*.c)))
coverage: packages-check
	@$(MAKE) $(JOBS) --no-print-directory BUILD=$(COV_BUILD) OPT="-O0 -g" SAN=--coverage $(COV_TESTS)
	@find $(COV_BUILD) -name '*.gcda' -delete
	@for t in $(COV_TESTS); do $$t --timeout 300 >$(COV_BUILD)/test.log 2>&1 || { cat $(COV_BUILD)/test.log; exit 1; }; done
	@gcovr --root . $(COVERED:%=--filter '%') --exclude actors/hosts/qemu --exclude-throw-branches --branches --object-directory $(COV_BUILD) $(COV_BUILD) $(COVERAGE)

# FAULTS="--program vmsig-gateway" and the like: see the script
faults: packages-check
	@$(MAKE) --no-print-directory all $(BUILD)/tests/chaos/prog_pulse $(BUILD)/tests/chaos/prog_chaos $(BUILD)/nomem.so
	@python3 -B tests/faults/faults.py $(BUILD) $(FAULTS)

# ---- building ----------------------------------------------------------------------------------------
# -MD, not -MMD: the generated headers, which are included as the system's, count too.
$(BUILD)/gen/%.pb-c.c $(BUILD)/gen/%.pb-c.h: schema/%.proto
	@mkdir -p $(@D)
	$(call say,PROTO,$@)protoc-c --proto_path=schema --c_out=$(BUILD)/gen $<

# gcc's general tuning zeroes structs of some hundred bytes by `rep stos`, which takes 30 cycles to start: not where
# each event passes. (It is tuning alone: the instructions stay those of every x86-64.)
HOT := schema/wire schema/slot actors/runtime/emit actors/context/relay actors/gateway/vmsig-gateway_main
ifeq ($(shell uname -m),x86_64)
$(HOT:%=$(BUILD)/obj/%.o): CFLAGS += -mtune=skylake
endif

GEN_H := $(GEN:.c=.h)
$(LIB_OBJ) $(SUP_OBJ) $(BENCH_OBJ): | $(GEN_H)

$(BUILD)/obj/gen/%.o: $(BUILD)/gen/%.c | $(GEN_H)
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) $(CPPFLAGS) $(filter-out $(WARN),$(CFLAGS)) -MD -MP -c $< -o $@

$(BUILD)/obj/%.o: %.c | $(GEN_H)
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) $(CPPFLAGS) $(CFLAGS) -MD -MP -c $< -o $@

$(BUILD)/lib/libvmsig.a: $(LIB_OBJ)
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,AR,$@)ar rcs $@ $^

$(BUILD)/lib/libvmsig.so: $(LIB_OBJ) tools/exports.map
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) -shared -Wl,-soname,libvmsig.so.0 -Wl,--version-script=tools/exports.map $(LDFLAGS) -o $@ $(LIB_OBJ) $(LIBS)
	@ln -sf libvmsig.so $@.0

$(BUILD)/lib/libsupervisor.a: $(SUP_OBJ)
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,AR,$@)ar rcs $@ $^

$(BUILD)/lib/libbench.a: $(BENCH_OBJ)
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,AR,$@)ar rcs $@ $^

# Each program takes what it needs; only the benches' own has their library. What plug-ins may call, vmsig-sensor has.
WHOLE_LIB := -Wl,--whole-archive $(BUILD)/lib/libvmsig.a -Wl,--no-whole-archive
define program
$(BUILD)/bin/$(notdir $(1:_main.c=)): $(BUILD)/obj/$(1:.c=.o) $(if $(filter bench/%,$(1)),$(BUILD)/lib/libbench.a) $(BUILD)/lib/libsupervisor.a $(BUILD)/lib/libvmsig.a
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)$$(CC) $$(LDFLAGS) -rdynamic -o $$@ $$(filter-out %/libvmsig.a,$$(filter %.o %.a,$$^)) \
	  $(if $(filter %/vmsig-sensor_main.c,$(1)),$(WHOLE_LIB),$(BUILD)/lib/libvmsig.a) $$(LIBS) -lpthread $(if $(filter bench/%,$(1)),-lm)
endef
$(foreach m,$(MAINS),$(eval $(call program,$(m))))

$(BUILD)/examples/%: docs/examples/%.c $(BUILD)/lib/libvmsig.a
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) -Iinclude $(CFLAGS) -MD -MP $(LDFLAGS) -o $@ $(filter %.c %.a,$^) $(LIBS)

$(BUILD)/plugins/%.so: tests/plugins/%.c
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) -Iinclude $(CFLAGS) -MD -MP -shared $(LDFLAGS) -o $@ $<

$(BUILD)/plugins/%.so: docs/examples/plugins/%.c
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) -Iinclude $(CFLAGS) -MD -MP -shared $(LDFLAGS) -o $@ $<

$(BUILD)/tests/%: tests/%.c $(BUILD)/lib/libsupervisor.a $(BUILD)/lib/libvmsig.a
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) $(CPPFLAGS) -DTEST_BUILD='"$(abspath $(BUILD))"' $(CFLAGS) -MD -MP $(LDFLAGS) -o $@ $< $(filter %.a,$^) $(LIBS) -lcriterion -lpthread

$(BUILD)/nomem.so: tests/faults/nomem.c
	$(call say,CC,$@)$(CC) $(CPPFLAGS) $(CFLAGS) -MD -MP -shared $(LDFLAGS) -o $@ $<

# The guest that tests boot. QEMU's multiboot loader takes ELF for 32 bits.
GUEST_CFLAGS := -std=c11 -O1 $(WARN) -ffreestanding -fno-pic -fno-pie -mno-red-zone -mgeneral-regs-only \
                -fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none -mcmodel=small
GUEST_SRC    := tests/guest/start.S tests/guest/guest.c tests/guest/guest.lds tests/guest/layout.h

$(GUEST): $(GUEST_SRC)
	@mkdir -p $(@D)
	gcc $(GUEST_CFLAGS) -c tests/guest/start.S -o $(@D)/start.o
	gcc $(GUEST_CFLAGS) -c tests/guest/guest.c -o $(@D)/guest.o
	ld -m elf_x86_64 -T tests/guest/guest.lds -z max-page-size=0x1000 --build-id=none --no-warn-rwx-segments -nostdlib \
	   -o $(@D)/guest64.elf $(@D)/start.o $(@D)/guest.o
	objcopy -I elf64-x86-64 -O elf32-i386 $(@D)/guest64.elf $@

# A Linux guest for QEMU: a kernel and busybox from Debian's packages, which are fetched and not installed.
linux-guest: packages $(LINUX_GUEST)

$(BUILD)/linux-guest/console: docs/examples/linux-guest/console.c
	@mkdir -p $(@D)
	$(call say,CC,$@)gcc -std=c11 -D_GNU_SOURCE -O2 $(WARN) -static -o $@ $<

$(LINUX_GUEST): tools/linux-guest.sh docs/examples/linux-guest/init $(BUILD)/linux-guest/console
	$(call say,GUEST,$@)sh tools/linux-guest.sh $(@D) $(BUILD)/linux-guest/console

# ---- ARMED: a sensor and an input library of one's own, linked in ------------------------------------------
# Each is an object or an archive that exports vmsig_plugin_open (vmsig_core.h). What comes of it: the end-to-end test
# with both linked in, and both as plug-ins of vmsig-sensor.
#   make armed ARMED_SENSOR=LIBRARY ARMED_INPUT=LIBRARY
ARMED_SENSOR ?=
ARMED_INPUT  ?=
ARMED_LIB = $(if $(filter sensor,$*),$(ARMED_SENSOR),$(ARMED_INPUT))
ARMED_PARTS := $(BUILD)/armed/sensor.a $(BUILD)/armed/input.a $(BUILD)/armed/sensor.so $(BUILD)/armed/input.so
.PHONY: armed $(ARMED_PARTS)
armed: $(BUILD)/armed/prog_armed $(BUILD)/armed/sensor.so $(BUILD)/armed/input.so
$(ARMED_PARTS): $(if $(and $(ARMED_SENSOR),$(ARMED_INPUT)),,armed-missing)
.PHONY: armed-missing
armed-missing:
	$(error make armed takes ARMED_SENSOR=LIBRARY and ARMED_INPUT=LIBRARY)

# both export the same name
$(BUILD)/armed/sensor.a $(BUILD)/armed/input.a: $(BUILD)/armed/%.a:
	@mkdir -p $(@D)
	objcopy --redefine-sym vmsig_plugin_open=vmsig_armed_$*_open $(ARMED_LIB) $@

$(BUILD)/armed/sensor.so $(BUILD)/armed/input.so: $(BUILD)/armed/%.so:
	@mkdir -p $(@D)
	$(CC) -shared $(LDFLAGS) -o $@ -Wl,--whole-archive $(ARMED_LIB) -Wl,--no-whole-archive

$(BUILD)/armed/prog_armed: tests/armed/prog_armed.c $(BUILD)/armed/sensor.a $(BUILD)/armed/input.a $(BUILD)/lib/libvmsig.a
	$(CC) -DARMED -Iinclude -D_GNU_SOURCE $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS) -lpthread

# ---- fuzzing: ten seconds each in `make check`, FUZZ_TIME here ------------------------------------------
FUZZERS  := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_SRC := $(wildcard schema/*.c supervisor/topology*.c supervisor/client/run_dir.c actors/memctx/memctx.c \
              actors/sensors/rfb.c)
FUZZ_SAN := -fsanitize=address,undefined -fno-sanitize-recover=undefined
FUZZ_OBJ := $(FUZZ_SRC:%.c=$(BUILD)/fuzz/obj/%.o) $(GEN:$(BUILD)/gen/%.c=$(BUILD)/fuzz/obj/gen/%.o)

fuzz: packages-check
	@FUZZ_TIME=$${FUZZ_TIME:-3600} sh tests/fuzz/check_fuzz.sh $(BUILD)

fuzzers: $(FUZZERS)

$(BUILD)/fuzz/obj/gen/%.o: $(BUILD)/gen/%.c | $(GEN_H)
	@mkdir -p $(@D)
	$(call say,CLANG,$@)clang $(CPPFLAGS) -std=c11 -g -O1 $(FUZZ_SAN) -fsanitize=fuzzer-no-link -MMD -MP -c $< -o $@

$(BUILD)/fuzz/obj/%.o: %.c | $(GEN_H)
	@mkdir -p $(@D)
	$(call say,CLANG,$@)clang $(CPPFLAGS) -std=c11 -g -O1 $(FUZZ_SAN) -fsanitize=fuzzer-no-link -MMD -MP -c $< -o $@

$(BUILD)/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(FUZZ_OBJ)
	@mkdir -p $(@D)
	$(call say,CLANG,$@)clang $(CPPFLAGS) -std=c11 -g -O1 $(FUZZ_SAN) -fsanitize=fuzzer -o $@ $^ $(LIBS)

# ---- installing --------------------------------------------------------------------------------------
install: all
	install -d $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/bin \
	           $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/vmsig
	install -m 644 include/vmsig_*.h $(DESTDIR)$(PREFIX)/include
	install -m 644 $(BUILD)/lib/libvmsig.a $(DESTDIR)$(PREFIX)/lib
	install -m 755 $(BUILD)/lib/libvmsig.so $(DESTDIR)$(PREFIX)/lib/libvmsig.so.0
	ln -sf libvmsig.so.0 $(DESTDIR)$(PREFIX)/lib/libvmsig.so
	install -m 755 $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(PROTOS) $(DESTDIR)$(PREFIX)/share/vmsig
	$(if $(MAN),install -m 644 $(MAN) $(DESTDIR)$(PREFIX)/share/man/man1)
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' -e 's|@LIBS@|$(LIBS)|' tools/vmsig.pc.in \
	    > $(DESTDIR)$(PREFIX)/lib/pkgconfig/vmsig.pc

# the part of docs/topology.md below its mark is made from the tables that check the files
docs: $(BUILD)/bin/vmsig
	@sh tools/reference.sh $< > $(BUILD)/topology.md && mv $(BUILD)/topology.md docs/topology.md

clean:
	rm -rf $(BUILD)

format:
	clang-format -i $(shell git ls-files '*.c' '*.h')

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
