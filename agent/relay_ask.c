/*
 * Relay, the built-in engine's side: see relay.h.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent/relay.intern.h"
#include "shared/clock.h"

static void wake(void *ctx)
{
    eventfd_write(*(int *)ctx, 1);
}

static void stay(void *ctx)
{
    (void)ctx;
}

/* Until the call has something to say (with for_more; else just a look around), or it is time to give up. */
static int wait_more(const struct relay_request *q, int event_fd, bool for_more, struct arp_err *err)
{
    eventfd_t count;
    int64_t left_ns = q->deadline_ns - clock_mono_ns();
    int idle_ms = q->idle(q->ctx);
    if (left_ns <= 0)
        return arp_fail(err, ARP_E_TIMEOUT, 0, "the model did not answer in the run's time");
    struct pollfd fds[] = {{.fd = event_fd, .events = POLLIN}, {.fd = q->cancel_fd, .events = POLLIN}};
    int64_t left_ms =
        (left_ns + 999999) / 1000000; /* never before the deadline: the run asks the clock again */
    int timeout = left_ms < idle_ms ? (int)left_ms : idle_ms;
    if (poll(fds, 2, for_more ? timeout : 0) < 0 && errno != EINTR)
        return arp_fail(err, ARP_E_IO, errno, "poll");
    if (fds[1].revents)
        return arp_fail(err, ARP_E_GONE, 0, "the run is being stopped");
    eventfd_read(event_fd, &count);
    return 0;
}

static int follow(
    struct call *c, const struct relay_request *q, int event_fd, int *ret_status, struct arp_err *err)
{
    char bytes[16384];
    int rc = 0;
    while (!call_head(c, ret_status, stay, NULL)) {
        rc = wait_more(q, event_fd, true, err);
        if (rc)
            return rc;
    }
    if (*ret_status == 0)
        return arp_fail(err, ARP_E_IO, 0, "the gateway did not answer");
    for (;;) {
        ssize_t n = call_read(c, bytes, sizeof(bytes), stay, NULL);
        if (n == CALL_END)
            return 0;
        if (n == CALL_BROKEN)
            return arp_fail(err, ARP_E_IO, 0, "the model's answer broke off");
        if (n > 0)
            rc = q->on_bytes(q->ctx, *ret_status, bytes, (size_t)n, err);
        if (rc == 0) /* also while bytes come: an answer may have no end */
            rc = wait_more(q, event_fd, n == 0, err);
        if (rc)
            return rc;
    }
}

int relay_ask(struct relay *r, const struct relay_request *q, int *ret_status, struct arp_err *err)
{
    struct call *c = NULL;
    cleanup_buf struct buf body;
    int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (event_fd < 0)
        return arp_fail(err, ARP_E_IO, errno, "eventfd");
    buf_init(&body, q->len);
    buf_append(&body, q->body, q->len);
    struct call_request call = {.method = "POST",
        .path = q->path,
        .query = "",
        .headers = "{\"content-type\":\"application/json\",\"accept\":\"text/event-stream\"}",
        .body = &body};
    int rc = buf_error(&body, err);
    if (rc == 0)
        rc = call_new(r, &call, (struct call_client){.wake = wake, .ctx = &event_fd}, &c, err);
    if (rc == 0) {
        rc = follow(c, q, event_fd, ret_status, err);
        call_leave(c);
    }
    close(event_fd);
    return rc;
}
