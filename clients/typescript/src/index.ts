/**
 * Starts, watches and steers workflow runs, over Postgres alone. It has no dependencies: a client, a pool or a transaction of `pg` will do,
 * and so will anything else that has `query(text, params)`.
 *
 * ```ts
 * import pg from "pg";
 * import { Dacapo } from "dacapo-client";
 * import { PLACE } from "./orders.js"; // dacapo refs --lang ts wit --to orders.ts
 *
 * const dacapo = new Dacapo(new pg.Pool());
 * const run = await dacapo.start(PLACE, { number: 7, customer: "Ada", items: [] });
 * await dacapo.sendEvent(run, "paid", { reference: "bank-1" });
 * const receipt = await dacapo.output(run);
 * ```
 */

/** What asks the database: a `Client`, `PoolClient` or `Pool` of `pg`, or anything that answers in the same way. */
export interface Queryable {
  query(text: string, params: unknown[]): Promise<{ rows: unknown[] }>;
}

/** JSON as it is. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Events of a workflow that declares none: any will do. */
export type AnyEvents = Record<string, any>;

declare const types: unique symbol;

/** A workflow by its full name, with the types of its input, its output and its events. `dacapo refs --lang ts` writes these. */
export interface WorkflowRef<Input, Output, Events = AnyEvents> {
  readonly name: string;
  /** Only for the type checker. */
  readonly [types]?: { input: Input; output: Output; events: Events };
  /** A run of this workflow whose id was kept somewhere. */
  run(id: string): RunRef<Output, Events>;
}

/** A run by its id, with the types of its output and its events. */
export interface RunRef<Output = unknown, Events = AnyEvents> {
  readonly id: string;
  /** Only for the type checker. */
  readonly [types]?: { output: Output; events: Events };
}

/** A reference to the workflow `ns:pkg/interface.function`. */
export function ref<Input, Output, Events = AnyEvents>(name: string): WorkflowRef<Input, Output, Events> {
  return { name, run: (id) => ({ id }) };
}

/** A length of time as Postgres reads it: `10 minutes`, `2 hours`, `500 milliseconds`. */
export type Interval = string;

/** How a run is started. */
export interface StartOptions {
  /** At most one run of the workflow has this key while it is kept: starting it again answers with that run. */
  key?: string;
  /** To find the run by. */
  labels?: Record<string, string>;
  /** The named queue that it goes to. */
  queue?: string;
  /** -100 to 100, or lowest, low, normal, high, highest. */
  priority?: number | string;
  /** What the queue's limits per key go by. */
  concurrencyKey?: string;
  /** How much later it begins. */
  delay?: Interval;
  /** When it begins. */
  at?: Date | string;
  /** It fails when it has not ended by itself this long after its start. */
  deadline?: Interval;
  /** At most one active run of the workflow has this key; what happens to another start is said by `onConflict`. */
  singleton?: string;
  onConflict?: "reject" | "queue" | "replace";
  /** Starts with this key that come within `debounceFor` of each other are one run, with the newest input. */
  debounce?: string;
  debounceFor?: Interval;
  debounceMax?: Interval;
}

/** Why a run, or a step of it, failed. */
export interface Failure {
  /** A short word for programs. */
  code: string;
  /** A sentence for people. */
  message: string;
  retryable: boolean;
  /** What else there is; the error that the workflow returned, if it did. */
  details?: Json;
}

/** What a run is doing. */
export type Status =
  | "queued"
  | "running"
  | "suspended"
  | "paused"
  | "blocked"
  | "cancelling"
  | "completed"
  | "failed"
  | "cancelled";

/** A run as it stands. */
export interface Run<Output = unknown> {
  id: string;
  /** The full name of its workflow. */
  workflow: string;
  status: Status;
  input: Json;
  /** What it returned, once it is completed. */
  output: Output | null;
  /** Why it failed, or what it said when it was cancelled. */
  failure: Failure | null;
  labels: Record<string, string>;
  /** What it waits for, while it waits: event, time, retry, pause, boundary, blocked, queue, delay, workflow, singleton. */
  waitingFor: string | null;
  createdAt: string;
  finishedAt: string | null;
}

/** What went wrong, as a word for programs. */
export type ErrorCode =
  /** What was given is not what it should be; the message says where. */
  | "bad-input"
  /** There is no such run, workflow or queue. */
  | "not-found"
  /** A name stands for several workflows. */
  | "ambiguous"
  /** It cannot be done as things stand: a run has ended, a key belongs to another input. */
  | "conflict"
  /** The run did not end in time. */
  | "timed-out"
  /** The run failed. */
  | "failed"
  /** The run was cancelled. */
  | "cancelled";

