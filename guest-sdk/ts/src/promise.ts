/**
 * Promises that are settled within the call of a workflow.
 *
 * Nothing that a workflow waits for comes from an event loop: what looks asynchronous is a call of the host, which returns when it is
 * done, or ends the instance. So `async` functions are compiled to generators over these promises, whose reactions are run by
 * {@link settle}, until there are none left.
 */

type Reaction = () => void;
type State = "pending" | "following" | "fulfilled" | "rejected";

const reactions: Reaction[] = [];

/** With so many promises in {@link lost} those are forgotten that were awaited since. */
const LOST_MAX = 1_024;
let lostMax = LOST_MAX;

/** Promises that were rejected while nothing was there to react. */
let lost: { readonly isAwaited: boolean; readonly step: string | undefined; readonly value: unknown }[] = [];

/** The step whose attempt is open: nothing else durable may be called until it is over. */
export const playing: { step: string | undefined } = { step: undefined };

/** The step whose code is running: its body, and what reacts to promises that were made there. Other code goes on while an attempt is open. */
export const within: { step: string | undefined } = { step: undefined };

/** A promise was rejected, and nothing ever awaited it. */
export class Unhandled extends Error {
  readonly reason: unknown;

  constructor(reason: unknown) {
    super(`a promise that nothing awaits was rejected: ${String(reason)}`);
    this.reason = reason;
  }
}

/** A promise by the rules of the language, with a queue of reactions of its own. */
export class WorkflowPromise<T> implements PromiseLike<T> {
  state: State = "pending";
  value: unknown;
  private waiting: Reaction[] = [];
  /** Whether something reacts to it. */
  isAwaited = false;
  /** The step in whose body it was made. */
  readonly step = within.step;

  /** Without an executor it is settled by {@link follow} and {@link end}, once: that takes no functions of its own. */
  constructor(executor?: (resolve: (value: T | PromiseLike<T>) => void, reject: (reason?: unknown) => void) => void) {
    if (executor === undefined) {
      return;
    }
    const { resolve, reject } = this.resolvers();
    try {
      executor(resolve, reject);
    } catch (error) {
      reject(error);
    }
  }

  private resolvers() {
    let done = false;
    const once = (act: (value: unknown) => void) => (value: unknown) => {
      if (!done) {
        done = true;
        act(value);
      }
    };
    return {
      resolve: once((value) => this.follow(value)) as (value: T | PromiseLike<T>) => void,
      reject: once((reason) => this.end("rejected", reason)) as (reason?: unknown) => void,
    };
  }

  private follow(value: unknown): void {
    if (value === this) {
      this.end("rejected", new TypeError("a promise cannot be resolved with itself"));
      return;
    }
    let then: unknown;
    try {
      then = isObject(value) ? (value as PromiseLike<unknown>).then : undefined;
    } catch (error) {
      this.end("rejected", error);
      return;
    }
    if (typeof then !== "function") {
      this.end("fulfilled", value);
      return;
    }
    this.state = "following";
    const { resolve, reject } = this.resolvers();
    reactions.push(() => {
      try {
        (then as (...handlers: unknown[]) => void).call(value, resolve, reject);
      } catch (error) {
        reject(error);
      }
    });
  }

  private end(state: State, value: unknown): void {
    this.state = state;
    this.value = value;
    if (state === "rejected" && !this.isAwaited) {
      lost.push(this);
      // Most are awaited right after: a long run must not keep them all.
      if (lost.length >= lostMax) {
        lost = lost.filter((one) => !one.isAwaited);
        lostMax = Math.max(LOST_MAX, 2 * lost.length);
      }
    }
    reactions.push(...this.waiting);
    this.waiting = [];
  }

  then<A = T, B = never>(
    onFulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): WorkflowPromise<A | B> {
    this.isAwaited = true;
    const next = new WorkflowPromise<A | B>();
    const step = within.step;
    const react = () => {
      const before = within.step;
      within.step = step;
      const isFulfilled = this.state === "fulfilled";
      const handler = (isFulfilled ? onFulfilled : onRejected) as ((value: unknown) => A) | null | undefined;
      try {
        if (typeof handler === "function") {
          next.follow(handler(this.value));
        } else {
          next.end(isFulfilled ? "fulfilled" : "rejected", this.value);
        }
      } catch (error) {
        next.end("rejected", error);
      } finally {
        within.step = before;
      }
    };
    if (this.isSettled()) {
      reactions.push(react);
    } else {
      this.waiting.push(react);
    }
    return next;
  }

  catch<B = never>(onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null): WorkflowPromise<T | B> {
    return this.then(undefined, onRejected);
  }

  finally(onSettled?: (() => void) | null): WorkflowPromise<T> {
    if (typeof onSettled !== "function") {
      return this.then();
    }
    return this.then(
      (value) => WorkflowPromise.resolve(onSettled()).then(() => value),
      (reason) =>
        WorkflowPromise.resolve(onSettled()).then(() => {
          throw reason;
        }),
    );
  }

