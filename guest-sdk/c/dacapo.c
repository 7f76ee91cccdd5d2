/* The kit: what dacapo.h promises, over the functions that dacapo_guest.h has of the host's. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dacapo.h"
#include "dacapo_inside.h"

typedef dacapo_guest_string_t text_in_wit;
typedef dacapo_workflow_types_failure_t failure_in_wit;
typedef dacapo_workflow_steps_result_json_failure_t result_in_wit;

/* ---- texts and failures, in and out */

/* Borrowed for a call. */
static text_in_wit in(const char *text) {
    return (text_in_wit){(uint8_t *)text, text == NULL ? 0 : strlen(text)};
}

/* What the host has put into our memory, with a zero byte behind it. */
static char *out(text_in_wit text) {
    /* An empty one has no memory. */
    char *memory = dacapo_or_die(realloc(text.len == 0 ? NULL : text.ptr, text.len + 1));
    memory[text.len] = 0;
    return memory;
}

/* Where what malloc gives begins, behind the literals and the stack; the linker knows. */
extern char __heap_base;

static bool is_from_malloc(const char *text) {
    return text >= &__heap_base;
}

static void free_text(char *text) {
    if (is_from_malloc(text))
        free(text);
}

static void hand_out(char **place, char *text) {
    if (place == NULL)
        free(text);
    else
        *place = text;
}

static void clear(char **place, dacapo_failure *failure) {
    if (place != NULL)
        *place = NULL;
    if (failure != NULL)
        *failure = (dacapo_failure){0};
}

/* Hands a failure of the host's out, and answers false. */
static bool refused(const failure_in_wit *theirs, dacapo_failure *failure) {
    dacapo_failure ours = {
        .code = out(theirs->code),
        .message = out(theirs->message),
        .retryable = theirs->retryable,
        .details = theirs->details.is_some ? out(theirs->details.val) : NULL,
    };
    if (failure == NULL)
        dacapo_failure_free(&ours);
    else
        *failure = ours;
    return false;
}

static failure_in_wit failure_in(const dacapo_failure *failure) {
    return (failure_in_wit){
        .code = in(failure->code == NULL ? "error" : failure->code),
        .message = in(failure->message),
        .retryable = failure->retryable,
        .details = {.is_some = failure->details != NULL, .val = in(failure->details)},
    };
}

static bool fill(dacapo_failure *failure, const char *code, bool retryable, const char *message, va_list arguments) {
    if (failure == NULL)
        return false;
    *failure = (dacapo_failure){
        .code = dacapo_format("%s", code == NULL ? "error" : code),
        .message = dacapo_vformat(message, arguments),
        .retryable = retryable,
    };
    dacapo_make_utf8(failure->message);
    return false;
}

bool dacapo_fatal(dacapo_failure *failure, const char *code, const char *message, ...) {
    va_list arguments;
    va_start(arguments, message);
    bool failed = fill(failure, code, false, message, arguments);
    va_end(arguments);
    return failed;
}

bool dacapo_retry(dacapo_failure *failure, const char *code, const char *message, ...) {
    va_list arguments;
    va_start(arguments, message);
    bool failed = fill(failure, code, true, message, arguments);
    va_end(arguments);
    return failed;
}

bool dacapo_is_cancelled(const dacapo_failure *failure) {
    return failure->code != NULL && strcmp(failure->code, "cancelled") == 0;
}

void dacapo_failure_free(dacapo_failure *failure) {
    free_text(failure->code);
    free_text(failure->message);
    free_text(failure->details);
    *failure = (dacapo_failure){0};
}

char *dacapo_text(text_in_wit text) {
    return dacapo_format("%.*s", DACAPO_ARGS(text));
}

text_in_wit dacapo_string(char *text) {
    return in(is_from_malloc(text) ? text : dacapo_format("%s", text));
}

/* ---- what goes wrong for good */

/* Whether a step's body is running. */
static bool in_step = false;

static _Noreturn void die(const char *message, char *details) {
    dacapo_failure failure = {(char *)"exception", (char *)message, false, details};
    if (!in_step)
        dacapo_fail(&failure);
    /* The host sees the trap only. */
    dacapo_log_fields(DACAPO_ERROR, message, NULL, 0);
    __builtin_trap();
}

