/** An order: the same in each language that has a kit, and with the same journal. */

import { Failure, Retry, WorkflowError, child, mapParallel, step, waitFor, workflows } from "dacapo";
import type { Order, Orders, Parcel, Problem, Receipt } from "wit/orders";

const DAY_MS = 24 * 60 * 60 * 1000;

export const orders = workflows<Orders>({
  async place(order: Order): Promise<Receipt> {
    try {
      return await place(order);
    } catch (error) {
      throw error instanceof Failure ? problem({ tag: "failed", val: error.message }) : error;
    }
  },

  async ship(parcel: Parcel): Promise<string> {
    return step("label", () => `${parcel.customer}-${parcel.lines.length}`);
  },
});

async function place(order: Order): Promise<Receipt> {
  const hold = await step("reserve", () => ({
    id: `hold-${order.number}`,
    items: order.items.reduce((sum, item) => sum + item.quantity, 0),
  }));
  const charge = await step("charge", { attempts: 3, backoffMs: 1_000 }, async ({ number }) => {
    if (number === 1) {
      throw new Retry("the bank is busy", { code: "busy" });
    }
    return `charge-${order.number}`;
  });
  const payment = await waitFor<{ reference: string }>("paid", { timeoutMs: DAY_MS });
  if (payment === undefined) {
    await step("release", () => `${hold.id} is released`);
    throw problem({ tag: "not-paid" });
  }
  const picked = await mapParallel(
    "pick",
    order.items,
    (item) => step("pick", () => `${item.quantity} x ${item.sku}`),
    { maxParallel: 2 },
  );
  const shipped = await child<string>("ship", "shop:orders/orders.ship", { customer: order.customer, lines: picked });
  return { number: order.number, charge, payment: payment.reference, picked, tracking: await shipped.output() };
}

function problem(problem: Problem): WorkflowError<Problem> {
  return new WorkflowError(problem);
}
