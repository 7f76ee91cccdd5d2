import * as witModule from "dacapo:workflow/context@0.1.0";

import { none, offered, u64 } from "./engine";

const wit = offered(witModule);

/** The run that is being played. What it says is the same in every replay. */
export const context = {
  /** A UUID. */
  get runId(): string {
    return wit.runId();
  },
  /** The full name of the workflow, `ns:pkg/interface.function`. */
  get workflow(): string {
    return wit.workflow();
  },
  /** When the run was started. */
  get createdAt(): Date {
    return new Date(Number(wit.createdAt()));
  },
  /** The time by the journal; in a step the real one. `new Date()` says the same. */
  get now(): Date {
    return new Date(Number(wit.now()));
  },
  /** The run's labels. */
  get labels(): Record<string, string> {
    return Object.fromEntries(wit.labels());
  },
};

/** For code that was changed while runs of it are in flight: whether this run takes the new way. */
export function changed(name: string): boolean {
  return wit.changed(name);
}

/** Says how far the run is, for whoever looks at it. It may be said often. */
export function progress(done: number, total: number, note?: string): void {
  wit.setProgress(u64(done), u64(total), note ?? none);
}
