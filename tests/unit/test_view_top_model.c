/* What `esclusa top` makes of two answers: quantiles, rates, restarts, the first end. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "view/histogram.h"
#include "view/model.h"
#include "view/top_model.h"

#include <esclusa/str.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- quantiles ---- */

static struct histogram buckets(const double *pairs, size_t count)
{
    struct histogram h = {.count = 0};
    for (size_t i = 0; i < count; i++)
        histogram_add(&h, pairs[2 * i], pairs[2 * i + 1]);
    return h;
}

#define BUCKETS(...)                                                                               \
    buckets((const double[]){__VA_ARGS__},                                                         \
            sizeof((const double[]){__VA_ARGS__}) / sizeof(double) / 2)

static void assert_quantile(const struct histogram *h, double q, double value, bool beyond)
{
    const struct quantile found = histogram_quantile(h, q);
    assert_float_equal(found.value, value, 1e-9);
    assert_int_equal(found.beyond, beyond);
}

static void test_quantiles(void **state)
{
    (void)state;
    const struct histogram even = BUCKETS(1, 10, 2, 20, INFINITY, 20);
    assert_quantile(&even, 0, 0, false);
    assert_quantile(&even, 0.25, 0.5, false);
    assert_quantile(&even, 0.5, 1, false);
    assert_quantile(&even, 0.75, 1.5, false);
    assert_quantile(&even, 1, 2, false);
    const struct histogram gap = BUCKETS(1, 0, 2, 0, 4, 8, INFINITY, 8);
    assert_quantile(&gap, 0.5, 3, false);
    assert_quantile(&gap, 0, 2, false);
    const struct histogram slow = BUCKETS(1, 1, 2, 2, INFINITY, 10);
    assert_quantile(&slow, 0.5, 2, true);
    assert_quantile(&slow, 0.1, 1, false);
}

static void test_nothing_observed(void **state)
{
    (void)state;
    const struct histogram none = {.count = 0};
    const struct histogram zero = BUCKETS(1, 0, INFINITY, 0);
    const struct histogram only = BUCKETS(INFINITY, 5);
    assert_quantile(&none, 0.5, -1, false);
    assert_quantile(&zero, 0.5, -1, false);
    assert_quantile(&only, 0.5, 0, true);
}

static void test_wrong_buckets_are_passed_over(void **state)
{
    (void)state;
    struct histogram h = BUCKETS(1, 5, 1, 6, 0.5, 7, NAN, 8, 2, 4, 2, NAN, 2, -1, 3, 9);
    assert_int_equal(h.count, 2);
    assert_float_equal(histogram_total(&h), 9, 0);
    for (int i = 0; i < 2 * HISTOGRAM_BUCKETS_MAX; i++)
        histogram_add(&h, 10 + i, 10 + i);
    assert_int_equal(h.count, HISTOGRAM_BUCKETS_MAX);
}

static void test_difference(void **state)
{
    (void)state;
    const struct histogram before = BUCKETS(1, 100, 2, 100, INFINITY, 100);
    const struct histogram now = BUCKETS(1, 100, 2, 104, INFINITY, 104);
    const struct histogram fewer = BUCKETS(1, 2, 2, 3, INFINITY, 104);
    const struct histogram others = BUCKETS(1, 100, 3, 104, INFINITY, 104);
    struct histogram since;
    assert_true(histogram_since(&now, &before, &since));
    assert_float_equal(histogram_total(&since), 4, 0);
    assert_quantile(&since, 0.5, 1.5, false); /* of the 4 alone */
    assert_true(histogram_since(&now, NULL, &since));
    assert_float_equal(histogram_total(&since), 104, 0);
    assert_false(histogram_since(&fewer, &before, &since));
    assert_false(histogram_since(&others, &before, &since));
}

/* ---- two answers ---- */

struct answer {
    double started, uptime;
    int pid, accepted, up, good, failed; /* good: handshakes, all between 1 and 2 s */
    const char *name, *more;             /* more: of the service, in JSON */
};

