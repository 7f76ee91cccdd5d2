import { isQuickJs } from "./engine";
import { Fatal } from "./failure";

/** What a value is made of, as `dacapo build` says it. Of `null` nothing is asked. */
type Shape =
  | null
  | string
  | { list: Shape }
  | { option: Shape }
  | { some: Shape }
  | { tuple: Shape[] }
  | { record: string; fields: Record<string, Shape> }
  | { variant: string; cases: Record<string, Shape> }
  | { enum: string; cases: string[] }
  | { flags: string }
  | { result: { ok: Shape; err: Shape } };

/** By the names of workflows. Of what comes in there is only where it has integers of 64 bits, for the engine whose numbers are all that there is. */
declare const DACAPO_SHAPES: Record<string, { input?: Shape; output?: Shape; error?: Shape } | undefined>;

const RANGES: Record<string, [number, number]> = {
  u8: [0, 0xff],
  u16: [0, 0xffff],
  u32: [0, 0xffff_ffff],
  s8: [-0x80, 0x7f],
  s16: [-0x8000, 0x7fff],
  s32: [-0x8000_0000, 0x7fff_ffff],
};

/**
 * Refuses a value that its type in WIT cannot carry. The engine would end the component without saying where the value is, or make another
 * one of it.
 */
export function fit<T>(workflow: string, part: "input" | "output" | "error", value: T): T {
  const shape = DACAPO_SHAPES[workflow]?.[part];
  if (shape !== undefined) {
    check(shape, value, part);
  }
  return value;
}

function refuse(at: string, expected: string, value: unknown): never {
  throw new TypeError(`${at}: expected ${expected}, got ${show(value)}`);
}

/** The value in the words of the language. */
function show(value: unknown): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
    case "bigint":
      return `${value}n`;
    case "function":
      return "a function";
    case "object":
      if (value === null) {
        return "null";
      }
      if (Array.isArray(value)) {
        return `an array of ${value.length}`;
      }
      if ("then" in value && typeof value.then === "function") {
        return "a promise that was not awaited";
      }
      const name = (value as object).constructor?.name;
      return name === undefined || name === "Object" ? `an object with ${fieldsOf(value)}` : `a ${name}`;
    default:
      return String(value);
  }
}

function fieldsOf(value: object): string {
  const names = Object.keys(value);
  return names.length === 0 ? "no fields" : names.slice(0, 8).join(", ");
}

function check(shape: Shape, value: unknown, at: string): void {
  if (shape === null) {
    return;
  }
  if (typeof shape === "string") {
    plain(shape, value, at);
  } else if ("list" in shape) {
    for (const [index, item] of listed(shape.list, value, at).entries()) {
      check(shape.list, item, `${at}[${index}]`);
    }
  } else if ("option" in shape) {
    if (value !== null && value !== undefined) {
      check(shape.option, value, at);
    }
  } else if ("some" in shape) {
    tagged({ some: shape.some, none: null }, value, at, 'an option of an option, { tag: "some", val } or { tag: "none" }');
  } else if ("tuple" in shape) {
    const count = shape.tuple.length;
    if (!Array.isArray(value) || value.length !== count) {
      refuse(at, `an array of ${count}`, value);
    }
    for (const [index, item] of shape.tuple.entries()) {
      check(item, value[index], `${at}[${index}]`);
    }
  } else if ("record" in shape) {
    if (typeof value !== "object" || value === null) {
      refuse(at, `the record ${shape.record}, an object`, value);
    }
    for (const [name, field] of Object.entries(shape.fields)) {
      check(field, (value as Record<string, unknown>)[name], `${at}.${name}`);
    }
  } else if ("variant" in shape) {
    tagged(shape.cases, value, at, `the variant ${shape.variant}, { tag, val } with one of ${quoted(Object.keys(shape.cases))}`);
  } else if ("enum" in shape) {
    if (typeof value !== "string" || !shape.cases.includes(value)) {
      refuse(at, `one of ${quoted(shape.cases)} (${shape.enum})`, value);
    }
  } else if ("flags" in shape) {
    if (typeof value !== "object" || value === null) {
      refuse(at, `the flags ${shape.flags}, an object`, value);
    }
  } else {
    tagged(shape.result, value, at, 'a result, { tag: "ok", val } or { tag: "err", val }');
  }
}