  isSettled(): boolean {
    return this.state === "fulfilled" || this.state === "rejected";
  }

  get [Symbol.toStringTag](): string {
    return "Promise";
  }

  static resolve<T>(value?: T | PromiseLike<T>): WorkflowPromise<T> {
    return value instanceof WorkflowPromise ? value : new WorkflowPromise<T>((resolve) => resolve(value as T));
  }

  static reject<T = never>(reason?: unknown): WorkflowPromise<T> {
    return new WorkflowPromise<T>((_, reject) => reject(reason));
  }

  static try<T>(act: (...args: unknown[]) => T | PromiseLike<T>, ...args: unknown[]): WorkflowPromise<T> {
    return new WorkflowPromise<T>((resolve) => resolve(act(...args)));
  }

  static withResolvers<T>() {
    let resolve!: (value: T | PromiseLike<T>) => void;
    let reject!: (reason?: unknown) => void;
    const promise = new WorkflowPromise<T>((yes, no) => {
      resolve = yes;
      reject = no;
    });
    return { promise, resolve, reject };
  }

  static all<T>(values: Iterable<T | PromiseLike<T>>): WorkflowPromise<T[]> {
    return gather(values, (outcomes, index, value) => {
      outcomes[index] = value as T;
    });
  }

  static allSettled<T>(values: Iterable<T | PromiseLike<T>>): WorkflowPromise<PromiseSettledResult<T>[]> {
    return gather<T, PromiseSettledResult<T>>(
      values,
      (outcomes, index, value) => {
        outcomes[index] = { status: "fulfilled", value: value as T };
      },
      (outcomes, index, reason) => {
        outcomes[index] = { status: "rejected", reason };
      },
    );
  }

  static any<T>(values: Iterable<T | PromiseLike<T>>): WorkflowPromise<T> {
    return new WorkflowPromise<T>((resolve, reject) => {
      const reasons: unknown[] = [];
      let open = 1;
      const close = () => {
        open -= 1;
        if (open === 0) {
          const error = new Error("all promises were rejected") as Error & { errors: unknown[] };
          error.errors = reasons;
          reject(error);
        }
      };
      let index = 0;
      for (const value of values) {
        const at = index++;
        open += 1;
        WorkflowPromise.resolve(value).then(resolve, (reason) => {
          reasons[at] = reason;
          close();
        });
      }
      close();
    });
  }

  static race<T>(values: Iterable<T | PromiseLike<T>>): WorkflowPromise<T> {
    return new WorkflowPromise<T>((resolve, reject) => {
      for (const value of values) {
        WorkflowPromise.resolve(value).then(resolve, reject);
      }
    });
  }
}

function gather<T, O>(
  values: Iterable<T | PromiseLike<T>>,
  fulfilled: (outcomes: O[], index: number, value: unknown) => void,
  rejected?: (outcomes: O[], index: number, reason: unknown) => void,
): WorkflowPromise<O[]> {
  return new WorkflowPromise<O[]>((resolve, reject) => {
    const outcomes: O[] = [];
    let open = 1;
    const close = () => {
      open -= 1;
      if (open === 0) {
        resolve(outcomes);
      }
    };
    let index = 0;
    for (const value of values) {
      const at = index++;
      open += 1;
      WorkflowPromise.resolve(value).then(
        (outcome) => {
          fulfilled(outcomes, at, outcome);
          close();
        },
        rejected
          ? (reason) => {
              rejected(outcomes, at, reason);
              close();
            }
          : reject,
      );
    }
    close();
  });
}

function isObject(value: unknown): value is object {
  return (typeof value === "object" && value !== null) || typeof value === "function";
}

/**
 * What a promise came to, after all reactions that there are have been run.
 *
 * Another promise that was rejected, and that nothing awaits, is thrown if all went well otherwise; what was made in a step's body is handed
 * to `report`.
 */
export function settle<T>(value: T | PromiseLike<T>, report: (reason: unknown, step: string) => void): T {
  const promise = WorkflowPromise.resolve(value);
  promise.isAwaited = true;
  // A loop by index: reactions bring new ones, and taking from the front would move the rest each time.
  for (let next = 0; next < reactions.length; next++) {
    reactions[next]!();
    if (next >= 1_024) {
      reactions.splice(0, next + 1);
      next = -1;
    }
  }
  reactions.length = 0;
  const unhandled = lost.filter((one) => !one.isAwaited);
  lost = [];
  for (const { step, value } of unhandled) {
    if (step !== undefined) {
      report(value, step);
    }
  }
  const first = unhandled.find(({ step }) => step === undefined);
  if (first !== undefined && promise.state !== "rejected") {
    throw new Unhandled(first.value);
  }
  if (promise.state === "fulfilled") {
    return promise.value as T;
  }
  if (promise.state === "rejected") {
    throw promise.value;
  }
  throw new Error(
    "the workflow awaits a promise that nothing will ever resolve: only what the kit offers can be waited for, such as sleep() and waitFor()",
  );
}
