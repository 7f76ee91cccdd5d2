// Workflows of test:kinds: their types, and references to them. Written by `dacapo refs`.

import { type AnyEvents, ref } from "dacapo-client";

export interface Point {
  x: number;
  y: number;
}

export type Shape =
  | { tag: "empty" }
  | { tag: "circle"; val: number }
  | { tag: "polygon"; val: Point[] }
  | { tag: "big"; val: number | string }
  /** One that may have no value. */
  | { tag: "maybe"; val: number | null }
  | { tag: "pair"; val: [number | string, boolean] };

export type Colour = "red" | "green" | "dark-blue";

export type Permission = ("read" | "write" | "run-it")[];

export interface Amount {
  cents: number | string;
  currency: string;
}

export interface Everything {
  truth: boolean;
  tiny: number;
  large: number | string;
  uLarge: number | string;
  single: number;
  double: number;
  letter: string;
  text: string;
  bytes: string;
  pin: [number, number, number];
  ids: (number | string)[];
  table: number[][];
  photos: string[];
  pair: [number, string];
  widePair: [number | string, string];
  maybe?: number | null;
  maybeWide?: number | string | null;
  maybeMaybe?: { some: string | null } | null;
  maybeMaybeWide?: { some: { some: number | string | null } | null } | null;
  shape: Shape;
  shapes: Shape[];
  shade: Colour;
  permission: Permission;
  outcome: { ok: number | string } | { err: string };
  outcomeOk: { ok: number } | { err: null };
  outcomeErr: { ok: null } | { err: string };
  outcomeBare: { ok: null } | { err: null };
  type: Amount;
}

/** Returns what it is given. */
export const ECHO = ref<Everything, Everything, AnyEvents>("test:kinds/kinds.echo");

export const COUNT = ref<number | string, number | string, AnyEvents>("test:kinds/kinds.count");

/** The error of `test:kinds/kinds.swap`: the details of its failure. */
export type SwapError = string;

export const SWAP = ref<[number | string, number | string], [number | string, number | string], AnyEvents>("test:kinds/kinds.swap");

export const NOTHING = ref<null, null, AnyEvents>("test:kinds/kinds.nothing");

export const BARE = ref<null, null, AnyEvents>("test:kinds/kinds.bare");

/** The error of `test:kinds/kinds.loop`: the details of its failure. */
export type LoopError = Shape;

export const LOOP = ref<string, null, AnyEvents>("test:kinds/kinds.loop");