_Noreturn void dacapo_die(const char *message) {
    die(message, NULL);
}

/* These two stand in the place of the C library's, which trap without a word. Weak, so that a linker that has met those already goes on. */
__attribute__((weak)) _Noreturn void abort(void) {
    die("the workflow has called abort()", NULL);
}

__attribute__((weak)) _Noreturn void __assert_fail(const char *expression, const char *file, int line, const char *function) {
    char *trace = dacapo_format("%s at %s:%d", function, file, line);
    die(dacapo_format("assertion failed: %s, in %s", expression, trace), dacapo_json("{\"trace\":%s}", trace));
}

/* ---- steps */

/* What a callback has answered, as the host takes it; release() frees it. */
typedef struct answer {
    char *outcome;
    dacapo_failure failure;
    result_in_wit result;
} answer;

static void settle(answer *answer, bool good, const char *what, const char *name) {
    if (good && answer->outcome == NULL)
        good = dacapo_fatal(&answer->failure, "encode",
                            "what %s `%s` answers cannot be recorded as JSON: its outcome is NULL, as dacapo_json() answers a number that is "
                            "infinite or none, a text that is no UTF-8, and a `%%p` that is NULL",
                            what, name);
    if (!good && answer->failure.message == NULL)
        dacapo_retry(&answer->failure, NULL, "%s `%s` has answered false and no failure", what, name);
    answer->result = (result_in_wit){.is_err = !good};
    if (good)
        answer->result.val.ok = in(answer->outcome);
    else
        answer->result.val.err = failure_in(&answer->failure);
}

static void release(answer *answer) {
    free_text(answer->outcome);
    dacapo_failure_free(&answer->failure);
}

static bool recorded(const result_in_wit *result, char **outcome, dacapo_failure *failure) {
    if (result->is_err)
        return refused(&result->val.err, failure);
    hand_out(outcome, out(result->val.ok));
    return true;
}

static bool run_body(const char *name, dacapo_workflow_steps_own_attempt_t opened, dacapo_body *body, void *context, char **outcome,
                     dacapo_failure *failure) {
    dacapo_workflow_steps_borrow_attempt_t borrowed = dacapo_workflow_steps_borrow_attempt(opened);
    dacapo_attempt attempt = {.number = dacapo_workflow_steps_method_attempt_number(borrowed)};
    answer answer = {.outcome = (char *)"null"};
    in_step = true;
    bool good = body(context, &attempt, &answer.outcome, &answer.failure);
    in_step = false;
    settle(&answer, good, "step", name);
    if (attempt.retry_after_ms > 0)
        dacapo_workflow_steps_method_attempt_retry_after(borrowed, attempt.retry_after_ms);
    text_in_wit json;
    failure_in_wit theirs;
    good = dacapo_workflow_steps_step_end(opened, &answer.result, &json, &theirs);
    release(&answer);
    if (!good)
        return refused(&theirs, failure);
    hand_out(outcome, out(json));
    return true;
}

static void set_step_options(dacapo_workflow_steps_borrow_options_t to, const dacapo_step_options *options) {
    if (options->attempts > 0 || options->backoff_ms > 0 || options->factor > 0 || options->backoff_max_ms > 0) {
        dacapo_workflow_steps_retry_t retry = {
            .max_attempts = options->attempts > 0 ? options->attempts : 3,
            .initial_ms = options->backoff_ms > 0 ? options->backoff_ms : 1000,
            .factor = options->factor > 0 ? options->factor : 2,
            .max_ms = options->backoff_max_ms > 0 ? options->backoff_max_ms : 60000,
        };
        dacapo_workflow_steps_method_options_set_retry(to, &retry);
    }
    if (options->timeout_ms > 0)
        dacapo_workflow_steps_method_options_set_timeout(to, options->timeout_ms);
}

