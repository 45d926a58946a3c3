#include "actors/hosts/qemu/keys.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <stdio.h>
#include <stdlib.h>

#define STEPS_MAX 16

static const char *const keycodes[] = {
    [KEY_ESC] = "esc",
    [KEY_1] = "1",
    [KEY_2] = "2",
    [KEY_3] = "3",
    [KEY_4] = "4",
    [KEY_5] = "5",
    [KEY_6] = "6",
    [KEY_7] = "7",
    [KEY_8] = "8",
    [KEY_9] = "9",
    [KEY_0] = "0",
    [KEY_MINUS] = "minus",
    [KEY_EQUAL] = "equal",
    [KEY_BACKSPACE] = "backspace",
    [KEY_TAB] = "tab",
    [KEY_Q] = "q",
    [KEY_W] = "w",
    [KEY_E] = "e",
    [KEY_R] = "r",
    [KEY_T] = "t",
    [KEY_Y] = "y",
    [KEY_U] = "u",
    [KEY_I] = "i",
    [KEY_O] = "o",
    [KEY_P] = "p",
    [KEY_LEFTBRACE] = "bracket_left",
    [KEY_RIGHTBRACE] = "bracket_right",
    [KEY_ENTER] = "ret",
    [KEY_LEFTCTRL] = "ctrl",
    [KEY_A] = "a",
    [KEY_S] = "s",
    [KEY_D] = "d",
    [KEY_F] = "f",
    [KEY_G] = "g",
    [KEY_H] = "h",
    [KEY_J] = "j",
    [KEY_K] = "k",
    [KEY_L] = "l",
    [KEY_SEMICOLON] = "semicolon",
    [KEY_APOSTROPHE] = "apostrophe",
    [KEY_GRAVE] = "grave_accent",
    [KEY_LEFTSHIFT] = "shift",
    [KEY_BACKSLASH] = "backslash",
    [KEY_Z] = "z",
    [KEY_X] = "x",
    [KEY_C] = "c",
    [KEY_V] = "v",
    [KEY_B] = "b",
    [KEY_N] = "n",
    [KEY_M] = "m",
    [KEY_COMMA] = "comma",
    [KEY_DOT] = "dot",
    [KEY_SLASH] = "slash",
    [KEY_RIGHTSHIFT] = "shift_r",
    [KEY_KPASTERISK] = "kp_multiply",
    [KEY_LEFTALT] = "alt",
    [KEY_SPACE] = "spc",
    [KEY_CAPSLOCK] = "caps_lock",
    [KEY_F1] = "f1",
    [KEY_F2] = "f2",
    [KEY_F3] = "f3",
    [KEY_F4] = "f4",
    [KEY_F5] = "f5",
    [KEY_F6] = "f6",
    [KEY_F7] = "f7",
    [KEY_F8] = "f8",
    [KEY_F9] = "f9",
    [KEY_F10] = "f10",
    [KEY_NUMLOCK] = "num_lock",
    [KEY_SCROLLLOCK] = "scroll_lock",
    [KEY_KP7] = "kp_7",
    [KEY_KP8] = "kp_8",
    [KEY_KP9] = "kp_9",
    [KEY_KPMINUS] = "kp_subtract",
    [KEY_KP4] = "kp_4",
    [KEY_KP5] = "kp_5",
    [KEY_KP6] = "kp_6",
    [KEY_KPPLUS] = "kp_add",
    [KEY_KP1] = "kp_1",
    [KEY_KP2] = "kp_2",
    [KEY_KP3] = "kp_3",
    [KEY_KP0] = "kp_0",
    [KEY_KPDOT] = "kp_decimal",
    [KEY_102ND] = "less",
    [KEY_F11] = "f11",
    [KEY_F12] = "f12",
    [KEY_RO] = "ro",
    [KEY_HENKAN] = "henkan",
    [KEY_KATAKANAHIRAGANA] = "katakanahiragana",
    [KEY_MUHENKAN] = "muhenkan",
    [KEY_KPENTER] = "kp_enter",
    [KEY_RIGHTCTRL] = "ctrl_r",
    [KEY_KPSLASH] = "kp_divide",
    [KEY_SYSRQ] = "print",
    [KEY_RIGHTALT] = "alt_r",
    [KEY_LINEFEED] = "lf",
    [KEY_HOME] = "home",
    [KEY_UP] = "up",
    [KEY_PAGEUP] = "pgup",
    [KEY_LEFT] = "left",
    [KEY_RIGHT] = "right",
    [KEY_END] = "end",
    [KEY_DOWN] = "down",
    [KEY_PAGEDOWN] = "pgdn",
    [KEY_INSERT] = "insert",
    [KEY_DELETE] = "delete",
    [KEY_MUTE] = "audiomute",
    [KEY_VOLUMEDOWN] = "volumedown",
    [KEY_VOLUMEUP] = "volumeup",
    [KEY_POWER] = "power",
    [KEY_KPEQUAL] = "kp_equals",
    [KEY_PAUSE] = "pause",
    [KEY_KPCOMMA] = "kp_comma",
    [KEY_HANGEUL] = "lang1",
    [KEY_HANJA] = "lang2",
    [KEY_YEN] = "yen",
    [KEY_LEFTMETA] = "meta_l",
    [KEY_RIGHTMETA] = "meta_r",
    [KEY_COMPOSE] = "compose",
    [KEY_STOP] = "stop",
    [KEY_AGAIN] = "again",
    [KEY_PROPS] = "props",
    [KEY_UNDO] = "undo",
    [KEY_FRONT] = "front",
    [KEY_COPY] = "copy",
    [KEY_OPEN] = "open",
    [KEY_PASTE] = "paste",
    [KEY_FIND] = "find",
    [KEY_CUT] = "cut",
    [KEY_HELP] = "help",
    [KEY_MENU] = "menu",
    [KEY_CALC] = "calculator",
    [KEY_SLEEP] = "sleep",
    [KEY_WAKEUP] = "wake",
    [KEY_MAIL] = "mail",
    [KEY_BOOKMARKS] = "ac_bookmarks",
    [KEY_COMPUTER] = "computer",
    [KEY_BACK] = "ac_back",
    [KEY_FORWARD] = "ac_forward",
    [KEY_NEXTSONG] = "audionext",
    [KEY_PLAYPAUSE] = "audioplay",
    [KEY_PREVIOUSSONG] = "audioprev",
    [KEY_STOPCD] = "audiostop",
    [KEY_HOMEPAGE] = "ac_home",
    [KEY_REFRESH] = "ac_refresh",
    [KEY_MEDIA] = "mediaselect",
};

