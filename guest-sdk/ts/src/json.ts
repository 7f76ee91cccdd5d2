import { Fatal } from "./failure";

/** The value as JSON. Throws {@link Fatal} with the code `encode` for what JSON cannot carry, instead of leaving it out. */
export function encode(value: unknown, what: string): string {
  const refuse = (problem: string): never => {
    throw new Fatal(`${what} cannot be recorded as JSON: ${problem}`, { code: "encode" });
  };
  const check = (key: string, item: unknown): unknown => {
    const at = key === "" ? "" : ` at "${key}"`;
    switch (typeof item) {
      case "bigint":
        return refuse(`a BigInt${at} has no form there; turn it into a string`);
      case "function":
      case "symbol":
        return refuse(`a ${typeof item}${at} has no form there`);
      case "number":
        return Number.isFinite(item) ? item : refuse(`${item}${at} has no form there`);
      case "object":
        if (item instanceof Map || item instanceof Set) {
          return refuse(`a ${item.constructor.name}${at} has no form there; turn it into an array or an object`);
        }
        if (item !== null && "then" in item && typeof item.then === "function") {
          return refuse(`a promise${at} has no form there; await it`);
        }
        if (ArrayBuffer.isView(item)) {
          return refuse(`bytes${at} have no form there; encode them as text`);
        }
        return item;
      default:
        return item;
    }
  };
  try {
    return JSON.stringify(value === undefined ? null : value, check);
  } catch (error) {
    if (error instanceof Fatal) {
      throw error;
    }
    return refuse(error instanceof Error ? error.message : String(error));
  }
}