bool dacapo_step(const char *name, const dacapo_step_options *options, dacapo_body *body, void *context, char **outcome,
                 dacapo_failure *failure) {
    clear(outcome, failure);
    dacapo_workflow_steps_own_options_t made;
    dacapo_workflow_steps_borrow_options_t borrowed;
    if (options != NULL) {
        made = dacapo_workflow_steps_constructor_options();
        borrowed = dacapo_workflow_steps_borrow_options(made);
        set_step_options(borrowed, options);
    }
    dacapo_workflow_steps_state_t state;
    failure_in_wit theirs;
    text_in_wit step = in(name);
    bool good = dacapo_workflow_steps_step_run(&step, options == NULL ? NULL : &borrowed, &state, &theirs);
    if (options != NULL)
        dacapo_workflow_steps_options_drop_own(made);
    if (!good)
        return refused(&theirs, failure);
    if (state.tag == DACAPO_WORKFLOW_STEPS_STATE_RECORDED)
        return recorded(&state.val.recorded, outcome, failure);
    return run_body(name, state.val.execute, body, context, outcome, failure);
}

_Noreturn void dacapo_reject(const char *name, const char *reason, ...) {
    va_list arguments;
    va_start(arguments, reason);
    char *why = dacapo_vformat(reason, arguments);
    va_end(arguments);
    dacapo_make_utf8(why);
    text_in_wit step = in(name), text = in(why);
    dacapo_workflow_steps_step_reject(&step, &text);
    __builtin_trap();
}

char *dacapo_idempotency_key(void) {
    text_in_wit key;
    return dacapo_workflow_context_idempotency_key(&key) ? out(key) : NULL;
}

/* ---- waits */

bool dacapo_wait_for(const char *event, uint64_t timeout_ms, char **payload, dacapo_failure *failure) {
    clear(payload, failure);
    text_in_wit name = in(event);
    dacapo_workflow_waits_option_json_t received;
    failure_in_wit theirs;
    uint64_t *timeout = timeout_ms == DACAPO_FOREVER ? NULL : &timeout_ms;
    if (!dacapo_workflow_waits_wait_for(&name, timeout, &received, &theirs))
        return refused(&theirs, failure);
    if (received.is_some)
        hand_out(payload, out(received.val));
    return true;
}

bool dacapo_wait_for_any(const char *name, const char *const *events, size_t count, uint64_t timeout_ms, size_t *which, char **payload,
                         dacapo_failure *failure) {
    clear(payload, failure);
    if (which != NULL)
        *which = count;
    text_in_wit wait = in(name);
    dacapo_guest_list_string_t list = {dacapo_or_die(calloc(count + 1, sizeof(text_in_wit))), count};
    for (size_t i = 0; i < count; i++)
        list.ptr[i] = in(events[i]);
    dacapo_workflow_waits_option_tuple2_string_json_t received;
    failure_in_wit theirs;
    uint64_t *timeout = timeout_ms == DACAPO_FOREVER ? NULL : &timeout_ms;
    bool good = dacapo_workflow_waits_wait_for_any(&wait, &list, timeout, &received, &theirs);
    free(list.ptr);
    if (!good)
        return refused(&theirs, failure);
    if (!received.is_some)
        return true;
    char *event = out(received.val.f0);
    for (size_t i = 0; which != NULL && i < count; i++)
        if (strcmp(events[i], event) == 0)
            *which = i;
    free(event);
    hand_out(payload, out(received.val.f1));
    return true;
}

bool dacapo_sleep(const char *name, uint64_t ms, dacapo_failure *failure) {
    clear(NULL, failure);
    text_in_wit wait = in(name);
    failure_in_wit theirs;
    return dacapo_workflow_waits_sleep(&wait, ms, &theirs) || refused(&theirs, failure);
}

bool dacapo_sleep_until(const char *name, uint64_t unix_ms, dacapo_failure *failure) {
    clear(NULL, failure);
    text_in_wit wait = in(name);
    failure_in_wit theirs;
    return dacapo_workflow_waits_sleep_until(&wait, unix_ms, &theirs) || refused(&theirs, failure);
}

bool dacapo_pause(const char *name, dacapo_failure *failure) {
    clear(NULL, failure);
    text_in_wit wait = in(name);
    failure_in_wit theirs;
    return dacapo_workflow_waits_pause(&wait, &theirs) || refused(&theirs, failure);
}

