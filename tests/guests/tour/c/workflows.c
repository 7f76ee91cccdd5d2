/* A tour of the kit: the same in each language that has one, and with the same journal. */

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dacapo.h"

typedef exports_test_tour_tour_luggage_t luggage;

static const uint64_t hour_ms = 60 * 60 * 1000;
static const char *const turns[] = {"turn-left", "turn-right"};

/* What it met with. */
typedef struct lines {
    char *texts[32];
    size_t len;
} lines;

static void meet(lines *met, char *text) {
    met->texts[met->len++] = text;
}

/* Meets with the code of the failure. */
static void failing(lines *met, const char *name, bool done, const dacapo_failure *failure) {
    meet(met, dacapo_format("%s: %s", name, done ? "done" : failure->code));
}

/* ---- what the run knows about itself, its log, and attempts */

static bool about(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    const bool *started = context;
    *outcome = dacapo_json(
        "{\"run\":%s,\"workflow\":%s,\"colour\":%s,\"shape\":%s,\"attempt\":%u,\"key\":%s,\"started\":%p}", dacapo_run_id(),
        dacapo_workflow(), dacapo_label("colour"), dacapo_label("shape"), attempt->number, dacapo_idempotency_key(),
        *started ? "true" : "false");
    return true;
}

static bool knock(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    if (attempt->number == 1) {
        attempt->retry_after_ms = 40;
        dacapo_retry(failure, "closed", "nobody is at home");
        failure->details = dacapo_json("{\"opens\":%s}", "soon");
        return false;
    }
    *outcome = dacapo_json("%u", attempt->number);
    return true;
}

static bool never_done(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    for (volatile int turn = 0;; turn++)
        ;
}

static bool look(lines *met, dacapo_failure *failure) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t now_ms = now.tv_sec * 1000ull + now.tv_nsec / 1000000;
    bool started = dacapo_created_at() <= dacapo_now() && dacapo_created_at() > 1577836800000 && now_ms == dacapo_now();
    if (!dacapo_step("about", NULL, about, &started, NULL, failure))
        return false;
    if (dacapo_changed("scenic-route"))
        meet(met, dacapo_format("scenic"));
    static const char *const levels[] = {"trace", "debug", "info", "warn", "error"};
    dacapo_field fields[] = {{"place", "tower"}, {"metres", "300"}};
    for (dacapo_level level = DACAPO_TRACE; level <= DACAPO_ERROR; level++)
        dacapo_log_fields(level, dacapo_format("a line for %s", levels[level]), fields, 2);
    dacapo_step_options patient = {.attempts = 3, .backoff_ms = 1, .factor = 1, .backoff_max_ms = 1};
    char *knocked;
    if (!dacapo_step("knock", &patient, knock, NULL, &knocked, failure))
        return false;
    meet(met, dacapo_format("knock: %s", knocked));
    dacapo_step_options hasty = {.attempts = 1, .timeout_ms = 100};
    failing(met, "slow", dacapo_step("slow", &hasty, never_done, NULL, NULL, failure), failure);
    return true;
}

/* ---- requests and secrets */

static bool asked(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    const char *service = context;
    char *body = dacapo_json("{\"stop\":%s,\"cents\":%d}", "tower", 42);
    dacapo_field headers[] = {
        {"x-note", "noted"},
        {"authorization", "Bearer " DACAPO_SECRET("key")},
        {"content-type", "application/json"},
    };
    dacapo_request echo = {
        .url = dacapo_format("%s/echo", service),
        .method = "PUT",
        .headers = headers,
        .headers_len = 3,
        .body = body,
        .body_len = strlen(body),
        .timeout_ms = 5000,
        .response_max = 1000,
        .idempotency_header = "x-key",
    };
    dacapo_request away = {.url = dacapo_format("%s/away", service), .redirects = &(uint32_t){1}};
    dacapo_response answer, bytes;
    if (!dacapo_fetch(&echo, &answer, failure) || !dacapo_fetch(&away, &bytes, failure))
        return false;
    uint32_t sum = 0;
    for (size_t i = 0; i < bytes.body_len; i++)
        sum += (unsigned char)bytes.body[i];
    *outcome = dacapo_json("{\"status\":%u,\"told\":%s,\"said\":%s,\"bytes\":%zu,\"sum\":%u}", answer.status, dacapo_header(&answer, "X-Told"),
                           dacapo_json_string(dacapo_json_member(answer.body, "said")), bytes.body_len, sum);
    dacapo_response_free(&answer);
    dacapo_response_free(&bytes);
    return true;
}

