/* What `esclusa top` writes, and what its keys do. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "view/model.h"
#include "view/top_pages.h"
#include "view/top_state.h"

#include <esclusa/str.h>

#include <stdlib.h>
#include <string.h>

#define DAY INT64_C(86400)

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } rows[] = {
        {-1, "-"},       {0, "0"},       {0.25, "0.25"},   {0.999, "1.0"},          {3.21, "3.2"},
        {9.96, "10"},    {412.4, "412"}, {999.4, "999"},   {999.6, "1.0k"},         {15000, "15k"},
        {3.4e6, "3.4M"}, {2e9, "2.0G"},  {0.0 / 0.0, "-"}, {1e30, "1000000000000E"}};
    char text[FORMAT_MAX];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        format_number(text, rows[i].value);
        assert_string_equal(text, rows[i].text);
    }
    format_count(text, 3);
    assert_string_equal(text, "3");
    format_count(text, 12345);
    assert_string_equal(text, "12k");
    format_ms(text, (struct quantile){.value = 0.00042});
    assert_string_equal(text, "0.42");
    format_ms(text, (struct quantile){.value = 0.0351});
    assert_string_equal(text, "35.1");
    format_ms(text, (struct quantile){.value = 10, .beyond = true});
    assert_string_equal(text, ">10000");
    format_ms(text, (struct quantile){.value = -1});
    assert_string_equal(text, "-");
}

static void test_countdown(void **state)
{
    (void)state;
    static const struct {
        int64_t left;
        const char *text;
        enum tone tone;
    } rows[] = {{400 * DAY, "400d 0h", TONE_PLAIN},
                {14 * DAY, "14d 0h", TONE_PLAIN},
                {14 * DAY - 1, "13d 23h !", TONE_WARN},
                {3 * DAY, "3d 0h !", TONE_WARN},
                {3 * DAY - 1, "2d 23h !!", TONE_BAD},
                {3723, "1h 02m !!", TONE_BAD},
                {125, "2m 05s !!", TONE_BAD},
                {1, "1s !!", TONE_BAD},
                {0, "EXPIRED 0s", TONE_BAD},
                {-2 * DAY - 3600, "EXPIRED 2d 1h", TONE_BAD}};
    char text[FORMAT_MAX];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const int64_t now = 1700000000;
        assert_int_equal(format_left(text, now + rows[i].left, (double)now), rows[i].tone);
        assert_string_equal(text, rows[i].text);
    }
    assert_int_equal(format_left(text, NUMBER_NONE, 5), TONE_PLAIN);
    assert_string_equal(text, "-");
}

/* ---- a model of three services ---- */

static void make(struct top_model *m)
{
    struct error err;
    error_init(&err);
    memset(m, 0, sizeof *m);
    const char *metrics =
        "esclusa_start_time_seconds 5\n"
        "esclusa_handshake_duration_seconds_bucket{service=\"b\",side=\"upstream\",le=\"1\"} 5\n"
        "esclusa_handshake_duration_seconds_bucket{service=\"c\",side=\"consumer\",le=\"2\"} 5\n"
        "esclusa_session_failures_total{service=\"a\",phase=\"x\",reason=\"y\"} 7\n";
    const char *status =
        "{\"version\":\"9\",\"state\":\"ready\",\"ready\":true,\"healthy\":true,\"time_seconds\":"
        "1000,"
        "\"started_seconds\":5,\"uptime_seconds\":995,\"config\":{\"generation\":4,\"reload_ok\":"
        "true},"
        "\"services\":["
        "{\"name\":\"b\",\"usable\":true,\"sessions\":{\"active\":1},\"upstreams\":[{\"address\":"
        "\"tls://u:1\",\"state\":\"ok\",\"usable\":true,\"weight\":3,\"backup\":true,"
        "\"connections\":4,\"check\":\"up\",\"ejected_for_ms\":61000,\"ejections\":2,\"last_ok_"
        "seconds\":990,\"served\":"
        "{\"leaf_not_after_seconds\":87400,\"chain_not_after_seconds\":87400}}],"
        "\"warm\":{\"ready\":2,\"hits\":5,\"misses\":1}},"
        "{\"name\":\"a\",\"usable\":false,\"sessions\":{\"active\":3}},"
        "{\"name\":\"c\",\"usable\":true,\"sessions\":{\"active\":2}}]}";
    if (!top_model_take(m, status, metrics, &err))
        fail_msg("%s", err.text);
}

static void assert_order(const struct top_model *m, enum top_column column, bool reverse,
                         const char *names)
{
    size_t *sorted = top_sorted(m, (struct top_order){.column = column, .reverse = reverse});
    char found[8];
    size_t length = 0;
    assert_non_null(sorted);
    for (size_t i = 0; i < m->status.service_count; i++)
        (void)str_append(found, sizeof found, &length, "%s", m->status.services[sorted[i]].name);
    free(sorted);
    assert_string_equal(found, names);
}