static void take(struct top_model *m, const struct answer *a)
{
    char status[4000], metrics[2000];
    size_t length = 0;
    struct error err;
    error_init(&err);
    assert_true(str_append(
        status, sizeof status, &length,
        "{\"version\":\"9\",\"pid\":%d,\"state\":\"ready\",\"ready\":true,\"time_seconds\":%f,"
        "\"started_seconds\":%f,\"uptime_seconds\":%f,\"sessions\":{\"active\":3},"
        "\"workers\":[{\"loop_lag_seconds\":0.001},{\"loop_lag_seconds\":0.002}],"
        "\"services\":[{\"name\":\"%s\",\"usable\":true,"
        "\"sessions\":{\"active\":3,\"accepted\":%d},\"bytes\":{\"up\":%d,\"down\":0}%s}]}",
        a->pid, a->started + a->uptime, a->started, a->uptime, a->name, a->accepted, a->up,
        a->more != NULL ? a->more : ""));
    length = 0;
    assert_true(str_append(
        metrics, sizeof metrics, &length,
        "esclusa_start_time_seconds %f\n"
        "esclusa_session_failures_total{service=\"%s\",phase=\"a\",reason=\"b\"} %d\n"
        "esclusa_session_failures_total{service=\"%s\",phase=\"a\",reason=\"c\"} 0\n"
        "esclusa_handshakes_total{service=\"%s\",side=\"upstream\",kind=\"full\"} %d\n"
        "esclusa_handshake_duration_seconds_bucket{service=\"%s\",side=\"upstream\",le=\"1\"} 0\n"
        "esclusa_handshake_duration_seconds_bucket{service=\"%s\",side=\"upstream\",le=\"2\"} %d\n"
        "esclusa_handshake_duration_seconds_bucket{service=\"%s\",side=\"upstream\",le=\"+Inf\"} "
        "%d\n",
        a->started, a->name, a->failed, a->name, a->name, a->good, a->name, a->name, a->good,
        a->name, a->good));
    if (!top_model_take(m, status, metrics, &err))
        fail_msg("%s", err.text);
}

static const struct answer first = {.started = 1000,
                                    .uptime = 10,
                                    .pid = 7,
                                    .accepted = 100,
                                    .up = 5000,
                                    .good = 90,
                                    .failed = 4,
                                    .name = "web"};

static void test_rates(void **state)
{
    (void)state;
    struct top_model m = {.known = false};
    take(&m, &first);
    const struct top_row *row = top_model_row(&m, "web");
    assert_non_null(row);
    assert_float_equal(row->accept_rate, TOP_NONE, 0);
    assert_float_equal(row->failure_rate, TOP_NONE, 0);
    assert_float_equal(row->failures, 4, 0);
    assert_float_equal(row->p50[TOP_UPSTREAM].value, 1.5, 1e-9); /* since the start */
    assert_float_equal(row->p50[TOP_CONSUMER].value, -1, 0);
    assert_float_equal(m.status.loop_lag_seconds, 0.002, 1e-9);
    struct answer second = first;
    second.uptime = 12;
    second.accepted = 110;
    second.up = 7000;
    second.good = 92;
    second.failed = 5;
    take(&m, &second);
    row = top_model_row(&m, "web");
    assert_float_equal(row->accept_rate, 5, 1e-9);
    assert_float_equal(row->up_rate, 1000, 1e-9);
    assert_float_equal(row->handshake_rate, 1, 1e-9);
    assert_float_equal(row->failure_rate, 0.5, 1e-9);
    assert_float_equal(m.total.accept_rate, 5, 1e-9);
    assert_false(m.restarted);
    second.uptime = 13;
    take(&m, &second); /* nobody came */
    row = top_model_row(&m, "web");
    assert_float_equal(row->accept_rate, 0, 0);
    assert_float_equal(row->p99[TOP_UPSTREAM].value, 1.99, 1e-9);
    top_model_fini(&m);
}

