#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "schema/conf_value.h"

static const vmsig_conf_mark start = {1, 1};

/* Reads to the file's end, but no more than max + 1 bytes: a file that grows meanwhile is caught, too. */
static int read_all(int fd, char *buf, size_t max, size_t *len) {
    *len = 0;
    while (*len <= max) {
        ssize_t n = read(fd, buf + *len, max + 1 - *len);
        if (n == 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
        *len += n > 0 ? (size_t)n : 0;
    }
    return -EFBIG;
}

int vmsig_conf_read_file(const char *path, size_t max, char **text, size_t *len, vmsig_conf_error *err) {
    struct stat st;
    int fd = -1, e = stat(path, &st) < 0 ? -errno : 0; /* looked at first: to open a device may have effects */
    if (e == 0 && S_ISREG(st.st_mode))
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (e == 0 && (!S_ISREG(st.st_mode) || fd < 0))
        e = S_ISDIR(st.st_mode) ? -EISDIR : !S_ISREG(st.st_mode) ? -EINVAL : -errno;
    *text = e == 0 ? malloc(max + 2) : NULL;
    if (e == 0)
        e = *text ? read_all(fd, *text, max, len) : -ENOMEM;
    if (fd >= 0)
        close(fd);
    if (e == 0) {
        (*text)[*len] = '\0';
        return 0;
    }
    free(*text);
    *text = NULL;
    if (e == -EFBIG)
        vmsig_conf_fail(err, path, start, "found a file that is too large, expected at most %zu bytes", max);
    else
        vmsig_conf_fail(err, path, start, "found no file that can be read (%s), expected one",
                        e == -EINVAL ? "it is no regular file" : strerror(-e));
    return e;
}
