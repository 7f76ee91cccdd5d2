/** What the language offers by itself, over what the host offers: logging, randomness, and promises. */

import * as witModule from "dacapo:workflow/log@0.1.0";
import type { Level } from "dacapo:workflow/log@0.1.0";
import * as randomModule from "wasi:random/random@0.2.0";

import { offered, u64 } from "./engine";
import { inSources } from "./failure";
import { WorkflowPromise } from "./promise";

const wit = offered(witModule);
const random = offered(randomModule);

const LEVELS: readonly string[] = ["trace", "debug", "info", "warn", "error"] satisfies Level[];

/** Writes a line to the run's log. */
export function log(level: Level, message: string, fields: Record<string, unknown> = {}): void {
  if (!LEVELS.includes(level)) {
    throw new TypeError(`log: expected a level of ${LEVELS.join(", ")}, got ${show(level)}`);
  }
  wit.log(
    level,
    show(message),
    Object.entries(fields).map(([name, value]) => [name, show(value)]),
  );
}

function show(value: unknown): string {
  if (typeof value === "string") {
    return value;
  }
  if (value instanceof Error) {
    return value.stack === undefined ? String(value) : inSources(value.stack);
  }
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
}

// In the form in which other libraries of types have them, so that a project may use those as well.
declare global {
  interface Console {
    debug(...values: unknown[]): void;
    error(...values: unknown[]): void;
    info(...values: unknown[]): void;
    log(...values: unknown[]): void;
    trace(...values: unknown[]): void;
    warn(...values: unknown[]): void;
  }
  interface Crypto {
    getRandomValues<T extends ArrayBufferView>(view: T): T;
    randomUUID(): `${string}-${string}-${string}-${string}-${string}`;
  }
  /** Writes to the run's log. */
  var console: Console;
  /** The same in each replay outside of steps, and real in them. */
  var crypto: Crypto;
}

function randomBytes(count: number): Uint8Array {
  return Uint8Array.from(random.getRandomBytes(u64(count)));
}

function uuid(): string {
  const bytes = randomBytes(16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

function fill<T extends ArrayBufferView>(view: T): T {
  new Uint8Array(view.buffer, view.byteOffset, view.byteLength).set(randomBytes(view.byteLength));
  return view;
}

/** 53 random bits, as a fraction. The engine's own generator was frozen when the component was built. */
function fraction(): number {
  const bytes = randomBytes(7);
  const high = bytes[0]! & 0x1f;
  return bytes.slice(1).reduce((bits, byte) => bits * 256 + byte, high) / 2 ** 53;
}

function refuseTimer(): never {
  throw new Error("a workflow has no timers: await sleep(name, ms) is durable");
}

function refuseFetch(): never {
  throw new Error('requests are sent by the kit, in a step: import { fetch } from "dacapo"');
}

/** Puts them in their places. */
export function install(): void {
  const line =
    (level: Level) =>
    (...values: unknown[]) =>
      wit.log(level, values.map(show).join(" "), []);
  const own = {
    Promise: WorkflowPromise,
    console: {
      debug: line("debug"),
      error: line("error"),
      info: line("info"),
      log: line("info"),
      trace: line("trace"),
      warn: line("warn"),
    },
    crypto: { getRandomValues: fill, randomUUID: uuid },
    fetch: refuseFetch,
    setInterval: refuseTimer,
    setTimeout: refuseTimer,
  };
  for (const [name, value] of Object.entries(own)) {
    // An engine may have some of them that cannot be assigned to.
    Object.defineProperty(globalThis, name, { configurable: true, value, writable: true });
  }
  Math.random = fraction;
}
