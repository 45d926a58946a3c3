#include <linux/input-event-codes.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "supervisor/cli/cli.h"
#include "supervisor/cli/names.h"

typedef struct key {
    const char *name;
    uint16_t code;
} key;

/* clang-format off */
#define K(n) {#n, KEY_##n}
#define B(n) {#n, BTN_##n}

/* The first name of a code is the one that is printed. */
static const key keys[] = {
    K(A), K(B), K(C), K(D), K(E), K(F), K(G), K(H), K(I), K(J), K(K), K(L), K(M), K(N), K(O), K(P), K(Q), K(R),
    K(S), K(T), K(U), K(V), K(W), K(X), K(Y), K(Z), K(0), K(1), K(2), K(3), K(4), K(5), K(6), K(7), K(8), K(9),
    K(F1), K(F2), K(F3), K(F4), K(F5), K(F6), K(F7), K(F8), K(F9), K(F10), K(F11), K(F12), K(ESC), K(ENTER),
    K(SPACE), K(TAB), K(BACKSPACE), K(DELETE), K(INSERT), K(HOME), K(END), K(PAGEUP), K(PAGEDOWN), K(UP), K(DOWN),
    K(LEFT), K(RIGHT), K(LEFTCTRL), K(RIGHTCTRL), K(LEFTSHIFT), K(RIGHTSHIFT), K(LEFTALT), K(RIGHTALT), K(LEFTMETA),
    K(RIGHTMETA), K(CAPSLOCK), K(NUMLOCK), K(SCROLLLOCK), K(SYSRQ), K(PAUSE), K(MENU), K(COMPOSE), K(MINUS),
    K(EQUAL), K(LEFTBRACE), K(RIGHTBRACE), K(SEMICOLON), K(APOSTROPHE), K(GRAVE), K(BACKSLASH), K(COMMA), K(DOT),
    K(SLASH), K(102ND), K(KP0), K(KP1), K(KP2), K(KP3), K(KP4), K(KP5), K(KP6), K(KP7), K(KP8), K(KP9), K(KPDOT),
    K(KPENTER), K(KPPLUS), K(KPMINUS), K(KPASTERISK), K(KPSLASH), K(MUTE), K(VOLUMEDOWN), K(VOLUMEUP), K(POWER),
    K(SLEEP), K(WAKEUP),
    {"ctrl", KEY_LEFTCTRL}, {"shift", KEY_LEFTSHIFT}, {"alt", KEY_LEFTALT}, {"altgr", KEY_RIGHTALT},
    {"meta", KEY_LEFTMETA}, {"win", KEY_LEFTMETA}, {"escape", KEY_ESC}, {"return", KEY_ENTER}, {"del", KEY_DELETE},
    {"ins", KEY_INSERT}, {"pgup", KEY_PAGEUP}, {"pgdn", KEY_PAGEDOWN}, {"print", KEY_SYSRQ}, {NULL, 0}};

static const key buttons[] = {B(LEFT), B(RIGHT), B(MIDDLE), B(SIDE), B(EXTRA), B(FORWARD), B(BACK), B(TOUCH), {NULL, 0}};
/* clang-format on */

static int by_name(const key *table, const char *prefix, const char *name) {
    uint64_t code;
    if (strncasecmp(name, prefix, 4) == 0)
        name += 4;
    for (const key *k = table; k->name; k++)
        if (strcasecmp(k->name, name) == 0)
            return k->code;
    /* One digit is a key; more are a code. */
    return name[0] && name[1] && vmsig_cli_uint(name, KEY_MAX, &code) ? (int)code : -1;
}

int vmsig_key_by_name(const char *name) {
    return by_name(keys, "KEY_", name);
}
int vmsig_button_by_name(const char *name) {
    return by_name(buttons, "BTN_", name);
}

const char *vmsig_key_name(uint16_t code) {
    const key *table = code >= BTN_MISC && code < KEY_OK ? buttons : keys;
    for (const key *k = table; k->name; k++)
        if (k->code == code)
            return k->name;
    return NULL;
}

/* Beside letters and digits: the character, its key, whether shifted. */
static const struct {
    char c;
    uint8_t shift;
    uint16_t code;
} typed[] = {
    {' ', 0, KEY_SPACE},     {'\n', 0, KEY_ENTER},      {'\t', 0, KEY_TAB},       {'-', 0, KEY_MINUS},
    {'_', 1, KEY_MINUS},     {'=', 0, KEY_EQUAL},       {'+', 1, KEY_EQUAL},      {'[', 0, KEY_LEFTBRACE},
    {'{', 1, KEY_LEFTBRACE}, {']', 0, KEY_RIGHTBRACE},  {'}', 1, KEY_RIGHTBRACE}, {';', 0, KEY_SEMICOLON},
    {':', 1, KEY_SEMICOLON}, {'\'', 0, KEY_APOSTROPHE}, {'"', 1, KEY_APOSTROPHE}, {'`', 0, KEY_GRAVE},
    {'~', 1, KEY_GRAVE},     {'\\', 0, KEY_BACKSLASH},  {'|', 1, KEY_BACKSLASH},  {',', 0, KEY_COMMA},
    {'<', 1, KEY_COMMA},     {'.', 0, KEY_DOT},         {'>', 1, KEY_DOT},        {'/', 0, KEY_SLASH},
    {'?', 1, KEY_SLASH},     {'!', 1, KEY_1},           {'@', 1, KEY_2},          {'#', 1, KEY_3},
    {'$', 1, KEY_4},         {'%', 1, KEY_5},           {'^', 1, KEY_6},          {'&', 1, KEY_7},
    {'*', 1, KEY_8},         {'(', 1, KEY_9},           {')', 1, KEY_0},
};

int vmsig_key_of_char(char c, int *shift) {
    char name[2] = {c, 0};
    bool upper = c >= 'A' && c <= 'Z';
    *shift = upper;
    if (upper || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
        return vmsig_key_by_name(name);
    for (size_t i = 0; i < sizeof typed / sizeof typed[0]; i++)
        if (typed[i].c == c) {
            *shift = typed[i].shift;
            return typed[i].code;
        }
    return -1;
}
