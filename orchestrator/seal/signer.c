/*
 * The signer process and its client: see signer.h.
 * Parent and child talk over a SOCK_SEQPACKET pair: one packet per request, one per answer, so a packet is whole or refused.
 */
#include "orchestrator/seal/signer.h"

#include <errno.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "orchestrator/seal/custody_head.h"
#include "orchestrator/seal/sealing.h"
#include "orchestrator/seal/sshsig.h"
#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/json.h"
#include "shared/uuid.h"

#define PEM_MAX 512

enum request_kind { REQUEST_PUBLIC = 1, REQUEST_SEAL = 2, REQUEST_HEAD = 3 };

/* Head of a request packet; statement (REQUEST_HEAD: the head of a day) and tagmanifest follow. */
struct request_head {
    uint32_t kind;
    uint32_t statement_len;
    uint32_t tagmanifest_len;
    char run_id[UUID_LEN + 1];
};

#define REQUEST_MAX (sizeof(struct request_head) + SIGNER_STATEMENT_MAX + SIGNER_TAGMANIFEST_MAX)

/* Every answer packet. code: 0 or an ARP_E_*, explained by msg. */
struct answer {
    int32_t code;
    char msg[ARP_ERR_MSG_MAX];
    char pem[PEM_MAX];          /* REQUEST_PUBLIC */
    struct seal seal;           /* REQUEST_SEAL */
    struct head_signature head; /* REQUEST_HEAD */
};

struct signer {
    pid_t pid;
    int sock;
    pthread_mutex_t lock; /* one request in flight */
    struct sign_key *public_key;
    char key_id[SIGN_KEY_ID_LEN + 1];
};

/* --- the child ------------------------------------------------------------------------------------------------------------ */

struct child {
    int sock;
    struct sign_key *key;
    struct sealed_log *log;
    struct day_log *days;
};

static int child_load(struct child *c, const char *state_dir, struct arp_err *err)
{
    cleanup_free char *keys = NULL, *pem = NULL;
    if (asprintf(&keys, "%s/keys", state_dir) < 0 || asprintf(&pem, "%s/keys/seal.pem", state_dir) < 0)
        return arp_fail(err, ARP_E_NOMEM, 0, "path of the keys");
    int rc = dir_make(keys, 0700, err);
    if (rc)
        return rc;
    cleanup_fd int dir_fd = open(keys, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Two first starts at once must not make two keys. The lock ends with the descriptor. */
    if (dir_fd < 0 || flock(dir_fd, LOCK_EX) < 0)
        return arp_fail(err, ARP_E_IO, errno, "open '%s'", keys);
    rc = sign_key_load_or_make(pem, &c->key, err);
    if (!rc)
        rc = sealed_log_open(dir_fd, &c->log, err);
    return rc ? rc : day_log_open(dir_fd, &c->days, err);
}

static int by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* keep[0..n): descriptors over 2; sorted here. */
static int close_all_but(int *keep, size_t n, struct arp_err *err)
{
    unsigned from = 3;
    qsort(keep, n, sizeof(*keep), by_number);
    for (size_t i = 0; i < n; i++) {
        unsigned at = (unsigned)keep[i];
        if (at > from && close_range(from, at - 1, 0) < 0)
            return arp_fail(err, ARP_E_IO, errno, "close inherited descriptors");
        from = at + 1;
    }
    if (close_range(from, ~0u, 0) < 0)
        return arp_fail(err, ARP_E_IO, errno, "close inherited descriptors");
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 || dup2(null_fd, STDOUT_FILENO) < 0)
        return arp_fail(err, ARP_E_IO, errno, "detach standard input and output");
    close(null_fd);
    return 0;
}

/* Give up what signing does not need: dumps, new privileges, inherited and new descriptors, new processes. Signals that end the
 * orchestrator's process group do not end the signer: it lives until its socket closes, so that runs ending during a shutdown are sealed. */
static int child_confine(const struct child *c, struct arp_err *err)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        signal(ignored[i], SIG_IGN);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int keep[] = {c->sock, sealed_log_fd(c->log), day_log_fd(c->days)};
    int rc = close_all_but(keep, 3, err);
    if (rc)
        return rc;
    const struct rlimit zero = {0, 0};
    if (prctl(PR_SET_DUMPABLE, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        setrlimit(RLIMIT_CORE, &zero) < 0 || setrlimit(RLIMIT_NOFILE, &zero) < 0 ||
        setrlimit(RLIMIT_NPROC, &zero) < 0)
        return arp_fail(err, ARP_E_UNSUPPORTED, errno, "confine the signer");
    prctl(PR_SET_NAME, "arp-signer");
    return 0;
}

static int answer_public(const struct child *c, struct answer *a, struct arp_err *err)
{
    cleanup_buf struct buf pem;
    buf_init(&pem, PEM_MAX - 1);
    int rc = sign_key_public_pem(c->key, &pem, err);
    if (!rc)
        memcpy(a->pem, pem.data, pem.len + 1);
    return rc;
}

