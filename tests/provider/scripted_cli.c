/*
 * arp-scripted-cli: stands where an engine looks for codex's program, in an image of a test. It does what the lines of its prompt say, so a test
 * decides what the model is asked, what really runs, what the model is told and what the CLI claims: a CLI can lie in no way that can't be written
 * down here. Static, so that it runs in any image; knows of ARP no more than a CLI does (CODEX_HOME/config.toml, the shell of its passwd entry).
 *   ask                       a call with the history so far; an answer that is not 200 ends the turn as failed
 *   call ID NAME ARGUMENTS    put into the history that the model asked for this (the scenario's answer did)
 *   told ID CODE TEXT         … and that it was told so, in codex's words
 *   run COMMAND               run it by the shell
 *   bypass COMMAND            run it by /bin/sh
 *   header NAME: VALUE        of all calls from now on
 *   post PATH BODY, get PATH  a call of one's own; what came back is the CLI's next message: status, blank, body
 *   stranger PATH BODY        the same without the bearer
 *   leave PATH BODY           the same, but the connection is dropped at the answer's first byte
 *   say TEXT                  the CLI's message
 *   fail                      the turn ends as failed
 *   sleep SECONDS
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEXT_MAX (4u << 20)

static char config[65536];
static char model[128] = "scripted";
static char token[256];
static unsigned port;
static char headers[4096];
static char history[TEXT_MAX]; /* items, each with a comma behind it */
static char answer[TEXT_MAX];
static unsigned items;

/* --- text ------------------------------------------------------------------------------------------------------------------------ */

/* text as the inside of a JSON string, into the end of to. */
static void append_escaped(char *to, const char *text)
{
    char *at = to + strlen(to);
    for (; *text && at < to + TEXT_MAX - 8; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            at += sprintf(at, "\\%c", c);
        else if (c < ' ')
            at += sprintf(at, "\\u%04x", c);
        else
            *at++ = (char)c;
    }
    *at = '\0';
}

static void append(char *to, const char *text)
{
    strncat(to, text, TEXT_MAX - strlen(to) - 1);
}

/* One line of the CLI's own account: {"type":"item.completed","item":{…,"text":text}}. */
static void say(const char *text)
{
    static char line[TEXT_MAX];
    snprintf(line, sizeof(line),
        "{\"type\":\"item.completed\",\"item\":{\"id\":\"item_%u\",\"type\":\"agent_message\",\"text\":\"",
        items++);
    append_escaped(line, text);
    printf("%s\"}}\n", line);
    fflush(stdout);
}

static void fail(const char *why)
{
    static char line[TEXT_MAX];
    strcpy(line, "{\"type\":\"turn.failed\",\"error\":{\"message\":\"");
    append_escaped(line, why);
    printf("%s\"}}\n", line);
    exit(1);
}

/* The next word of *rest, which moves behind it and one blank. */
static char *word(char **rest)
{
    char *w = *rest;
    char *end = strchr(w, ' ');
    *rest = end ? end + 1 : w + strlen(w);
    if (end)
        *end = '\0';
    return w;
}

/* --- configuration: as codex has it ---------------------------------------------------------------------------------------------- */

/* The text of key = "text" in config.toml; false when there is none. */
static bool config_text(const char *key, char *ret, size_t size)
{
    char pattern[64];
    snprintf(pattern, sizeof(pattern), "%s = \"", key);
    const char *at = strstr(config, pattern);
    if (!at)
        return false;
    at += strlen(pattern);
    snprintf(ret, size, "%.*s", (int)strcspn(at, "\""), at);
    return true;
}

static void read_config(void)
{
    char path[512], url[256] = "", variable[128];
    const char *home = getenv("CODEX_HOME");
    snprintf(path, sizeof(path), "%s/config.toml", home ? home : "");
    FILE *f = fopen(path, "r");
    if (!f || fread(config, 1, sizeof(config) - 1, f) == 0 || !config_text("base_url", url, sizeof(url)) ||
        sscanf(url, "http://127.0.0.1:%u/v1", &port) != 1)
        fail("no relay in config.toml");
    fclose(f);
    config_text("model", model, sizeof(model));
    if (config_text("env_key", variable, sizeof(variable)) && getenv(variable))
        snprintf(token, sizeof(token), "%s", getenv(variable));
}

