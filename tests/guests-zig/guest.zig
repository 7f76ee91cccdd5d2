const std = @import("std");

// What the canonical ABI makes of WIT's types in memory is what C makes of these.
const Text = extern struct { ptr: [*]const u8, len: usize };
const Failure = extern struct { code: Text, message: Text, retryable: bool, details: extern struct { is_some: bool, json: Text } };
const Outcome = extern struct { is_err: bool, as: extern union { json: Text, failure: Failure } };
const State = extern struct { is_new: bool, as: extern union { recorded: Outcome, attempt: u32 } };
const Begun = extern struct { is_err: bool, as: extern union { state: State, failure: Failure } };
const Slept = extern struct { is_err: bool, failure: Failure };
const Answer = extern struct { is_err: bool, as: extern union { total: u32, message: Text } };

// The last parameter is where the result goes. An option that is none, and the cases that an outcome is not, are zeros.
extern "dacapo:workflow/steps@0.1.0" fn @"step-run"(name: [*]const u8, len: usize, has_options: u32, options: u32, to: *Begun) void;
extern "dacapo:workflow/steps@0.1.0" fn @"step-end"(attempt: u32, is_err: u32, json: [*]const u8, len: usize, u32, u32, u32, u32, u32, u32, to: *Outcome) void;
extern "dacapo:workflow/waits@0.1.0" fn sleep(name: [*]const u8, len: usize, ms: u64, to: *Slept) void;

var answer: Answer = undefined;

export fn @"shop:till/till@1.0.0#total"(prices: [*]const u32, len: usize) *Answer {
    var begun: Begun = undefined;
    @"step-run"("add-up", 6, 0, 0, &begun);
    if (begun.is_err) return failed(begun.as.failure);
    var outcome = begun.as.state.as.recorded;
    if (begun.as.state.is_new) {
        var sum: u32 = 0;
        for (prices[0..len]) |price| sum += price;
        var digits: [10]u8 = undefined;
        const json = std.fmt.bufPrint(&digits, "{d}", .{sum}) catch unreachable;
        @"step-end"(begun.as.state.as.attempt, 0, json.ptr, json.len, 0, 0, 0, 0, 0, 0, &outcome);
    }
    if (outcome.is_err) return failed(outcome.as.failure);
    const recorded = outcome.as.json;
    var slept: Slept = undefined;
    sleep("a-minute", 8, 60_000, &slept);
    if (slept.is_err) return failed(slept.failure);
    answer = .{ .is_err = false, .as = .{ .total = std.fmt.parseInt(u32, recorded.ptr[0..recorded.len], 10) catch unreachable } };
    return &answer;
}

fn failed(failure: Failure) *Answer {
    answer = .{ .is_err = true, .as = .{ .message = failure.message } };
    return &answer;
}

// Memory for what the host hands over. It is never freed: it is gone when the run waits or ends.
var memory = std.heap.FixedBufferAllocator.init(&pages);
var pages: [1 << 20]u8 = undefined;

export fn cabi_realloc(old: ?[*]u8, old_len: usize, alignment: usize, len: usize) [*]u8 {
    const new = memory.allocator().rawAlloc(len, .fromByteUnits(alignment), 0) orelse @trap();
    if (old) |bytes| @memcpy(new[0..old_len], bytes[0..old_len]);
    return new;
}
