/*
 * Command environment: see cmdenv.h.
 */
#include "agent/cmdenv.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/sandbox.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* Keep absolute members. */
static void take_path(struct cmdenv *e, const char *image_path)
{
    size_t at = 0;
    for (const char *p = image_path ? image_path : ""; *p;) {
        size_t n = strcspn(p, ":");
        if (n > 0 && p[0] == '/' && at + n + 2 < sizeof(e->path)) {
            if (at > 0)
                e->path[at++] = ':';
            memcpy(e->path + at, p, n);
            at += n;
        }
        p += n + (p[n] == ':');
    }
    e->path[at] = 0;
    if (at == 0)
        memcpy(e->path, DEFAULT_PATH, sizeof(DEFAULT_PATH));
}

void cmdenv_init(struct cmdenv *e, const char *image_path)
{
    memset(e, 0, sizeof(*e));
    take_path(e, image_path);
    struct stat st;
    bool has_home = stat("/home/arp", &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == SANDBOX_UID;
    e->home = has_home ? "/home/arp" : "/tmp";
    int n = 0;
    snprintf(e->text[n++], sizeof(e->text[0]), "PATH=%s", e->path);
    snprintf(e->text[n++], sizeof(e->text[0]), "HOME=%s", e->home);
    snprintf(e->text[n++], sizeof(e->text[0]), "LANG=C.UTF-8");
    snprintf(e->text[n++], sizeof(e->text[0]), "USER=arp");
    snprintf(e->text[n++], sizeof(e->text[0]), "LOGNAME=arp");
    /* The login shell of the passwd entry is the shell shim, which runs nothing outside of an engine's run. */
    snprintf(e->text[n++], sizeof(e->text[0]), "SHELL=/bin/sh");
    for (int i = 0; i < n; i++)
        e->vars[i] = e->text[i];
}

void cmdenv_put(const struct cmdenv *e, struct json *j)
{
    json_obj_open(j);
    for (int i = 0; e->vars[i]; i++) {
        char name[32];
        const char *eq = strchr(e->vars[i], '=');
        snprintf(name, sizeof(name), "%.*s", (int)(eq - e->vars[i]), e->vars[i]);
        json_kstr(j, name, eq + 1);
    }
    json_obj_close(j);
}
