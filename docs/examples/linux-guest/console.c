/* The Linux guest's console: a shell that is typed to on the keyboard, which is read through evdev, or on the serial
 * port. What it says, and what is typed, goes to the serial port and to the screen.
 *
 *   keyboard ──/dev/input/event*──► console ──pty──► sh
 *   serial port ◄──/dev/ttyS0──►      │ └──────◄──────┘
 *   screen ◄──────/dev/tty1───────────┘
 *
 * The pty does not echo: what is seen of a key is what this program read.
 */
#include <fcntl.h>
#include <linux/input.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define KEYBOARDS 8
#define LOOK_MS   200 /* while there is no keyboard */
#define DELETE    127

/* By evdev's codes, as a US keyboard has them; 0 = nothing. */
static const char plain[] = "\0\0331234567890-=\177\tqwertyuiop[]\n\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 ";
static const char shifted[] = "\0\033!@#$%^&*()_+\177\tQWERTYUIOP{}\n\0ASDFGHJKL:\"~\0|ZXCVBNM<>?\0*\0 ";

typedef struct console {
    int serial, screen, shell, keyboards[KEYBOARDS], n;
    pid_t pid;
    bool shift, control;
} console;

/* ---- what is seen ------------------------------------------------------------------------------------ */

static void say(const console *c, const char *text, size_t n) {
    const int to[] = {c->serial, c->screen};
    for (size_t i = 0; i < 2; i++)
        for (size_t done = 0; to[i] >= 0 && done < n;) {
            ssize_t k = write(to[i], text + done, n - done);
            if (k <= 0)
                break;
            done += (size_t)k;
        }
}

static void echo(const console *c, char ch) {
    char text[8];
    int n = ch == '\n'     ? snprintf(text, sizeof text, "\r\n")
            : ch == DELETE ? snprintf(text, sizeof text, "\b \b")
            : ch < ' '     ? snprintf(text, sizeof text, "^%c\r\n", ch + '@')
                           : snprintf(text, sizeof text, "%c", ch);
    say(c, text, (size_t)n);
}

static void type(const console *c, char ch) {
    echo(c, ch);
    if (write(c->shell, &ch, 1) != 1)
        echo(c, '?');
}

/* ---- the keyboard ------------------------------------------------------------------------------------ */

static void find_keyboards(console *c) {
    for (int i = 0; i < KEYBOARDS; i++) {
        char path[32];
        unsigned char keys[KEY_MAX / 8 + 1] = {0};
        snprintf(path, sizeof path, "/dev/input/event%d", i);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0 && ioctl(fd, EVIOCGBIT(EV_KEY, sizeof keys), keys) >= 0 && keys[KEY_A / 8] & 1 << KEY_A % 8 &&
            ioctl(fd, EVIOCGRAB, 1) == 0) /* else the kernel's own terminal would read it, too */
            c->keyboards[c->n++] = fd;
        else if (fd >= 0)
            close(fd);
    }
}

static void on_key(console *c, int fd) {
    struct input_event e;
    if (read(fd, &e, sizeof e) != (ssize_t)sizeof e || e.type != EV_KEY)
        return;
    if (e.code == KEY_LEFTSHIFT || e.code == KEY_RIGHTSHIFT)
        c->shift = e.value != 0;
    else if (e.code == KEY_LEFTCTRL || e.code == KEY_RIGHTCTRL)
        c->control = e.value != 0;
    else if (e.value == 1 && e.code < sizeof plain && plain[e.code]) /* 2 is a repetition */
        type(c, c->control ? plain[e.code] & 31 : c->shift ? shifted[e.code] : plain[e.code]);
}

/* ---- serial port and shell --------------------------------------------------------------------------- */

static int open_raw(const char *path) {
    struct termios t;
    int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0 && tcgetattr(fd, &t) == 0) {
        cfmakeraw(&t);
        tcsetattr(fd, TCSANOW, &t);
    }
    return fd;
}

static void on_serial(const console *c) {
    char ch;
    if (read(c->serial, &ch, 1) == 1)
        type(c, ch == '\r' ? '\n' : ch);
}

static void start_shell(console *c) {
    static const struct winsize size = {.ws_row = 25, .ws_col = 80};
    c->pid = forkpty(&c->shell, NULL, NULL, &size);
    if (c->pid != 0)
        return;
    struct termios t;
    tcgetattr(0, &t);
    t.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(0, TCSANOW, &t);
    execl("/bin/sh", "sh", "-i", (char *)NULL);
    _exit(127);
}

static void on_shell(console *c) {
    char text[1024];
    ssize_t n = read(c->shell, text, sizeof text);
    if (n > 0) {
        say(c, text, (size_t)n);
        return;
    }
    close(c->shell); /* it has ended: the next one */
    waitpid(c->pid, NULL, 0);
    sleep(1);
    start_shell(c);
}

int main(void) {
    console c = {.serial = open_raw("/dev/ttyS0"), .screen = open_raw("/dev/tty1")};
    signal(SIGPIPE, SIG_IGN);
    start_shell(&c);
    for (;;) {
        struct pollfd p[KEYBOARDS + 2] = {{.fd = c.serial, .events = POLLIN}, {.fd = c.shell, .events = POLLIN}};
        if (c.n == 0)
            find_keyboards(&c);
        for (int i = 0; i < c.n; i++)
            p[2 + i] = (struct pollfd){.fd = c.keyboards[i], .events = POLLIN};
        if (poll(p, 2 + (nfds_t)c.n, c.n > 0 ? -1 : LOOK_MS) <= 0)
            continue;
        for (int i = 0; i < c.n; i++)
            if (p[2 + i].revents)
                on_key(&c, c.keyboards[i]);
        if (p[0].revents)
            on_serial(&c);
        if (p[1].revents)
            on_shell(&c);
    }
}
