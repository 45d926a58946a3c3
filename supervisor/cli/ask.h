/* ask.h: asking a running supervisor (RUN/supervisor.sock, schema/supervisor.proto).
 *
 * Errors: 0 or negative errno, with one sentence in err: -ENOENT nothing runs, -E2BIG several do and none was named.
 */
#ifndef VMSIG_CLI_ASK_H
#define VMSIG_CLI_ASK_H

#include <stddef.h>
#include <stdint.h>

#include "supervisor.pb-c.h"

#define VMSIG_ASK_ERR_MAX 512

/* The status of the topology NAME, or of the only one that runs where name is NULL. The answer is freed by
 * vmsig_ask_free; its `status` is there. Waits at most timeout_ms. */
int vmsig_ask_status(const char *name, int timeout_ms, Vmsig__Pb__Response **out, char err[VMSIG_ASK_ERR_MAX]);
/* Has the grants files read again: the same answer, or err says what is wrong with them (-EINVAL). */
int vmsig_ask_grants(const char *name, int timeout_ms, Vmsig__Pb__Response **out, char err[VMSIG_ASK_ERR_MAX]);
/* Any request: its answer may be an `error`, which is not one of this call. */
int vmsig_ask(const char *name, const Vmsig__Pb__Request *request, int timeout_ms, Vmsig__Pb__Response **out,
              char err[VMSIG_ASK_ERR_MAX]);
void vmsig_ask_free(Vmsig__Pb__Response *r);

/* An endpoint by id, or by name as NAME's status gives it: 0 and *id. */
int vmsig_ask_endpoint(const char *name, const char *endpoint, uint32_t *id, char err[VMSIG_ASK_ERR_MAX]);

#endif
