import * as contextModule from "dacapo:workflow/context@0.1.0";
import * as witModule from "dacapo:workflow/steps@0.1.0";

import { none, offered, u64 } from "./engine";
import { Failure, Fatal, Retry, durable, fromWit, toWit } from "./failure";
import { encode } from "./json";
import { playing, within } from "./promise";

const context = offered(contextModule);
const wit = offered(witModule);

/** How often a step is tried, and how long an attempt may take. What is not said is as the manifest or the operator says. */
export interface StepOptions<T = unknown> {
  /** Attempts in all, the first one included: 1 to 1,000. */
  attempts?: number;
  /** Milliseconds between the first two attempts. */
  backoffMs?: number;
  /** By how much that grows from one attempt to the next: 1 to 1,000. */
  factor?: number;
  /** It never grows beyond this, in milliseconds. */
  backoffMaxMs?: number;
  /** How long one attempt may take, in milliseconds. */
  timeoutMs?: number;
  /** Makes the step's outcome of what was recorded; if it throws, the run is blocked until code comes that can read it. */
  parse?: (recorded: unknown) => T;
}

/** The attempt that is open. */
export interface Attempt {
  /** 1 for the first. */
  readonly number: number;
  /** The same in all attempts at this step, and at no other step of any run. */
  readonly idempotencyKey: string;
}

/** Asks the host for what a body reads, and for no more: most bodies read neither, and a call takes as long as much else in a step. */
function openAttempt(handle: { number(): number }): { attempt: Attempt; close(): void } {
  let isOpen = true;
  let number: number | undefined;
  let key: string | undefined;
  const need = (what: string) => {
    if (!isOpen) {
      const message = `the attempt's ${what} was read after its step had ended: read it in the step's body`;
      throw new Failure(message, { code: "misuse", retryable: false });
    }
  };
  const attempt = {
    get number() {
      if (number === undefined) {
        need("number");
        number = handle.number();
      }
      return number;
    },
    get idempotencyKey() {
      if (key === undefined) {
        need("idempotencyKey");
        key = context.idempotencyKey() ?? "";
      }
      return key;
    },
  };
  return {
    attempt,
    close: () => {
      isOpen = false;
    },
  };
}

type Body<T> = (attempt: Attempt) => T | PromiseLike<T>;

/**
 * Runs a step's body, or hands back what was recorded when it ran before.
 *
 * ```ts
 * const charge = await step("charge", { attempts: 5 }, async () => bank.charge(order));
 * ```
 *
 * The outcome is recorded as JSON, and has been through it the first time, too: a `Date` comes back as text. Inside the body clock and
 * randomness are real, and requests can be sent.
 *
 * @throws {Failure} once no attempt is left, or at once for {@link Fatal}; with the code `cancelled` when the run is being ended.
 */
export function step<T>(name: string, body: Body<T>): Promise<T>;
export function step<T>(name: string, options: StepOptions<T>, body: Body<T>): Promise<T>;
export async function step<T>(name: string, first: StepOptions<T> | Body<T>, second?: Body<T>): Promise<T> {
  const [options, body] = typeof first === "function" ? [{} as StepOptions<T>, first] : [first, second!];
  ended(`step "${name}"`);
  const state = durable(() => wit.stepRun(name, witOptions(options)));
  if (state.tag === "recorded") {
    if (state.val.tag === "err") {
      throw fromWit(state.val.val);
    }
    return read(name, state.val.val, options.parse);
  }
  const attempt = state.val;
  const open = openAttempt(attempt);
  playing.step = name;
  let outcome: { tag: "ok"; val: string } | { tag: "err"; val: ReturnType<typeof toWit> };
  try {
    const value = await called(name, () => body(open.attempt));
    outcome = { tag: "ok", val: encode(value, `the outcome of step "${name}"`) };
  } catch (thrown) {
    let error: unknown = thrown;
    try {
      if (error instanceof Retry && error.afterMs !== undefined) {
        attempt.retryAfter(u64(wholeMs(error.afterMs)));
      }
    } catch (problem) {
      error = problem;
    }
    outcome = { tag: "err", val: failureOf(error, `step "${name}"`) };
  }
  playing.step = undefined;
  open.close();
  const recorded = durable(() => wit.stepEnd(attempt, outcome));
  return read(name, recorded, options.parse);
}

/** Calls a step's body: what it makes is the step's. */
function called<T>(step: string, body: () => T): T {
  const before = within.step;
  within.step = step;
  try {
    return body();
  } finally {
    within.step = before;
  }
}

/** Nothing durable may be called while a step's body runs: two steps at once need branches. */
export function ended(what: string): void {
  const open = playing.step;
  if (open !== undefined) {
    const message =
      `${what} was called while step "${open}" is running: await one before the next; what is to happen at the same time ` +
      "goes into parallel() or mapParallel(), and a step's body calls no other steps or waits";
    context.fail({ code: "misuse", message, retryable: false, details: none });
  }
}

/** The failure that something thrown is; `what` names what has failed. */
export function failureOf(error: unknown, what: string): ReturnType<typeof toWit> {
  try {
    return toWit(error);
  } catch (problem) {
    const message = `the details of the failure of ${what} cannot be recorded: ${String(problem)}`;
    return toWit(new Fatal(message, { code: "encode" }));
  }
}

/** Reads what was recorded; what the code cannot read blocks the run, since guessing would be worse than waiting. */
export function read<T>(name: string, text: string, parse?: (recorded: unknown) => T): T {
  const value: unknown = JSON.parse(text);
  if (!parse) {
    return value as T;
  }
  try {
    return parse(value);
  } catch (error) {
    wit.stepReject(name, String(error));
    throw error;
  }
}

function witOptions(options: Omit<StepOptions, "parse">) {
  const { attempts, backoffMs, factor, backoffMaxMs, timeoutMs } = options;
  const retry = [attempts, backoffMs, factor, backoffMaxMs].some((part) => part !== undefined);
  if (!retry && timeoutMs === undefined) {
    return none;
  }
  const made = new wit.Options();
  if (retry) {
    made.setRetry({
      maxAttempts: attempts ?? 3,
      initialMs: u64(wholeMs(backoffMs ?? 1_000)),
      factor: factor ?? 2,
      maxMs: u64(wholeMs(backoffMaxMs ?? 60_000)),
    });
  }
  if (timeoutMs !== undefined) {
    made.setTimeout(u64(wholeMs(timeoutMs)));
  }
  return made as never;
}

/** Whole milliseconds, rounded up. */
export function wholeMs(ms: number): number {
  if (!Number.isFinite(ms) || ms < 0) {
    throw new Failure(`expected a number of milliseconds, got ${ms}`, { code: "misuse", retryable: false });
  }
  return Math.ceil(ms);
}
