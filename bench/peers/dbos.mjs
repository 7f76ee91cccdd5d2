// DBOS for Node. Runs are taken from a queue where there is a backlog, and else started where they are played.
import { DBOS, DBOSClient } from "@dbos-inc/dbos-sdk";
import { quiet, serve, settings, url } from "./engine.mjs";

const QUEUE = "bench";
const NAME = "bench";
const HOUR = 3600;

await serve(async (role) => {
  const marks = [];
  const begun = new Map();
  const config = {
    name: NAME,
    systemDatabaseUrl: url,
    systemDatabasePoolSize: settings.pool,
    applicationVersion: "1",
    logger: quiet,
  };
  DBOS.setConfig(config);
  const step = (name, body) => DBOS.runStep(body, { name });
  const three = async () => {
    for (const name of ["one", "two", "three"]) await step(name, async () => null);
  };
  const wait = async () => {
    begun.get(DBOS.workflowID)?.();
    await DBOS.recv("go", HOUR);
  };
  const steps = async ({ n }) => {
    for (let k = 0; k < n; k++) {
      await step("s", async () => {
        marks.push(performance.now());
        return null;
      });
    }
  };
  const workflows = {
    three: DBOS.registerWorkflow(three, { name: "three" }),
    wait: DBOS.registerWorkflow(wait, { name: "wait" }),
    steps: DBOS.registerWorkflow(steps, { name: "steps" }),
  };
  let launched = false;
  const launch = async () => {
    if (launched) return;
    launched = true;
    await DBOS.launch();
    await DBOS.registerQueue(QUEUE, {
      workerConcurrency: settings.concurrency,
      minPollingIntervalMs: settings.pollMilliseconds,
    });
  };
  let client;
  if (role === "client" && !settings.embedded) {
    client = await DBOSClient.create({
      systemDatabaseUrl: url,
      systemDatabasePoolSize: settings.pool,
      applicationName: NAME,
      logger: quiet,
    });
  }
  return {
    marks,
    setUp: launch,
    async start(workflow, input) {
      if (client) {
        const handle = await client.enqueue({ workflowName: workflow, queueName: QUEUE, appVersion: "1" }, input);
        return handle.workflowID;
      }
      const id = crypto.randomUUID();
      const waits = workflow === "wait" && new Promise((resolve) => begun.set(id, resolve));
      const handle = await DBOS.startWorkflow(workflows[workflow], { workflowID: id })(input);
      return { id, handle, waits };
    },
    end: ({ handle }) => handle.getResult(),
    // What it does before it waits is not to be seen from outside; by then it is done.
    waiting: async ({ waits }) => {
      await waits;
      await new Promise((resolve) => setTimeout(resolve, 10));
    },
    send: (run) => (client ?? DBOS).send(run.id ?? run, {}, "go"),
    work: launch,
  };
});
