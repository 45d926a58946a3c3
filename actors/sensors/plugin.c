/* A shared object as a sensor. */
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/sensors/sensor.h"
#include "vmsig_actor.h"

typedef int (*plugin_open)(int argc, char **argv, const vmsig_source_ops **ops, void **src);

static int run(plugin_open open_it, int argc, char **argv) {
    const vmsig_source_ops *ops = NULL;
    void *src = NULL;
    errno = 0;
    if (open_it(argc, argv, &ops, &src) < 0) {
        fprintf(stderr, "vmsig-sensor: %s did not start: %s\n", argv[0], errno ? strerror(errno) : "it gave no reason");
        return EXIT_FAILURE;
    }
    if (!ops || !ops->name) {
        fprintf(stderr, "vmsig-sensor: %s handed over no source, or one without a name\n", argv[0]);
        return EXIT_FAILURE;
    }
    return vmsig_actor_run_source(ops, src);
}

/* A bare name is a file of this folder, too: dlopen would look for it among the system's libraries. */
static void *load(const char *file) {
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s%s", strchr(file, '/') ? "" : "./", file);
    return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

int vmsig_sensor_plugin(int argc, char **argv) {
    void *object = load(argv[0]);
    if (!object) {
        fprintf(stderr, "vmsig-sensor: cannot load the plug-in: %s\n", dlerror());
        return EXIT_FAILURE;
    }
    plugin_open open_it;
    *(void **)&open_it = dlsym(object, "vmsig_plugin_open"); /* as POSIX has it: ISO C knows no such conversion */
    int code = EXIT_FAILURE;
    if (open_it)
        code = run(open_it, argc, argv);
    else
        fprintf(stderr, "vmsig-sensor: %s is no plug-in: it does not export vmsig_plugin_open (see vmsig_core.h)\n",
                argv[0]);
    dlclose(object);
    return code;
}
