/* keys.h: input as QEMU's `input-send-event` takes it: evdev codes to its names.
 *
 *   KEY_A, down ──► {"type":"key","data":{"down":true,"key":{"type":"qcode","data":"a"}}}
 *
 * The wheel is a button there: each step is one press and release.
 */
#ifndef VMSIG_QEMU_KEYS_H
#define VMSIG_QEMU_KEYS_H

#include <stdbool.h>
#include <stddef.h>

#include "vmsig_event.h"

#define VMSIG_QEMU_INPUT_BYTES 4096u /* of the text of one input; the wheel's steps are bounded by it */

/* QEMU's name (a QKeyCode) of an evdev key, or NULL: it has none. */
const char *vmsig_qemu_keycode(uint16_t code);

/* One input as an element of `events`, NUL-terminated: its length, or -EINVAL: QEMU has no such key, button or axis (or
 * more than 16 steps of a wheel). */
int vmsig_qemu_input(const vmsig_input *in, char out[VMSIG_QEMU_INPUT_BYTES]);

/* Whether QEMU has it at all. */
bool vmsig_qemu_knows(const vmsig_input *in);

#endif
