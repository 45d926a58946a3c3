#include "supervisor/cli/names.h"

#include <stddef.h>
#include <string.h>

#include "vmsig_event.h"

typedef struct word {
    const char *text;
    uint32_t value;
} word;

static const word input_words[] = {{"key", VMSIG_INPUT_KEY},
                                   {"button", VMSIG_INPUT_BTN},
                                   {"rel", VMSIG_INPUT_REL},
                                   {"abs", VMSIG_INPUT_ABS},
                                   {NULL, 0}};
static const word lifecycle_words[] = {{"pause", VMSIG_LIFECYCLE_PAUSE},
                                       {"resume", VMSIG_LIFECYCLE_RESUME},
                                       {"wakeup", VMSIG_LIFECYCLE_WAKEUP},
                                       {"powerdown", VMSIG_LIFECYCLE_POWERDOWN},
                                       {"reset", VMSIG_LIFECYCLE_RESET},
                                       {"quit", VMSIG_LIFECYCLE_QUIT},
                                       {NULL, 0}};
static const word vm_words[] = {{"query", VMSIG_VM_QUERY}, {"cont", VMSIG_VM_CONT}, {"stop", VMSIG_VM_STOP}, {NULL, 0}};
static const word vm_state_words[] = {{"down", VMSIG_VM_DOWN},
                                      {"running", VMSIG_VM_RUNNING},
                                      {"paused", VMSIG_VM_PAUSED},
                                      {"suspended", VMSIG_VM_SUSPENDED},
                                      {"shut down", VMSIG_VM_SHUTDOWN},
                                      {"crashed", VMSIG_VM_CRASHED},
                                      {NULL, 0}};
static const word lease_op_words[] = {
    {"acquire", VMSIG_LEASE_ACQUIRE}, {"renew", VMSIG_LEASE_RENEW}, {"release", VMSIG_LEASE_RELEASE}, {NULL, 0}};
static const word lease_class_words[] = {
    {"input", VMSIG_LEASE_INPUT}, {"power", VMSIG_LEASE_POWER}, {"memwrite", VMSIG_LEASE_MEMWRITE}, {NULL, 0}};
static const word lease_state_words[] = {{"granted", VMSIG_LEASE_GRANTED},
                                         {"denied", VMSIG_LEASE_DENIED},
                                         {"revoked", VMSIG_LEASE_REVOKED},
                                         {"queued", VMSIG_LEASE_QUEUED},
                                         {NULL, 0}};
static const word lost_words[] = {{"oldest", VMSIG_LOST_OLDEST},
                                  {"newest", VMSIG_LOST_NEWEST},
                                  {"deadline", VMSIG_LOST_DEADLINE},
                                  {"epoch", VMSIG_LOST_EPOCH},
                                  {"window", VMSIG_LOST_WINDOW},
                                  {"poison", VMSIG_LOST_POISON},
                                  {NULL, 0}};

static const word *const tables[] = {
    [VMSIG_WORDS_INPUT] = input_words,
    [VMSIG_WORDS_LIFECYCLE] = lifecycle_words,
    [VMSIG_WORDS_VM] = vm_words,
    [VMSIG_WORDS_VM_STATE] = vm_state_words,
    [VMSIG_WORDS_LEASE_OP] = lease_op_words,
    [VMSIG_WORDS_LEASE_CLASS] = lease_class_words,
    [VMSIG_WORDS_LEASE_STATE] = lease_state_words,
    [VMSIG_WORDS_LOST] = lost_words,
};

const char *vmsig_word(vmsig_words of, uint32_t value) {
    for (const word *w = tables[of]; w->text; w++)
        if (w->value == value)
            return w->text;
    return "?";
}

int vmsig_word_value(vmsig_words of, const char *text) {
    for (const word *w = tables[of]; w->text; w++)
        if (strcmp(w->text, text) == 0)
            return (int)w->value;
    return -1;
}
