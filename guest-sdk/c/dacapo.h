/*
 * Durable workflows in C.
 *
 * A workflow is a function that dacapo_guest.h declares for what the project's WIT exports. What it does in steps is recorded, and never
 * done again; everything else may be played again from the top, and must take the same way then:
 *
 *     static bool charge(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
 *         const order *order = context;
 *         if (order->cents == 0)
 *             return dacapo_fatal(failure, "nothing-to-charge", "order %u costs nothing", order->number);
 *         *outcome = dacapo_json("\"charge-%u\"", order->number);
 *         return true;
 *     }
 *
 *     char *charged;
 *     if (!dacapo_step("charge", NULL, charge, &order, &charged, &failure))
 *         ...
 *
 * Outside of steps the clock stands still and randomness is the same in each replay; inside of them both are real.
 *
 * Who owns what:
 *  - What is passed in is read during the call. It is neither kept nor freed.
 *  - What is handed out (`char **`, failures, responses, rows) is the caller's. Texts end with a zero byte and come from malloc: free()
 *    them, and the rest by its own function, dacapo_failure_free() and the like, which take care of all that is inside.
 *  - Where a function hands nothing out, since it has failed or timed out, it sets the place to NULL or zeros: freeing it is right as well.
 *  - Places for what is not of interest may be NULL; then it is freed.
 *  - A workflow that frees nothing is right, too: an instance's memory is gone when the run waits, ends, or is tried again.
 *  - When there is no memory left the attempt has failed, or the run, with the code `trap`. Nothing here answers NULL for that.
 *
 * Functions that answer a bool answer false when they have failed, and say why in *failure.
 */
#ifndef DACAPO_H
#define DACAPO_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dacapo_guest.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DACAPO_PRINTF(text, arguments) __attribute__((format(printf, text, arguments)))

/* ---- failures */

/* Something went wrong that is part of the workflow's story: recorded, and shown to people. */
typedef struct dacapo_failure {
    /* A short, stable word for programs: `card-declined`, `trap`, `cancelled`. */
    char *code;
    /* One sentence for people. */
    char *message;
    /* Whether trying the same thing again could help. */
    bool retryable;
    /* JSON with whatever else a program might want to know, or NULL. */
    char *details;
} dacapo_failure;

/* Fills a failure that trying again will not mend, and answers false: `return dacapo_fatal(failure, "card-declined", "..")`. A code that is
   NULL is `error`. What was in the failure is not freed. */
bool dacapo_fatal(dacapo_failure *failure, const char *code, const char *message, ...) DACAPO_PRINTF(3, 4);

/* The same for a failure that may be gone at the next try. */
bool dacapo_retry(dacapo_failure *failure, const char *code, const char *message, ...) DACAPO_PRINTF(3, 4);

/* Whether the run is being ended. What steps do from here on, to compensate, works as usual; then the run is cancelled. */
bool dacapo_is_cancelled(const dacapo_failure *failure);

/* Frees what is inside, and leaves zeros. */
void dacapo_failure_free(dacapo_failure *failure);

/* ---- steps */

/* The attempt that is open. */
typedef struct dacapo_attempt {
    /* 1 for the first. */
    uint32_t number;
    /* To be set: if this attempt fails and there is another one, that begins no sooner than after so many milliseconds. */
    uint64_t retry_after_ms;
} dacapo_attempt;

/* A step's body. Answers true with JSON text in *outcome, such as dacapo_json() makes: the kit frees it then. Left alone it is `null`. Or
   answers false with a failure. An outcome that is set to NULL, as dacapo_json() answers what JSON cannot carry, is a failure with the code
   `encode`. */
typedef bool dacapo_body(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure);

/* How a step is to be run. What is zero is as the manifest or the operator says; if one of the first four is set, the others of them are
   3 tries, 1 s, 2 and 1 min. */
typedef struct dacapo_step_options {
    /* Tries in all, the first one included: at most 1,000. */
    uint32_t attempts;
    /* The time between the first two tries. */
    uint64_t backoff_ms;
    /* By how much the time grows from one try to the next: at most 1,000. */
    float factor;
    /* The time is never longer than this: at most 30 days. */
    uint64_t backoff_max_ms;
    /* How long one attempt may take, of real time. */
    uint64_t timeout_ms;
} dacapo_step_options;

/* Runs a step's body, or hands back what was recorded when it ran before, as JSON text. Names are 1 to 200 bytes, without `/`, `#` and
   control characters. The same name may be used again: each use, in the order of the code, is a step of its own. Options may be NULL.
   Nothing in a body may start another step, a wait or a fork. */
