/** A tour of the kit: the same in each language that has one, and with the same journal. */

import {
  Failure,
  Fatal,
  Retry,
  WorkflowError,
  changed,
  child,
  context,
  execute,
  fetch,
  log,
  mapParallel,
  mapSettled,
  parallel,
  pause,
  placeholder,
  progress,
  query,
  race,
  reveal,
  sleep,
  sleepUntil,
  step,
  waitFor,
  waitForAny,
  workflows,
} from "dacapo";
import { greeting } from "landmarks";
import type { Tour } from "wit/tour";

const HOUR_MS = 60 * 60 * 1000;
const TURNS = ["turn-left", "turn-right"];

export const tour = workflows<Tour>({
  async see(service) {
    const met: string[] = [];
    await look(met);
    await ask(service, met);
    await book(met);
    progress(2, 4, "half of it");
    await send(met);
    await part(met);
    await rest(met);
    progress(4, 4);
    return met;
  },

  async visit(place) {
    if (place === "nowhere") {
      throw new WorkflowError("there is no such place");
    }
    if (place === "far") {
      await sleep("way", HOUR_MS);
    }
    return step("look", () => `seen ${place}`);
  },

  async draw() {
    const before = JSON.stringify(sample());
    await same("before", before);
    const inside = await step("inside", () => JSON.stringify(sample()));
    await sleep("rest", 5);
    const after = JSON.stringify(sample());
    await same("after", after);
    await sleep("rest", 5);
    const twice = await mapParallel("twice", [1, 2], () => JSON.stringify(sample()));
    return `[${[before, inside, after, ...twice].join()}]`;
  },

  carry: (luggage) => luggage,

  async misread() {
    await step("read", {
      parse(recorded) {
        if (typeof recorded !== "number") {
          throw new TypeError(`expected a number, got ${JSON.stringify(recorded)}`);
        }
        return recorded;
      },
    }, () => "a text" as unknown as number);
  },

  greet: (name) => greeting(name),
});

/** What the run knows about itself, its log, and attempts. */
async function look(met: string[]): Promise<void> {
  const { createdAt, now, labels, runId, workflow } = context;
  const started = createdAt <= now && createdAt.getUTCFullYear() > 2020 && Date.now() === now.getTime();
  await step("about", ({ number, idempotencyKey }) => ({
    run: runId,
    workflow,
    colour: labels["colour"],
    shape: labels["shape"] ?? null,
    attempt: number,
    key: idempotencyKey,
    started,
  }));
  if (changed("scenic-route")) {
    met.push("scenic");
  }
  for (const level of ["trace", "debug", "info", "warn", "error"] as const) {
    log(level, `a line for ${level}`, { place: "tower", metres: 300 });
  }
  const knocked = await step("knock", { attempts: 3, backoffMs: 1, factor: 1, backoffMaxMs: 1 }, ({ number }) => {
    if (number === 1) {
      throw new Retry("nobody is at home", { code: "closed", afterMs: 40, details: { opens: "soon" } });
    }
    return number;
  });
  met.push(`knock: ${knocked}`);
  await failing(met, "slow", () =>
    step("slow", { attempts: 1, timeoutMs: 100 }, () => {
      for (;;);
    }),
  );
}

/** Requests and secrets. */
async function ask(service: string, met: string[]): Promise<void> {
  await step("ask", async () => {
    const answer = await fetch(`${service}/echo`, {
      method: "PUT",
      headers: { "x-note": "noted", authorization: `Bearer ${placeholder("key")}` },
      json: { stop: "tower", cents: 42 },
      timeoutMs: 5_000,
      responseMax: 1_000,
      idempotencyHeader: "x-key",
    });
    const bytes = await fetch(`${service}/away`, { redirects: 1 });
    return {
      status: answer.status,
      told: answer.header("X-Told"),
      said: answer.json<{ said: string }>().said,
      bytes: bytes.bytes.length,
      sum: bytes.bytes.reduce((sum, byte) => sum + byte, 0),
    };
  });
  await failing(met, "big", () => step("big", { attempts: 1 }, async () => (await fetch(`${service}/bytes`, { responseMax: 10 })).status));
  await step("sign", () => reveal("pass").length);
}

