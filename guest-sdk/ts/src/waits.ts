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

/** Waits for ever, so that there is an answer in any case. */
export interface Endless {
  timeoutMs?: undefined;
}

/**
 * Takes the oldest event with this name that was sent to the run, and waits for one if there is none. Answers its payload, or `undefined`
 * if none was received in time.
 *
 * @throws {Failure} with the code `cancelled` when the run is being ended.
 */
export function waitFor<T>(event: string, options?: WaitOptions<T> & Endless): Promise<T>;
export function waitFor<T>(event: string, options: WaitOptions<T>): Promise<T | undefined>;
export async function waitFor<T>(event: string, options: WaitOptions<T> = {}): Promise<T | undefined> {
  ended(`waitFor("${event}")`);
  const payload = durable(() => wit.waitFor(event, timeout(options.timeoutMs)));
  return payload == null ? undefined : read(event, payload, options.parse);
}

/** Makes payloads of what was sent, by the names of events. */
export type Parsers = Record<string, (payload: unknown) => unknown>;

/** The event that came, with the payload that its parser makes: what `event` is says which `payload` that is. */
export type Came<P extends Parsers> = { [E in keyof P & string]: { event: E; payload: ReturnType<P[E]> } }[keyof P & string];

/**
 * Like {@link waitFor}, for whichever of these events comes first. Answers its name and its payload.
 *
 * Events whose payloads differ have a parser each:
 *
 * ```ts
 * const came = await waitForAny("answer", { paid: toPayment, refused: String });
 * if (came.event === "paid") {
 *   // came.payload is what toPayment returns
 * }
 * ```
 */
export function waitForAny<P extends Parsers>(name: string, events: P, options?: Endless): Promise<Came<P>>;
export function waitForAny<P extends Parsers>(
  name: string,
  events: P,
  options: { timeoutMs?: number },
): Promise<Came<P> | undefined>;
export function waitForAny<T, E extends string = string>(
  name: string,
  events: readonly E[],
  options?: WaitOptions<T> & Endless,
): Promise<{ event: E; payload: T }>;
export function waitForAny<T, E extends string = string>(
  name: string,
  events: readonly E[],
  options: WaitOptions<T>,
): Promise<{ event: E; payload: T } | undefined>;
export async function waitForAny(
  name: string,
  events: readonly string[] | Parsers,
  options: WaitOptions<unknown> = {},
): Promise<{ event: string; payload: unknown } | undefined> {
  ended(`waitForAny("${name}")`);
  const names = isList(events) ? [...events] : Object.keys(events);
  const found = durable(() => wit.waitForAny(name, names, timeout(options.timeoutMs)));
  if (found == null) {
    return undefined;
  }
  const [event, payload] = found;
  return { event, payload: read(event, payload, isList(events) ? options.parse : events[event]) };
}

function isList(events: readonly string[] | Parsers): events is readonly string[] {
  return Array.isArray(events);
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
