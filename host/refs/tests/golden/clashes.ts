// Workflows of test:clashes: their types, and references to them. Written by `dacapo refs`.

import { type AnyEvents, ref } from "dacapo-client";

/** What "we" have. */
export interface StockItem {
  sku: string;
  /** Where it is from: c:\shelf *\/ */
  from: string;
  class?: { some: boolean | null } | null;
}

export interface Ref {
  id: string;
}

export type None = "sold-out" | "never-heard-of";

export interface TakeError {
  str: number;
  text: string;
}

export interface BillingItem {
  cents: number | string;
}

export type Literal =
  | { tag: "some"; val: number }
  | { tag: "none" }
  | { tag: "item"; val: BillingItem };

export type Sequence = ("first" | "last")[];

/** The error of `test:clashes/stock.take`: the details of its failure. */
export type StockTakeError = None;

/**
 * Takes an item: one
 * of many.
 */
export const STOCK_TAKE = ref<StockItem, Ref, AnyEvents>("test:clashes/stock.take");

export const WHY = ref<TakeError, null, AnyEvents>("test:clashes/stock.why");

/** What the events of `test:clashes/billing.take` carry. */
export interface BillingTakeEvents {
  paid: BillingItem;
  /** Nobody did. */
  "not-paid": null;
}

export const BILLING_TAKE = ref<BillingItem, Literal, BillingTakeEvents>("test:clashes/billing.take");

/** The error of `test:clashes/billing.await`: the details of its failure. */
export type AwaitError = number | string;

export const AWAIT = ref<null, [Sequence, Literal | null], AnyEvents>("test:clashes/billing.await");