static int answer_seal(const struct child *c, const char *packet, const struct request_head *head,
    struct answer *a, struct arp_err *err)
{
    struct seal_request rq = {
        .run_id = head->run_id,
        .statement = packet + sizeof(*head),
        .statement_len = head->statement_len,
        .tagmanifest = packet + sizeof(*head) + head->statement_len,
        .tagmanifest_len = head->tagmanifest_len,
    };
    return sealing_make(c->key, c->log, &rq, &a->seal, err);
}

static int answer_request(
    const struct child *c, const char *packet, size_t len, struct answer *a, struct arp_err *err)
{
    struct request_head head;
    if (len < sizeof(head))
        return arp_fail(err, ARP_E_INVALID, 0, "short request");
    memcpy(&head, packet, sizeof(head));
    if (head.run_id[UUID_LEN] != '\0' || head.statement_len > SIGNER_STATEMENT_MAX ||
        head.tagmanifest_len > SIGNER_TAGMANIFEST_MAX ||
        len != sizeof(head) + head.statement_len + head.tagmanifest_len)
        return arp_fail(err, ARP_E_INVALID, 0, "malformed request");
    switch (head.kind) {
    case REQUEST_PUBLIC:
        return answer_public(c, a, err);
    case REQUEST_SEAL:
        return answer_seal(c, packet, &head, a, err);
    case REQUEST_HEAD:
        return custody_head_sign(
            c->key, c->days, packet + sizeof(head), head.statement_len, clock_now_us(), &a->head, err);
    default:
        return arp_fail(err, ARP_E_INVALID, 0, "unknown request");
    }
}

/* Serve until the orchestrator closes its end. start_rc/err: how loading went; a signer that could not load says so once. */
static void child_serve(const struct child *c, int start_rc, struct arp_err *err)
{
    static char packet[REQUEST_MAX];
    for (;;) {
        ssize_t n = recv(c->sock, packet, sizeof(packet), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        struct answer a;
        memset(&a, 0, sizeof(a));
        a.code = start_rc ? start_rc : answer_request(c, packet, (size_t)n, &a, err);
        if (a.code)
            snprintf(a.msg, sizeof(a.msg), "%s", err->msg);
        if (send(c->sock, &a, sizeof(a), MSG_NOSIGNAL) < 0 || start_rc)
            return;
    }
}

static _Noreturn void child_main(int sock, const char *state_dir)
{
    struct child c = {.sock = sock};
    struct arp_err err = {0};
    int rc = child_load(&c, state_dir, &err);
    if (!rc)
        rc = child_confine(&c, &err);
    child_serve(&c, rc, &err);
    sign_key_free(c.key);
    sealed_log_close(c.log);
    day_log_close(c.days);
    _exit(rc ? 1 : 0);
}

/* --- the parent ----------------------------------------------------------------------------------------------------------- */

static int exchange(struct signer *s, const char *packet, size_t len, struct answer *a, struct arp_err *err)
{
    ssize_t n;
    pthread_mutex_lock(&s->lock);
    do
        n = send(s->sock, packet, len, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n >= 0) {
        do
            n = recv(s->sock, a, sizeof(*a), 0);
        while (n < 0 && errno == EINTR);
    }
    int sys_errno = errno;
    pthread_mutex_unlock(&s->lock);
    if (n != (ssize_t)sizeof(*a))
        return arp_fail(err, ARP_E_IO, n < 0 ? sys_errno : 0, "the signer process does not answer");
    return a->code ? arp_fail(err, a->code, 0, "%.*s", ARP_ERR_MSG_MAX - 1, a->msg) : 0;
}

static int load_public(struct signer *s, struct arp_err *err)
{
    struct request_head head = {.kind = REQUEST_PUBLIC};
    struct answer a;
    int rc = exchange(s, (const char *)&head, sizeof(head), &a, err);
    if (!rc)
        rc = sign_key_from_public_pem(a.pem, strnlen(a.pem, sizeof(a.pem)), &s->public_key, err);
    if (!rc)
        sign_key_id(s->public_key, s->key_id);
    return rc;
}

int signer_start(const char *state_dir, struct signer **ret, struct arp_err *err)
{
    int pair[2];
    struct signer *s = calloc(1, sizeof(*s));
    if (!s)
        return arp_fail(err, ARP_E_NOMEM, 0, "signer");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        free(s);
        return arp_fail(err, ARP_E_IO, errno, "socketpair for the signer");
    }
    s->sock = pair[0];
    pthread_mutex_init(&s->lock, NULL);
    s->pid = fork();
    if (s->pid == 0) {
        close(pair[0]);
        child_main(pair[1], state_dir);
    }
    close(pair[1]);
    int rc = s->pid < 0 ? arp_fail(err, ARP_E_IO, errno, "fork the signer") : load_public(s, err);
    if (rc) {
        signer_stop(s);
        arp_wrap(err, "start the signer");
        return rc;
    }
    *ret = s;
    return 0;
}

