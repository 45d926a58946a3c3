/* names.h: the words of vmsig_event.h's values that people type and read; those of kinds, sources, priorities and
 * statuses are the codec's (schema/codec.h). */
#ifndef VMSIG_CLI_NAMES_H
#define VMSIG_CLI_NAMES_H

#include <stdint.h>

typedef enum vmsig_words {
    VMSIG_WORDS_INPUT,       /* vmsig_input_type */
    VMSIG_WORDS_LIFECYCLE,   /* vmsig_lifecycle_op */
    VMSIG_WORDS_VM,          /* vmsig_vm_op */
    VMSIG_WORDS_VM_STATE,    /* vmsig_vm_state */
    VMSIG_WORDS_LEASE_OP,    /* vmsig_lease_op */
    VMSIG_WORDS_LEASE_CLASS, /* vmsig_lease_class */
    VMSIG_WORDS_LEASE_STATE, /* vmsig_lease_state */
    VMSIG_WORDS_LOST         /* vmsig_lost_why */
} vmsig_words;

/* The word for a value; "?" for one that has none. */
const char *vmsig_word(vmsig_words of, uint32_t value);
/* The value of a word, or -1. */
int vmsig_word_value(vmsig_words of, const char *word);

/* An evdev code by name: "a", "enter", "KEY_F1", "left" (a button where `button`), or a number; -1: no such name.
 * Names are those of linux/input-event-codes.h without KEY_ or BTN_, in any case, and a few everyday ones. */
int vmsig_key_by_name(const char *name);
int vmsig_button_by_name(const char *name);
/* The name of a key or button code, or NULL. */
const char *vmsig_key_name(uint16_t code);
/* The key that types an ASCII character on a US keyboard, and whether shift is held; -1: none does. */
int vmsig_key_of_char(char c, int *shift);

#endif