/** Something that was asked for cannot be. Errors of the driver and of the database itself stay what they are. */
export class DacapoError extends Error {
  readonly code: ErrorCode;
  /** What to do about it. */
  readonly hint?: string;
  /** Why the run failed, if it did. */
  readonly failure?: Failure;

  constructor(code: ErrorCode, message: string, more: { hint?: string; failure?: Failure; cause?: unknown } = {}) {
    super(message, { cause: more.cause });
    this.name = "DacapoError";
    this.code = code;
    this.hint = more.hint;
    this.failure = more.failure;
  }
}

const ENDED: readonly Status[] = ["completed", "failed", "cancelled"];
const FIRST_LOOK_MS = 50;
const LOOK_MAX_MS = 1000;

declare function setTimeout(handler: () => void, ms: number): unknown;

/** A client. */
export class Dacapo {
  readonly #database: Queryable;
  readonly #namespace: string;

  constructor(database: Queryable, options: { namespace?: string } = {}) {
    this.#database = database;
    this.#namespace = options.namespace ?? "default";
  }

  /** The same over another connection. Over one with an open transaction, what is started and sent is there if and when that commits. */
  within(database: Queryable): Dacapo {
    return new Dacapo(database, { namespace: this.#namespace });
  }

  /** Starts a run. The input is checked against the workflow's types first. */
  async start<Input, Output, Events>(
    workflow: WorkflowRef<Input, Output, Events>,
    input: NoInfer<Input>,
    options: StartOptions = {},
  ): Promise<RunRef<Output, Events>> {
    const text = encode(`the input of ${workflow.name}`, input);
    const all = encode("the options", { ...options, namespace: this.#namespace });
    const id = await this.#ask("select dacapo.start($1::text, $2::text, $3::jsonb)::text as answer", [
      workflow.name,
      text,
      all,
    ]);
    return workflow.run(id as string);
  }

  /**
   * Sends an event, which is kept if the run does not wait for it yet. Events with the same `id` are one event, for banks that call twice:
   * the second one is a `duplicate`.
   */
  async sendEvent<Output, Events, Name extends keyof Events & string>(
    run: RunRef<Output, Events>,
    name: Name,
    payload: Events[Name],
    options: { id?: string } = {},
  ): Promise<"sent" | "duplicate"> {
    const text = encode(`the payload of ${name}`, payload);
    const answer = await this.#ask(
      "select dacapo.send_event($1::uuid, $2::text, $3::jsonb, $4::jsonb) as answer",
      [run.id, name, text, encode("the options", options)],
    );
    return answer as "sent" | "duplicate";
  }

  /** How a run stands. */
  async get<Output>(run: RunRef<Output, unknown>): Promise<Run<Output>> {
    const text = await this.#ask(
      `select json_build_object(
         'id', run.id, 'workflow', run.workflow, 'status', run_status.status, 'input', run.input::json, 'output', run.output::json,
         'failure', run.failure::json, 'labels', run.labels, 'waitingFor', run_status.waiting_for,
         'createdAt', run.created_at, 'finishedAt', run.finished_at
       )::text as answer
       from dacapo.run join dacapo.run_status on run_status.run_id = run.id
       where run.id = $1::uuid and run.namespace = $2`,
      [run.id, this.#namespace],
    );
    if (text === undefined) {
      throw new DacapoError("not-found", `there is no run ${run.id}`);
    }
    return JSON.parse(text as string) as Run<Output>;
  }

  /**
   * Waits until a run has ended, however it ends, and looks again and again. Not over a transaction in which the run was started: nobody
   * sees it before that commits.
   */
  async wait<Output>(
    run: RunRef<Output, unknown>,
    options: { timeoutMs?: number } = {},
  ): Promise<Run<Output>> {
    const until = Date.now() + (options.timeoutMs ?? Infinity);
    for (let pause = FIRST_LOOK_MS; ; pause = Math.min(2 * pause, LOOK_MAX_MS)) {
      const now = await this.get(run);
      if (ENDED.includes(now.status)) {
        return now;
      }
      const left = until - Date.now();
      if (left <= 0) {
        throw new DacapoError("timed-out", `run ${run.id} has not ended in ${options.timeoutMs} ms: it is ${now.status}`);
      }
      await new Promise<void>((resolve) => setTimeout(resolve, Math.min(pause, left)));
    }
  }

  /** Waits until a run has ended, and takes what it returned. That it failed or was cancelled is an error. */
  async output<Output>(
    run: RunRef<Output, unknown>,
    options: { timeoutMs?: number } = {},
  ): Promise<Output> {
    const ended = await this.wait(run, options);
    const failure = ended.failure ?? undefined;
    if (ended.status === "failed") {
      throw new DacapoError("failed", `run ${run.id} failed: ${failure?.code}: ${failure?.message}`, { failure });
    }
    if (ended.status === "cancelled") {
      throw new DacapoError("cancelled", `run ${run.id} was cancelled`, { failure });
    }
    return ended.output as Output;
  }

  /** Asks a run to pause, at its next step or wait if a worker plays it. */
  pause(run: RunRef<unknown, unknown>): Promise<void> {
    return this.#request("pause", run.id, ["paused-now", "pausing"]);
  }

  /** Lets a paused or blocked run go on. */
  resume(run: RunRef<unknown, unknown>): Promise<void> {
    return this.#request("resume", run.id, ["resumed"]);
  }

  /** Asks a run to end. Its code may compensate first. */
  cancel(run: RunRef<unknown, unknown>): Promise<void> {
    return this.#request("cancel", run.id, ["cancelled-now", "cancelling-now"]);
  }

  async #request(verb: "pause" | "resume" | "cancel", run: string, done: string[]): Promise<void> {
    const answer = (await this.#ask(`select dacapo.${verb}($1::uuid) as answer`, [run])) as string;
    if (answer === "not-found") {
      throw new DacapoError("not-found", `there is no run ${run}`);
    }
    if (!done.includes(answer)) {
      throw new DacapoError("conflict", `cannot ${verb} run ${run}: it is ${answer}`);
    }
  }

  /** The one value of the one row; undefined if there is no row. */
  async #ask(text: string, params: unknown[]): Promise<unknown> {
    try {
      const { rows } = await this.#database.query(text, params);
      return (rows[0] as { answer: unknown } | undefined)?.answer;
    } catch (error) {
      throw understood(error);
    }
  }
}

