import * as contextModule from "dacapo:workflow/context@0.1.0";

import { offered } from "./engine";
import { Failure, WorkflowError, toWit, trace } from "./failure";
import { log } from "./globals";
import { Unhandled, settle } from "./promise";
import { fit } from "./shape";

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
        return play(name, () => settle((workflow as Workflow).call(implementation, fit(name, "input", input)), reportLost));
      } catch (error) {
        if (error instanceof WorkflowError) {
          throw error.value;
        }
        context.fail(uncaught(error));
        throw error;
      }
    },
  ]);
  return Object.fromEntries(played) as W;
}

/** What ends a run that nobody catches. */
function uncaught(error: unknown): ReturnType<typeof toWit> {
  if (error instanceof Unhandled) {
    const failure = uncaught(error.reason);
    return { ...failure, message: `a promise that nothing awaits was rejected: ${failure.message}` };
  }
  try {
    const failure = toWit(error);
    const isFailure = error instanceof Failure;
    return {
      ...failure,
      code: failure.code === "error" && !isFailure ? "exception" : failure.code,
      retryable: isFailure && error.retryable,
      // What a step has failed with says already where that was.
      details: failure.details ?? trace(error),
    };
  } catch (problem) {
    // Its details are no JSON.
    return { code: "encode", message: `${error instanceof Error ? error.message : String(error)} (its details cannot be recorded: ${String(problem)})`, retryable: false, details: trace(error) };
  }
}

/** A rejection in a step's body is not there when the run is played again, so it cannot decide how the run ends. */
function reportLost(reason: unknown, step: string): void {
  log("error", `a promise that nothing awaits was rejected in step "${step}": ${String(reason)}`, { trace: reason });
}

/** What goes out of a workflow is what its type can carry. */
function play(name: string, workflow: () => unknown): unknown {
  try {
    return fit(name, "output", workflow());
  } catch (error) {
    if (error instanceof WorkflowError) {
      fit(name, "error", error.value);
    }
    throw error;
  }
}
