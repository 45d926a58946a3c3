#include <errno.h>
#include <string.h>

#include "schema/conf_value.h"

/* ---- one key ------------------------------------------------------------------------------------------------ */

static void explain_key(FILE *to, const char *path, const vmsig_conf_key *key) {
    char buf[256];
    fprintf(to, "%s: %s%s%s%s\n", path, vmsig_conf_expected(key, buf, sizeof buf), key->required ? "; required" : "",
            key->fallback ? "; default " : "", key->fallback ? key->fallback : "");
    fprintf(to, "    %s\n", key->help);
}

/* Explains each key below `prefix` whose path or name is `wanted`: how many. */
static int explain_in(FILE *to, const vmsig_conf_table *table, const char *prefix, const char *wanted) {
    int n = 0;
    for (size_t i = 0; i < table->n; i++) {
        const vmsig_conf_key *key = &table->keys[i];
        char path[128];
        snprintf(path, sizeof path, "%s%s%s", prefix, *prefix ? "." : "", key->name);
        bool whole = strcmp(path, wanted) == 0;
        if (whole || strcmp(key->name, wanted) == 0) {
            explain_key(to, path, key);
            n++;
        }
        for (size_t j = 0; whole && key->sub && j < key->sub->n; j++)
            fprintf(to, "    %s.%s\n", path, key->sub->keys[j].name);
        if (key->sub)
            n += explain_in(to, key->sub, path, wanted);
    }
    return n;
}

int vmsig_conf_explain(FILE *to, const vmsig_conf_table *table, const char *key) {
    return explain_in(to, table, "", key) > 0 ? 0 : -ENOENT;
}

/* ---- all of them ---------------------------------------------------------------------------------------------- */

static void cell(FILE *to, const char *text) {
    for (; *text; text++)
        fprintf(to, *text == '|' ? "\\%c" : "%c", *text);
}

static void reference_of(FILE *to, const vmsig_conf_table *table, const char *path) {
    char buf[256];
    fprintf(to, "## %s\n\n%s\n\n| key | value | default | meaning |\n|---|---|---|---|\n", *path ? path : "The file",
            table->help);
    for (size_t i = 0; i < table->n; i++) {
        const vmsig_conf_key *key = &table->keys[i];
        fprintf(to, "| `%s` | ", key->name);
        cell(to, vmsig_conf_expected(key, buf, sizeof buf));
        fprintf(to, " | %s%s%s | ", key->fallback ? "`" : "",
                key->required   ? "required"
                : key->fallback ? key->fallback
                                : "",
                key->fallback ? "`" : "");
        cell(to, key->help);
        fprintf(to, " |\n");
    }
    fprintf(to, "\n");
    for (size_t i = 0; i < table->n; i++) {
        char below[128];
        snprintf(below, sizeof below, "%s%s%s", path, *path ? "." : "", table->keys[i].name);
        if (table->keys[i].sub)
            reference_of(to, table->keys[i].sub, below);
    }
}

void vmsig_conf_reference(FILE *to, const vmsig_conf_table *table) {
    reference_of(to, table, "");
}