/* ---- branches */

static _Noreturn void end_branch(const char *name, size_t index, dacapo_work *work, void *context) {
    answer answer = {.outcome = (char *)"null"};
    bool good = work(context, index, &answer.outcome, &answer.failure);
    settle(&answer, good, "a branch of", name);
    dacapo_workflow_forks_result_json_failure_t result = {.is_err = answer.result.is_err};
    if (result.is_err)
        result.val.err = answer.result.val.err;
    else
        result.val.ok = answer.result.val.ok;
    dacapo_workflow_forks_branch_end(&result);
    __builtin_trap();
}

/* Comes back where all branches have ended. */
static bool fork_run(const char *name, size_t count, uint32_t max_parallel, bool race, dacapo_work *work, void *context,
                     dacapo_workflow_forks_joined_t *joined, dacapo_failure *failure) {
    dacapo_workflow_forks_own_options_t options = dacapo_workflow_forks_constructor_options();
    dacapo_workflow_forks_borrow_options_t borrowed = dacapo_workflow_forks_borrow_options(options);
    if (max_parallel > 0)
        dacapo_workflow_forks_method_options_set_max_parallel(borrowed, max_parallel);
    if (race)
        dacapo_workflow_forks_method_options_set_race(borrowed);
    text_in_wit fork = in(name);
    dacapo_workflow_forks_side_t side;
    failure_in_wit theirs;
    bool good = dacapo_workflow_forks_fork(&fork, (uint32_t)count, &borrowed, &side, &theirs);
    dacapo_workflow_forks_options_drop_own(options);
    if (!good)
        return refused(&theirs, failure);
    if (side.tag == DACAPO_WORKFLOW_FORKS_SIDE_BRANCH)
        end_branch(name, side.val.branch, work, context);
    *joined = side.val.joined;
    return true;
}

static dacapo_outcome outcome_of(const dacapo_workflow_forks_result_json_failure_t *result) {
    dacapo_outcome outcome = {0};
    if (result->is_err)
        refused(&result->val.err, &outcome.failure);
    else
        outcome.value = out(result->val.ok);
    return outcome;
}

/* Hands the values out, or the first failure. */
static bool all_values(const dacapo_workflow_forks_joined_t *joined, char **values, dacapo_failure *failure) {
    bool good = true;
    for (size_t i = 0; i < joined->outcomes.len; i++) {
        dacapo_outcome outcome = outcome_of(&joined->outcomes.ptr[i]);
        bool first = good && outcome.value == NULL;
        good = good && outcome.value != NULL;
        values[i] = outcome.value;
        if (first && failure != NULL)
            *failure = outcome.failure;
        else
            dacapo_failure_free(&outcome.failure);
    }
    for (size_t i = 0; !good && i < joined->outcomes.len; i++) {
        free(values[i]);
        values[i] = NULL;
    }
    free(joined->outcomes.ptr);
    return good;
}

static bool fork_for_values(const char *name, size_t count, uint32_t max_parallel, dacapo_work *work, void *context, char **values,
                            dacapo_failure *failure) {
    clear(NULL, failure);
    memset(values, 0, count * sizeof *values);
    dacapo_workflow_forks_joined_t joined;
    return count == 0 ||
           (fork_run(name, count, max_parallel, false, work, context, &joined, failure) && all_values(&joined, values, failure));
}

static bool work_of_branch(void *context, size_t index, char **outcome, dacapo_failure *failure) {
    const dacapo_branch *branch = (const dacapo_branch *)context + index;
    return branch->work(branch->context, index, outcome, failure);
}

bool dacapo_map(const char *name, size_t count, uint32_t max_parallel, dacapo_work *work, void *context, char **values,
                dacapo_failure *failure) {
    return fork_for_values(name, count, max_parallel, work, context, values, failure);
}

