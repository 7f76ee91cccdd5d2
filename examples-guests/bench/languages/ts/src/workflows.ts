/** Workflows that do nothing, to measure TypeScript by: the same as in the other languages. */

import { step, waitFor, workflows } from "dacapo";
import type { Noop } from "wit/noop";

export const noop = workflows<Noop>({
  async noopSteps(n: number): Promise<number> {
    for (let i = 0; i < n; i++) {
      await step("s", () => null);
    }
    return n;
  },

  async waitEvent(): Promise<number> {
    return JSON.stringify(await waitFor("go")).length;
  },
});
