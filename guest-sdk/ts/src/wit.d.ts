/** What the host offers, as the engines' bindings show it. Only the kit imports this. */

declare module "dacapo:workflow/types@0.1.0" {
  export interface Failure {
    code: string;
    message: string;
    retryable: boolean;
    details: string | null | undefined;
  }
}

declare module "dacapo:workflow/steps@0.1.0" {
  import type { Failure } from "dacapo:workflow/types@0.1.0";

  type Outcome = { tag: "ok"; val: string } | { tag: "err"; val: Failure };

  class Options {
    setRetry(retry: { maxAttempts: number; initialMs: never; factor: number; maxMs: never }): void;
    setTimeout(ms: never): void;
  }

  class Attempt {
    number(): number;
    retryAfter(ms: never): void;
  }

  const steps: {
    Options: typeof Options;
    stepRun(name: string, options: never): { tag: "recorded"; val: Outcome } | { tag: "execute"; val: Attempt };
    stepEnd(attempt: Attempt, outcome: Outcome): string;
    stepReject(name: string, reason: string): void;
  };
  export default steps;
}

declare module "dacapo:workflow/waits@0.1.0" {
  const waits: {
    waitFor(event: string, timeoutMs: never): string | null | undefined;
    waitForAny(name: string, events: string[], timeoutMs: never): [string, string] | null | undefined;
    sleep(name: string, ms: never): void;
    sleepUntil(name: string, unixMs: never): void;
    pause(name: string): void;
  };
  export default waits;
}

declare module "dacapo:workflow/forks@0.1.0" {
  import type { Failure } from "dacapo:workflow/types@0.1.0";

  type Outcome = { tag: "ok"; val: string } | { tag: "err"; val: Failure };

  export interface Joined {
    outcomes: Outcome[];
    winner: number | null | undefined;
  }

  class Options {
    setMaxParallel(branches: number): void;
    setRace(): void;
  }

  const forks: {
    Options: typeof Options;
    fork(name: string, branches: number, options: Options): { tag: "branch"; val: number } | { tag: "joined"; val: Joined };
    branchEnd(outcome: Outcome): void;
  };
  export default forks;
}

declare module "dacapo:workflow/children@0.1.0" {
  import type { Failure } from "dacapo:workflow/types@0.1.0";

  class Options {
    setLabels(labels: [string, string][]): void;
    setDeadline(ms: never): void;
    setDetached(): void;
    setQueue(name: string, key: string): void;
    setPriority(priority: number): void;
  }

  const children: {
    Options: typeof Options;
    startChild(name: string, workflow: string, input: string, options: never): string;
    awaitChild(
      name: string,
      runId: string,
      timeoutMs: never,
    ): { tag: "ok"; val: string } | { tag: "err"; val: Failure } | null | undefined;
  };
  export default children;
}

declare module "dacapo:workflow/context@0.1.0" {
  import type { Failure } from "dacapo:workflow/types@0.1.0";

  const context: {
    runId(): string;
    workflow(): string;
    createdAt(): number | bigint;
    now(): number | bigint;
    labels(): [string, string][];
    idempotencyKey(): string | null | undefined;
    changed(name: string): boolean;
    setProgress(done: never, total: never, note: string): void;
    fail(failure: Failure): void;
  };
  export default context;
}

declare module "dacapo:workflow/http@0.1.0" {
  class Options {
    setTimeout(ms: never): void;
    setRedirects(max: number): void;
    setResponseMax(bytes: never): void;
    setIdempotencyHeader(name: string): void;
  }

  const http: {
    Options: typeof Options;
    fetch(
      request: { method: string; url: string; headers: [string, string][]; body: never },
      options: never,
    ): { status: number; headers: [string, string][]; body: ArrayLike<number> };
  };
  export default http;
}

declare module "dacapo:workflow/secrets@0.1.0" {
  const secrets: { reveal(name: string): string };
  export default secrets;
}

declare module "dacapo:workflow/log@0.1.0" {
  export type Level = "trace" | "debug" | "info" | "warn" | "error";

  const log: { log(level: Level, message: string, fields: [string, string][]): void };
  export default log;
}

declare module "dacapo:workflow/sql@0.1.0" {
  export type Value =
    | { tag: "null" }
    | { tag: "boolean"; val: boolean }
    | { tag: "integer"; val: number }
    | { tag: "float"; val: number }
    | { tag: "text"; val: string }
    | { tag: "bytes"; val: ArrayLike<number> }
    | { tag: "json"; val: string }
    | { tag: "timestamp"; val: number };

  const sql: {
    query(statement: string, params: Value[]): { columns: string[]; rows: Value[][] };
    execute(statement: string, params: Value[]): number | bigint;
  };
  export default sql;
}

declare module "wasi:random/random@0.2.0" {
  const random: { getRandomBytes(len: never): ArrayLike<number> };
  export default random;
}
