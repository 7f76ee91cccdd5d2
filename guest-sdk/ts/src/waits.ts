import * as witModule from "dacapo:workflow/waits@0.1.0";

import { none, offered, u64 } from "./engine";
import { durable } from "./failure";
import { ended, read, wholeMs } from "./steps";

const wit = offered(witModule);

/** How long to wait, and how to read what comes. */
export interface WaitOptions<T> {
  /** Milliseconds from when the wait is first reached. */
  timeoutMs?: number;
  /** Makes a payload of what was sent; if it throws, the run is blocked until code comes that can read it. */
  parse?: (payload: unknown) => T;
}

/**
 * Takes the oldest event with this name that was sent to the run, and waits for one if there is none. Answers its payload, or `undefined`
 * if none was received in time.
 *
 * @throws {Failure} with the code `cancelled` when the run is being ended.
 */
export function waitFor<T>(event: string, options: WaitOptions<T> & { timeoutMs: number }): Promise<T | undefined>;
export function waitFor<T>(event: string, options?: WaitOptions<T>): Promise<T>;
export async function waitFor<T>(event: string, options: WaitOptions<T> = {}): Promise<T | undefined> {
  ended(`waitFor("${event}")`);
  const payload = durable(() => wit.waitFor(event, timeout(options.timeoutMs)));
  return payload == null ? undefined : read(event, payload, options.parse);
}

/** Like {@link waitFor}, for whichever of these events comes first. Answers its name and its payload. */
export function waitForAny<T>(
  name: string,
  events: readonly string[],
  options: WaitOptions<T> & { timeoutMs: number },
): Promise<{ event: string; payload: T } | undefined>;
export function waitForAny<T>(
  name: string,
  events: readonly string[],
  options?: WaitOptions<T>,
): Promise<{ event: string; payload: T }>;
export async function waitForAny<T>(
  name: string,
  events: readonly string[],
  options: WaitOptions<T> = {},
): Promise<{ event: string; payload: T } | undefined> {
  ended(`waitForAny("${name}")`);
  const found = durable(() => wit.waitForAny(name, [...events], timeout(options.timeoutMs)));
  if (found == null) {
    return undefined;
  }
  const [event, payload] = found;
  return { event, payload: read(event, payload, options.parse) };
}

/** Goes on no earlier than so many milliseconds after the call is first reached. */
export async function sleep(name: string, ms: number): Promise<void> {
  ended(`sleep("${name}")`);
  durable(() => wit.sleep(name, u64(wholeMs(ms))));
}

/** Goes on no earlier than this time; at once if it has passed. */
export async function sleepUntil(name: string, at: Date): Promise<void> {
  ended(`sleepUntil("${name}")`);
  durable(() => wit.sleepUntil(name, u64(wholeMs(Math.max(0, at.getTime())))));
}

/** Goes on when an operator resumes the run. */
export async function pause(name: string): Promise<void> {
  ended(`pause("${name}")`);
  durable(() => wit.pause(name));
}

function timeout(ms: number | undefined): never {
  return ms === undefined ? none : u64(wholeMs(ms));
}
