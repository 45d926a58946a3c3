#include "supervisor/cli/ask.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "supervisor/cli/cli.h"
#include "supervisor/client/answer.h"
#include "supervisor/topology.h"
#include "vmsig_event.h"

#define ANSWER_MS 2000

/* ---- which topology -------------------------------------------------------------------------------------- */

static int socket_path(const char *name, struct sockaddr_un *sa, char *err) {
    char dir[sizeof sa->sun_path];
    *sa = (struct sockaddr_un){.sun_family = AF_UNIX};
    int n = vmsig_run_dir(name, dir, sizeof dir);
    if (n == 0)
        n = snprintf(sa->sun_path, sizeof sa->sun_path, "%.90s/supervisor.sock", dir);
    if (n < 0 || (size_t)n >= sizeof sa->sun_path || strlen(dir) > 90) {
        snprintf(err, VMSIG_ASK_ERR_MAX, "the run directory's path of %s is too long for a socket", name);
        return -ENAMETOOLONG;
    }
    return 0;
}

static int connect_to(const struct sockaddr_un *sa) {
    int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (sock < 0)
        return -errno;
    if (connect(sock, (const struct sockaddr *)sa, sizeof *sa) == 0)
        return sock;
    int e = errno;
    close(sock);
    return -e;
}

/* The folder that holds the run directories. */
static int base_dir(char *buf, size_t len) {
    int err = vmsig_run_dir("x", buf, len);
    char *slash = err ? NULL : strrchr(buf, '/');
    if (slash)
        *slash = 0;
    return err;
}

/* The name of the only topology whose supervisor answers. */
static int only_one(char *name, size_t len, char *err) {
    char base[sizeof(struct sockaddr_un)], ignored[VMSIG_ASK_ERR_MAX];
    int found = 0;
    DIR *d = base_dir(base, sizeof base) == 0 ? opendir(base) : NULL;
    for (struct dirent *e; d && (e = readdir(d));) {
        struct sockaddr_un sa;
        if (e->d_name[0] == '.' || strlen(e->d_name) >= len || socket_path(e->d_name, &sa, ignored))
            continue;
        int sock = connect_to(&sa);
        if (sock < 0)
            continue;
        close(sock);
        if (found++ == 0)
            strcpy(name, e->d_name);
    }
    if (d)
        closedir(d);
    if (found == 1)
        return 0;
    snprintf(err, VMSIG_ASK_ERR_MAX,
             found ? "several topologies run below %s; choose one with --name"
                   : "no topology runs (nothing answers below %s); `vmsig up` starts one",
             base);
    return found ? -E2BIG : -ENOENT;
}

static int find(const char *name, char *chosen, size_t len, char *err) {
    if (!name)
        return only_one(chosen, len, err);
    if (strlen(name) >= len || strchr(name, '/')) {
        snprintf(err, VMSIG_ASK_ERR_MAX, "%s is not a topology's name", name);
        return -EINVAL;
    }
    strcpy(chosen, name);
    return 0;
}

/* ---- one question, one answer ---------------------------------------------------------------------------- */

