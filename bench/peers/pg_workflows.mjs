// pg-workflows, over its engine and its client.
import pg from "pg";
import { WorkflowClient, WorkflowEngine, workflow } from "pg-workflows";
import { quiet, serve, settings, url } from "./engine.mjs";

await serve(() => {
  const marks = [];
  const workflows = [
    workflow("three", async ({ step }) => {
      await step.run("one", async () => null);
      await step.run("two", async () => null);
      await step.run("three", async () => null);
      return {};
    }),
    workflow("wait", async ({ step }) => {
      await step.waitFor("wait", { eventName: "go" });
      return {};
    }),
    workflow("steps", async ({ step, input }) => {
      const mark = async () => {
        marks.push(performance.now());
        return null;
      };
      for (let k = 1; k < input.n; k++) await step.run(`s${k}`, mark);
      // Only a step whose name stands in the code can be the last one.
      await step.run("last", mark);
      return {};
    }),
  ];
  // What plays runs and what starts them have pools of their own, also where they are one process.
  const pool = () => new pg.Pool({ connectionString: url, max: settings.pool });
  const engine = new WorkflowEngine({ pool: pool(), workflows, logger: quiet });
  const client = new WorkflowClient({ pool: pool(), logger: quiet });
  let working = false;
  return {
    marks,
    setUp: () => engine.start(false),
    start: (workflowId, input) => client.startWorkflow({ workflowId, input }),
    async state({ id }) {
      const { status } = await client.getRun({ runId: id });
      if (status === "failed" || status === "cancelled") throw new Error(`run ${id} is ${status}`);
      return { completed: "ended", paused: "waiting" }[status];
    },
    send: ({ id }) => client.triggerEvent({ runId: id, eventName: "go", data: {} }),
    async work() {
      if (working) return;
      working = true;
      process.env.WORKFLOW_RUN_WORKERS = String(settings.workers);
      await engine.start(true);
    },
  };
});
