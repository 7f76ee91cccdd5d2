// An HTTP service in front of the workflow `place` of examples-guests/order: it knows the workflow's types, and Postgres.
//
//   POST /orders               starts an order, once for each number however often it is sent
//   GET  /orders/ID            how it stands
//   POST /orders/ID/payment    tells it that it is paid
import { createServer, type IncomingMessage, type Server } from "node:http";
import { Dacapo, DacapoError, type Queryable } from "dacapo-client";
import { PLACE, type Order, type Payment, type PlaceError } from "./orders.js";

const STATUS: Record<string, number> = { "bad-input": 422, "not-found": 404, conflict: 409 };

export function service(database: Queryable): Server {
  const dacapo = new Dacapo(database);

  async function answer(request: IncomingMessage): Promise<[number, unknown]> {
    const [, orders, id, what] = (request.url ?? "").split("/");
    const route = `${request.method} ${orders}${id ? "/ID" : ""}${what ? `/${what}` : ""}`;
    switch (route) {
      case "POST orders": {
        const order = (await body(request)) as Order;
        const run = await dacapo.start(PLACE, order, { key: `order-${order.number}` });
        return [201, { id: run.id }];
      }
      case "GET orders/ID": {
        const run = await dacapo.get(PLACE.run(id!));
        const problem = (run.failure?.details ?? null) as PlaceError | null;
        return [200, { status: run.status, receipt: run.output, problem }];
      }
      case "POST orders/ID/payment": {
        const payment = (await body(request)) as Payment;
        // Banks repeat themselves; the reference makes it one event.
        await dacapo.sendEvent(PLACE.run(id!), "paid", payment, { id: payment.reference });
        return [202, {}];
      }
      default:
        return [404, { error: "there is nothing here" }];
    }
  }

  return createServer(async (request, response) => {
    let status: number, content: unknown;
    try {
      [status, content] = await answer(request);
    } catch (error) {
      status = (error instanceof DacapoError && STATUS[error.code]) || 500;
      content = { error: status === 500 ? "something is wrong here" : (error as Error).message };
    }
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(content));
  });
}

async function body(request: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  try {
    return JSON.parse(Buffer.concat(parts).toString());
  } catch (error) {
    throw new DacapoError("bad-input", `the body is not JSON: ${(error as Error).message}`);
  }
}
