// Absurd, over its SDK. Its tables are made by absurdctl.
import { Absurd } from "absurd-sdk";
import pg from "pg";
import { quiet, serve, settings, url } from "./engine.mjs";

const QUEUE = "bench";

await serve(() => {
  const absurd = new Absurd({
    db: new pg.Pool({ connectionString: url, max: settings.pool }),
    queueName: QUEUE,
    log: quiet,
  });
  const marks = [];
  absurd.registerTask({ name: "three" }, async (_, context) => {
    for (const name of ["one", "two", "three"]) await context.step(name, async () => null);
  });
  absurd.registerTask({ name: "wait" }, async ({ key }, context) => {
    await context.awaitEvent(`go-${key}`);
  });
  absurd.registerTask({ name: "steps" }, async ({ n }, context) => {
    for (let k = 0; k < n; k++) {
      await context.step("s", async () => {
        marks.push(performance.now());
        return null;
      });
    }
  });
  let keys = 0;
  let worker;
  return {
    marks,
    async start(workflow, input) {
      // An event is known by its name alone, so each run waits for one of its own.
      const key = `${process.pid}-${keys++}`;
      const { taskID } = await absurd.spawn(workflow, { ...input, key });
      return { taskID, key };
    },
    async state({ taskID }) {
      const { state } = await absurd.fetchTaskResult(taskID);
      if (state === "failed" || state === "cancelled") throw new Error(`task ${taskID} is ${state}`);
      return { completed: "ended", sleeping: "waiting" }[state];
    },
    send: ({ key }) => absurd.emitEvent(`go-${key}`, {}),
    async work() {
      worker ??= await absurd.startWorker({
        concurrency: settings.concurrency,
        batchSize: settings.batch,
        pollInterval: settings.pollSeconds,
        onError: (error) => console.error(error),
      });
    },
  };
});
