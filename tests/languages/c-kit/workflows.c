#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dacapo.h"

static const dacapo_step_options once = {.attempts = 1};

static char *run(const char *name, dacapo_body *body) {
    dacapo_failure failure;
    char *outcome;
    if (!dacapo_step(name, &once, body, NULL, &outcome, &failure))
        dacapo_fail(&failure);
    return outcome;
}

/* ---- JSON */

void exports_test_kit_kit_reads(dacapo_guest_string_t *answer) {
    const char *json = " { \"a\\u00e9\" : [ 1, \"x\\n\\ud83d\\ude00\", {\"b\":[[],{}]}, \"12345678901234\", -7 , 1.5, true, null ] ,"
                       " \"z\": 18446744073709551615 } ";
    const char *list = dacapo_json_member(json, "a\xc3\xa9");
    int64_t number;
    uint64_t positive;
    double real;
    assert(dacapo_json_len(list) == 8);
    assert(dacapo_json_int(dacapo_json_item(list, 0), &number) && number == 1);
    assert(strcmp(dacapo_json_string(dacapo_json_item(list, 1)), "x\n\xf0\x9f\x98\x80") == 0);
    assert(dacapo_json_len(dacapo_json_member(dacapo_json_item(list, 2), "b")) == 2);
    assert(dacapo_json_int(dacapo_json_item(list, 3), &number) && number == 12345678901234);
    assert(dacapo_json_int(dacapo_json_item(list, 4), &number) && number == -7);
    assert(!dacapo_json_uint(dacapo_json_item(list, 4), &positive));
    assert(!dacapo_json_int(dacapo_json_item(list, 5), &number));
    assert(dacapo_json_double(dacapo_json_item(list, 5), &real) && real == 1.5);
    assert(dacapo_json_true(dacapo_json_item(list, 6)) && !dacapo_json_true(dacapo_json_item(list, 7)));
    assert(dacapo_json_null(dacapo_json_item(list, 7)) && !dacapo_json_null(dacapo_json_item(list, 6)));
    assert(dacapo_json_item(list, 8) == NULL);
    assert(dacapo_json_uint(dacapo_json_member(json, "z"), &positive) && positive == UINT64_MAX);
    assert(!dacapo_json_int(dacapo_json_member(json, "z"), &number));
    /* Cut off, or no JSON at all. */
    assert(dacapo_json_member("{", "z") == NULL && dacapo_json_member("{\"z", "z") == NULL);
    assert(dacapo_json_member("{\"z\":", "y") == NULL && dacapo_json_item("[[", 1) == NULL);
    assert(dacapo_json_string("\"\\u0000\"") == NULL && dacapo_json_string("\"\\ud800\"") == NULL && dacapo_json_string("\"a\\") == NULL);
    assert(!dacapo_json_double("inf", &real) && !dacapo_json_double("0x10", &real));
    *answer = dacapo_string((char *)"fine");
}

static bool write(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    *outcome = dacapo_json("[%d,%lld,%zu,%u,%g,%f,%g,%.*s,%s,%s,%p,\"100%%\"]", -5, 1LL << 60, (size_t)7, 4000000000u, 0.1, 1e300, 1.0 / 3, 2,
                           "xyz", "q\"\\\n\x01\xc3\xa9", (char *)NULL, "[1]");
    return true;
}

void exports_test_kit_kit_writes(void) {
    run("write", write);
}

static bool misformat(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    *outcome = dacapo_json("%5d", 3);
    return true;
}

void exports_test_kit_kit_misformats(void) {
    run("misformat", misformat);
}

/* ---- what goes wrong */

void exports_test_kit_kit_aborts(void) {
    abort();
}

static bool assert_in_step(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    assert(attempt->number == 7);
    return true;
}

void exports_test_kit_kit_asserts_in_step(void) {
    run("assert", assert_in_step);
}

static bool say_nothing(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    return false;
}

void exports_test_kit_kit_says_nothing(void) {
    run("say-nothing", say_nothing);
}

static bool garble(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    return dacapo_fatal(failure, NULL, "the bank says %s, \xc3\xa9", "\xe9\xff");
}

void exports_test_kit_kit_garbles(void) {
    run("garble", garble);
}

static bool literal(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    *outcome = (char *)"\"a literal\"";
    return true;
}

void exports_test_kit_kit_literals(dacapo_guest_string_t *answer) {
    char on_the_stack[64];
    strcpy(on_the_stack, run("literal", literal));
    *answer = dacapo_string(on_the_stack);
}

/* ---- branches and waits */

static bool branch(void *context, size_t index, char **outcome, dacapo_failure *failure) {
    const char *side = context;
    if (strcmp(side, "odd") == 0 && index % 2 == 1)
        return dacapo_retry(failure, "odd", "branch %zu is odd", index);
    *outcome = dacapo_json("{\"index\":%zu,\"side\":%s}", index, side);
    return true;
}

static bool late(void *context, size_t index, char **outcome, dacapo_failure *failure) {
    return dacapo_sleep("late", 60000, failure);
}

void exports_test_kit_kit_branches(dacapo_guest_string_t *answer) {
    dacapo_failure failure;
    char left[] = "left", right[] = "right", odd[] = "odd";
    dacapo_branch both[] = {{branch, left}, {branch, right}}, racing[] = {{late, NULL}, {branch, right}};
    char *values[2], *won;
    dacapo_outcome outcomes[2];
    size_t winner;
    if (!dacapo_parallel("both", both, 2, values, &failure) || !dacapo_race("first", racing, 2, &winner, &won, &failure) ||
        !dacapo_map_all("all", 2, 1, branch, odd, outcomes, &failure) || !dacapo_map("none", 0, 0, branch, odd, NULL, &failure))
        dacapo_fail(&failure);
    *answer = dacapo_string(dacapo_format("%s %s; %zu %s; %s %s", values[0], values[1], winner, won, outcomes[0].value, outcomes[1].failure.message));
    if (!dacapo_map("some", 2, 0, branch, odd, values, &failure) && values[0] == NULL && values[1] == NULL)
        dacapo_log(DACAPO_INFO, "%s: %s", failure.code, failure.message);
}

void exports_test_kit_kit_waits(dacapo_guest_string_t *answer) {
    dacapo_failure failure;
    const char *events[] = {"x", "y"};
    size_t which;
    char *payload;
    if (!dacapo_wait_for_any("either", events, 2, 5000, &which, &payload, &failure))
        dacapo_fail(&failure);
    *answer = dacapo_string(dacapo_format("%zu %s", which, payload == NULL ? "nothing" : payload));
}
