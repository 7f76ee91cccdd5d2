// graphile-worker: jobs without steps.
import { EventEmitter } from "node:events";
import { Logger, makeWorkerUtils, run } from "graphile-worker";
import { serve, settings, url } from "./engine.mjs";

const TOGETHER = 1000;

await serve(async () => {
  const logger = new Logger(() => (level, message) => {
    if (level === "error") console.error(message);
  });
  const utils = await makeWorkerUtils({ connectionString: url, maxPoolSize: settings.pool, logger });
  const events = new EventEmitter();
  // Who waits for a job, or `null` where it was completed before anyone did.
  const waits = new Map();
  if (settings.embedded) {
    events.on("job:complete", ({ job }) => {
      const wait = waits.get(job.id);
      if (!wait) return waits.set(job.id, null);
      waits.delete(job.id);
      wait();
    });
  }
  let working = false;
  return {
    setUp: () => utils.migrate(),
    start: async () => (await utils.addJob("three", {})).id,
    async startMany(_, n) {
      for (let left = n; left > 0; left -= TOGETHER) {
        const jobs = Array.from({ length: Math.min(left, TOGETHER) }, () => ({ identifier: "three", payload: {} }));
        await utils.addJobs(jobs);
      }
      return [];
    },
    end: (id) =>
      new Promise((resolve) => {
        if (!waits.has(id)) return waits.set(id, resolve);
        waits.delete(id);
        resolve();
      }),
    async work() {
      if (working) return;
      working = true;
      await run({
        logger,
        events,
        noHandleSignals: true,
        taskList: { three: async () => {} },
        preset: {
          worker: {
            connectionString: url,
            concurrentJobs: settings.concurrency,
            maxPoolSize: settings.pool,
            pollInterval: settings.pollMilliseconds,
            ...(settings.batch > 1
              ? {
                  localQueue: { size: settings.batch },
                  completeJobBatchDelay: 0,
                  failJobBatchDelay: 0,
                }
              : {}),
          },
        },
      });
    },
  };
});
