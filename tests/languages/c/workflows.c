#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dacapo.h"

static const dacapo_step_options once = {.attempts = 1};

static void deep(void) {
    const char *order = NULL;
    assert(order != NULL && "there is no such order");
}

static void deeper(void) {
    deep();
}

static bool one(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    *outcome = dacapo_json("%d", 1);
    return true;
}

void exports_test_mistakes_mistakes_throws(void) {
    dacapo_failure failure;
    if (!dacapo_step("first", NULL, one, NULL, NULL, &failure))
        dacapo_fail(&failure);
    deeper();
}

static bool fragile(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    return dacapo_retry(failure, NULL, "deeper down there is no such order");
}

void exports_test_mistakes_mistakes_throws_in_step(void) {
    dacapo_failure failure;
    if (!dacapo_step("fragile", &once, fragile, NULL, NULL, &failure))
        dacapo_fail(&failure);
}

/* What C has that JSON has not. */
static bool record(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    const char *what = context;
    if (strcmp(what, "nan") == 0)
        *outcome = dacapo_json("[%g]", NAN);
    else if (strcmp(what, "big") == 0)
        *outcome = dacapo_json("{\"value\":%s}", "\xff");
    else if (strcmp(what, "cycle") == 0)
        *outcome = dacapo_json("{\"itself\":%p}", NULL);
    else
        *outcome = NULL;
    return true;
}

void exports_test_mistakes_mistakes_records(dacapo_guest_string_t *what) {
    dacapo_failure failure;
    if (!dacapo_step("record", &once, record, dacapo_text(*what), NULL, &failure))
        dacapo_fail(&failure);
}

static bool outer(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    return dacapo_step("inner", NULL, one, NULL, outcome, failure);
}

void exports_test_mistakes_mistakes_nests(void) {
    dacapo_failure failure;
    if (!dacapo_step("outer", NULL, outer, NULL, NULL, &failure))
        dacapo_fail(&failure);
}

static double drawn(void) {
    uint32_t random;
    getentropy(&random, sizeof random);
    return random / 4294967296.0;
}

static bool draw(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    *outcome = dacapo_json("%g", drawn());
    return true;
}

void exports_test_mistakes_mistakes_draws(dacapo_guest_list_f64_t *numbers) {
    dacapo_failure failure;
    char *inside;
    numbers->len = 3;
    numbers->ptr = calloc(3, sizeof *numbers->ptr);
    numbers->ptr[0] = drawn();
    if (!dacapo_step("draw", NULL, draw, NULL, &inside, &failure))
        dacapo_fail(&failure);
    if (!dacapo_json_double(inside, &numbers->ptr[1]))
        dacapo_reject("draw", "expected a number, got %s", inside);
    numbers->ptr[2] = drawn();
}

static bool charge(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    dacapo_fatal(failure, "declined", "no funds");
    failure->details = dacapo_json("{\"missing\":%d}", 5);
    return false;
}

void exports_test_mistakes_mistakes_declines(dacapo_guest_string_t *answer) {
    dacapo_failure failure;
    if (dacapo_step("charge", NULL, charge, NULL, NULL, &failure))
        *answer = dacapo_string((char *)"not declined");
    else
        *answer = dacapo_string(dacapo_format("%s: %s %s", failure.code, failure.message, failure.details));
    dacapo_failure_free(&failure);
}

static bool count(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    *outcome = dacapo_json("%s", "a text");
    return true;
}

void exports_test_mistakes_mistakes_rereads(void) {
    dacapo_failure failure;
    char *counted;
    uint64_t number;
    if (!dacapo_step("count", NULL, count, NULL, &counted, &failure))
        dacapo_fail(&failure);
    if (!dacapo_json_uint(counted, &number))
        dacapo_reject("count", "expected a number, got %s", counted);
}

static bool keep(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    *outcome = dacapo_json("%llu", *(unsigned long long *)context);
    return true;
}

uint64_t exports_test_mistakes_mistakes_keeps(uint64_t number) {
    dacapo_failure failure;
    char *kept;
    if (!dacapo_step("keep", NULL, keep, &number, &kept, &failure))
        dacapo_fail(&failure);
    if (!dacapo_json_uint(kept, &number))
        dacapo_reject("keep", "expected a number, got %s", kept);
    return number;
}

bool exports_test_mistakes_mistakes_returns(dacapo_guest_string_t *fields, exports_test_mistakes_mistakes_report_t *report,
                                            exports_test_mistakes_mistakes_part_t *error) {
    memset(report, 0, sizeof *report);
    report->total = 7;
    report->name = dacapo_string((char *)"Ada");
    report->place.f0 = 1;
    report->place.f1 = 2.5;
    report->from = 3;
    return true;
}

void exports_test_mistakes_mistakes_slips(dacapo_guest_string_t *how) {}
