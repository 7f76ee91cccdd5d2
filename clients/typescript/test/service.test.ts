// Against the Postgres of DATABASE_URL, where the component of examples-guests/order is deployed and a worker takes runs.
import assert from "node:assert/strict";
import type { AddressInfo } from "node:net";
import { after, before, test } from "node:test";
import pg from "pg";
import { Dacapo, DacapoError, ref } from "dacapo-client";
import { service } from "../examples/service.js";
import { PLACE, SHIP, type Receipt } from "../examples/orders.js";

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL });
const dacapo = new Dacapo(pool);
const server = service(pool);
let url: string;

before(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

after(async () => {
  server.close();
  await pool.end();
});

const order = (number: number) => ({ number, customer: "Ada", items: [{ sku: "tea", quantity: 2 }] });

async function post(path: string, body: unknown): Promise<[number, any]> {
  const response = await fetch(url + path, { method: "POST", body: JSON.stringify(body) });
  return [response.status, await response.json()];
}

async function refused(doing: Promise<unknown>, code: string, says: RegExp): Promise<void> {
  await assert.rejects(doing, (error: unknown) => {
    assert.ok(error instanceof DacapoError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, says);
    return true;
  });
}

test("an order is started once, paid once, and ends with a receipt", async () => {
  const [created, { id }] = await post("/orders", order(71));
  assert.equal(created, 201);
  assert.deepEqual(await post("/orders", order(71)), [201, { id }]);
  assert.equal((await post(`/orders/${id}/payment`, { reference: "bank-1" }))[0], 202);
  const receipt: Receipt = await dacapo.output(PLACE.run(id), { timeoutMs: 60_000 });
  assert.equal(receipt.number, 71);
  assert.equal(receipt.payment, "bank-1");
  const shown = await fetch(`${url}/orders/${id}`);
  assert.deepEqual(await shown.json(), { status: "completed", receipt, problem: null });
  // It has ended: nothing is sent to it any more.
  assert.equal((await post(`/orders/${id}/payment`, { reference: "bank-2" }))[0], 409);
});

test("what the service is given is checked, and the answer says where it is wrong", async () => {
  const [status, { error }] = await post("/orders", { ...order(72), number: "72" });
  assert.equal(status, 422);
  assert.match(error, /input\.number: expected u32, got "72"/);
  assert.equal((await post("/orders/01a207fd-f74f-77b1-a2a9-db6f33855b68/payment", { reference: "x" }))[0], 404);
  assert.equal((await post("/orders/7/payment", { reference: "x" }))[0], 422);
});

test("a run that is started in a transaction which is rolled back never was", async () => {
  const connection = await pool.connect();
  await connection.query("begin");
  const run = await dacapo.within(connection).start(SHIP, { customer: "Ada", lines: [] });
  assert.equal((await dacapo.within(connection).get(run)).status, "queued");
  await connection.query("rollback");
  connection.release();
  await refused(dacapo.get(run), "not-found", /there is no run/);
});

test("a run is paused, resumed and cancelled", async () => {
  // It begins so late that no worker disturbs.
  const run = await dacapo.start(SHIP, { customer: "Ada", lines: [] }, { delay: "1 hour", labels: { test: "pause" } });
  await dacapo.pause(run);
  const paused = await dacapo.get(run);
  assert.equal(paused.status, "paused");
  assert.deepEqual(paused.labels, { test: "pause" });
  await dacapo.resume(run);
  await refused(dacapo.resume(run), "conflict", /cannot resume run/);
  await dacapo.cancel(run);
  await refused(dacapo.output(run, { timeoutMs: 60_000 }), "cancelled", /was cancelled/);
  await refused(dacapo.pause(run), "conflict", /it is cancelled/);
});

test("a failed run's failure comes with the error", async () => {
  const run = await dacapo.start(PLACE, order(74), { deadline: "1 millisecond" });
  await assert.rejects(dacapo.output(run, { timeoutMs: 60_000 }), (error: unknown) => {
    assert.ok(error instanceof DacapoError && error.failure !== undefined, String(error));
    assert.equal(error.failure.code, "deadline");
    return true;
  });
});

test("waiting ends in time", async () => {
  const run = await dacapo.start(SHIP, { customer: "Ada", lines: [] }, { at: new Date(Date.now() + 3_600_000) });
  await refused(dacapo.wait(run, { timeoutMs: 1 }), "timed-out", /has not ended in 1 ms/);
  await dacapo.cancel(run);
});

test("events with one id are one event, and starts with one key one run", async () => {
  const run = await dacapo.start(PLACE, order(75), { delay: "1 hour" });
  assert.equal(await dacapo.sendEvent(run, "paid", { reference: "bank-1" }, { id: "bank-1" }), "sent");
  assert.equal(await dacapo.sendEvent(run, "paid", { reference: "bank-1" }, { id: "bank-1" }), "duplicate");
  await dacapo.cancel(run);
  const often = { debounce: "ts", debounceFor: "10 minutes", debounceMax: "1 hour", priority: "high" };
  const first = await dacapo.start(SHIP, { customer: "Ada", lines: [] }, often);
  const second = await dacapo.start(SHIP, { customer: "Ada", lines: ["1"] }, often);
  assert.equal(first.id, second.id);
  assert.deepEqual((await dacapo.get(second)).input, { customer: "Ada", lines: ["1"] });
  await dacapo.cancel(first);
  const alone = { singleton: "ts", delay: "1 hour" };
  const only = await dacapo.start(SHIP, { customer: "Ada", lines: [] }, alone);
  await refused(dacapo.start(SHIP, { customer: "Ada", lines: [] }, alone), "conflict", /singleton "ts" belongs to run/);
  const next = await dacapo.start(SHIP, { customer: "Ada", lines: [] }, { singleton: "ts", onConflict: "queue" });
  assert.equal((await dacapo.get(next)).waitingFor, "singleton");
  await dacapo.cancel(next);
  await dacapo.cancel(only);
});

test("what has no form in JSON is refused with its place", async () => {
  const any = ref<any, any>("shop:orders/orders.ship");
  const cyclic: any[] = [];
  cyclic.push(cyclic);
  for (const [value, says] of [
    [{ a: [1, NaN] }, /ship\.a\.1: NaN has no form in JSON/],
    [{ a: 1n }, /ship\.a: a bigint has no form/],
    [undefined, /undefined has no form in JSON; nothing is null/],
    [[undefined], /ship\.0: undefined/],
    [{ a: () => 1 }, /ship\.a: a function/],
    [cyclic, /it contains itself/],
  ] as const) {
    await refused(dacapo.start(any, value), "bad-input", says);
  }
});

test("a workflow that is not deployed, and an event that is not declared, are errors", async () => {
  await refused(dacapo.start(ref<null, null>("shop:orders/orders.none"), null), "not-found", /there is no workflow/);
  const run = await dacapo.start(PLACE, order(73), { delay: "1 hour" });
  // @ts-expect-error the workflow declares no such event
  await refused(dacapo.sendEvent(run, "payed", { reference: "x" }), "bad-input", /payed/);
  // @ts-expect-error the event carries something else
  await refused(dacapo.sendEvent(run, "paid", { ref: 1 }), "bad-input", /reference/);
  await dacapo.cancel(run);
});