bool dacapo_map_all(const char *name, size_t count, uint32_t max_parallel, dacapo_work *work, void *context, dacapo_outcome *outcomes,
                    dacapo_failure *failure) {
    clear(NULL, failure);
    memset(outcomes, 0, count * sizeof *outcomes);
    dacapo_workflow_forks_joined_t joined;
    if (count == 0)
        return true;
    if (!fork_run(name, count, max_parallel, false, work, context, &joined, failure))
        return false;
    for (size_t i = 0; i < joined.outcomes.len; i++)
        outcomes[i] = outcome_of(&joined.outcomes.ptr[i]);
    free(joined.outcomes.ptr);
    return true;
}

bool dacapo_parallel(const char *name, const dacapo_branch *branches, size_t count, char **values, dacapo_failure *failure) {
    return fork_for_values(name, count, 0, work_of_branch, (void *)branches, values, failure);
}

bool dacapo_race(const char *name, const dacapo_branch *branches, size_t count, size_t *winner, char **value, dacapo_failure *failure) {
    clear(value, failure);
    dacapo_workflow_forks_joined_t joined;
    if (count == 0)
        return dacapo_fatal(failure, "misuse", "the race `%s` has no branches", name);
    if (!fork_run(name, count, 0, true, work_of_branch, (void *)branches, &joined, failure))
        return false;
    size_t which = joined.winner.is_some ? joined.winner.val : 0;
    dacapo_outcome outcome = outcome_of(&joined.outcomes.ptr[which]);
    for (size_t i = 0; i < joined.outcomes.len; i++)
        if (i != which)
            dacapo_workflow_forks_result_json_failure_free(&joined.outcomes.ptr[i]);
    free(joined.outcomes.ptr);
    if (winner != NULL)
        *winner = which;
    if (outcome.value != NULL)
        hand_out(value, outcome.value);
    else if (failure != NULL)
        *failure = outcome.failure;
    else
        dacapo_failure_free(&outcome.failure);
    return outcome.value != NULL;
}

/* ---- names and values */

/* Borrowed for a call, but for the list's own memory. */
static dacapo_guest_list_tuple2_string_string_t fields_in(const dacapo_field *fields, size_t len) {
    dacapo_guest_list_tuple2_string_string_t list = {
        dacapo_or_die(calloc(len + 1, sizeof(dacapo_guest_tuple2_string_string_t))),
        len,
    };
    for (size_t i = 0; i < len; i++)
        list.ptr[i] = (dacapo_guest_tuple2_string_string_t){in(fields[i].name), in(fields[i].value)};
    return list;
}

/* ---- children */

static void set_child_options(dacapo_workflow_children_borrow_options_t to, const dacapo_child_options *options) {
    if (options->labels != NULL) {
        dacapo_guest_list_tuple2_string_string_t labels = fields_in(options->labels, options->labels_len);
        dacapo_workflow_children_method_options_set_labels(to, &labels);
        free(labels.ptr);
    }
    if (options->deadline_ms > 0)
        dacapo_workflow_children_method_options_set_deadline(to, options->deadline_ms);
    if (options->detached)
        dacapo_workflow_children_method_options_set_detached(to);
    if (options->queue != NULL || options->concurrency_key != NULL) {
        text_in_wit queue = in(options->queue == NULL ? "default" : options->queue), key = in(options->concurrency_key);
        dacapo_workflow_children_method_options_set_queue(to, &queue, options->concurrency_key == NULL ? NULL : &key);
    }
    if (options->priority != NULL)
        dacapo_workflow_children_method_options_set_priority(to, *options->priority);
}

bool dacapo_child_start(const char *name, const char *workflow, const char *input, const dacapo_child_options *options, char **run_id,
                        dacapo_failure *failure) {
    clear(run_id, failure);
    if (input == NULL)
        return dacapo_fatal(failure, "encode", "the input of the child `%s` cannot be recorded as JSON: it is NULL", name);
    dacapo_workflow_children_own_options_t made = dacapo_workflow_children_constructor_options();
    dacapo_workflow_children_borrow_options_t borrowed = dacapo_workflow_children_borrow_options(made);
    if (options != NULL)
        set_child_options(borrowed, options);
    text_in_wit start = in(name), of = in(workflow), json = in(input), id;
    failure_in_wit theirs;
    bool good = dacapo_workflow_children_start_child(&start, &of, &json, &borrowed, &id, &theirs);
    dacapo_workflow_children_options_drop_own(made);
    if (!good)
        return refused(&theirs, failure);
    hand_out(run_id, out(id));
    return true;
}

