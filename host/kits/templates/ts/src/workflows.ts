/** Workflows are ordinary code. A step's body runs once, and its result is recorded; everything else may be played again. */

import { Fatal, step, waitFor, workflows as implement } from "dacapo";
import type { Account, Request, Workflows } from "wit/workflows";

/** What comes with the event `confirmed`. */
interface Confirmation {
  by: string;
}

export const workflows = implement<Workflows>({
  async signUp(request: Request): Promise<Account> {
    const id = await step("create-account", async () => {
      if (!request.email.includes("@")) {
        // Not worth another try.
        throw new Fatal(`"${request.email}" is no e-mail address`);
      }
      return `account-of-${request.email}`;
    });
    // Nothing of the run is in memory meanwhile, whether that takes seconds or months.
    const confirmation = await waitFor<Confirmation>("confirmed");
    const greeting = await step("send-greeting", async () => {
      console.log(`writing to ${request.email}`);
      return `Welcome, ${request.name}! ${confirmation.by} has confirmed you.`;
    });
    return { id, greeting };
  },
});
