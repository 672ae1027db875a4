/*
 * The engine from outside: see docker.h.
 */
#include "tests/support/docker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGS_MAX 32

static char *said;

const char *docker(const char *const *args)
{
    const char *argv[ARGS_MAX] = {"docker"};
    for (int i = 0; args[i] && i < ARGS_MAX - 2; i++)
        argv[i + 1] = args[i];
    free(said);
    said = NULL;
    int code = process_run(argv, NULL, &said);
    size_t len = strlen(said);
    if (len > 0 && said[len - 1] == '\n')
        said[len - 1] = '\0';
    if (code == 0)
        return said;
    fprintf(stderr, "docker %s: exit %d: %s\n", args[0], code, said);
    return NULL;
}

const char *docker_image(void)
{
    const char *image = getenv("ARP_TEST_IMAGE");
    return image ? image : "arp-workspace:v0.3";
}

/* A file called marker in a directory of its own; NULL when it can't be written. */
static const char *marker_file(const char *text)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/marker", temp_dir());
    FILE *f = fopen(path, "w");
    bool ok = f && fputs(text, f) >= 0;
    if (f)
        ok = fclose(f) == 0 && ok;
    return ok ? path : NULL;
}

bool docker_image_mark(const char *tag, const char *text)
{
    char id[80], to[96];
    const char *file = marker_file(text);
    const char *out = file ? DOCKER("create", "--network", "none", docker_image()) : NULL;
    if (!out)
        return false;
    snprintf(id, sizeof(id), "%s", out);
    snprintf(to, sizeof(to), "%s:/marker", id);
    bool ok = DOCKER("cp", file, to) && DOCKER("commit", id, tag);
    return DOCKER("rm", id) && ok;
}

bool docker_image_plain(const char *tag)
{
    const char *file = marker_file("plain");
    if (!file)
        return false;
    char dir[128];
    snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(file, '/') - file), file);
    char tar[160];
    snprintf(tar, sizeof(tar), "%s/image.tar", dir);
    return RUN_ARGV(dir, NULL, "tar", "-cf", "image.tar", "marker") == 0 && DOCKER("import", tar, tag);
}

void docker_image_remove(const char *tag)
{
    DOCKER("image", "rm", "-f", tag);
}

static void filter_of(const char *workspace_id, char *ret, size_t size)
{
    snprintf(ret, size, "label=arp.workspace=%s", workspace_id);
}

const char *docker_container(const char *workspace_id)
{
    static char id[80];
    char filter[96];
    filter_of(workspace_id, filter, sizeof(filter));
    const char *out = DOCKER("ps", "-aq", "--no-trunc", "--filter", filter);
    snprintf(id, sizeof(id), "%s", out ? out : "");
    return id;
}

const char *docker_volume(const char *workspace_id)
{
    static char name[128];
    char filter[96];
    filter_of(workspace_id, filter, sizeof(filter));
    const char *out = DOCKER("volume", "ls", "-q", "--filter", filter);
    snprintf(name, sizeof(name), "%s", out ? out : "");
    return name;
}

int docker_workload_count(const char *workspace_id)
{
    const char *out = DOCKER("top", docker_container(workspace_id), "-eo", "uid,pid,args");
    int n = 0;
    for (const char *line = out; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        n += strtol(line, NULL, 10) == 1000;
    }
    return out ? n : -1;
}
