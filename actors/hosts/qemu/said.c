/* What QEMU says on stdout and stderr: passed on, line by line; the last one tells why it has ended. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "actors/hosts/qemu/qemu_i.h"

#define BYTES_MAX 65536u /* per turn */

static void end_line(vmsig_qemu *q) {
    if (q->line_len == 0)
        return;
    q->line[q->line_len] = 0;
    q->line_len = 0;
    memcpy(q->last_line, q->line, sizeof q->line);
    vmsig_host_log(q->host, "QEMU: %s", q->last_line);
}

static void take(vmsig_qemu *q, const char *text, size_t n) {
    for (size_t i = 0; i < n; i++) {
        bool end = text[i] == '\n' || text[i] == '\r';
        if (!end)
            q->line[q->line_len++] = (unsigned char)text[i] < ' ' ? ' ' : text[i];
        if (end || q->line_len == sizeof q->line - 1)
            end_line(q);
    }
}

void vmsig_qemu_said(vmsig_qemu *q) {
    char text[4096];
    for (size_t sum = 0; q->machine.log_fd >= 0 && sum < BYTES_MAX;) {
        ssize_t n = read(q->machine.log_fd, text, sizeof text);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            end_line(q);
            vmsig_loop_remove(q->loop, q->machine.log_fd);
            close(q->machine.log_fd);
            q->machine.log_fd = -1;
            return;
        }
        take(q, text, (size_t)n);
        sum += (size_t)n;
    }
}