static int64_t now_ms(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int wait_for(int sock, short events, int64_t until) {
    for (;;) {
        struct pollfd p = {.fd = sock, .events = events};
        int64_t left = until - now_ms();
        int n = poll(&p, 1, left > 0 ? (int)left : 0);
        if (n > 0)
            return 0;
        if (n == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
}

static int exchange(int sock, int64_t until, const Vmsig__Pb__Request *request, Vmsig__Pb__Response **out) {
    vmsig_frame frame;
    int n = wait_for(sock, POLLOUT, until);
    if (n == 0)
        n = vmsig_frame_send(sock, &request->base, NULL, 0);
    if (n == 0)
        n = wait_for(sock, POLLIN, until);
    if (n == 0)
        n = vmsig_frame_recv(sock, &frame);
    if (n <= 0)
        return n ? n : -ECONNRESET;
    *out = vmsig_answer_unpack(&frame);
    return *out ? 0 : -EPROTO;
}

int vmsig_ask(const char *name, const Vmsig__Pb__Request *request, int timeout_ms, Vmsig__Pb__Response **out,
              char err[VMSIG_ASK_ERR_MAX]) {
    char chosen[64];
    struct sockaddr_un sa;
    int n = find(name, chosen, sizeof chosen, err);
    if (n == 0)
        n = socket_path(chosen, &sa, err);
    if (n)
        return n;
    int sock = connect_to(&sa);
    if (sock == -ENOENT || sock == -ECONNREFUSED || sock == -ENOTDIR) {
        snprintf(err, VMSIG_ASK_ERR_MAX, "%s does not run (nothing answers at %s)", chosen, sa.sun_path);
        return -ENOENT;
    }
    n = sock < 0 ? sock : exchange(sock, now_ms() + timeout_ms, request, out);
    if (sock >= 0)
        close(sock);
    if (n)
        snprintf(err, VMSIG_ASK_ERR_MAX, "%s: no answer: %s", sa.sun_path, strerror(-n));
    return n;
}

/* What is answered by the status, or by an error. */
static int ask_status(const char *name, const Vmsig__Pb__Request *request, int timeout_ms, Vmsig__Pb__Response **out,
                      char *err) {
    int n = vmsig_ask(name, request, timeout_ms, out, err);
    if (n || (*out)->status)
        return n;
    snprintf(err, VMSIG_ASK_ERR_MAX, "the supervisor refused: %s", (*out)->error ? (*out)->error : "no reason given");
    vmsig_ask_free(*out);
    return -EPROTO;
}

int vmsig_ask_status(const char *name, int timeout_ms, Vmsig__Pb__Response **out, char err[VMSIG_ASK_ERR_MAX]) {
    Vmsig__Pb__StatusAsk what = VMSIG__PB__STATUS_ASK__INIT;
    Vmsig__Pb__Request request = VMSIG__PB__REQUEST__INIT;
    request.m_case = VMSIG__PB__REQUEST__M_STATUS;
    request.status = &what;
    return ask_status(name, &request, timeout_ms, out, err);
}

int vmsig_ask_grants(const char *name, int timeout_ms, Vmsig__Pb__Response **out, char err[VMSIG_ASK_ERR_MAX]) {
    Vmsig__Pb__GrantsAsk what = VMSIG__PB__GRANTS_ASK__INIT;
    Vmsig__Pb__Request request = VMSIG__PB__REQUEST__INIT;
    request.m_case = VMSIG__PB__REQUEST__M_GRANTS;
    request.grants = &what;
    return ask_status(name, &request, timeout_ms, out, err);
}

void vmsig_ask_free(Vmsig__Pb__Response *r) {
    vmsig__pb__response__free_unpacked(r, NULL);
}

int vmsig_ask_endpoint(const char *name, const char *endpoint, uint32_t *id, char err[VMSIG_ASK_ERR_MAX]) {
    Vmsig__Pb__Response *r;
    uint64_t number;
    if (vmsig_cli_uint(endpoint, VMSIG_ENDPOINTS_MAX - 1, &number)) {
        *id = (uint32_t)number;
        return 0;
    }
    int n = vmsig_ask_status(name, ANSWER_MS, &r, err);
    if (n)
        return n;
    n = -ENOENT;
    for (size_t i = 0; i < r->status->n_endpoints; i++)
        if (strcmp(r->status->endpoints[i]->name, endpoint) == 0) {
            *id = r->status->endpoints[i]->id;
            n = 0;
        }
    if (n)
        snprintf(err, VMSIG_ASK_ERR_MAX, "%s has no endpoint %s (`vmsig status` lists them)", r->status->name,
                 endpoint);
    vmsig_ask_free(r);
    return n;
}
