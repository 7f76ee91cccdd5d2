import * as contextModule from "dacapo:workflow/context@0.1.0";

import { offered } from "./engine";
import { Failure, WorkflowError, trace } from "./failure";
import { settle } from "./promise";
import { exact } from "./wide";

const context = offered(contextModule);

type Workflow = (input: never) => unknown;

/**
 * Makes these functions the implementation of an exported interface: each of them is a workflow.
 *
 * ```ts
 * export const orders = workflows<Orders>({
 *   async place(order) { … },
 * });
 * ```
 *
 * `throw new WorkflowError(value)` returns the error that the workflow's type says. What nobody catches fails the run, with its stack in
 * the failure's details.
 */
export function workflows<W extends { [name in keyof W]: Workflow }>(implementation: W): W {
  const played = Object.entries(implementation).map(([name, workflow]) => [
    name,
    (input: never): unknown => {
      try {
        return play(name, () => settle((workflow as Workflow).call(implementation, exact(name, "input", input))));
      } catch (error) {
        if (error instanceof WorkflowError) {
          throw error.value;
        }
        context.fail({
          code: error instanceof Failure ? error.code : "exception",
          message: error instanceof Failure ? error.message : String(error),
          retryable: error instanceof Failure && error.retryable,
          // What a step has failed with says already where that was.
          details: error instanceof Failure && error.details !== undefined ? JSON.stringify(error.details) : trace(error),
        });
        throw error;
      }
    },
  ]);
  return Object.fromEntries(played) as W;
}

/** What goes out of a workflow is what its type can carry. */
function play(name: string, workflow: () => unknown): unknown {
  try {
    return exact(name, "output", workflow());
  } catch (error) {
    if (error instanceof WorkflowError) {
      exact(name, "error", error.value);
    }
    throw error;
  }
}
