/* The sensors that come with vmsig: tick, plug-ins, pipes. Run as the programs that they are. */
#include <fcntl.h>
#include <sys/mman.h>

#include "tests/runtime/kit.h"

#define MS     UINT64_C(1000000)
#define TICK   TEST_BUILD "/bin/vmsig-sensor-tick"
#define SENSOR TEST_BUILD "/bin/vmsig-sensor"
#define PLUGIN TEST_BUILD "/plugins/"

static void start(kit_actor *a, kit_link *out, char *const *argv) {
    *a = kit_sensor();
    *out = kit_new_link(1, VMSIG_DIR_UP);
    kit_start_producer(a, out, NULL, NULL, argv);
}

static void start_pipe(kit_actor *a, kit_link *out, char *shell) {
    char *argv[] = {SENSOR, "--pipe", "sh", "-c", shell, NULL};
    start(a, out, argv);
}

#define LINE  64
#define PIECE 65

/* The next line or piece of one, as a string that is the caller's. */
static char *next_text(kit_link *out, int *kind) {
    vmsig_event ev;
    cr_assert_eq(kit_next(out, &ev), 1, "no line came");
    *kind = ev.kind;
    size_t len = ev.payload ? ev.payload_len : ev.inln_len;
    char *text = malloc(len + 1);
    memcpy(text, ev.payload ? ev.payload : ev.inln, len);
    text[len] = '\0';
    free(ev.payload);
    return text;
}

static char *next_line(kit_link *out) {
    int kind;
    char *text = next_text(out, &kind);
    cr_assert_eq(kind, LINE);
    return text;
}

static void expect_line(kit_link *out, const char *want) {
    char *got = next_line(out);
    cr_expect_str_eq(got, want);
    free(got);
}

/* Runs argv without a supervisor: its exit code, and what it wrote to stderr. */
static int by_hand(char *const *argv, char *text, size_t len) {
    int err[2];
    cr_assert_eq(pipe2(err, O_CLOEXEC), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(err[1], STDERR_FILENO);
        close(VMSIG_BOOT_FD);
        execv(argv[0], argv);
        _exit(127);
    }
    close(err[1]);
    size_t at = 0;
    for (ssize_t n; at < len - 1 && (n = read(err[0], text + at, len - 1 - at)) > 0;)
        at += (size_t)n;
    text[at] = '\0';
    close(err[0]);
    int status;
    waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
}

static void expect_by_hand(int code, const char *word, char *const *argv) {
    char text[2048];
    cr_expect_eq(by_hand(argv, text, sizeof(text)), code, "%s", text);
    cr_expect(strstr(text, word), "%s", text);
}

/* ---- tick --------------------------------------------------------------------------------------------- */

Test(sensors, tick_counts_at_its_rate) {
    kit_actor a;
    kit_link out;
    char *argv[] = {TICK, "--hz", "200", NULL};
    start(&a, &out, argv);
    uint64_t begin = vmsig_now_ns();
    for (uint64_t n = 0; n < 40; n++)
        kit_expect_u64(&out, n);
    cr_expect_geq(vmsig_now_ns() - begin, 39 * 5 * MS - 10 * MS); /* never faster */
    kit_stop(&a);
}

Test(sensors, wrong_usage_is_64_and_by_hand_they_say_what_they_are) {
    expect_by_hand(64, "--hz", (char *[]){TICK, "--hz", "0", NULL});
    expect_by_hand(64, "--hz", (char *[]){TICK, "--hz", "1x", NULL});
    expect_by_hand(64, "--hz", (char *[]){TICK, "fast", NULL});
    expect_by_hand(1, "vmsig up", (char *[]){TICK, NULL});
    expect_by_hand(64, "--plugin or --pipe", (char *[]){SENSOR, NULL});
    expect_by_hand(64, "--plugin or --pipe", (char *[]){SENSOR, "--frob", NULL});
    expect_by_hand(64, "needs a command", (char *[]){SENSOR, "--pipe", NULL});
    expect_by_hand(64, "needs the file", (char *[]){SENSOR, "--plugin", NULL});
    expect_by_hand(64, "vmsig up", (char *[]){SENSOR, "--pipe", "true", NULL});
}

/* ---- pipe --------------------------------------------------------------------------------------------- */

Test(sensors, each_line_of_a_command_is_an_event) {
    kit_actor a;
    kit_link out;
    start_pipe(&a, &out, "echo one; echo; echo 'two words'; printf 'no newline at the end'; exit 7");
    expect_line(&out, "one");
    expect_line(&out, "");
    expect_line(&out, "two words");
    expect_line(&out, "no newline at the end");
    cr_expect_eq(WEXITSTATUS(kit_wait_exit(&a)), 7);
}