static void test_restart(void **state)
{
    (void)state;
    struct top_model m = {.known = false};
    take(&m, &first);
    struct answer next = first;
    next.started = 1100;
    next.uptime = 1;
    next.accepted = 500; /* more than before: only the process tells */
    next.good = 2;
    next.failed = 0;
    take(&m, &next);
    const struct top_row *row = top_model_row(&m, "web");
    assert_true(m.restarted);
    assert_float_equal(row->accept_rate, TOP_NONE, 0);
    assert_float_equal(row->failure_rate, TOP_NONE, 0);
    assert_float_equal(row->p50[TOP_UPSTREAM].value, 1.5, 1e-9);
    next.uptime = 2;
    next.accepted = 501;
    take(&m, &next);
    assert_false(m.restarted);
    assert_float_equal(top_model_row(&m, "web")->accept_rate, 1, 1e-9);
    next.pid = 8; /* and so does the process alone */
    next.uptime = 3;
    take(&m, &next);
    assert_true(m.restarted);
    top_model_fini(&m);
}

/* Of the same process, which should not be: never a negative rate. */
static void test_a_counter_goes_back(void **state)
{
    (void)state;
    struct top_model m = {.known = false};
    take(&m, &first);
    struct answer next = first;
    next.uptime = 11;
    next.accepted = 1;
    next.up = 6000;
    next.good = 3;
    next.failed = 0;
    take(&m, &next);
    const struct top_row *row = top_model_row(&m, "web");
    assert_float_equal(row->accept_rate, TOP_NONE, 0);
    assert_float_equal(row->failure_rate, TOP_NONE, 0);
    assert_float_equal(row->handshake_rate, TOP_NONE, 0);
    assert_float_equal(row->up_rate, 1000, 1e-9);
    assert_float_equal(row->p50[TOP_UPSTREAM].value, 1.5, 1e-9);
    top_model_fini(&m);
}

static void test_a_service_comes_and_goes(void **state)
{
    (void)state;
    struct top_model m = {.known = false};
    take(&m, &first);
    struct answer next = first;
    next.uptime = 11;
    next.name = "other";
    take(&m, &next);
    assert_null(top_model_row(&m, "web"));
    assert_float_equal(top_model_row(&m, "other")->accept_rate, TOP_NONE, 0);
    top_model_fini(&m);
}

static void test_no_time_between(void **state)
{
    (void)state;
    struct top_model m = {.known = false};
    take(&m, &first);
    take(&m, &first);
    assert_float_equal(top_model_row(&m, "web")->accept_rate, TOP_NONE, 0);
    top_model_fini(&m);
}

static void test_first_end(void **state)
{
    (void)state;
    struct top_model m = {.known = false};
    struct answer a = first; /* it is 1010 */
    a.more =
        ",\"certificates\":["
        "{\"use\":\"own\",\"setting\":\"cert\",\"subject\":\"CN=me\",\"not_after_seconds\":5000},"
        "{\"use\":\"anchor\",\"setting\":\"ca\",\"subject\":\"CN=old\",\"not_after_seconds\":900},"
        "{\"use\":\"anchor\",\"setting\":\"ca\",\"subject\":\"CN=ca\",\"not_after_seconds\":9000}],"
        "\"crls\":[{\"issuer\":\"CN=ca\",\"next_update_seconds\":1020}],"
        "\"upstreams\":[{\"address\":\"tls://a:1\",\"state\":\"failing\",\"served\":null},"
        "{\"address\":\"tls://b:1\",\"state\":\"ok\",\"served\":{\"leaf_not_after_seconds\":4000,"
        "\"chain_not_after_seconds\":4000}}]";
    take(&m, &a);
    const struct top_row *row = top_model_row(&m, "web");
    assert_int_equal(row->end_s, 4000);
    assert_string_equal(row->end_of, "upstream tls://b:1");
    assert_int_equal(row->health, TOP_PART);
    assert_int_equal(m.total.end_s, 4000);
    a.more =
        ",\"crls\":[{\"issuer\":\"CN=ca\",\"next_update_seconds\":1000}],\"certificates\":["
        "{\"use\":\"anchor\",\"setting\":\"ca\",\"subject\":\"CN=old\",\"not_after_seconds\":990}]";
    take(&m, &a); /* no other anchor, and a list that is old */
    row = top_model_row(&m, "web");
    assert_int_equal(row->end_s, 990);
    assert_string_equal(row->end_of, "ca CN=old");
    a.more = "";
    take(&m, &a);
    assert_true(m.total.end_s == NUMBER_NONE);
    top_model_fini(&m);
}