bool dacapo_child_await(const char *name, const char *run_id, uint64_t timeout_ms, char **output, dacapo_failure *failure) {
    clear(output, failure);
    text_in_wit wait = in(name), id = in(run_id);
    dacapo_workflow_children_option_result_json_failure_t ended;
    failure_in_wit theirs;
    uint64_t *timeout = timeout_ms == DACAPO_FOREVER ? NULL : &timeout_ms;
    if (!dacapo_workflow_children_await_child(&wait, &id, timeout, &ended, &theirs))
        return refused(&theirs, failure);
    if (!ended.is_some)
        return true;
    if (ended.val.is_err)
        return refused(&ended.val.val.err, failure);
    hand_out(output, out(ended.val.val.ok));
    return true;
}

bool dacapo_child(const char *name, const char *workflow, const char *input, const dacapo_child_options *options, char **output,
                  dacapo_failure *failure) {
    char *run_id;
    clear(output, failure);
    if (!dacapo_child_start(name, workflow, input, options, &run_id, failure))
        return false;
    char *wait = dacapo_format("%s-end", name);
    bool good = dacapo_child_await(wait, run_id, DACAPO_FOREVER, output, failure);
    free(wait);
    free(run_id);
    return good;
}

/* ---- the run itself */

char *dacapo_run_id(void) {
    text_in_wit id;
    dacapo_workflow_context_run_id(&id);
    return out(id);
}

char *dacapo_workflow(void) {
    text_in_wit name;
    dacapo_workflow_context_workflow(&name);
    return out(name);
}

uint64_t dacapo_created_at(void) {
    return dacapo_workflow_context_created_at();
}

uint64_t dacapo_now(void) {
    return dacapo_workflow_context_now();
}

char *dacapo_label(const char *name) {
    dacapo_guest_list_tuple2_string_string_t labels;
    dacapo_workflow_context_labels(&labels);
    char *value = NULL;
    for (size_t i = 0; value == NULL && i < labels.len; i++)
        if (labels.ptr[i].f0.len == strlen(name) && memcmp(labels.ptr[i].f0.ptr, name, strlen(name)) == 0)
            value = dacapo_text(labels.ptr[i].f1);
    dacapo_guest_list_tuple2_string_string_free(&labels);
    return value;
}

bool dacapo_changed(const char *name) {
    text_in_wit change = in(name);
    return dacapo_workflow_context_changed(&change);
}

void dacapo_progress(uint64_t done, uint64_t total, const char *note) {
    text_in_wit text = in(note);
    dacapo_workflow_context_set_progress(done, total, note == NULL ? NULL : &text);
}

_Noreturn void dacapo_fail(const dacapo_failure *failure) {
    failure_in_wit theirs = failure_in(failure);
    dacapo_workflow_context_fail(&theirs);
    __builtin_trap();
}

/* ---- the log */

void dacapo_log(dacapo_level level, const char *message, ...) {
    va_list arguments;
    va_start(arguments, message);
    char *line = dacapo_vformat(message, arguments);
    va_end(arguments);
    dacapo_make_utf8(line);
    dacapo_log_fields(level, line, NULL, 0);
    free(line);
}

void dacapo_log_fields(dacapo_level level, const char *message, const dacapo_field *fields, size_t fields_len) {
    text_in_wit line = in(message);
    dacapo_guest_list_tuple2_string_string_t list = {0};
    if (fields_len > 0)
        list = fields_in(fields, fields_len);
    dacapo_workflow_log_log((dacapo_workflow_log_level_t)level, &line, &list);
    free(list.ptr);
}

/* ---- requests and secrets */

