import { Fatal } from "./failure";

/** Where a value has integers of 64 bits: it is one, or a list, an object or a variant that has them in it. */
type Wide = "u64" | "s64" | { list: Wide } | { fields: Record<string, Wide> } | { cases: Record<string, Wide> };

/** By the names of workflows. `dacapo build` says it, for the engine whose numbers are all that there is. */
declare const DACAPO_WIDE: Record<string, { input?: Wide; output?: Wide; error?: Wide } | undefined>;

/**
 * Refuses an integer that a number cannot hold exactly: beyond 2^53 it has been rounded already, or has another sign, and nothing good can come
 * of going on with it.
 */
export function exact<T>(workflow: string, part: "input" | "output" | "error", value: T): T {
  const wide = DACAPO_WIDE[workflow]?.[part];
  if (wide !== undefined) {
    check(wide, value, part);
  }
  return value;
}

function check(wide: Wide, value: unknown, at: string): void {
  if (value === null || value === undefined) {
    return;
  }
  if (wide === "u64" || wide === "s64") {
    if (!Number.isSafeInteger(value) || (wide === "u64" && Number(value) < 0)) {
      const range = wide === "u64" ? "0 to 2^53 - 1" : "-2^53 + 1 to 2^53 - 1";
      throw new Fatal(
        `${at} is a ${wide} that no number of JavaScript holds exactly: expected an integer of ${range}` +
          `${typeof value === "number" ? "" : `, got a ${typeof value}`}; give it the type string in the WIT, or set ` +
          'engine = "spidermonkey" under [build] in dacapo.toml, where it is a bigint',
        { code: "inexact" },
      );
    }
  } else if ("list" in wide) {
    for (const [index, item] of (value as unknown[]).entries()) {
      check(wide.list, item, `${at}[${index}]`);
    }
  } else if ("fields" in wide) {
    for (const [name, of] of Object.entries(wide.fields)) {
      check(of, (value as Record<string, unknown>)[name], `${at}.${name}`);
    }
  } else {
    const { tag, val } = value as { tag: string; val?: unknown };
    const of = wide.cases[tag];
    if (of !== undefined) {
      check(of, val, `${at}.${tag}`);
    }
  }
}