function quoted(names: string[]): string {
  return names.map((name) => JSON.stringify(name)).join(", ");
}

/** Lists may be arrays with types of their own, whose items are numbers by themselves. */
function listed(item: Shape, value: unknown, at: string): readonly unknown[] {
  if (ArrayBuffer.isView(value) && !(value instanceof DataView)) {
    return item === "u8" ? [] : Array.from(value as unknown as ArrayLike<unknown>);
  }
  return Array.isArray(value) ? value : refuse(at, "an array", value);
}

function tagged(cases: Record<string, Shape>, value: unknown, at: string, expected: string): void {
  const { tag, val } = (typeof value === "object" && value !== null ? value : {}) as { tag?: unknown; val?: unknown };
  if (typeof tag !== "string" || !Object.hasOwn(cases, tag)) {
    refuse(at, expected, typeof tag === "string" ? tag : value);
  }
  check(cases[tag]!, val, `${at}.${tag}`);
}

function plain(kind: string, value: unknown, at: string): void {
  switch (kind) {
    case "bool":
      return typeof value === "boolean" ? undefined : refuse(at, "true or false", value);
    case "string":
      return typeof value === "string" ? undefined : refuse(at, "a string", value);
    case "char":
      return typeof value === "string" && [...value].length === 1 ? undefined : refuse(at, "a string of one character", value);
    case "f32":
    case "f64":
      return typeof value === "number" && Number.isFinite(value) ? undefined : refuse(at, `a finite number (${kind})`, value);
    case "bytes":
      for (const [index, byte] of listed("u8", value, at).entries()) {
        plain("u8", byte, `${at}[${index}]`);
      }
      return;
    case "u64":
    case "s64":
      return isQuickJs ? exact(kind, value, at) : big(kind, value, at);
  }
  const [least, most] = RANGES[kind]!;
  if (!Number.isInteger(value) || (value as number) < least || (value as number) > most) {
    refuse(at, `an integer from ${least} to ${most} (${kind})`, value);
  }
}

/**
 * Refuses an integer that a number cannot hold exactly: beyond 2^53 it has been rounded already, or has another sign, and nothing good can come
 * of going on with it.
 */
function exact(kind: "u64" | "s64", value: unknown, at: string): void {
  if (Number.isSafeInteger(value) && (kind === "s64" || Number(value) >= 0)) {
    return;
  }
  const range = kind === "u64" ? "0 to 2^53 - 1" : "-2^53 + 1 to 2^53 - 1";
  const isInput = at === "input" || at.startsWith("input.") || at.startsWith("input[");
  if (!isInput && typeof value !== "bigint" && (!Number.isInteger(value) || Number.isSafeInteger(value))) {
    refuse(at, `an integer of ${range} (${kind})`, value);
  }
  throw new Fatal(
    `${at} is a ${kind} that no number of JavaScript holds exactly: expected an integer of ${range}` +
      `${typeof value === "number" ? "" : `, got ${show(value)}`}; give it the type string in the WIT, or set ` +
      'engine = "spidermonkey" under [build] in dacapo.toml, where it is a bigint',
    { code: "inexact" },
  );
}

function big(kind: "u64" | "s64", value: unknown, at: string): void {
  const [least, most] = kind === "u64" ? [0n, 2n ** 64n - 1n] : [-(2n ** 63n), 2n ** 63n - 1n];
  if (typeof value !== "bigint" || value < least! || value > most!) {
    refuse(at, `a bigint from ${least} to ${most} (${kind})`, value);
  }
}
