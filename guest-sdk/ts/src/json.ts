import { Fatal } from "./failure";

/** The value as JSON. Throws {@link Fatal} with the code `encode` for what JSON cannot carry, instead of leaving it out. */
export function encode(value: unknown, what: string): string {
  const given = value === undefined ? null : value;
  // What most steps record needs no look at its parts.
  if (typeof given === "string" || typeof given === "boolean" || given === null || Number.isFinite(given)) {
    return JSON.stringify(given);
  }
  try {
    return JSON.stringify(given, check);
  } catch (error) {
    const { problem, path } = find(given, error);
    const at = path === "" ? "" : ` at "${path}"`;
    throw new Fatal(`${what} cannot be recorded as JSON: ${problem(at)}`, { code: "encode" });
  }
}

/** What is wrong with a value, in words that take where it is. */
type Problem = (at: string) => string;

class Unfit extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem(""));
    this.problem = problem;
  }
}

function check(_key: string, item: unknown): unknown {
  const refuse = (problem: Problem): never => {
    throw new Unfit(problem);
  };
  switch (typeof item) {
    case "bigint":
      return refuse((at) => `a BigInt${at} has no form there; turn it into a string`);
    case "function":
    case "symbol":
      return refuse((at) => `a ${typeof item}${at} has no form there`);
    case "number":
      return Number.isFinite(item) ? item : refuse((at) => `${item}${at} has no form there`);
    case "object":
      if (item instanceof Map || item instanceof Set) {
        return refuse((at) => `a ${item.constructor.name}${at} has no form there; turn it into an array or an object`);
      }
      if (item !== null && "then" in item && typeof item.then === "function") {
        return refuse((at) => `a promise${at} has no form there; await it`);
      }
      if (ArrayBuffer.isView(item)) {
        return refuse((at) => `bytes${at} have no form there; encode them as text`);
      }
      return item;
    default:
      return item;
  }
}

/** Goes through the value once more, and keeps an eye on where it is. */
function find(value: unknown, error: unknown): { problem: Problem; path: string } {
  const holders: { holder: unknown; path: string }[] = [];
  let path = "";
  try {
    JSON.stringify(value, function (this: unknown, key: string, item: unknown): unknown {
      while (holders.length > 0 && holders.at(-1)!.holder !== this) {
        holders.pop();
      }
      const above = holders.at(-1)?.path;
      // What holds the whole has no path.
      path = above === undefined ? "" : Array.isArray(this) ? `${above}[${key}]` : above === "" ? key : `${above}.${key}`;
      if (holders.some(({ holder }) => holder === item)) {
        throw new Unfit((at) => `a circular reference${at}, to what it is a part of`);
      }
      if (typeof item === "object" && item !== null) {
        check(key, item);
        holders.push({ holder: item, path });
        return item;
      }
      return check(key, item);
    });
  } catch (found) {
    if (found instanceof Unfit) {
      return { problem: found.problem, path };
    }
  }
  // A `toJSON` or a getter has thrown.
  return { problem: (at) => `${String(error)}${at}`, path };
}