const char *vmsig_qemu_keycode(uint16_t code) {
    return code < sizeof keycodes / sizeof *keycodes ? keycodes[code] : NULL;
}

static const char *button(uint16_t code) {
    static const char *const names[] = {"left", "right", "middle", "side", "extra"}; /* from BTN_LEFT on */
    return code >= BTN_LEFT && code <= BTN_EXTRA ? names[code - BTN_LEFT] : NULL;
}

static int put_button(const char *name, int down, char *out, size_t room) {
    return snprintf(out, room, "{\"type\":\"btn\",\"data\":{\"down\":%s,\"button\":\"%s\"}}", down ? "true" : "false",
                    name);
}

static int put_wheel(const char *up, const char *down, int32_t steps, char *out) {
    const char *name = steps > 0 ? up : down;
    int n = 0;
    if (steps < -STEPS_MAX || steps > STEPS_MAX || steps == 0)
        return -EINVAL;
    for (int i = 0; i < 2 * abs(steps); i++) {
        if (i > 0)
            out[n++] = ',';
        n += put_button(name, i % 2 == 0, out + n, VMSIG_QEMU_INPUT_BYTES - (size_t)n);
    }
    return n;
}

static int put_axis(const char *type, char axis, int32_t value, char *out) {
    return snprintf(out, VMSIG_QEMU_INPUT_BYTES, "{\"type\":\"%s\",\"data\":{\"axis\":\"%c\",\"value\":%d}}", type,
                    axis, value);
}

int vmsig_qemu_input(const vmsig_input *in, char out[VMSIG_QEMU_INPUT_BYTES]) {
    const char *key = vmsig_qemu_keycode(in->code), *btn = button(in->code);
    if (in->type == VMSIG_INPUT_KEY && key)
        return snprintf(out, VMSIG_QEMU_INPUT_BYTES,
                        "{\"type\":\"key\",\"data\":{\"down\":%s,\"key\":{\"type\":\"qcode\",\"data\":\"%s\"}}}",
                        in->down ? "true" : "false", key);
    if (in->type == VMSIG_INPUT_BTN && btn)
        return put_button(btn, in->down, out, VMSIG_QEMU_INPUT_BYTES);
    if (in->type == VMSIG_INPUT_REL && in->code <= REL_Y)
        return put_axis("rel", in->code == REL_X ? 'x' : 'y', in->value, out);
    if (in->type == VMSIG_INPUT_REL && in->code == REL_WHEEL)
        return put_wheel("wheel-up", "wheel-down", in->value, out);
    if (in->type == VMSIG_INPUT_REL && in->code == REL_HWHEEL)
        return put_wheel("wheel-right", "wheel-left", in->value, out);
    if (in->type == VMSIG_INPUT_ABS && in->code <= ABS_Y)
        return put_axis("abs", in->code == ABS_X ? 'x' : 'y', in->value, out);
    return -EINVAL;
}

bool vmsig_qemu_knows(const vmsig_input *in) {
    char text[VMSIG_QEMU_INPUT_BYTES];
    return vmsig_qemu_input(in, text) > 0;
}
