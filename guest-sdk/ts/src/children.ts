import * as witModule from "dacapo:workflow/children@0.1.0";

import { none, offered, u64 } from "./engine";
import { durable, fromWit } from "./failure";
import { encode } from "./json";
import { ended, read, wholeMs } from "./steps";
import type { Endless, WaitOptions } from "./waits";

const wit = offered(witModule);

/** How a child is started. */
export interface ChildOptions {
  /** Without it: this run's, but for those whose names begin with `dacapo.`. */
  labels?: Record<string, string>;
  /** The child is ended so many milliseconds after its start if it has not ended by then. */
  deadlineMs?: number;
  /** It outlives this run. */
  detached?: boolean;
  /** The queue that it waits in. */
  queue?: string;
  /** What the queue's limits per key go by. */
  concurrencyKey?: string;
  /** -100 to 100; higher goes first. Without it: this run's. */
  priority?: number;
}

/** A child run that was started. */
export class Child<T> {
  /** A UUID. */
  readonly runId: string;
  readonly #name: string;

  constructor(name: string, runId: string) {
    this.#name = name;
    this.runId = runId;
  }

  /**
   * Waits until the child has ended, and answers its output; `undefined` if it has not ended in time.
   *
   * @throws {Failure} the child's, with the code `child-cancelled` if it was cancelled.
   */
  output(options?: WaitOptions<T> & Endless): Promise<T>;
  output(options: WaitOptions<T>): Promise<T | undefined>;
  async output(options: WaitOptions<T> = {}): Promise<T | undefined> {
    const name = `${this.#name}-end`;
    ended(`the wait for child "${this.#name}"`);
    const timeout = options.timeoutMs === undefined ? none : u64(wholeMs(options.timeoutMs));
    const outcome = durable(() => wit.awaitChild(name, this.runId, timeout));
    if (outcome == null) {
      return undefined;
    }
    if (outcome.tag === "err") {
      throw fromWit(outcome.val);
    }
    return read(name, outcome.val, options.parse);
  }
}

/**
 * Starts a run of a deployed workflow, and does not wait for it:
 *
 * ```ts
 * const mail = await child<string>("mail", "shop:mail/api.send", letter);
 * const number = await mail.output();
 * ```
 *
 * The input is given in the JSON form of the workflow's own type.
 *
 * @throws {Failure} with the code `input` if the workflow does not take it, `child-depth` when runs have started each other 32 deep.
 */
export async function child<T>(
  name: string,
  workflow: string,
  input: unknown = null,
  options: ChildOptions = {},
): Promise<Child<T>> {
  ended(`child("${name}")`);
  const made = new wit.Options();
  if (options.labels !== undefined) {
    made.setLabels(Object.entries(options.labels));
  }
  if (options.deadlineMs !== undefined) {
    made.setDeadline(u64(wholeMs(options.deadlineMs)));
  }
  if (options.detached) {
    made.setDetached();
  }
  if (options.queue !== undefined || options.concurrencyKey !== undefined) {
    made.setQueue(options.queue ?? "default", options.concurrencyKey ?? none);
  }
  if (options.priority !== undefined) {
    made.setPriority(options.priority);
  }
  const text = encode(input, `the input of child "${name}"`);
  return new Child<T>(name, durable(() => wit.startChild(name, workflow, text, made as never)));
}
