// Workflows of shop:orders: their types, and references to them. Written by `dacapo refs`.

import { type AnyEvents, ref } from "dacapo-client";

export interface Item {
  sku: string;
  quantity: number;
}

export interface Order {
  number: number;
  customer: string;
  items: Item[];
}

export interface Receipt {
  number: number;
  charge: string;
  payment: string;
  picked: string[];
  tracking: string;
}

export type Problem =
  /** Nobody paid in time. What was held has been released. */
  | { tag: "not-paid" }
  /** A step failed for good. */
  | { tag: "failed"; val: string };

export interface Payment {
  reference: string;
}

export interface Parcel {
  customer: string;
  lines: string[];
}

/** What the events of `shop:orders/orders.place` carry. */
export interface PlaceEvents {
  paid: Payment;
}

/** The error of `shop:orders/orders.place`: the details of its failure. */
export type PlaceError = Problem;

/** Holds the items, asks the bank for the money, waits a day for the payment, picks the items two at a time, and has them shipped. */
export const PLACE = ref<Order, Receipt, PlaceEvents>("shop:orders/orders.place");

/** The error of `shop:orders/orders.ship`: the details of its failure. */
export type ShipError = string;

/** Makes a label, and answers its tracking number. */
export const SHIP = ref<Parcel, string, AnyEvents>("shop:orders/orders.ship");