static bool big(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    dacapo_response answer;
    return dacapo_fetch(&(dacapo_request){.url = dacapo_format("%s/bytes", (char *)context), .response_max = 10}, &answer, failure);
}

static bool sign(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    char *secret;
    if (!dacapo_reveal("pass", &secret, failure))
        return false;
    *outcome = dacapo_json("%zu", strlen(secret));
    return true;
}

static const dacapo_step_options once = {.attempts = 1};

static bool ask(char *service, lines *met, dacapo_failure *failure) {
    if (!dacapo_step("ask", NULL, asked, service, NULL, failure))
        return false;
    failing(met, "big", dacapo_step("big", &once, big, service, NULL, failure), failure);
    return dacapo_step("sign", NULL, sign, NULL, NULL, failure);
}

/* ---- statements that are one transaction with their step */

static bool booked(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    const uint8_t photo[] = {1, 2, 255};
    dacapo_value stop[] = {
        {DACAPO_TEXT, .text = "tower"},
        {DACAPO_INTEGER, .integer = 4200},
        {DACAPO_FLOAT, .number = 0.5},
        {DACAPO_BOOLEAN, .boolean = true},
        {DACAPO_JSON, .text = "{\"stars\":5}"},
        {DACAPO_BYTES, .bytes = {photo, sizeof photo}},
        {DACAPO_TIMESTAMP, .timestamp_us = 1767323045678000},
        {DACAPO_NULL},
    };
    uint64_t touched;
    dacapo_rows rows;
    if (!dacapo_execute("insert into stop values ($1, $2, $3, $4, $5, $6, $7, $8)", stop, 8, &touched, failure) ||
        !dacapo_query("select * from stop where name = $1", stop, 1, &rows, failure))
        return false;
    const dacapo_value *there = dacapo_column(&rows, 0, "photo");
    uint64_t stars;
    dacapo_json_uint(dacapo_json_member(dacapo_column(&rows, 0, "note")->text, "stars"), &stars);
    *outcome = dacapo_json("{\"touched\":%llu,\"name\":%s,\"cents\":%lld,\"score\":%f,\"open\":%p,\"stars\":%llu,\"photo\":[%u,%u,%u],"
                           "\"seen\":%lld,\"closed\":%p}",
                           touched, dacapo_column(&rows, 0, "name")->text, dacapo_column(&rows, 0, "cents")->integer,
                           dacapo_column(&rows, 0, "score")->number, dacapo_column(&rows, 0, "is_open")->boolean ? "true" : "false", stars,
                           there->bytes.data[0], there->bytes.data[1], there->bytes.data[2],
                           dacapo_column(&rows, 0, "seen_at")->timestamp_us / 1000,
                           dacapo_column(&rows, 0, "closed")->type == DACAPO_NULL ? "null" : "\"something\"");
    dacapo_rows_free(&rows);
    return true;
}

static bool booked_again(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    dacapo_value name = {DACAPO_TEXT, .text = "tower"};
    return dacapo_execute("insert into stop (name) values ($1)", &name, 1, NULL, failure);
}

static bool book(lines *met, dacapo_failure *failure) {
    if (!dacapo_step("book", NULL, booked, NULL, NULL, failure))
        return false;
    if (!dacapo_step("book-again", &once, booked_again, NULL, NULL, failure))
        meet(met, dacapo_format("book-again: %s %s", failure->code,
                                dacapo_json_string(dacapo_json_member(failure->details, "sqlState"))));
    return true;
}

/* ---- children */

static bool send(lines *met, dacapo_failure *failure) {
    dacapo_field kind = {"kind", "mail"};
    dacapo_child_options options = {
        .labels = &kind,
        .labels_len = 1,
        .deadline_ms = 2 * hour_ms,
        .detached = true,
        .queue = "slow",
        .concurrency_key = "ada",
        .priority = &(int32_t){7},
    };
    char *output, *far;
    if (!dacapo_child("mail", "test:tour/tour.visit", "\"tower\"", &options, &output, failure))
        return false;
    meet(met, dacapo_format("mail: %s", dacapo_json_string(output)));
    failing(met, "lost", dacapo_child("lost", "tour.visit", "\"nowhere\"", NULL, NULL, failure), failure);
    if (!dacapo_child_start("far", "tour.visit", "\"far\"", NULL, &far, failure) ||
        !dacapo_child_await("far-end", far, 20, &output, failure))
        return false;
    meet(met, dacapo_format("far: %s", output == NULL ? "not yet" : dacapo_json_string(output)));
    return true;
}

