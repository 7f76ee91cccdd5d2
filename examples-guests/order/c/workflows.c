/* An order: the same in each language that has a kit, and with the same journal. */

#include <stdlib.h>

#include "dacapo.h"

typedef exports_shop_orders_orders_item_t item;
typedef exports_shop_orders_orders_order_t order;
typedef exports_shop_orders_orders_parcel_t parcel;
typedef exports_shop_orders_orders_problem_t problem;
typedef exports_shop_orders_orders_receipt_t receipt;

static const uint64_t day_ms = 24 * 60 * 60 * 1000;

/* JSON of a text that is formatted like printf's; every step here answers one. */
static bool answer(char **outcome, char *text) {
    *outcome = dacapo_json("%s", text);
    free(text);
    return true;
}

static bool reserve(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    const order *order = context;
    uint32_t items = 0;
    for (size_t i = 0; i < order->items.len; i++)
        items += order->items.ptr[i].quantity;
    *outcome = dacapo_json("{\"id\":\"hold-%u\",\"items\":%u}", order->number, items);
    return true;
}

/* The bank is busy at first. */
static bool charge(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    const order *order = context;
    if (attempt->number == 1)
        return dacapo_retry(failure, "busy", "the bank is busy");
    return answer(outcome, dacapo_format("charge-%u", order->number));
}

static bool release(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    const char *hold = context;
    return answer(outcome, dacapo_format("%s is released", hold));
}

static bool pick_item(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    const item *item = context;
    return answer(outcome, dacapo_format("%u x %.*s", item->quantity, DACAPO_ARGS(item->sku)));
}

static bool pick(void *context, size_t index, char **outcome, dacapo_failure *failure) {
    const order *order = context;
    return dacapo_step("pick", NULL, pick_item, &order->items.ptr[index], outcome, failure);
}

static bool label(void *context, dacapo_attempt *attempt, char **outcome, dacapo_failure *failure) {
    const parcel *parcel = context;
    return answer(outcome, dacapo_format("%.*s-%zu", DACAPO_ARGS(parcel->customer), parcel->lines.len));
}

/* A text in JSON as a text of WIT's, or none of it if it is another form of JSON. */
static dacapo_guest_string_t text_of(const char *name, const char *json) {
    char *text = dacapo_json_string(json);
    if (text == NULL)
        dacapo_reject(name, "expected a text, got %s", json == NULL ? "nothing" : json);
    return dacapo_string(text);
}

/* The input of `ship`. */
static char *parcel_of(const order *order, char **picked) {
    char *lines = dacapo_format("%s", picked[0]);
    for (size_t i = 1; i < order->items.len; i++)
        lines = dacapo_format("%s,%s", lines, picked[i]);
    return dacapo_json("{\"customer\":%.*s,\"lines\":[%p]}", DACAPO_ARGS(order->customer), lines);
}

static bool failed(dacapo_failure *failure, problem *problem) {
    problem->tag = EXPORTS_SHOP_ORDERS_ORDERS_PROBLEM_FAILED;
    problem->val.failed = dacapo_string(failure->message);
    return false;
}

bool exports_shop_orders_orders_place(order *order, receipt *receipt, problem *problem) {
    dacapo_failure failure;
    char *hold, *charged, *payment, *tracking;
    if (!dacapo_step("reserve", NULL, reserve, order, &hold, &failure))
        return failed(&failure, problem);
    dacapo_step_options patient = {.attempts = 3, .backoff_ms = 1000};
    if (!dacapo_step("charge", &patient, charge, order, &charged, &failure))
        return failed(&failure, problem);
    if (!dacapo_wait_for("paid", day_ms, &payment, &failure))
        return failed(&failure, problem);
    if (payment == NULL) {
        char *id = dacapo_json_string(dacapo_json_member(hold, "id"));
        if (!dacapo_step("release", NULL, release, id, NULL, &failure))
            return failed(&failure, problem);
        problem->tag = EXPORTS_SHOP_ORDERS_ORDERS_PROBLEM_NOT_PAID;
        return false;
    }
    char **picked = calloc(order->items.len + 1, sizeof *picked);
    if (!dacapo_map("pick", order->items.len, 2, pick, order, picked, &failure))
        return failed(&failure, problem);
    if (!dacapo_child("ship", "shop:orders/orders.ship", parcel_of(order, picked), NULL, &tracking, &failure))
        return failed(&failure, problem);
    receipt->number = order->number;
    receipt->charge = text_of("charge", charged);
    receipt->payment = text_of("paid", dacapo_json_member(payment, "reference"));
    receipt->picked.len = order->items.len;
    receipt->picked.ptr = calloc(order->items.len, sizeof *receipt->picked.ptr);
    for (size_t i = 0; i < order->items.len; i++)
        receipt->picked.ptr[i] = text_of("pick", picked[i]);
    receipt->tracking = text_of("ship-end", tracking);
    return true;
}

bool exports_shop_orders_orders_ship(parcel *parcel, dacapo_guest_string_t *tracking, dacapo_guest_string_t *error) {
    dacapo_failure failure;
    char *made;
    if (!dacapo_step("label", NULL, label, parcel, &made, &failure)) {
        *error = dacapo_string(failure.message);
        return false;
    }
    *tracking = text_of("label", made);
    return true;
}