Test(sensors, a_long_line_goes_as_payload_and_a_huge_one_in_pieces) {
    kit_actor a;
    kit_link out;
    start_pipe(&a, &out, "printf '%0113d\\n' 7; printf '%0200000d\\n' 8; echo end; exec sleep 60");
    char *line = next_line(&out);
    cr_expect_eq(strlen(line), 113);
    free(line);
    size_t len = 0;
    char last = '0';
    while (len < 200000) { /* the arena holds 64 KiB */
        int kind;
        line = next_text(&out, &kind);
        len += strlen(line);
        cr_expect_eq(kind, len < 200000 ? PIECE : LINE);
        last = line[strlen(line) - 1];
        free(line);
    }
    cr_expect_eq(len, 200000);
    cr_expect_eq(last, '8');
    expect_line(&out, "end");
    kit_stop(&a);
}

Test(sensors, a_command_killed_by_a_signal_tells_which) {
    kit_actor a;
    kit_link out;
    start_pipe(&a, &out, "echo up; kill -KILL $$");
    expect_line(&out, "up");
    cr_expect_eq(WEXITSTATUS(kit_wait_exit(&a)), 128 + SIGKILL);
}

Test(sensors, a_command_that_is_not_there_is_127) {
    kit_actor a;
    kit_link out;
    char *argv[] = {SENSOR, "--pipe", "/nowhere/no-such-command", NULL};
    start(&a, &out, argv);
    cr_expect_eq(WEXITSTATUS(kit_wait_exit(&a)), 127);
}

static pid_t child_of_line(kit_link *out) {
    char *line = next_line(out);
    pid_t pid = (pid_t)atol(line);
    free(line);
    cr_assert_gt(pid, 1);
    return pid;
}

/* Gone, or dead and not yet reaped by whoever inherited it. */
static bool dead(pid_t pid) {
    char path[64], state = 'Z';
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "r");
    if (!f)
        return true;
    if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
        state = 'Z';
    fclose(f);
    return state == 'Z' || state == 'X';
}

static void expect_dead(pid_t pid) {
    for (int ms = 0; ms < KIT_MS && !dead(pid); ms++)
        poll(NULL, 0, 1);
    cr_expect(dead(pid));
}

Test(sensors, the_command_ends_with_its_sensor_however_that_ends) {
    kit_actor a;
    kit_link out;
    start_pipe(&a, &out, "echo $$; exec sleep 60");
    pid_t child = child_of_line(&out);
    kit_stop(&a);
    expect_dead(child);
    start_pipe(&a, &out, "trap '' TERM; echo $$; while :; do sleep 1; done"); /* one that won't listen */
    child = child_of_line(&out);
    kit_stop(&a);
    expect_dead(child);
    start_pipe(&a, &out, "echo $$; exec sleep 60");
    child = child_of_line(&out);
    kit_kill(&a);
    expect_dead(child);
}

Test(sensors, a_command_meets_no_fds_nor_ignored_signals_of_the_sensor) {
    kit_actor a;
    kit_link out;
    start_pipe(
        &a, &out,
        "test -e /proc/$$/fd/3 && echo leaked || echo clean; grep SigIgn /proc/$$/status | tr -d '\\t'; exec sleep 60");
    expect_line(&out, "clean");
    char *line = next_line(&out);
    unsigned long long mask = strtoull(line + strlen("SigIgn:"), NULL, 16);
    cr_expect_eq(mask & (1u << (SIGTERM - 1) | 1u << (SIGINT - 1) | 1u << (SIGPIPE - 1)), 0, "%s", line);
    free(line);
    kit_stop(&a);
}

/* ---- plug-ins ----------------------------------------------------------------------------------------- */

Test(sensors, the_example_plug_in_tells_the_load) {
    kit_actor a;
    kit_link out;
    char *argv[] = {SENSOR, "--plugin", PLUGIN "loadavg.so", "5", NULL};
    start(&a, &out, argv);
    for (int i = 0; i < 3; i++) {
        vmsig_event ev;
        float load[3];
        cr_assert_eq(kit_next(&out, &ev), 1);
        cr_expect_eq(ev.kind, 64);
        cr_expect_eq(ev.source, KIT_SOURCE); /* the topology's word, not the plug-in's */
        cr_expect_eq(ev.endpoint, KIT_EP);
        cr_assert_eq(ev.inln_len, sizeof(load));
        memcpy(load, ev.inln, sizeof(load));
        cr_expect_geq(load[0], 0.0f);
    }
    kit_stop(&a);
}

