/* libFuzzer target: what a peer says in a dialogue; one binary a protocol (FUZZ_PROTOCOL). Heard
 * byte by byte and all at once: no crash, bounds kept, a refusal is one line, nothing is said after
 * it, and no byte is lost: STARTTLS is done only if its last byte is the last there is, a tunnel
 * gets all that came behind the answer. The first byte: whether there are credentials; for mysql
 * how much, times 16, is the server's; the rest of it is the consumer's. */
#include <esclusa/dialogue.h>

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum dialogue_protocol protocol = FUZZ_PROTOCOL;

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check(struct dialogue *d)
{
    const uint8_t *bytes;
    require(memchr(d->error, '\0', sizeof d->error) != NULL);
    for (const char *p = d->error; *p != '\0'; p++)
        require(*p >= 0x20 && *p < 0x7f);
    require((d->state == DIALOGUE_FAILED) == (d->error[0] != '\0'));
    require((d->state == DIALOGUE_FAILED) == (d->fault != DIALOGUE_FAULT_NONE));
    if (d->state == DIALOGUE_FAILED) {
        require(dialogue_pending(d, &bytes) == 0);
        require(buf_empty(&d->early) && buf_empty(&d->held) && buf_empty(dialogue_rest(d)));
    }
    require(buf_length(&d->early) <= 2 * DIALOGUE_TOTAL_MAX);
}

static struct dialogue *begin(bool credentials)
{
    const struct dialogue_order order = {
        .protocol = protocol,
        .host = "cloud.example",
        .port = 443,
        .user = credentials ? "user" : NULL,
        .password = credentials ? "password" : NULL,
    };
    struct dialogue *d = dialogue_create(&order);
    require(d != NULL);
    return d;
}

static void say_all(struct dialogue *d)
{
    const uint8_t *bytes;
    dialogue_sent(d, dialogue_pending(d, &bytes));
}

/* Memory of that very size, so that a read past its end is seen. */
static void feed(struct dialogue *d, const uint8_t *data, size_t size, bool by_consumer)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    require(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    if (by_consumer)
        dialogue_consumer(d, copy, size);
    else
        dialogue_feed(d, copy, size);
    free(copy);
    check(d);
}

/* How many bytes it took to be over. */
static size_t feed_slowly(struct dialogue *d, const uint8_t *data, size_t size)
{
    size_t fed = 0;
    while (fed < size && d->state == DIALOGUE_MORE) {
        say_all(d);
        feed(d, data + fed++, 1, false);
    }
    return fed;
}

static void check_tunnel(struct dialogue *d, const uint8_t *data, size_t size)
{
    const struct buf *rest = dialogue_rest(d);
    size_t length = buf_length(rest);
    require(length <= size);
    require(length == 0 || memcmp(buf_peek(rest), data + size - length, length) == 0);
}

static void hear(const uint8_t *data, size_t size, bool credentials)
{
    struct dialogue *slow = begin(credentials), *fast = begin(credentials);
    size_t fed = feed_slowly(slow, data, size);
    say_all(fast);
    feed(fast, data, size, false);

    bool proxy = dialogue_is_proxy(protocol);
    if (fast->state == DIALOGUE_DONE) {
        require(slow->state == DIALOGUE_DONE && (proxy || fed == size));
        if (proxy) {
            check_tunnel(fast, data, size);
            require(buf_length(dialogue_rest(fast)) == size - fed);
        }
    }
    if (slow->state == DIALOGUE_FAILED)
        require(fast->state == DIALOGUE_FAILED);
    if (!proxy && slow->state == DIALOGUE_DONE && fed < size) {
        require(fast->fault == DIALOGUE_FAULT_INJECTED);
        feed(slow, data + fed, size - fed, false);
        require(slow->fault == DIALOGUE_FAULT_INJECTED);
    }
    dialogue_ended(slow);
    check(slow);
    dialogue_destroy(&slow);
    dialogue_destroy(&fast);
}

/* ---- of the consumer ---- */

static void consume(const uint8_t *data, size_t size, size_t servers)
{
    struct dialogue *slow = begin(false), *fast = begin(false);
    const uint8_t *said;
    servers = servers < size ? servers : size;
    feed(slow, data, servers, false);
    feed(fast, data, servers, false);
    if (slow->state == DIALOGUE_CONSUMER) {
        feed(fast, data + servers, size - servers, true);
        for (size_t i = servers; i < size && slow->state == DIALOGUE_CONSUMER; i++)
            feed(slow, data + i, 1, true);
        require(slow->state == fast->state);
        require(slow->state != DIALOGUE_DONE || dialogue_pending(slow, &said) == 36);
    }
    dialogue_destroy(&slow);
    dialogue_destroy(&fast);
}

static void shift(const uint8_t *data, size_t size,
                  void (*by)(struct mysql_shift *, uint8_t *, size_t))
{
    struct mysql_shift slow = {0}, fast = {0};
    uint8_t *one = malloc(size + 1), *all = malloc(size + 1);
    require(one != NULL && all != NULL);
    memcpy(one, data, size);
    memcpy(all, data, size);
    for (size_t i = 0; i < size; i++)
        by(&slow, one + i, 1);
    by(&fast, all, size);
    require(memcmp(one, all, size) == 0 && slow.over == fast.over);
    free(one);
    free(all);
}

static void ask(const uint8_t *data, size_t size)
{
    struct opening slow = {0}, fast = {0};
    size_t take = 0, taken = 0;
    unsigned answers = 0, now = 0;
    bool over = opening_feed(&fast, data, size, &take, &answers);
    bool slowly = false;
    require(take <= size && fast.length <= sizeof fast.held && (over || take == size));
    unsigned all = answers;
    answers = 0;
    while (taken < size && !slowly) {
        slowly = opening_feed(&slow, data + taken, 1, &take, &now);
        taken += take;
        answers += now;
        if (take == 0)
            break;
    }
    require(answers == all && slow.length == fast.length &&
            slow.length + (size_t)answers * 8 <= size);
}

static void be_offered(const uint8_t *data, size_t size)
{
    struct offer slow = {.length = 0}, fast = {.length = 0};
    size_t take = 0, taken = 0;
    bool over = offer_feed(&fast, data, size, &taken), slowly = false;
    require(taken <= size && fast.length <= taken && (over || taken == size));
    for (size_t i = 0; i < taken; i++) {
        require(!slowly);
        slowly = offer_feed(&slow, data + i, 1, &take);
    }
    require(slowly == over && slow.length == fast.length);
    require(memcmp(slow.held, fast.held, fast.length) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    hear(data + 1, size - 1, (data[0] & 1) != 0);
    if (protocol == DIALOGUE_MYSQL) {
        consume(data + 1, size - 1, (size_t)data[0] * 16 + 7);
        shift(data + 1, size - 1, mysql_shift_consumer);
        shift(data + 1, size - 1, mysql_shift_server);
    }
    if (protocol == DIALOGUE_POSTGRES) {
        ask(data + 1, size - 1);
        be_offered(data + 1, size - 1);
    }
    return 0;
}
