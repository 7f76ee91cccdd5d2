// What all programs over peers' Node packages have in common: the commands of bench/, in terms of what each engine can do.
//
// An engine is an object with
//   start(workflow, input)        starts a run, answers something to know it by
//   startMany(workflow, n)        the fastest way to start many; optional
//   state(run)                    "waiting", "ended", or anything else; optional where the next two are there
//   waiting(run), end(run)        until the run waits, until it has ended; optional
//   send(run)                     sends the event that the run waits for
//   work()                        begins to take and play runs in this process
//   setUp()                       makes tables and queues in an empty database
//   marks                         when each step of a run of the workflow "steps" began, in milliseconds, if it was played here

import readline from "node:readline";

const MARK = "@bench ";

// No single run takes so long, in seconds.
const PATIENCE = 30;

export const url = process.env.DATABASE_URL;
export const settings = JSON.parse(process.env.BENCH_SETTINGS ?? "{}");

/** A logger that says nothing but errors. */
export const quiet = {
  log() {},
  info() {},
  debug() {},
  warn() {},
  error: (...what) => console.error(...what),
};

/** Calls `call(0)` to `call(n - 1)`, so many at a time. */
export async function each(n, inFlight, call) {
  const results = new Array(n);
  let next = 0;
  const lane = async () => {
    while (next < n) {
      const place = next++;
      results[place] = await call(place);
    }
  };
  await Promise.all(Array.from({ length: Math.min(inFlight, n) }, lane));
  return results;
}

/** Serves the commands that come on standard input; `setup` as an argument only makes tables. */
export async function serve(connect) {
  const engine = await connect(process.argv[2]);
  if (process.argv[2] === "setup") {
    await engine.setUp();
    process.exit(0);
  }
  const commands = commandsOf(engine);
  answer({ ready: true });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    try {
      const command = JSON.parse(line);
      answer({ done: (await commands[command.do](command)) ?? {} });
    } catch (error) {
      answer({ error: String(error?.stack ?? error) });
    }
  }
  process.exit(0);
}

function answer(what) {
  process.stdout.write(`${MARK}${JSON.stringify(what)}\n`);
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

const now = () => performance.now() / 1000;

function commandsOf(engine) {
  const started = [];
  const until = async (run, state, seconds) => {
    const begin = now();
    while ((await engine.state(run)) !== state) {
      if (now() - begin > seconds) return false;
      await pause(1);
    }
    return true;
  };
  const surely = async (run, state) => {
    if (!(await until(run, state, PATIENCE))) throw new Error(`a run is not ${state} after ${PATIENCE} s`);
  };
  const ended = (run) => (engine.end ? engine.end(run) : surely(run, "ended"));
  const waiting = (run) => (engine.waiting ? engine.waiting(run) : surely(run, "waiting"));
  return {
    work: () => engine.work(),

    async start({ workflow, n }) {
      const begin = now();
      const runs = engine.startMany
        ? await engine.startMany(workflow, n)
        : await each(n, settings.startsInFlight ?? 64, () => engine.start(workflow, {}));
      const seconds = now() - begin;
      for (const run of runs) started.push(run);
      return { seconds };
    },

    async "start-each"({ workflow, n, inFlight }) {
      const begin = now();
      await each(n, inFlight, () => engine.start(workflow, {}));
      return { seconds: now() - begin };
    },

    async once({ n, seconds: patience }) {
      const all = now();
      const seconds = [];
      while (seconds.length < n && now() - all < patience) {
        const begin = now();
        const run = await engine.start("three", {});
        await ended(run);
        seconds.push(now() - begin);
      }
      return { seconds };
    },

    async event({ n, seconds: patience }) {
      const all = now();
      const seconds = [];
      while (seconds.length < n && now() - all < patience) {
        const run = await engine.start("wait", {});
        await waiting(run);
        const begin = now();
        await engine.send(run);
        await ended(run);
        seconds.push(now() - begin);
      }
      return { seconds };
    },

    async steps({ n, seconds: patience }) {
      engine.marks.length = 0;
      await engine.work();
      const begin = now();
      const run = await engine.start("steps", { n });
      const end = engine.end
        ? await Promise.race([engine.end(run).then(() => true), pause(patience * 1000).then(() => false)])
        : await until(run, "ended", patience);
      return { ended: end, seconds: now() - begin, marks: engine.marks.map((mark) => mark / 1000) };
    },

    async send({ n, inFlight }) {
      const every = Math.max(1, Math.floor(started.length / n));
      const chosen = started.filter((_, place) => place % every === 0).slice(0, n);
      const begin = now();
      await each(chosen.length, inFlight, (place) => engine.send(chosen[place]));
      return { seconds: now() - begin, sent: chosen.length };
    },
  };
}