static void set_request_options(dacapo_workflow_http_borrow_options_t to, const dacapo_request *request) {
    if (request->timeout_ms > 0)
        dacapo_workflow_http_method_options_set_timeout(to, request->timeout_ms);
    if (request->redirects != NULL)
        dacapo_workflow_http_method_options_set_redirects(to, *request->redirects);
    if (request->response_max > 0)
        dacapo_workflow_http_method_options_set_response_max(to, request->response_max);
    if (request->idempotency_header != NULL) {
        text_in_wit header = in(request->idempotency_header);
        dacapo_workflow_http_method_options_set_idempotency_header(to, &header);
    }
}

bool dacapo_fetch(const dacapo_request *request, dacapo_response *response, dacapo_failure *failure) {
    clear(NULL, failure);
    *response = (dacapo_response){0};
    dacapo_workflow_http_own_options_t made = dacapo_workflow_http_constructor_options();
    dacapo_workflow_http_borrow_options_t options = dacapo_workflow_http_borrow_options(made);
    set_request_options(options, request);
    bool has_body = request->body != NULL;
    dacapo_workflow_http_request_t sent = {
        .method = in(request->method != NULL ? request->method : has_body ? "POST" : "GET"),
        .url = in(request->url),
        .headers = fields_in(request->headers, request->headers_len),
        .body = {.is_some = has_body, .val = {(uint8_t *)request->body, request->body_len}},
    };
    dacapo_workflow_http_response_t received;
    failure_in_wit theirs;
    bool good = dacapo_workflow_http_fetch(&sent, &options, &received, &theirs);
    free(sent.headers.ptr);
    dacapo_workflow_http_options_drop_own(made);
    if (!good)
        return refused(&theirs, failure);
    response->status = received.status;
    response->headers_len = received.headers.len;
    response->headers = dacapo_or_die(calloc(received.headers.len + 1, sizeof *response->headers));
    for (size_t i = 0; i < received.headers.len; i++)
        response->headers[i] = (dacapo_field){out(received.headers.ptr[i].f0), out(received.headers.ptr[i].f1)};
    if (received.headers.len > 0)
        free(received.headers.ptr);
    response->body_len = received.body.len;
    response->body = out((text_in_wit){received.body.ptr, received.body.len});
    return true;
}

const char *dacapo_header(const dacapo_response *response, const char *name) {
    for (size_t i = 0; i < response->headers_len; i++)
        if (strcasecmp(response->headers[i].name, name) == 0)
            return response->headers[i].value;
    return NULL;
}

void dacapo_response_free(dacapo_response *response) {
    for (size_t i = 0; i < response->headers_len; i++) {
        free((char *)response->headers[i].name);
        free((char *)response->headers[i].value);
    }
    free(response->headers);
    free(response->body);
    *response = (dacapo_response){0};
}

bool dacapo_reveal(const char *name, char **secret, dacapo_failure *failure) {
    clear(secret, failure);
    text_in_wit wanted = in(name), revealed;
    failure_in_wit theirs;
    if (!dacapo_workflow_secrets_reveal(&wanted, &revealed, &theirs))
        return refused(&theirs, failure);
    hand_out(secret, out(revealed));
    return true;
}

/* ---- SQL */

static dacapo_workflow_sql_value_t value_in(const dacapo_value *value) {
    dacapo_workflow_sql_value_t theirs = {.tag = (uint8_t)value->type};
    switch (value->type) {
    case DACAPO_NULL:
        break;
    case DACAPO_BOOLEAN:
        theirs.val.boolean = value->boolean;
        break;
    case DACAPO_INTEGER:
        theirs.val.integer = value->integer;
        break;
    case DACAPO_FLOAT:
        theirs.val.float_ = value->number;
        break;
    case DACAPO_TEXT:
    case DACAPO_JSON:
        theirs.val.text = in(value->text);
        break;
    case DACAPO_BYTES:
        theirs.val.bytes = (dacapo_guest_list_u8_t){(uint8_t *)value->bytes.data, value->bytes.len};
        break;
    case DACAPO_TIMESTAMP:
        theirs.val.timestamp = value->timestamp_us;
        break;
    }
    return theirs;
}