/* ---- branches */

/* A step's body that answers the JSON text that it is given. */
static bool answers(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    *outcome = dacapo_format("%s", (char *)context);
    return true;
}

static bool tortoise(void *context, size_t index, char **outcome, dacapo_failure *failure) {
    return dacapo_wait_for("whistle", DACAPO_FOREVER, NULL, failure) &&
           dacapo_step("walk", NULL, answers, "\"tortoise\"", outcome, failure);
}

static bool hare(void *context, size_t index, char **outcome, dacapo_failure *failure) {
    if (dacapo_sleep("nap", hour_ms, failure)) {
        *outcome = dacapo_json("%s", "hare");
        return true;
    }
    dacapo_failure other;
    if (dacapo_is_cancelled(failure))
        dacapo_step("wake", NULL, answers, "\"too late\"", NULL, &other);
    return false;
}

static bool left(void *context, size_t index, char **outcome, dacapo_failure *failure) {
    return dacapo_step("left", NULL, answers, "1", outcome, failure);
}

static bool lunch(void *context, size_t index, char **outcome, dacapo_failure *failure) {
    return dacapo_wait_for("lunch", DACAPO_FOREVER, outcome, failure);
}

static bool right(void *context, size_t index, char **outcome, dacapo_failure *failure) {
    return dacapo_step("right", NULL, answers, "[\"a\",\"b\"]", outcome, failure);
}

static bool squared(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    uint32_t number = *(size_t *)context + 1;
    if (number % 2 == 0)
        return dacapo_fatal(failure, "even", "%u is even", number);
    *outcome = dacapo_json("%u", number * number);
    return true;
}

static bool odd(void *context, size_t index, char **outcome, dacapo_failure *failure) {
    return dacapo_step("odd", NULL, squared, &index, outcome, failure);
}

static bool part(lines *met, dacapo_failure *failure) {
    size_t winner;
    char *first, *three[3];
    if (!dacapo_race("first", (dacapo_branch[]){{tortoise}, {hare}}, 2, &winner, &first, failure) ||
        !dacapo_parallel("three", (dacapo_branch[]){{left}, {lunch}, {right}}, 3, three, failure))
        return false;
    meet(met, dacapo_format("first: %s", dacapo_json_string(first)));
    int64_t one = 0;
    dacapo_json_int(three[0], &one);
    meet(met, dacapo_format("three: %lld %s %s+%s", (long long)one + 1, dacapo_json_string(three[1]),
                            dacapo_json_string(dacapo_json_item(three[2], 0)), dacapo_json_string(dacapo_json_item(three[2], 1))));
    dacapo_outcome each[3];
    if (!dacapo_map_all("each", 3, 0, odd, NULL, each, failure))
        return false;
    for (size_t i = 0; i < 3; i++)
        meet(met, each[i].value != NULL ? dacapo_format("each: %s", each[i].value)
                                        : dacapo_format("each: %s, %s", each[i].failure.code, each[i].failure.message));
    return true;
}

/* ---- waits */

static bool rest(lines *met, dacapo_failure *failure) {
    size_t which;
    char *payload;
    int64_t degrees = 0;
    if (!dacapo_wait_for_any("turn", turns, 2, DACAPO_FOREVER, &which, &payload, failure))
        return false;
    dacapo_json_int(payload, &degrees);
    meet(met, dacapo_format("turn: %s %lld", turns[which], (long long)degrees + 1));
    if (!dacapo_wait_for_any("turn-again", turns, 2, 20, &which, NULL, failure))
        return false;
    meet(met, dacapo_format("turn-again: %s", which == 2 ? "nothing" : turns[which]));
    return dacapo_sleep_until("until", dacapo_now() + 20, failure) && dacapo_pause("look-around", failure);
}

