/*
 * Transfer: see transfer.h.
 */
#include "orchestrator/gateway/transfer.h"

#include <string.h>

#include "shared/buf.h"

/* Both of libcurl's buffers of an exchange: 200 streams are to fit in a few MiB, and a model's events are small. */
#define TRANSFER_BUFFER 16384L

int transfer_open(struct transfer *t, CURLM *multi, const char *url, const char *protocols,
    int connect_timeout_ms, struct arp_err *err)
{
    *t = (struct transfer){.multi = multi, .easy = curl_easy_init()};
    CURL *h = t->easy;
    if (!h || curl_easy_setopt(h, CURLOPT_URL, url) != CURLE_OK ||
        curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, protocols) != CURLE_OK) {
        transfer_close(t);
        return arp_fail(err, ARP_E_NOMEM, 0, "make an HTTP handle");
    }
    curl_easy_setopt(h, CURLOPT_PRIVATE, t);
    curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(h, CURLOPT_TCP_KEEPALIVE, 1L);
    /* Who closes an exchange whose name is still being resolved does not wait for the resolver: all runs' streams would. */
    curl_easy_setopt(h, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(h, CURLOPT_BUFFERSIZE, TRANSFER_BUFFER);
    curl_easy_setopt(h, CURLOPT_UPLOAD_BUFFERSIZE, TRANSFER_BUFFER);
    curl_easy_setopt(h, CURLOPT_PROXY, ""); /* also not from the environment */
    curl_easy_setopt(h, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_timeout_ms);
    int rc = transfer_header(t, "Expect", "", err);
    if (rc != 0)
        transfer_close(t);
    return rc;
}

int transfer_header(struct transfer *t, const char *name, const char *value, struct arp_err *err)
{
    struct buf line;
    buf_init(&line, 64u << 10);
    buf_printf(&line, value[0] ? "%s: %s" : "%s:%s", name, value);
    struct curl_slist *more = line.error ? NULL : curl_slist_append(t->headers, line.data);
    if (line.data)
        explicit_bzero(line.data, line.cap);
    buf_done(&line);
    if (!more)
        return arp_fail(err, ARP_E_NOMEM, 0, "HTTP header");
    t->headers = more;
    return 0;
}

int transfer_start(struct transfer *t, struct arp_err *err)
{
    curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
    if (curl_multi_add_handle(t->multi, t->easy) != CURLM_OK)
        return arp_fail(err, ARP_E_NOMEM, 0, "start an HTTP exchange");
    return 0;
}

int transfer_status(const struct transfer *t)
{
    long status = 0;
    if (t->easy)
        curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    return (int)status;
}

void transfer_resume(struct transfer *t)
{
    if (t->easy && !t->over)
        curl_easy_pause(t->easy, CURLPAUSE_CONT);
}

void transfer_ended(CURL *easy, CURLcode result)
{
    struct transfer *t = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &t);
    t->over = true;
    t->result = result;
}

void transfer_close(struct transfer *t)
{
    if (t->easy) {
        curl_multi_remove_handle(t->multi, t->easy);
        curl_easy_cleanup(t->easy);
    }
    for (struct curl_slist *h = t->headers; h; h = h->next)
        explicit_bzero(h->data, strlen(h->data));
    curl_slist_free_all(t->headers);
    *t = (struct transfer){0};
}