bool dacapo_step(const char *name, const dacapo_step_options *options, dacapo_body *body, void *context, char **outcome,
                 dacapo_failure *failure);

/* The workflow cannot read what was recorded under this name (its form changed, say). Blocks the run until code comes that can; nothing is
   lost. */
_Noreturn void dacapo_reject(const char *name, const char *reason, ...) DACAPO_PRINTF(2, 3);

/* In a step: a text that is the same in all attempts at it, and in no other step of any run. Outside of one: NULL. */
char *dacapo_idempotency_key(void);

/* ---- waits */

/* A time-out: none. */
#define DACAPO_FOREVER UINT64_MAX

/* Takes the oldest event with this name that was sent to the run, and waits for one if there is none. *payload is JSON text, or NULL if none
   was received in time; the time counts from when the wait is first reached. */
bool dacapo_wait_for(const char *event, uint64_t timeout_ms, char **payload, dacapo_failure *failure);

/* Like dacapo_wait_for(), for whichever of these events comes first: *which is its index, or `count` if none was received in time. */
bool dacapo_wait_for_any(const char *name, const char *const *events, size_t count, uint64_t timeout_ms, size_t *which, char **payload,
                         dacapo_failure *failure);

/* Goes on no earlier than so many milliseconds after the call is first reached. */
bool dacapo_sleep(const char *name, uint64_t ms, dacapo_failure *failure);

/* Goes on no earlier than this time, in milliseconds since 1970-01-01 UTC; at once if it has passed. */
bool dacapo_sleep_until(const char *name, uint64_t unix_ms, dacapo_failure *failure);

/* Goes on when an operator resumes the run. */
bool dacapo_pause(const char *name, dacapo_failure *failure);

/* ---- branches of the run, played at the same time, each in an instance of its own: it sees what stood in memory at the fork, and nothing
   that other branches do. */

/* What a branch does; `index` is that of the item, or of the branch. It answers like a step's body. */
typedef bool dacapo_work(void *context, size_t index, char **outcome, dacapo_failure *failure);

/* A branch of dacapo_parallel() and dacapo_race(). */
typedef struct dacapo_branch {
    dacapo_work *work;
    void *context;
} dacapo_branch;

/* How one item came out. */
typedef struct dacapo_outcome {
    /* JSON text, or NULL if it has failed. */
    char *value;
    dacapo_failure failure;
} dacapo_outcome;

/* Calls `work` with each index below `count`, in branches of which at most `max_parallel` are under way at the same time (0: all of them).
   `values` has room for `count` texts: what each answered, as JSON. `count` must be the same in every replay: at most 10,000.
   The failure is that of the first item, in their order, that failed, once all have ended; then all values are NULL. */
bool dacapo_map(const char *name, size_t count, uint32_t max_parallel, dacapo_work *work, void *context, char **values,
                dacapo_failure *failure);

/* Like dacapo_map(), and says of each item how it came out; `outcomes` has room for `count`. Fails only when the run is being ended. */
bool dacapo_map_all(const char *name, size_t count, uint32_t max_parallel, dacapo_work *work, void *context, dacapo_outcome *outcomes,
                    dacapo_failure *failure);

/* Plays these branches at the same time; `values` has room for `count` texts. The failure is that of the first, in their order, that failed,
   once all have ended; then all values are NULL. */
bool dacapo_parallel(const char *name, const dacapo_branch *branches, size_t count, char **values, dacapo_failure *failure);

/* Plays these branches at the same time; the first to succeed wins. The others are told at their next step or wait that they are cancelled,
   and may make up for what they did. The failure is that of the first, in their order, if none succeeds. */
bool dacapo_race(const char *name, const dacapo_branch *branches, size_t count, size_t *winner, char **value, dacapo_failure *failure);

/* ---- child runs */

/* A name and what it stands for. */
typedef struct dacapo_field {
    const char *name;
    const char *value;
} dacapo_field;

/* How a child is to be started. What is zero or NULL is left as it is. */
typedef struct dacapo_child_options {
    /* The child's labels; NULL: the parent's. */
    const dacapo_field *labels;
    size_t labels_len;
    /* It is ended so long after its start if it has not ended by then. */
    uint64_t deadline_ms;
    /* It outlives this run. */
    bool detached;
    /* A named queue, and what the queue's limits per key go by. */
    const char *queue;
    const char *concurrency_key;
    /* -100 to 100, higher goes first; NULL: the parent's. `&(int32_t){5}` */
    const int32_t *priority;
} dacapo_child_options;

