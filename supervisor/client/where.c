/* where.c: which socket: a path, or a running topology's first gateway. */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "supervisor.pb-c.h"
#include "supervisor/client/answer.h"
#include "supervisor/client/client_impl.h"
#include "supervisor/topology.h"

#define ANSWER_MS 1000

static int dial(const char *path) {
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof sa.sun_path)
        return -ENAMETOOLONG;
    strcpy(sa.sun_path, path);
    int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (sock < 0)
        return -errno;
    if (connect(sock, (const struct sockaddr *)&sa, sizeof sa) == 0)
        return sock;
    int err = -errno;
    close(sock);
    return err;
}

/* The supervisor's word on where its first gateway listens. */
static int ask_supervisor(const char *dir, char *path, size_t len) {
    char at[128];
    snprintf(at, sizeof at, "%.100s/supervisor.sock", dir);
    int sock = dial(at), err = sock < 0 ? sock : 0;
    if (err)
        return err;
    Vmsig__Pb__StatusAsk ask = VMSIG__PB__STATUS_ASK__INIT;
    Vmsig__Pb__Request request = VMSIG__PB__REQUEST__INIT;
    request.m_case = VMSIG__PB__REQUEST__M_STATUS;
    request.status = &ask;
    vmsig_frame *f = malloc(sizeof *f);
    struct pollfd p = {.fd = sock, .events = POLLIN};
    err = !f ? -ENOMEM : vmsig_frame_send(sock, &request.base, NULL, 0);
    if (!err)
        err = poll(&p, 1, ANSWER_MS) == 1 && vmsig_frame_recv(sock, f) == 1 ? 0 : -ETIMEDOUT;
    Vmsig__Pb__Response *r = err ? NULL : vmsig_answer_unpack(f);
    if (!err && (!r || !r->status || r->status->n_controls == 0))
        err = -ENOENT;
    if (!err && (size_t)snprintf(path, len, "%s", r->status->controls[0]->socket) >= len)
        err = -ENAMETOOLONG;
    if (r)
        vmsig__pb__response__free_unpacked(r, NULL);
    free(f);
    close(sock);
    return err;
}

static bool is_control_socket(const char *name) {
    size_t n = strlen(name);
    return n > 5 && strcmp(name + n - 5, ".sock") == 0 && strcmp(name, "supervisor.sock") != 0;
}

/* The supervisor is away for a moment: a gateway's socket lies beside its own. */
static int look_in(const char *dir, char *path, size_t len) {
    DIR *d = opendir(dir);
    int err = -ENOENT;
    for (struct dirent *e; d && err && (e = readdir(d));)
        if (is_control_socket(e->d_name) && (size_t)snprintf(path, len, "%s/%s", dir, e->d_name) < len)
            err = 0;
    if (d)
        closedir(d);
    return err;
}

static int in_dir(const char *dir, char *path, size_t len) {
    int err = ask_supervisor(dir, path, len);
    return err ? look_in(dir, path, len) : 0;
}

/* The only run directory in which something answers. */
static int only_one(char *path, size_t len, char *err, size_t err_len) {
    char base[108], dir[512], found[108] = "";
    int n = 0;
    if (vmsig_run_dir("", base, sizeof base) != 0)
        return -ENAMETOOLONG;
    DIR *d = opendir(base);
    for (struct dirent *e; d && (e = readdir(d));) {
        char one[108];
        snprintf(dir, sizeof dir, "%s%s", base, e->d_name);
        if (e->d_name[0] == '.' || in_dir(dir, one, sizeof one) != 0)
            continue;
        int sock = dial(one);
        if (sock < 0)
            continue;
        close(sock);
        n++;
        memcpy(found, one, sizeof found);
    }
    if (d)
        closedir(d);
    if (n == 1) {
        snprintf(path, len, "%s", found);
        return 0;
    }
    snprintf(err, err_len,
             n ? "several topologies run below %s; name the one that is meant" : "no topology runs below %s", base);
    return n ? -EINVAL : -ENOENT;
}

int vmsig_client_where(const char *where, char *path, size_t path_len, char *err, size_t err_len) {
    char dir[108];
    if (!where)
        return only_one(path, path_len, err, err_len);
    int rc = 0;
    if (strchr(where, '/'))
        rc = (size_t)snprintf(path, path_len, "%s", where) >= path_len ? -ENAMETOOLONG : 0;
    else if ((rc = vmsig_run_dir(where, dir, sizeof dir)) == 0)
        rc = in_dir(dir, path, path_len);
    if (rc == -ENOENT)
        snprintf(err, err_len, "no topology named %s runs (nothing in %s)", where, dir);
    else if (rc)
        snprintf(err, err_len, "%s: %s", where, strerror(-rc));
    return rc;
}
