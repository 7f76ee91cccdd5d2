import { Failure, Fatal, WorkflowError, log, step, workflows } from "dacapo";
import type { Mistakes, Report } from "wit/mistakes";

function deep(): never {
  throw new TypeError("there is no such order");
}

function deeper(): never {
  deep();
}

async function deepLater(): Promise<void> {
  await undefined;
  deep();
}

function unrecordable(what: string): unknown {
  const cycle: Record<string, unknown> = {};
  cycle["itself"] = cycle;
  return { function: { inner: deep }, cycle, nan: [Number.NaN], big: { value: 10n } }[what];
}

export const mistakes = workflows<Mistakes>({
  async throws() {
    await step("first", () => 1);
    deeper();
  },

  async throwsInStep() {
    await step("fragile", { attempts: 1 }, async () => deeper());
  },

  async records(what) {
    await step("record", { attempts: 1 }, () => unrecordable(what));
  },

  async nests() {
    await Promise.all([step("outer", async () => step("inner", () => 1)), step("beside", () => 2)]);
  },

  async draws() {
    const before = Math.random();
    const inside = await step("draw", () => Math.random());
    return [before, inside, Math.random()];
  },

  async declines() {
    try {
      await step("charge", () => {
        throw new Fatal("no funds", { code: "declined", details: { missing: 5 } });
      });
    } catch (error) {
      if (error instanceof Failure) {
        return `${error.code}: ${error.message} ${JSON.stringify(error.details)}`;
      }
      throw error;
    }
    return "not declined";
  },

  async rereads() {
    const parse = (recorded: unknown): string => {
      if (typeof recorded !== "number") {
        throw new TypeError(`expected a number, got ${JSON.stringify(recorded)}`);
      }
      return String(recorded);
    };
    await step("count", { parse }, () => "a text");
  },

  async keeps(number) {
    return step("keep", () => number);
  },

  async returns(fields) {
    if (fields === "error") {
      throw new WorkflowError({ tag: "counted", val: "many" });
    }
    const right: Report = { total: 7, name: "Ada", colour: "red", parts: [], place: [1, 2.5], raw: new Uint8Array(), from: 3 };
    return { ...right, ...JSON.parse(fields) };
  },

  async slips(how) {
    switch (how) {
      case "rejects":
        void deepLater();
        return;
      case "rejects-a-step":
        void step("unseen", () => {
          throw new Fatal("no funds", { code: "declined", details: { missing: 5 } });
        });
        return;
      case "rejects-beside-a-step":
        // Made while the attempt is open, and by the workflow: a replay, which has no attempt, ends in the same way.
        void step("beside", () => 1).then(() => {
          throw new TypeError("there is no such order");
        });
        return;
      case "rejects-in-step":
        await step("careless", () => void deepLater());
        return;
      case "level":
        return log("loud" as never, "listen");
      case "object":
        throw { code: "declined", message: "no funds" };
      case "plain":
        throw { missing: 5 };
      case "fetch":
        await step("call", { attempts: 1 }, () => (globalThis as unknown as { fetch(url: string): unknown }).fetch("http://localhost"));
        return;
      case "details":
        throw new Fatal("no funds", { details: { missing: 5n } });
      case "path":
        await step("record", { attempts: 1 }, () => ({ items: [{ price: 1 }, { price: Number.NaN }] }));
    }
  },
});
