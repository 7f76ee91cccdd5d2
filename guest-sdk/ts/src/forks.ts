import * as witModule from "dacapo:workflow/forks@0.1.0";
import type { Joined } from "dacapo:workflow/forks@0.1.0";

import { none, offered } from "./engine";
import { Failure, durable, fromWit } from "./failure";
import { encode } from "./json";
import { ended, failureOf } from "./steps";

const wit = offered(witModule);

/** How branches are played. */
export interface MapOptions {
  /** At most so many at the same time. */
  maxParallel?: number;
}

/** How a branch came out. */
export type Settled<T> = { ok: true; value: T } | { ok: false; failure: Failure };

/**
 * Calls `work` for each item, in branches of the run that are played at the same time, and answers what they returned, in the order of
 * the items.
 *
 * The items must be the same in every replay. Each branch is played from the top of the workflow in an instance of its own: it sees what
 * stood in memory at the fork, and nothing that other branches do. At most 10,000.
 *
 * @throws {Failure} of the first item, in their order, that failed, once all have ended.
 */
export async function mapParallel<I, T>(
  name: string,
  items: readonly I[],
  work: (item: I, index: number) => T | PromiseLike<T>,
  options: MapOptions = {},
): Promise<T[]> {
  return (await mapSettled(name, items, work, options)).map(value);
}

/** Like {@link mapParallel}, and answers for each item how it came out. */
export async function mapSettled<I, T>(
  name: string,
  items: readonly I[],
  work: (item: I, index: number) => T | PromiseLike<T>,
  options: MapOptions = {},
): Promise<Settled<T>[]> {
  if (items.length === 0) {
    return [];
  }
  const made = new wit.Options();
  if (options.maxParallel !== undefined) {
    made.setMaxParallel(Math.max(1, Math.floor(options.maxParallel)));
  }
  const joined = await fork(name, items.length, made, (index) => work(items[index]!, index));
  return joined.outcomes.map((outcome) => settled<T>(outcome));
}

/**
 * Calls these functions in branches that are played at the same time, and answers what they returned.
 *
 * @throws {Failure} of the first, in their order, that failed, once all have ended.
 */
export async function parallel<B extends readonly (() => unknown)[]>(
  name: string,
  branches: readonly [...B],
): Promise<{ [K in keyof B]: Awaited<ReturnType<B[K]>> }> {
  const joined = await fork(name, branches.length, undefined, (index) => branches[index]!());
  return joined.outcomes.map((outcome) => value(settled(outcome))) as never;
}

/**
 * Calls these functions in branches that are played at the same time, and answers what the first to succeed returned. The others are told
 * at their next step or wait that they are cancelled, and may make up for what they did.
 *
 * @throws {Failure} of the first, in their order, if none succeeds.
 */
export async function race<T>(name: string, branches: readonly (() => T | PromiseLike<T>)[]): Promise<T> {
  const made = new wit.Options();
  made.setRace();
  const joined = await fork(name, branches.length, made, (index) => branches[index]!());
  return value(settled<T>(joined.outcomes[joined.winner ?? 0]!));
}

async function fork(
  name: string,
  count: number,
  options: InstanceType<typeof wit.Options> | undefined,
  work: (index: number) => unknown,
): Promise<Joined> {
  ended(`a fork ("${name}")`);
  const side = durable(() => wit.fork(name, count, options ?? none));
  if (side.tag === "joined") {
    return side.val;
  }
  let outcome: Joined["outcomes"][number];
  try {
    outcome = { tag: "ok", val: encode(await work(side.val), `what a branch of "${name}" returned`) };
  } catch (error) {
    outcome = { tag: "err", val: failureOf(error, `a branch of "${name}"`) };
  }
  wit.branchEnd(outcome);
  throw new Error("branch-end does not return");
}

function settled<T>(outcome: Joined["outcomes"][number]): Settled<T> {
  return outcome.tag === "ok"
    ? { ok: true, value: JSON.parse(outcome.val) as T }
    : { ok: false, failure: fromWit(outcome.val) as Failure };
}

function value<T>(outcome: Settled<T>): T {
  if (!outcome.ok) {
    throw outcome.failure;
  }
  return outcome.value;
}
