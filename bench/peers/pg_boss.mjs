// pg-boss: jobs without steps.
import { PgBoss } from "pg-boss";
import { serve, settings, url } from "./engine.mjs";

const QUEUE = "bench";
const TOGETHER = 1000;

await serve(async (role) => {
  const boss = new PgBoss({ connectionString: url, max: settings.pool, useListenNotify: true });
  boss.on("error", (error) => console.error(error));
  await boss.start();
  if (role !== "setup") await boss.updateQueue(QUEUE, { notify: settings.notify });
  let working = false;
  return {
    setUp: () => boss.createQueue(QUEUE),
    start: () => boss.send(QUEUE, {}),
    async startMany(_, n) {
      for (let left = n; left > 0; left -= TOGETHER) {
        await boss.insert(QUEUE, Array.from({ length: Math.min(left, TOGETHER) }, () => ({ data: {} })));
      }
      return [];
    },
    async state(id) {
      const [job] = await boss.findJobs(QUEUE, { id });
      return job.state === "completed" ? "ended" : job.state;
    },
    async work() {
      if (working) return;
      working = true;
      await boss.work(
        QUEUE,
        {
          batchSize: settings.batch,
          localConcurrency: settings.concurrency,
          burstWhenBatchFull: settings.batch > 1,
          pollingIntervalSeconds: 0.5,
        },
        async () => {},
      );
    },
  };
});
