import * as witModule from "dacapo:workflow/sql@0.1.0";
import type { Value } from "dacapo:workflow/sql@0.1.0";

import { offered, u64 } from "./engine";
import { durable } from "./failure";

const wit = offered(witModule);

/** What may be a parameter. Numbers without a fraction are `bigint`, others `double precision`; objects are `jsonb`. */
export type Param = null | boolean | number | bigint | string | Uint8Array | Date | object;

/** A row: the values by the names of their columns. `timestamptz` is a `Date`; `bigint` beyond 2^53 loses digits: cast it to text. */
export type Row = Record<string, unknown>;

/**
 * Carries a statement out, in a step, and answers its rows. All statements of a step are one transaction with its outcome. Parameters are
 * `$1`, `$2`, …
 *
 * @throws {Failure} with the codes `sql`, `sql-statement`, `sql-limit` and `sql-lost`.
 */
export async function query<R extends Row = Row>(statement: string, ...params: Param[]): Promise<R[]> {
  const { columns, rows } = durable(() => wit.query(statement, params.map(toWit)));
  return rows.map((row) => Object.fromEntries(row.map((value, at) => [columns[at], fromWit(value)])) as R);
}

/** Like {@link query}, and answers how many rows the statement has touched. */
export async function execute(statement: string, ...params: Param[]): Promise<number> {
  return Number(durable(() => wit.execute(statement, params.map(toWit))));
}

function toWit(param: Param): Value {
  switch (typeof param) {
    case "boolean":
      return { tag: "boolean", val: param };
    case "number":
      return Number.isInteger(param) ? { tag: "integer", val: u64(param) } : { tag: "float", val: param };
    case "bigint":
      // As text, so that no digit is lost whatever the engine's bindings do.
      return { tag: "text", val: param.toString() };
    case "string":
      return { tag: "text", val: param };
  }
  if (param === null || param === undefined) {
    return { tag: "null" };
  }
  if (param instanceof Uint8Array) {
    return { tag: "bytes", val: param };
  }
  if (param instanceof Date) {
    return { tag: "timestamp", val: u64(param.getTime() * 1_000) };
  }
  return { tag: "json", val: JSON.stringify(param) };
}

function fromWit(value: Value): unknown {
  switch (value.tag) {
    case "null":
      return null;
    case "integer":
      return Number(value.val);
    case "json":
      return JSON.parse(value.val);
    case "timestamp":
      return new Date(Number(value.val) / 1_000);
    case "bytes":
      return Uint8Array.from(value.val);
    default:
      return value.val;
  }
}