Test(sensors, a_plug_in_that_cannot_be_loaded_says_why) {
    expect_by_hand(1, "missing.so", (char *[]){SENSOR, "--plugin", "/nowhere/missing.so", NULL});
    expect_by_hand(1, "does not export vmsig_plugin_open", (char *[]){SENSOR, "--plugin", PLUGIN "no_symbol.so", NULL});
    expect_by_hand(1, "did not start: Argument list too long",
                   (char *[]){SENSOR, "--plugin", PLUGIN "taker.so", "x", NULL});
}

/* ---- memctx ------------------------------------------------------------------------------------------- */

/* The plug-in with a down link that the test writes, and the pages that say which epoch it is. */
static vmsig_epoch_page *start_taker(kit_actor *a, kit_link *in, kit_link *out) {
    char *argv[] = {SENSOR, "--plugin", PLUGIN "taker.so", NULL};
    int board, epoch;
    *a = kit_sensor();
    *in = kit_new_link(1, VMSIG_DIR_DOWN);
    *out = kit_new_link(2, VMSIG_DIR_UP);
    kit_board(&board);
    vmsig_epoch_page *page = kit_epoch(&epoch);
    kit_fork(a, NULL, NULL, argv);
    kit_send_boot(a);
    kit_send_page(a, VMSIG__PB__PAGE_KIND__PAGE_BOARD, false, board);
    kit_send_page(a, VMSIG__PB__PAGE_KIND__PAGE_EPOCH, false, epoch);
    kit_consume(out);
    kit_output(a, out);
    kit_input(a, in);
    kit_produce(in);
    kit_take_reader(in);
    kit_peer(a, out, true);
    kit_peer(a, in, false);
    kit_take_ring(out);
    kit_go(a);
    return page;
}

static void put_memctx(kit_link *in, uint8_t kind, uint32_t ram_id, uint32_t epoch) {
    vmsig_event ev = kit_event(kind, 0);
    vmsig_memctx m = {.ram_id = ram_id};
    ev.dir = VMSIG_DIR_DOWN;
    ev.source = VMSIG_SRC_MEMCTX;
    ev.epoch = epoch;
    ev.inln_len = sizeof(m);
    memcpy(ev.inln, &m, sizeof(m));
    kit_put(in, &ev);
}

static void expect_ram_ask(kit_actor *a, uint32_t ram_id) {
    Vmsig__Pb__FromActor *m = kit_expect(a, VMSIG__PB__FROM_ACTOR__M_RAM_ASK);
    cr_expect_eq(m->ram_ask->endpoint, KIT_EP);
    cr_expect_eq(m->ram_ask->ram_id, ram_id);
    kit_free(m);
}

static void send_ram(kit_actor *a, uint32_t ram_id, size_t bytes) {
    int fd = memfd_create("ram", MFD_CLOEXEC);
    cr_assert_eq(ftruncate(fd, (off_t)bytes), 0);
    Vmsig__Pb__Ram ram = VMSIG__PB__RAM__INIT;
    ram.endpoint = KIT_EP;
    ram.ram_id = ram_id;
    kit_send(a, VMSIG__PB__TO_ACTOR__M_RAM, &ram, &fd, 1);
    close(fd);
}

Test(sensors, a_memctx_comes_only_with_its_ram_and_in_its_epoch) {
    kit_actor a;
    kit_link in, out;
    vmsig_epoch_page *page = start_taker(&a, &in, &out);
    put_memctx(&in, VMSIG_EV_MEMCTX, 5, KIT_EPOCH);
    expect_ram_ask(&a, 5);
    put_memctx(&in, VMSIG_EV_MEMCTX, 5, KIT_EPOCH); /* asked once only */
    put_memctx(&in, VMSIG_EV_MEMCTX, 6, KIT_EPOCH);
    expect_ram_ask(&a, 6);
    send_ram(&a, 5, 4096); /* comes too late: the newest names another */
    send_ram(&a, 6, 8192);
    vmsig_event ev;
    cr_assert_eq(kit_next(&out, &ev), 1);
    cr_expect_eq(ev.kind, 71);
    cr_expect_eq(kit_u64(&ev), 8192);
    vmsig_epoch_advance(page); /* what is stamped with the old epoch is void */
    put_memctx(&in, VMSIG_EV_MEMCTX, 6, KIT_EPOCH);
    put_memctx(&in, VMSIG_EV_MEMCTX_INVALID, 0, KIT_EPOCH);
    kit_expect_u64(&out, 0);
    put_memctx(&in, VMSIG_EV_MEMCTX, 6, KIT_EPOCH + 1);
    kit_expect_u64(&out, 8192);
    kit_stop(&a);
}