static void test_orders(void **state)
{
    (void)state;
    struct top_model m;
    make(&m);
    assert_order(&m, COLUMN_SERVICE, false, "abc");
    assert_order(&m, COLUMN_SERVICE, true, "cba");
    assert_order(&m, COLUMN_ACTIVE, false, "acb");
    assert_order(&m, COLUMN_ACTIVE, true, "bca");
    assert_order(&m, COLUMN_STATE, false, "abc");
    assert_order(&m, COLUMN_P99, false, "cba"); /* a has none: last, either way */
    assert_order(&m, COLUMN_P99, true, "bca");
    assert_order(&m, COLUMN_END, false, "bac");
    assert_order(&m, COLUMN_FAILED, false, "abc");
    assert_order(&m, COLUMN_ACCEPTED, false, "abc"); /* no rates yet: by name */
    top_model_fini(&m);
}

/* ---- pages ---- */

static const struct page_line *line_with(const struct page *p, const char *words)
{
    for (size_t i = 0; i < p->count; i++) {
        if (strstr(p->lines[i].text, words) != NULL)
            return &p->lines[i];
    }
    fail_msg("no line has: %s", words);
    return NULL;
}

static const struct top_said answered = {.address = "unix:/a", .trouble = ""};

static void test_head(void **state)
{
    (void)state;
    struct top_model m;
    struct page p = {.lines = NULL};
    make(&m);
    page_begin(&p, 80);
    top_head(&p, &m, &answered);
    (void)line_with(&p, "esclusa 9  unix:/a  generation 4  up 16m 35s  ready");
    (void)line_with(&p, "soonest expiry 1d 0h !!  b: upstream tls://u:1");
    const struct top_said gone = {
        .address = "unix:/a", .trouble = "cannot reach it", .answer_age_s = 61};
    page_begin(&p, 80);
    top_head(&p, &m, &gone);
    assert_int_equal(line_with(&p, "NO ANSWER for 1m 01s, trying on: cannot reach it")->tone,
                     TONE_BAD);
    (void)line_with(&p, "soonest expiry 23h 58m !!"); /* the countdown goes on */
    top_model_fini(&m);
    page_begin(&p, 80);
    top_head(&p, &m, &gone);
    (void)line_with(&p, "NO ANSWER yet, trying on: cannot reach it");
    page_fini(&p);
}

static void test_table(void **state)
{
    (void)state;
    struct top_model m;
    struct page p = {.lines = NULL};
    make(&m);
    for (size_t width = 0; width < 130; width++) {
        page_begin(&p, width);
        top_table(&p, &m, &answered, (struct top_order){.column = COLUMN_DOWN}, "c");
        assert_int_equal(p.count, 4);
        (void)line_with(&p, "SERVICE");
        (void)line_with(&p, "DOWN B/S*"); /* that it is sorted by is never left out */
        for (size_t i = 0; i < p.count; i++) {
            if (width >= 22)
                assert_true(p.lines[i].length <= width);
        }
        assert_string_equal(p.lines[p.selected].text + 2, line_with(&p, "> c")->text + 2);
    }
    page_begin(&p, 0);
    top_table(&p, &m, &answered, (struct top_order){.column = COLUMN_P99, .reverse = true}, "");
    (void)line_with(&p, "P99 MS^");
    assert_int_equal(p.selected, PAGE_NO_LINE);
    const struct page_line *b = line_with(&p, "  b");
    assert_true(b->part_count == 2 && b->parts[0].tone == TONE_GOOD &&
                b->parts[1].tone == TONE_BAD);
    assert_string_equal(b->text + b->parts[1].from, "1d 0h !!");
    page_fini(&p);
    top_model_fini(&m);
}

static void test_detail(void **state)
{
    (void)state;
    struct top_model m;
    struct page p = {.lines = NULL};
    struct failures failures;
    struct error err;
    error_init(&err);
    make(&m);
    assert_true(model_failures(
        &failures,
        "{\"failures\":[{\"id\":9,\"service\":\"b\",\"time_seconds\":940,\"reason\":\"bad_thing\","
        "\"phase\":\"connect\",\"remedy\":\"one two three four five six seven eight nine ten\"},"
        "{\"id\":8,\"service\":\"a\",\"reason\":\"other_thing\"}]}",
        &err));
    page_begin(&p, 80);
    top_detail(&p, &m, &answered, "b", &failures);
    (void)line_with(&p, "good 10s ago; failed never");
    (void)line_with(&p, "connections 4, weight 3, for when no other is usable, checks say up");
    (void)line_with(&p, "passed over for another 1m 01s");
    (void)line_with(&p, "its certificate expires in 1d 0h !!");
    (void)line_with(&p, "warm pool: 2 ready, 5 hits, 1 misses");
    (void)line_with(&p, "1m 00s ago  bad_thing  phase connect");
    page_begin(&p, 30);
    top_detail(&p, &m, &answered, "b", &failures);
    (void)line_with(&p, "      remedy: one two three");
    (void)line_with(&p, "        four five six seven");
    for (size_t i = 0; i < p.count; i++)
        assert_null(strstr(p.lines[i].text, "other_thing"));
    page_begin(&p, 30);
    top_detail(&p, &m, &answered, "gone", NULL);
    (void)line_with(&p, "no service of this name any more");
    model_failures_free(&failures);
    page_fini(&p);
    top_model_fini(&m);
}