bool exports_test_tour_tour_see(dacapo_guest_string_t *service, dacapo_guest_list_string_t *met, dacapo_guest_string_t *error) {
    lines there = {.len = 0};
    dacapo_failure failure;
    bool done = look(&there, &failure) && ask(dacapo_text(*service), &there, &failure) && book(&there, &failure);
    if (done)
        dacapo_progress(2, 4, "half of it");
    if (!done || !send(&there, &failure) || !part(&there, &failure) || !rest(&there, &failure)) {
        *error = dacapo_string(failure.message);
        return false;
    }
    dacapo_progress(4, 4, NULL);
    met->len = there.len;
    met->ptr = calloc(there.len, sizeof *met->ptr);
    for (size_t i = 0; i < there.len; i++)
        met->ptr[i] = dacapo_string(there.texts[i]);
    return true;
}

bool exports_test_tour_tour_visit(dacapo_guest_string_t *place, dacapo_guest_string_t *seen, dacapo_guest_string_t *error) {
    char *name = dacapo_text(*place), *outcome;
    dacapo_failure failure;
    if (strcmp(name, "nowhere") == 0) {
        *error = dacapo_string("there is no such place");
        return false;
    }
    if ((strcmp(name, "far") == 0 && !dacapo_sleep("way", hour_ms, &failure)) ||
        !dacapo_step("look", NULL, answers, dacapo_json("%s", dacapo_format("seen %s", name)), &outcome, &failure)) {
        *error = dacapo_string(failure.message);
        return false;
    }
    *seen = dacapo_string(dacapo_json_string(outcome));
    return true;
}

/* ---- what clocks and generators say */

static char *sample(void) {
    struct timespec real, steady;
    uint64_t drawn;
    clock_gettime(CLOCK_REALTIME, &real);
    clock_gettime(CLOCK_MONOTONIC, &steady);
    getentropy(&drawn, sizeof drawn);
    return dacapo_format("{\"clock: dacapo_now\":\"%llu\",\"clock: time\":\"%lld000\",\"clock: clock_gettime\":\"%lld\","
                         "\"monotonic: clock_gettime\":\"%lld\",\"random: getentropy\":\"%llx\"}",
                         dacapo_now(), (long long)time(NULL), real.tv_sec * 1000ll + real.tv_nsec / 1000000,
                         steady.tv_sec * 1000000000ll + steady.tv_nsec, drawn);
}

static bool sampled(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    *outcome = dacapo_json("%s", sample());
    return true;
}

static bool sampled_in_branch(void *context, size_t index, char **outcome, dacapo_failure *failure) {
    return sampled(NULL, NULL, outcome, failure);
}

/* Fails if this is not what it was when it was first reached. */
static bool same(const char *name, const char *now, dacapo_failure *failure) {
    char *then;
    if (!dacapo_step(name, NULL, answers, dacapo_json("%s", now), &then, failure))
        return false;
    then = dacapo_json_string(then);
    return strcmp(then, now) == 0 || dacapo_fatal(failure, "changed", "%s: %s has become %s", name, then, now);
}

bool exports_test_tour_tour_draw(dacapo_guest_string_t *drawn, dacapo_guest_string_t *error) {
    dacapo_failure failure;
    char *inside, *after, *twice[2], *before = sample();
    if (!same("before", before, &failure) || !dacapo_step("inside", NULL, sampled, NULL, &inside, &failure) ||
        !dacapo_sleep("rest", 5, &failure) || !same("after", after = sample(), &failure) || !dacapo_sleep("rest", 5, &failure) ||
        !dacapo_map("twice", 2, 0, sampled_in_branch, NULL, twice, &failure)) {
        *error = dacapo_string(failure.message);
        return false;
    }
    *drawn = dacapo_string(dacapo_format("[%s,%s,%s,%s,%s]", before, dacapo_json_string(inside), after, dacapo_json_string(twice[0]),
                                         dacapo_json_string(twice[1])));
    return true;
}

/* ---- the rest */

void exports_test_tour_tour_carry(luggage *given, luggage *carried) {
    *carried = *given;
}

void exports_test_tour_tour_misread(void) {
    dacapo_failure failure;
    char *outcome;
    int64_t number;
    if (!dacapo_step("read", NULL, answers, "\"a text\"", &outcome, &failure))
        dacapo_fail(&failure);
    if (!dacapo_json_int(outcome, &number))
        dacapo_reject("read", "expected a number, got %s", outcome);
}

void exports_test_tour_tour_greet(dacapo_guest_string_t *name, dacapo_guest_string_t *greeting) {
    *greeting = dacapo_string(dacapo_format("Good day, %.*s!", DACAPO_ARGS(*name)));
}
