/**
 * Durable workflows in TypeScript and JavaScript.
 *
 * A workflow is a function of the interface that the project's WIT exports. What it does in steps is recorded, and never done again;
 * everything else may be played again from the top, and must take the same way then. Outside of steps the clock stands still and
 * randomness is the same in each replay; inside of them both are real.
 */

import { install } from "./globals";

install();

export { changed, context, progress } from "./context";
export { Child, child, type ChildOptions } from "./children";
export { Failure, Fatal, Retry, WorkflowError, type FailureOptions } from "./failure";
export { mapParallel, mapSettled, parallel, race, type MapOptions, type Settled } from "./forks";
export { log } from "./globals";
export { fetch, Response, type FetchOptions } from "./http";
export { placeholder, reveal } from "./secrets";
export { execute, query, type Param, type Row } from "./sql";
export { step, type Attempt, type StepOptions } from "./steps";
export { pause, sleep, sleepUntil, waitFor, waitForAny, type Came, type Endless, type Parsers, type WaitOptions } from "./waits";
export { workflows } from "./exports";