/* Starts a run of a deployed workflow, named in full (`shop:mail/api.send`) or by an end of its name that is unique, and does not wait for
   it. `input` is JSON in the form of the workflow's own type: fields in camelCase. Codes: `input`, `child-depth`, `cancelled`. */
bool dacapo_child_start(const char *name, const char *workflow, const char *input, const dacapo_child_options *options, char **run_id,
                        dacapo_failure *failure);

/* Waits until a child has ended. *output is JSON text, or NULL if it has not ended in time. The failure is the child's, with the code
   `child-cancelled` if it was cancelled; or this run's, `cancelled` or `unknown-child`. */
bool dacapo_child_await(const char *name, const char *run_id, uint64_t timeout_ms, char **output, dacapo_failure *failure);

/* Starts a child, and waits for it under the name with `-end` behind it. */
bool dacapo_child(const char *name, const char *workflow, const char *input, const dacapo_child_options *options, char **output,
                  dacapo_failure *failure);

/* ---- the run itself */

/* The run's id, a UUID. */
char *dacapo_run_id(void);

/* The full name of the workflow, `ns:pkg/interface.function`. */
char *dacapo_workflow(void);

/* When the run was started, in milliseconds since 1970-01-01 UTC. */
uint64_t dacapo_created_at(void);

/* The time by the journal, which is the same in every replay; in a step the real one. */
uint64_t dacapo_now(void);

/* One of the run's labels, or NULL. */
char *dacapo_label(const char *name);

/* For code that was changed while runs of it are in flight: whether this run takes the new way. */
bool dacapo_changed(const char *name);

/* Says how far the run is, for whoever looks at it. It may be said often. The note may be NULL. */
void dacapo_progress(uint64_t done, uint64_t total, const char *note);

/* Ends the run, which has failed so whatever its workflow's type says. Not in a step: there the body answers the failure. */
_Noreturn void dacapo_fail(const dacapo_failure *failure);

/* ---- the run's log */

typedef enum dacapo_level { DACAPO_TRACE, DACAPO_DEBUG, DACAPO_INFO, DACAPO_WARN, DACAPO_ERROR } dacapo_level;

/* Writes a line to the run's log. Nothing is written while the run is being replayed over what it has already done. */
void dacapo_log(dacapo_level level, const char *message, ...) DACAPO_PRINTF(2, 3);

/* The same with names and values for programs. */
void dacapo_log_fields(dacapo_level level, const char *message, const dacapo_field *fields, size_t fields_len);

/* ---- requests, in steps, to hosts that the manifest grants */

/* What stands in the value of a header for a secret that the manifest grants; its bytes are never here. The name is a literal. */
#define DACAPO_SECRET(name) "{{dacapo.secret." name "}}"

/* A request. What is zero or NULL is left as it is. */
typedef struct dacapo_request {
    const char *url;
    /* NULL: GET, or POST with a body. */
    const char *method;
    const dacapo_field *headers;
    size_t headers_len;
    const void *body;
    size_t body_len;
    /* How long it may take together with its response; 0: 30 s. */
    uint64_t timeout_ms;
    /* How many redirects are followed; NULL: 10. `&(uint32_t){0}` */
    const uint32_t *redirects;
    /* How long the body of the response may be, in bytes. */
    uint64_t response_max;
    /* The header that carries the step's idempotency key. */
    const char *idempotency_header;
} dacapo_request;

/* What a service has answered. */
typedef struct dacapo_response {
    uint16_t status;
    /* Names in lower case. */
    dacapo_field *headers;
    size_t headers_len;
    /* Followed by a zero byte that does not count. */
    char *body;
    size_t body_len;
} dacapo_response;

/* Sends a request, and hands back the response whatever its status. Codes: `not-granted`, `http-bad-request`, `http-too-large`, and, worth
   another try, `http-unreachable` and `http-timeout`. */
bool dacapo_fetch(const dacapo_request *request, dacapo_response *response, dacapo_failure *failure);

/* The first header with this name, or NULL. It is part of the response. */
const char *dacapo_header(const dacapo_response *response, const char *name);

/* Frees what is inside, and leaves zeros. */
void dacapo_response_free(dacapo_response *response);