static dacapo_value value_out(const dacapo_workflow_sql_value_t *theirs) {
    dacapo_value value = {.type = (dacapo_sql_type)theirs->tag};
    switch (value.type) {
    case DACAPO_NULL:
        break;
    case DACAPO_BOOLEAN:
        value.boolean = theirs->val.boolean;
        break;
    case DACAPO_INTEGER:
        value.integer = theirs->val.integer;
        break;
    case DACAPO_FLOAT:
        value.number = theirs->val.float_;
        break;
    case DACAPO_TEXT:
    case DACAPO_JSON:
        value.text = out(theirs->val.text);
        break;
    case DACAPO_BYTES:
        value.bytes.len = theirs->val.bytes.len;
        value.bytes.data = (uint8_t *)out((text_in_wit){theirs->val.bytes.ptr, theirs->val.bytes.len});
        break;
    case DACAPO_TIMESTAMP:
        value.timestamp_us = theirs->val.timestamp;
        break;
    }
    return value;
}

static dacapo_workflow_sql_list_value_t params_in(const dacapo_value *params, size_t len) {
    dacapo_workflow_sql_list_value_t list = {dacapo_or_die(calloc(len + 1, sizeof(dacapo_workflow_sql_value_t))), len};
    for (size_t i = 0; i < len; i++)
        list.ptr[i] = value_in(&params[i]);
    return list;
}

bool dacapo_query(const char *statement, const dacapo_value *params, size_t params_len, dacapo_rows *rows, dacapo_failure *failure) {
    clear(NULL, failure);
    *rows = (dacapo_rows){0};
    text_in_wit text = in(statement);
    dacapo_workflow_sql_list_value_t list = params_in(params, params_len);
    dacapo_workflow_sql_rows_t received;
    failure_in_wit theirs;
    bool good = dacapo_workflow_sql_query(&text, &list, &received, &theirs);
    free(list.ptr);
    if (!good)
        return refused(&theirs, failure);
    size_t columns = received.columns.len;
    rows->columns_len = columns;
    rows->len = received.rows.len;
    rows->columns = dacapo_or_die(calloc(columns + 1, sizeof *rows->columns));
    rows->values = dacapo_or_die(calloc(rows->len * columns + 1, sizeof *rows->values));
    for (size_t i = 0; i < columns; i++)
        rows->columns[i] = out(received.columns.ptr[i]);
    for (size_t row = 0; row < rows->len; row++) {
        for (size_t i = 0; i < columns; i++)
            rows->values[row * columns + i] = value_out(&received.rows.ptr[row].ptr[i]);
        if (columns > 0)
            free(received.rows.ptr[row].ptr);
    }
    if (columns > 0)
        free(received.columns.ptr);
    if (rows->len > 0)
        free(received.rows.ptr);
    return true;
}

bool dacapo_execute(const char *statement, const dacapo_value *params, size_t params_len, uint64_t *touched, dacapo_failure *failure) {
    clear(NULL, failure);
    text_in_wit text = in(statement);
    dacapo_workflow_sql_list_value_t list = params_in(params, params_len);
    uint64_t count = 0;
    failure_in_wit theirs;
    bool good = dacapo_workflow_sql_execute(&text, &list, &count, &theirs);
    free(list.ptr);
    if (touched != NULL)
        *touched = count;
    return good || refused(&theirs, failure);
}

const dacapo_value *dacapo_column(const dacapo_rows *rows, size_t row, const char *column) {
    for (size_t i = 0; row < rows->len && i < rows->columns_len; i++)
        if (strcmp(rows->columns[i], column) == 0)
            return &rows->values[row * rows->columns_len + i];
    return NULL;
}

void dacapo_rows_free(dacapo_rows *rows) {
    for (size_t i = 0; i < rows->len * rows->columns_len; i++) {
        dacapo_value *value = &rows->values[i];
        if (value->type == DACAPO_TEXT || value->type == DACAPO_JSON)
            free((char *)value->text);
        if (value->type == DACAPO_BYTES)
            free((uint8_t *)value->bytes.data);
    }
    for (size_t i = 0; i < rows->columns_len; i++)
        free(rows->columns[i]);
    free(rows->columns);
    free(rows->values);
    *rows = (dacapo_rows){0};
}