/** What Dacapo's functions raise, by its SQLSTATE. */
const CODES: Record<string, ErrorCode> = {
  "22004": "bad-input",
  "22023": "bad-input",
  "22P02": "bad-input",
  P0002: "not-found",
  "42P09": "ambiguous",
  "23505": "conflict",
  "55000": "conflict",
};

function understood(error: unknown): unknown {
  const { code, message, hint, routine } = (error ?? {}) as Record<string, string | undefined>;
  const known = code === undefined ? undefined : CODES[code];
  // A uuid that is none is refused before a function is called; what else the database says of itself is not ours to explain.
  if (known === undefined || (routine !== "exec_stmt_raise" && code !== "22P02")) {
    return error;
  }
  return new DacapoError(known, message ?? "", { hint, cause: error });
}

/** JSON text. What JSON would leave out or change without a word is an error that names its place. */
function encode(what: string, value: unknown): string {
  const path: string[] = [];
  check(value, path, what, []);
  return JSON.stringify(value);
}

function check(value: unknown, path: string[], what: string, above: object[]): void {
  const refuse = (why: string): never => {
    throw new DacapoError("bad-input", `${[what, ...path].join(".")}: ${why}`);
  };
  switch (typeof value) {
    case "number":
      if (!Number.isFinite(value)) refuse(`${value} has no form in JSON`);
      return;
    case "bigint":
      return refuse("a bigint has no form in JSON; give an integer beyond 2^53 as a string of digits");
    case "undefined":
      // In an object it is a member that is not there.
      if (path.length === 0 || above.length === 0 || Array.isArray(above[above.length - 1])) {
        refuse("undefined has no form in JSON; nothing is null");
      }
      return;
    case "function":
    case "symbol":
      return refuse(`a ${typeof value} has no form in JSON`);
    case "object":
      break;
    default:
      return;
  }
  if (value === null || typeof (value as { toJSON?: unknown }).toJSON === "function") {
    return;
  }
  const object = value as object;
  if (above.includes(object)) refuse("it contains itself");
  for (const [key, inner] of Object.entries(object)) {
    check(inner, [...path, key], what, [...above, object]);
  }
}