/* The bytes of a secret, in a step, if the manifest grants them with `reveal = true`; else the code is `not-granted`. */
bool dacapo_reveal(const char *name, char **secret, dacapo_failure *failure);

/* ---- transactional SQL: statements in a step that are one transaction with its outcome */

typedef enum dacapo_sql_type {
    DACAPO_NULL,
    DACAPO_BOOLEAN,
    DACAPO_INTEGER,
    DACAPO_FLOAT,
    DACAPO_TEXT,
    DACAPO_BYTES,
    DACAPO_JSON,
    DACAPO_TIMESTAMP,
} dacapo_sql_type;

/* A parameter, or a value of a row: `{DACAPO_TEXT, .text = "tea"}`. Zeros are null. */
typedef struct dacapo_value {
    dacapo_sql_type type;
    union {
        bool boolean;
        int64_t integer;
        double number;
        /* Of texts and of JSON. */
        const char *text;
        struct {
            const uint8_t *data;
            size_t len;
        } bytes;
        /* In microseconds since 1970-01-01 UTC. */
        int64_t timestamp_us;
    };
} dacapo_value;

/* What a statement has returned. */
typedef struct dacapo_rows {
    char **columns;
    size_t columns_len;
    size_t len;
    /* Row after row. */
    dacapo_value *values;
} dacapo_rows;

/* Carries a statement out, and hands back its rows. Parameters are `$1`, `$2`, ... Codes: `sql`, `sql-statement`, `sql-limit`, `sql-lost`. */
bool dacapo_query(const char *statement, const dacapo_value *params, size_t params_len, dacapo_rows *rows, dacapo_failure *failure);

/* Carries a statement out, and says how many rows it has touched. */
bool dacapo_execute(const char *statement, const dacapo_value *params, size_t params_len, uint64_t *touched, dacapo_failure *failure);

/* The value in a row, by the name of its column, or NULL. It is part of the rows. */
const dacapo_value *dacapo_column(const dacapo_rows *rows, size_t row, const char *column);

/* Frees what is inside, and leaves zeros. */
void dacapo_rows_free(dacapo_rows *rows);

/* ---- JSON and texts */

/* Text like that of printf, from malloc. */
char *dacapo_format(const char *format, ...) DACAPO_PRINTF(1, 2);
char *dacapo_vformat(const char *format, va_list arguments) DACAPO_PRINTF(1, 0);

/* JSON text, from malloc: `dacapo_json("{\"sku\":%s,\"quantity\":%u,\"price\":%p}", sku, quantity, price)`. The conversions are those of
   printf, without flags and widths, but for these: `%s` and `%.*s` are written as a JSON string, quotes and all (NULL is `null`); `%p` takes a
   text that is JSON already, as it is; floating-point numbers are written so that they are the same when they are read. Answers NULL if JSON
   cannot carry one of them: a text that is no UTF-8, a number that is infinite or none, a `%p` that is NULL. */
char *dacapo_json(const char *format, ...) DACAPO_PRINTF(1, 2);

/* What an object has under this name: its place in the text, which goes on behind it. NULL if there is none, or this is NULL or no object. */
const char *dacapo_json_member(const char *json, const char *name);

/* What an array has at this index, likewise. */
const char *dacapo_json_item(const char *json, size_t index);

/* How many items an array has; 0 if this is NULL or no array. */
size_t dacapo_json_len(const char *json);

/* A JSON string as text, from malloc. NULL if this is NULL, no string, or one with a zero byte in it. */
char *dacapo_json_string(const char *json);

/* A number, and whether it is one: a whole one that fits. 64-bit integers that are written as strings are read as well. */
bool dacapo_json_int(const char *json, int64_t *number);
bool dacapo_json_uint(const char *json, uint64_t *number);
bool dacapo_json_double(const char *json, double *number);

/* Whether this is `true`. */
bool dacapo_json_true(const char *json);

/* Whether this is `null`, or NULL. */
bool dacapo_json_null(const char *json);

/* Texts of the workflow's own types are counted, and do not end with a zero byte. To print one: `"%.*s", DACAPO_ARGS(text)`. dacapo_text() is
   a copy that ends with one, from malloc. dacapo_string() hands over a text from malloc, which is freed when the workflow has returned it; a
   literal, or what stands on the stack, is copied. */
#define DACAPO_ARGS(text) (int)(text).len, (const char *)(text).ptr
char *dacapo_text(dacapo_guest_string_t text);
dacapo_guest_string_t dacapo_string(char *text);

#ifdef __cplusplus
}
#endif

#endif
