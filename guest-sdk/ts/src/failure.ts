import type { Failure as WitFailure } from "dacapo:workflow/types@0.1.0";

import { none, thrown } from "./engine";

/** What may be said of a failure beside its message. */
export interface FailureOptions {
  /** A short, stable word for programs: `card-declined`. Without it: `error`. */
  code?: string;
  /** Whether trying the same thing again could help. Without it: yes. */
  retryable?: boolean;
  /** Whatever else a program might want to know; JSON can carry it. */
  details?: unknown;
}

/**
 * Something went wrong that is part of the workflow's story: recorded, and shown to people. Thrown in a step's body it is the failure of
 * that attempt; a step that has failed for good throws it, and so does any other durable call that comes to nothing.
 */
export class Failure extends Error {
  readonly code: string;
  readonly retryable: boolean;
  readonly details: unknown;

  constructor(message: string, options: FailureOptions = {}) {
    super(message);
    this.name = new.target.name;
    this.code = options.code ?? "error";
    this.retryable = options.retryable ?? true;
    this.details = options.details;
  }

  /** Whether it says that the run is being ended. Steps that are run from here on, to compensate, work as usual. */
  get isCancelled(): boolean {
    return this.code === "cancelled";
  }
}

/** A failure that trying again will not mend. */
export class Fatal extends Failure {
  constructor(message: string, options: Omit<FailureOptions, "retryable"> = {}) {
    super(message, { ...options, retryable: false });
  }
}

/** A failure that may be gone at the next attempt, which begins no sooner than `afterMs` milliseconds from now. */
export class Retry extends Failure {
  readonly afterMs: number | undefined;

  constructor(message: string, options: Omit<FailureOptions, "retryable"> & { afterMs?: number } = {}) {
    super(message, { ...options, retryable: true });
    this.afterMs = options.afterMs;
  }
}

/** Thrown out of a workflow: it returns `value` as the error that its type in WIT says. */
export class WorkflowError<E = unknown> extends Error {
  readonly value: E;

  constructor(value: E) {
    super(typeof value === "string" ? value : JSON.stringify(value));
    this.name = "WorkflowError";
    this.value = value;
  }
}

/** Carries out a call of the host; what it throws is a {@link Failure}. */
export function durable<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw fromWit(thrown(error));
  }
}

/** The exception for a failure that the host has answered. */
export function fromWit(failure: unknown): Error {
  if (!isWitFailure(failure)) {
    return failure instanceof Error ? failure : new Error(String(failure));
  }
  return new Failure(failure.message, {
    code: failure.code,
    retryable: failure.retryable,
    details: failure.details == null ? undefined : JSON.parse(failure.details),
  });
}

function isWitFailure(value: unknown): value is WitFailure {
  return typeof value === "object" && value !== null && "code" in value && "message" in value && "retryable" in value;
}

/** The failure that something thrown is. */
export function toWit(error: unknown): WitFailure {
  if (error instanceof Failure) {
    const details = error.details === undefined ? none : JSON.stringify(error.details);
    return { code: error.code, message: error.message, retryable: error.retryable, details };
  }
  const { code, message } = thrownObject(error);
  return { code: code ?? "error", message: message ?? said(error), retryable: true, details: trace(error) };
}

/** What was thrown, with the kind of error in front where that says something: the code says already that it is an error. */
function said(error: unknown): string {
  const isPlain = error instanceof Error && error.name === "Error" && error.message !== "";
  return isPlain ? error.message : String(error);
}

/** Who throws an object that is no error means its code and its message, if it has them. */
function thrownObject(error: unknown): { code?: string; message?: string } {
  if (typeof error !== "object" || error === null || error instanceof Error) {
    return {};
  }
  const { code, message } = error as { code?: unknown; message?: unknown };
  return {
    code: typeof code === "string" && code !== "" ? code : undefined,
    message: typeof message === "string" && message !== "" ? message : shown(error),
  };
}

function shown(error: object): string {
  try {
    return `thrown: ${JSON.stringify(error)}`;
  } catch {
    return String(error);
  }
}

/** Where `dacapo build` says which lines of the bundle come from which lines of the project's own files. */
const SOURCES: unique symbol = Symbol.for("dacapo.sources");

type Sources = [file: string, lines: [at: number, from: number, count: number][]][];

/** A stack with the lines of the code that somebody wrote in the place of those of the bundle. */
export function inSources(stack: string): string {
  const sources = (globalThis as { [SOURCES]?: Sources })[SOURCES] ?? [];
  return stack.replace(/[^\s(@]*bundle\.js:(\d+)(:\d+)?/g, (place, line: string) => {
    const at = Number(line);
    for (const [file, lines] of sources) {
      const run = lines.find(([first, , count]) => at >= first && at < first + count);
      if (run !== undefined) {
        return `${file}:${run[1] + at - run[0]}`;
      }
    }
    return place;
  });
}

/** Where something was thrown, as the details of a failure. */
export function trace(error: unknown): string {
  const stack = error instanceof Error && typeof error.stack === "string" ? inSources(error.stack) : "";
  const isObject = typeof error === "object" && error !== null && !(error instanceof Error);
  const text = isObject ? shown(error) : String(error);
  return JSON.stringify({ trace: stack.startsWith(text) ? stack : `${text}\n${stack}` });
}
