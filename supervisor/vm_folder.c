/* The folder of a VM's sockets, RUN/NAME/ENDPOINT.vm. QEMU makes them there, its endpoint's sensors connect to them.
 * As root it belongs to the host adapter's user and group, and those sensors run in that group (uid.c); others do not
 * come in. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "supervisor/supervisor.h"

static const char *const sockets[] = {"console", "display"};

const vmsig_topo_actor *vmsig_sup_vm_of(const vmsig_topology *t, int32_t endpoint) {
    for (size_t i = 0; i < t->endpoints_n; i++) {
        const vmsig_topo_actor *host = &t->actors[t->endpoints[i].host_actor];
        if (host->endpoint == endpoint)
            return host->offers ? host : NULL;
    }
    return NULL;
}

static int path_of(const vmsig_topo_actor *host, const char *run_dir, char *buf, size_t len) {
    int n = snprintf(buf, len, "%s/%s.vm", run_dir, host->name);
    return n < 0 || (size_t)n >= len ? -ENAMETOOLONG : 0;
}

int vmsig_sup_vm_folder(const vmsig_sup_actor *a, char *buf, size_t len) {
    const vmsig_topo_actor *host = a->topo->endpoint < 0 ? NULL : vmsig_sup_vm_of(a->sup->topo, a->topo->endpoint);
    return host ? path_of(host, a->sup->run_dir, buf, len) : -ENOENT;
}

int vmsig_sup_vm_folder_make(const vmsig_sup_actor *host) {
    char path[sizeof((struct sockaddr_un *)0)->sun_path - sizeof "/console"];
    struct stat st;
    if (host->topo->kind != VMSIG_TOPO_HOST)
        return 0;
    if (!host->topo->offers) {
        vmsig_sup_vm_folder_remove(host); /* it may have offered some before a reload */
        return 0;
    }
    int rc = path_of(host->topo, host->sup->run_dir, path, sizeof path);
    if (rc < 0)
        return rc;
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return -errno;
    if (lstat(path, &st) < 0)
        return -errno;
    if (!S_ISDIR(st.st_mode))
        return -ENOTDIR;
    if (host->uid == UINT32_MAX)
        return 0;
    return chown(path, host->uid, host->gid) < 0 || chmod(path, 0710) < 0 ? -errno : 0;
}

void vmsig_sup_vm_folder_remove(const vmsig_sup_actor *host) {
    char path[sizeof host->sup->run_dir + 64];
    if (host->topo->kind != VMSIG_TOPO_HOST || host->sup->run_lock < 0 ||
        path_of(host->topo, host->sup->run_dir, path, sizeof path) < 0)
        return;
    size_t n = strlen(path);
    for (size_t i = 0; i < sizeof sockets / sizeof *sockets; i++) {
        snprintf(path + n, sizeof path - n, "/%s", sockets[i]);
        unlink(path); /* there is one where QEMU was killed */
    }
    path[n] = 0;
    rmdir(path);
}
