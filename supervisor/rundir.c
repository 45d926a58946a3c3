/* The run directory: one topology of a name at a time, and nothing of it left when it ends.
 *
 *   RUN/NAME/lock             flock'ed as long as it runs (the keeper holds it, too); the supervisor's pid in it
 *   RUN/NAME/supervisor.sock  what `vmsig status` asks
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "supervisor/supervisor.h"

#define LOCK_TRIES 100 /* against one that removes its own at that moment */

static int make_folder(const char *path, mode_t mode) {
    struct stat st;
    if (mkdir(path, mode) == 0)
        return chmod(path, mode) ? -errno : 0;
    if (errno != EEXIST)
        return -errno;
    if (lstat(path, &st))
        return -errno;
    return !S_ISDIR(st.st_mode) ? -ENOTDIR : st.st_uid != geteuid() ? -EPERM : 0;
}

/* RUN and RUN/vmsig where they are missing, then the one of this name. */
static int make_folders(char *path) {
    char *last = strrchr(path, '/');
    *last = 0;
    int rc = make_folder(path, 0755);
    if (rc == -ENOENT) {
        char *up = strrchr(path, '/');
        *up = 0;
        rc = make_folder(path, geteuid() == 0 ? 0755 : 0700);
        *up = '/';
        if (rc == 0)
            rc = make_folder(path, 0755);
    }
    *last = '/';
    return rc ? rc : make_folder(path, 0755);
}

/* The lock, if the file that was locked is still the one of that name: else another has just removed it. */
static int lock(const char *path) {
    struct stat ours, there;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return -errno;
    int rc;
    do
        rc = flock(fd, LOCK_EX | LOCK_NB);
    while (rc != 0 && errno == EINTR);
    if (rc != 0) {
        rc = -errno;
        close(fd);
        return rc;
    }
    if (fstat(fd, &ours) == 0 && stat(path, &there) == 0 && ours.st_ino == there.st_ino)
        return fd;
    close(fd);
    return -ESTALE;
}

static int say_running(const vmsig_sup *s, const char *path) {
    char pid[32] = "?";
    FILE *f = fopen(path, "re");
    if (f != NULL) {
        if (fscanf(f, "%30[0-9]", pid) != 1)
            pid[0] = '?';
        fclose(f);
    }
    vmsig_sup_say("%s: it runs already (supervisor %s, %s); stop that one, or start this one under another --name",
                  s->name, pid, s->run_dir);
    return -EBUSY;
}

int vmsig_sup_rundir_open(vmsig_sup *s) {
    char path[sizeof s->run_dir + 32];
    int fd = -ESTALE;
    snprintf(path, sizeof path, "%s/lock", s->run_dir);
    for (int i = 0; i < LOCK_TRIES && (fd == -ESTALE || fd == -ENOENT); i++) {
        int rc = make_folders(s->run_dir);
        if (rc == -ENOENT) { /* another, the last to end, may have just removed the folder above */
            fd = rc;
            continue;
        }
        if (rc) {
            vmsig_sup_say("%s: the run directory cannot be made: %s; XDG_RUNTIME_DIR says where it goes", s->run_dir,
                          strerror(-rc));
            return rc;
        }
        fd = lock(path);
    }
    if (fd == -EWOULDBLOCK)
        return say_running(s, path);
    if (fd < 0) {
        vmsig_sup_say("%s: %s", path, strerror(-fd));
        return fd;
    }
    s->run_lock = fd;
    char pid[32];
    int n = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    if (ftruncate(fd, 0) || pwrite(fd, pid, (size_t)n, 0) != n) {
        vmsig_sup_say("%s: %s", path, strerror(errno ? errno : ENOSPC));
        return -EIO;
    }
    return 0;
}

void vmsig_sup_rundir_remove(vmsig_sup *s) {
    char path[sizeof s->run_dir + 32];
    if (s->run_lock < 0)
        return;
    snprintf(path, sizeof path, "%s/supervisor.sock", s->run_dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/lock", s->run_dir);
    unlink(path);
    rmdir(s->run_dir);
    char *last = strrchr(s->run_dir, '/');
    *last = 0;
    rmdir(s->run_dir); /* of all topologies: goes with the last */
    *last = '/';
    vmsig_sup_close(&s->run_lock);
}