void signer_stop(struct signer *s)
{
    if (!s)
        return;
    close(s->sock);
    while (s->pid > 0 && waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    pthread_mutex_destroy(&s->lock);
    sign_key_free(s->public_key);
    free(s);
}

const char *signer_key_id(const struct signer *s)
{
    return s->key_id;
}

int signer_public_pem(const struct signer *s, struct buf *out, struct arp_err *err)
{
    return sign_key_public_pem(s->public_key, out, err);
}

/* base64url without padding, the form of JWK members (RFC 7515 section 2). */
static int base64url(const void *data, size_t len, struct buf *out, struct arp_err *err)
{
    int rc = base64_encode(data, len, out);
    for (size_t i = 0; !rc && i < out->len; i++) {
        if (out->data[i] == '+')
            out->data[i] = '-';
        else if (out->data[i] == '/')
            out->data[i] = '_';
        else if (out->data[i] == '=')
            out->data[out->len = i] = '\0';
    }
    return rc ? buf_error(out, err) : 0;
}

int signer_public_keys_json(const struct signer *s, struct buf *out, struct arp_err *err)
{
    unsigned char pub[SIGN_PUB_LEN];
    cleanup_buf struct buf x, pem, ssh;
    buf_init(&x, 64);
    buf_init(&pem, PEM_MAX);
    buf_init(&ssh, 256);
    sign_key_public(s->public_key, pub);
    int rc = base64url(pub, sizeof(pub), &x, err);
    if (!rc)
        rc = sign_key_public_pem(s->public_key, &pem, err);
    if (!rc)
        rc = sshsig_public_line(s->public_key, &ssh, err);
    if (rc)
        return rc;
    struct json j;
    json_init(&j, out);
    json_obj_open(&j);
    json_key(&j, "keys");
    json_arr_open(&j);
    json_obj_open(&j);
    json_kstr(&j, "kid", s->key_id);
    json_kstr(&j, "use", "seal");
    json_kstr(&j, "alg", "Ed25519");
    json_key(&j, "jwk");
    json_obj_open(&j);
    json_kstr(&j, "kty", "OKP");
    json_kstr(&j, "crv", "Ed25519");
    json_kstr(&j, "x", buf_str(&x));
    json_obj_close(&j);
    json_kstr(&j, "spkiPem", buf_str(&pem));
    json_kstr(&j, "ssh", buf_str(&ssh));
    json_knull(&j, "notBefore");
    json_knull(&j, "notAfter");
    json_knull(&j, "revokedAt");
    json_knull(&j, "reason");
    json_obj_close(&j);
    json_arr_close(&j);
    json_obj_close(&j);
    return buf_error(out, err);
}

int signer_allowed_signers(const struct signer *s, struct buf *out, struct arp_err *err)
{
    buf_append_str(out, SIGNER_SSH_PRINCIPAL " namespaces=\"" SIGNER_SSH_NAMESPACE "\" ");
    int rc = sshsig_public_line(s->public_key, out, err);
    buf_append_char(out, '\n');
    return rc ? rc : buf_error(out, err);
}

int signer_seal(struct signer *s, const char *run_id, const void *statement, size_t statement_len,
    const void *tagmanifest, size_t tagmanifest_len, struct seal *ret, struct arp_err *err)
{
    struct request_head head = {.kind = REQUEST_SEAL};
    if (!uuid_ok(run_id))
        return arp_fail(err, ARP_E_INVALID, 0, "run id is not a UUID");
    if (statement_len > SIGNER_STATEMENT_MAX || tagmanifest_len > SIGNER_TAGMANIFEST_MAX)
        return arp_fail(err, ARP_E_TOO_LARGE, 0, "statement or tagmanifest is over its limit");
    head.statement_len = (uint32_t)statement_len;
    head.tagmanifest_len = (uint32_t)tagmanifest_len;
    memcpy(head.run_id, run_id, UUID_LEN + 1);
    cleanup_buf struct buf packet;
    buf_init(&packet, REQUEST_MAX);
    buf_append(&packet, &head, sizeof(head));
    buf_append(&packet, statement, statement_len);
    buf_append(&packet, tagmanifest, tagmanifest_len);
    struct answer a = {0};
    int rc = buf_error(&packet, err);
    if (!rc)
        rc = exchange(s, packet.data, packet.len, &a, err);
    if (!rc)
        *ret = a.seal;
    return rc;
}

int signer_sign_head(
    struct signer *s, const void *head, size_t len, struct head_signature *ret, struct arp_err *err)
{
    struct request_head rq = {.kind = REQUEST_HEAD, .statement_len = (uint32_t)len};
    if (len > SIGNER_HEAD_MAX)
        return arp_fail(err, ARP_E_TOO_LARGE, 0, "the head of a day is over its limit");
    cleanup_buf struct buf packet;
    buf_init(&packet, sizeof(rq) + SIGNER_HEAD_MAX);
    buf_append(&packet, &rq, sizeof(rq));
    buf_append(&packet, head, len);
    struct answer a = {0};
    int rc = buf_error(&packet, err);
    if (!rc)
        rc = exchange(s, packet.data, packet.len, &a, err);
    if (!rc)
        *ret = a.head;
    return rc;
}