static void test_folded(void **state)
{
    (void)state;
    struct page p = {.lines = NULL};
    char word[1000];
    memset(word, 'x', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    page_begin(&p, 100);
    page_add(&p, TONE_PLAIN, "    %s", word);
    page_fold(&p, 0);
    size_t all = 0;
    for (size_t i = 0; i < p.count; i++) {
        assert_true(p.lines[i].length <= 100);
        const size_t blank = strspn(p.lines[i].text, " ");
        assert_true(blank < p.lines[i].length);
        all += p.lines[i].length - blank;
    }
    assert_int_equal(all, sizeof word - 1);
    page_begin(&p, 20);
    page_add(&p, TONE_HEAD, "this line is not one of those");
    page_add(&p, TONE_PLAIN, "short");
    page_add(&p, TONE_PLAIN, "  one two ");
    page_more(&p, TONE_BAD, "three four five six seven");
    page_more(&p, TONE_GOOD, " eight");
    page_fold(&p, 1);
    static const char *const lines[] = {"this line is not one of those", "short",
                                        "  one two three four", "    five six seven", "    eight"};
    assert_int_equal(p.count, 5);
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(p.lines[i].text, lines[i]);
    assert_int_equal(p.lines[2].part_count, 1);
    assert_string_equal(p.lines[2].text + p.lines[2].parts[0].from, "three four");
    assert_string_equal(p.lines[3].text + p.lines[3].parts[0].from, "five six seven");
    assert_int_equal(p.lines[3].parts[0].to, p.lines[3].length);
    assert_true(p.lines[4].part_count == 1 && p.lines[4].parts[0].tone == TONE_GOOD);
    page_fini(&p);
}

static void test_scrolled(void **state)
{
    (void)state;
    struct page p = {.lines = NULL};
    page_begin(&p, 0);
    for (int i = 0; i < 12; i++)
        page_add(&p, TONE_PLAIN, "%d", i);
    p.fixed = 2;
    assert_int_equal(page_scroll(&p, 0, 4), 0);
    assert_int_equal(page_scroll(&p, 99, 4), 6);
    assert_int_equal(page_scroll(&p, 3, 20), 0);
    p.selected = 11;
    assert_int_equal(page_scroll(&p, 0, 4), 6);
    p.selected = 2;
    assert_int_equal(page_scroll(&p, 6, 4), 0);
    assert_true(page_scroll(&p, 6, 0) <= 10);
    page_fini(&p);
}

/* ---- keys ---- */

static void test_keys(void **state)
{
    (void)state;
    struct top_model m;
    struct top_state s = {.mode = TOP_LIST};
    make(&m);
    top_state_settle(&s, &m);
    assert_string_equal(s.selected, "a");
    assert_true(top_state_key(&s, &m, 'j'));
    assert_string_equal(s.selected, "b");
    assert_true(top_state_key(&s, &m, TOP_KEY_END));
    assert_string_equal(s.selected, "c");
    assert_true(top_state_key(&s, &m, TOP_KEY_DOWN));
    assert_string_equal(s.selected, "c");
    assert_true(top_state_key(&s, &m, 's')); /* by state */
    assert_true(top_state_key(&s, &m, '>')); /* by sessions: a, c, b */
    assert_int_equal(s.order.column, COLUMN_ACTIVE);
    assert_string_equal(s.selected, "c");
    assert_true(top_state_key(&s, &m, 'k'));
    assert_string_equal(s.selected, "a");
    assert_true(top_state_key(&s, &m, 'r'));
    assert_true(s.order.reverse);
    for (int i = 0; i < 3; i++)
        assert_true(top_state_key(&s, &m, '<'));
    assert_int_equal(s.order.column, COLUMN_END); /* round the corner */
    assert_true(top_state_key(&s, &m, TOP_KEY_ENTER));
    assert_int_equal(s.mode, TOP_ONE);
    assert_true(top_state_key(&s, &m, 'j'));
    assert_int_equal(s.scroll, 1);
    assert_string_equal(s.selected, "a");
    assert_true(top_state_key(&s, &m, '?'));
    assert_int_equal(s.mode, TOP_HELP);
    assert_true(top_state_key(&s, &m, TOP_KEY_BACK));
    assert_int_equal(s.mode, TOP_ONE);
    assert_true(top_state_key(&s, &m, TOP_KEY_BACK));
    assert_int_equal(s.mode, TOP_LIST);
    assert_true(top_state_key(&s, &m, TOP_KEY_BACK));
    assert_false(top_state_key(&s, &m, 'q'));
    top_model_fini(&m);
    assert_true(top_state_key(&s, &m, TOP_KEY_ENTER)); /* nothing there */
    assert_true(top_state_key(&s, &m, 'j'));
    assert_int_equal(s.mode, TOP_LIST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers), cmocka_unit_test(test_countdown),
        cmocka_unit_test(test_orders),  cmocka_unit_test(test_head),
        cmocka_unit_test(test_table),   cmocka_unit_test(test_detail),
        cmocka_unit_test(test_folded),  cmocka_unit_test(test_scrolled),
        cmocka_unit_test(test_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