/** Statements that are one transaction with their step. */
async function book(met: string[]): Promise<void> {
  await step("book", async () => {
    const touched = await execute(
      "insert into stop values ($1, $2, $3, $4, $5, $6, $7, $8)",
      "tower",
      4200,
      0.5,
      true,
      { stars: 5 },
      Uint8Array.of(1, 2, 255),
      new Date(1_767_323_045_678),
      null,
    );
    const [row] = await query<{
      name: string;
      cents: number;
      score: number;
      is_open: boolean;
      note: { stars: number };
      photo: Uint8Array;
      seen_at: Date;
      closed: string | null;
    }>("select * from stop where name = $1", "tower");
    return {
      touched,
      name: row!.name,
      cents: row!.cents,
      score: row!.score,
      open: row!.is_open,
      stars: row!.note.stars,
      photo: Array.from(row!.photo),
      seen: row!.seen_at.getTime(),
      closed: row!.closed,
    };
  });
  try {
    await step("book-again", { attempts: 1 }, () => execute("insert into stop (name) values ($1)", "tower"));
  } catch (error) {
    const failure = error as Failure;
    met.push(`book-again: ${failure.code} ${(failure.details as { sqlState: string }).sqlState}`);
  }
}

/** Children. */
async function send(met: string[]): Promise<void> {
  const mail = await child<string>("mail", "test:tour/tour.visit", "tower", {
    labels: { kind: "mail" },
    deadlineMs: 2 * HOUR_MS,
    detached: true,
    queue: "slow",
    concurrencyKey: "ada",
    priority: 7,
  });
  met.push(`mail: ${await mail.output()}`);
  const lost = await child<string>("lost", "tour.visit", "nowhere");
  await failing(met, "lost", () => lost.output());
  const far = await child<string>("far", "tour.visit", "far");
  met.push(`far: ${(await far.output({ timeoutMs: 20 })) ?? "not yet"}`);
}

/** Branches. */
async function part(met: string[]): Promise<void> {
  const first = await race("first", [
    async () => {
      await waitFor("whistle");
      return step("walk", () => "tortoise");
    },
    async () => {
      try {
        await sleep("nap", HOUR_MS);
        return "hare";
      } catch (error) {
        if (error instanceof Failure && error.isCancelled) {
          await step("wake", () => "too late");
        }
        throw error;
      }
    },
  ]);
  const [left, lunch, right] = await parallel("three", [
    () => step("left", () => 1),
    () => waitFor<string>("lunch"),
    () => step("right", () => ["a", "b"]),
  ]);
  met.push(`first: ${first}`, `three: ${left + 1} ${lunch} ${right.join("+")}`);
  const each = await mapSettled("each", [1, 2, 3], (number) =>
    step("odd", () => {
      if (number % 2 === 0) {
        throw new Fatal(`${number} is even`, { code: "even" });
      }
      return number * number;
    }),
  );
  met.push(...each.map((one) => `each: ${one.ok ? one.value : `${one.failure.code}, ${one.failure.message}`}`));
}

/** Waits. */
async function rest(met: string[]): Promise<void> {
  const turned = await waitForAny<number>("turn", TURNS);
  met.push(`turn: ${turned.event} ${turned.payload + 1}`);
  const again = await waitForAny<number>("turn-again", TURNS, { timeoutMs: 20 });
  met.push(`turn-again: ${again?.event ?? "nothing"}`);
  await sleepUntil("until", new Date(context.now.getTime() + 20));
  await pause("look-around");
}

/** Meets with the code of the failure. */
async function failing(met: string[], name: string, act: () => Promise<unknown>): Promise<void> {
  try {
    await act();
    met.push(`${name}: done`);
  } catch (error) {
    met.push(`${name}: ${(error as Failure).code}`);
  }
}

/** What clocks and generators say. */
function sample(): Record<string, string> {
  return {
    "clock: context.now": String(context.now.getTime()),
    "clock: Date.now": String(Date.now()),
    "clock: new Date": String(new Date().getTime()),
    "random: Math.random": String(Math.random()),
    "random: crypto.randomUUID": crypto.randomUUID(),
    "random: crypto.getRandomValues": crypto.getRandomValues(new Uint32Array(2)).join("-"),
  };
}

/** Fails if this is not what it was when it was first reached. */
async function same(name: string, now: string): Promise<void> {
  const then = await step(name, () => now);
  if (then !== now) {
    throw new WorkflowError(`${name}: ${then} has become ${now}`);
  }
}
