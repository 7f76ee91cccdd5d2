/* Workflows that do nothing, to measure C by: the same as in the other languages. */

#include <string.h>

#include "dacapo.h"

static bool nothing(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    return true;
}

uint32_t exports_bench_noop_noop_noop_steps(uint32_t n) {
    dacapo_failure failure;
    for (uint32_t i = 0; i < n; i++)
        if (!dacapo_step("s", NULL, nothing, NULL, NULL, &failure))
            dacapo_fail(&failure);
    return n;
}

bool exports_bench_noop_noop_wait_event(uint32_t *length, dacapo_guest_string_t *error) {
    dacapo_failure failure;
    char *payload;
    if (!dacapo_wait_for("go", DACAPO_FOREVER, &payload, &failure)) {
        *error = dacapo_string(failure.message);
        return false;
    }
    *length = payload == NULL ? 0 : (uint32_t)strlen(payload);
    return true;
}