/* --- calls ----------------------------------------------------------------------------------------------------------------------- */

static int connect_relay(void)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
        fail("the relay can't be reached");
    return fd;
}

static void send_text(int fd, const char *text)
{
    for (size_t n = strlen(text), at = 0; at < n;) {
        ssize_t sent = write(fd, text + at, n - at);
        if (sent <= 0)
            fail("the relay went away");
        at += (size_t)sent;
    }
}

/* Undo chunked transfer coding in place. */
static void join_chunks(char *body)
{
    char *to = body, *from = body;
    unsigned long n;
    while ((n = strtoul(from, &from, 16)) > 0) {
        from = strstr(from, "\r\n");
        if (!from || strlen(from + 2) < n)
            break;
        memmove(to, from + 2, n);
        to += n;
        from += 2 + n + 2;
    }
    *to = '\0';
}

/* One call; returns the status (0: none came), *ret_body in answer. first_byte: leave at it. */
static int call(
    const char *method, const char *path, const char *body, bool bearer, bool first_byte, char **ret_body)
{
    static char head[8192];
    int fd = connect_relay();
    int n = snprintf(head, sizeof(head), "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nConnection: close\r\n%s",
        method, path, port, headers);
    if (bearer && *token)
        n += snprintf(head + n, sizeof(head) - (size_t)n, "Authorization: Bearer %s\r\n", token);
    if (body)
        n += snprintf(head + n, sizeof(head) - (size_t)n,
            "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(body));
    snprintf(head + n, sizeof(head) - (size_t)n, "\r\n");
    send_text(fd, head);
    send_text(fd, body ? body : "");
    size_t len = 0;
    ssize_t got = 0;
    while (len < sizeof(answer) - 1 &&
           (got = read(fd, answer + len, first_byte ? 1 : sizeof(answer) - 1 - len)) > 0) {
        len += (size_t)got;
        if (first_byte)
            break;
    }
    close(fd);
    answer[len] = '\0';
    char *end = strstr(answer, "\r\n\r\n");
    *ret_body = end ? end + 4 : answer + len;
    if (end) {
        *end = '\0';
        if (strcasestr(answer, "transfer-encoding: chunked"))
            join_chunks(*ret_body);
    }
    int status = 0;
    return sscanf(answer, "HTTP/1.1 %d", &status) == 1 ? status : 0;
}

static void ask(void)
{
    static char body[TEXT_MAX];
    char *got;
    snprintf(body, sizeof(body),
        "{\"model\":\"%s\",\"stream\":true,\"store\":false,\"tools\":[{\"type\":\"function\",\"name\":\"exec_"
        "command\","
        "\"parameters\":{\"type\":\"object\",\"properties\":{\"cmd\":{\"type\":\"string\"}}}}],\"input\":[",
        model);
    append(body, history);
    body[strlen(body) - 1] = ']'; /* over the last item's comma */
    append(body, "}");
    int status = call("POST", "/v1/responses", body, true, false, &got);
    if (status != 200)
        fail(*got ? got : "no answer");
}

static void own_call(const char *method, char *rest, bool bearer, bool first_byte)
{
    static char text[TEXT_MAX];
    char *got;
    const char *path = word(&rest);
    int status = call(method, path, *rest ? rest : NULL, bearer, first_byte, &got);
    snprintf(text, sizeof(text), "%d %s", status, got);
    say(text);
}

/* --- history --------------------------------------------------------------------------------------------------------------------- */

static void note_prompt(const char *prompt)
{
    append(
        history, "{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"");
    append_escaped(history, prompt);
    append(history, "\"}]},");
}

static void note_call(char *rest)
{
    const char *id = word(&rest);
    const char *name = word(&rest);
    append(history, "{\"type\":\"function_call\",\"call_id\":\"");
    append(history, id);
    append(history, "\",\"name\":\"");
    append(history, name);
    append(history, "\",\"arguments\":\"");
    append_escaped(history, rest);
    append(history, "\"},");
}

static void note_told(char *rest)
{
    const char *id = word(&rest);
    const char *code = word(&rest);
    append(history, "{\"type\":\"function_call_output\",\"call_id\":\"");
    append(history, id);
    append(
        history, "\",\"output\":\"Chunk ID: 35662f\\nWall time: 0.0000 seconds\\nProcess exited with code ");
    append(history, code);
    append(history, "\\nOriginal token count: 5\\nOutput:\\n");
    append_escaped(history, rest);
    append(history, *rest ? "\\n\"}," : "\"},");
}

/* --- commands -------------------------------------------------------------------------------------------------------------------- */

/* The shell of this user's passwd entry, as a CLI finds it. */
static const char *login_shell(void)
{
    static char line[1024];
    FILE *f = fopen("/etc/passwd", "r");
    unsigned uid;
    while (f && fgets(line, sizeof(line), f)) {
        line[strcspn(line, "\n")] = '\0';
        if (sscanf(line, "%*[^:]:%*[^:]:%u:", &uid) == 1 && uid == getuid()) {
            fclose(f);
            return strrchr(line, ':') + 1;
        }
    }
    fail("no passwd entry");
    return NULL;
}

static void run(const char *shell, const char *command)
{
    pid_t pid = fork();
    int status;
    if (pid == 0) {
        /* What a command prints is no line of ours. */
        dup2(STDERR_FILENO, STDOUT_FILENO);
        execl(shell, shell, "-c", command, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, &status, 0);
}

static void do_line(char *rest)
{
    char *verb = word(&rest);
    if (strcmp(verb, "ask") == 0)
        ask();
    else if (strcmp(verb, "call") == 0)
        note_call(rest);
    else if (strcmp(verb, "told") == 0)
        note_told(rest);
    else if (strcmp(verb, "run") == 0)
        run(login_shell(), rest);
    else if (strcmp(verb, "bypass") == 0)
        run("/bin/sh", rest);
    else if (strcmp(verb, "header") == 0)
        snprintf(headers + strlen(headers), sizeof(headers) - strlen(headers), "%s\r\n", rest);
    else if (strcmp(verb, "post") == 0 || strcmp(verb, "leave") == 0)
        own_call("POST", rest, true, verb[0] == 'l');
    else if (strcmp(verb, "stranger") == 0)
        own_call("POST", rest, false, false);
    else if (strcmp(verb, "get") == 0)
        own_call("GET", rest, true, false);
    else if (strcmp(verb, "say") == 0)
        say(rest);
    else if (strcmp(verb, "sleep") == 0)
        sleep((unsigned)strtoul(rest, NULL, 10));
    else
        fail(strcmp(verb, "fail") == 0 ? rest : verb);
}

int main(int argc, char **argv)
{
    static char prompt[TEXT_MAX];
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        puts("codex-cli 0.0.0-scripted");
        return 0;
    }
    puts("{\"type\":\"thread.started\",\"thread_id\":\"00000000-0000-7000-8000-0000000000ff\"}\n{\"type\":"
         "\"turn.started\"}");
    fflush(stdout);
    read_config();
    prompt[fread(prompt, 1, sizeof(prompt) - 1, stdin)] = '\0';
    note_prompt(prompt);
    for (char *save = NULL, *line = strtok_r(prompt, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        do_line(line);
    puts("{\"type\":\"turn.completed\",\"usage\":{\"input_tokens\":1,\"cached_input_tokens\":0,\"cache_write_"
         "input_tokens\":0,"
         "\"output_tokens\":1,\"reasoning_output_tokens\":0}}");
    return 0;
}