static void test_states(void **state)
{
    (void)state;
    static const struct {
        const char *upstreams;
        enum top_health health;
    } rows[] = {
        {"[]", TOP_UNKNOWN},
        {"[{\"state\":\"unknown\"},{}]", TOP_UNKNOWN},
        {"[{\"state\":\"unknown\"},{\"state\":\"ok\"}]", TOP_OK},
        {"[{\"state\":\"ok\"},{\"state\":\"failing\"}]", TOP_PART},
        {"[{\"state\":\"ejected\"},{\"state\":\"ok\"}]", TOP_PART},
        {"[{\"state\":\"down\"},{\"state\":\"ok\"}]", TOP_PART},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct top_model m = {.known = false};
        struct answer a = first;
        char more[200];
        (void)snprintf(more, sizeof more, ",\"upstreams\":%s", rows[i].upstreams);
        a.more = more;
        take(&m, &a);
        assert_int_equal(m.rows[0].health, rows[i].health);
        top_model_fini(&m);
    }
}

/* A name in /status is the same in /metrics, whatever it is made of. */
static void test_names_that_are_not_ascii(void **state)
{
    (void)state;
    struct top_model m = {.known = false};
    struct error err;
    error_init(&err);
    assert_true(top_model_take(
        &m, "{\"pid\":1,\"started_seconds\":5,\"services\":[{\"name\":\"a\\u00c3\\u001b\"}]}",
        "esclusa_start_time_seconds 5\n"
        "esclusa_session_failures_total{service=\"a\\\\xc3\\\\x1b\",phase=\"a\",reason=\"b\"} 3\n",
        &err));
    assert_float_equal(m.rows[0].failures, 3, 0);
    assert_string_equal(m.status.services[0].name, "a\\xc3\\x1b");
    top_model_fini(&m);
}

static void test_answers_of_no_use(void **state)
{
    (void)state;
    static const struct {
        const char *status, *metrics, *words;
    } bad[] = {
        {"", "", "no JSON"},
        {"[]", "", "no JSON object"},
        {"{}", "", "\"services\""},
        {"{\"services\":{}}", "", "\"services\""},
        {"{\"services\":[],\"started_seconds\":5}", "esclusa_start_time_seconds 9\n",
         "restarted in between"},
        {"{\"services\":[],\"started_seconds\":5}", "", "restarted in between"},
    };
    struct top_model m = {.known = false};
    take(&m, &first);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct error err;
        error_init(&err);
        assert_false(top_model_take(&m, bad[i].status, bad[i].metrics, &err));
        assert_non_null(strstr(err.text, bad[i].words));
        assert_non_null(top_model_row(&m, "web")); /* as it was */
    }
    top_model_fini(&m);
}

/* An older or a newer gateway: what is missing is nothing, and nothing more. */
static void test_an_empty_gateway(void **state)
{
    (void)state;
    struct top_model m = {.known = false};
    struct error err;
    error_init(&err);
    for (int i = 0; i < 2; i++)
        assert_true(top_model_take(&m, "{\"services\":[{},5,null]}", "# nothing\n", &err));
    assert_int_equal(m.status.service_count, 3);
    assert_float_equal(m.rows[1].accept_rate, TOP_NONE, 0);
    assert_float_equal(m.total.accept_rate, TOP_NONE, 0);
    assert_true(m.total.end_s == NUMBER_NONE);
    top_model_fini(&m);
    top_model_fini(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantiles),
        cmocka_unit_test(test_nothing_observed),
        cmocka_unit_test(test_wrong_buckets_are_passed_over),
        cmocka_unit_test(test_difference),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_a_counter_goes_back),
        cmocka_unit_test(test_a_service_comes_and_goes),
        cmocka_unit_test(test_no_time_between),
        cmocka_unit_test(test_first_end),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_names_that_are_not_ascii),
        cmocka_unit_test(test_answers_of_no_use),
        cmocka_unit_test(test_an_empty_gateway),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
