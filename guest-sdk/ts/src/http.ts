import wit from "dacapo:workflow/http@0.1.0";

import { none, u64 } from "./engine";
import { durable } from "./failure";
import { wholeMs } from "./steps";
import { decodeUtf8, encodeUtf8 } from "./text";

/** What is sent, and how. */
export interface FetchOptions {
  /** Without it: `GET`, or `POST` with a body. */
  method?: string;
  /** Values may hold {@link placeholder}s of secrets. */
  headers?: Record<string, string>;
  body?: string | Uint8Array;
  /** Sent as the body, with its content type. */
  json?: unknown;
  timeoutMs?: number;
  /** How many redirects are followed; without it 10. */
  redirects?: number;
  /** How long the response's body may be, in bytes. */
  responseMax?: number;
  /** The request carries the step's idempotency key in the header with this name. */
  idempotencyHeader?: string;
}

/** What a service has answered. */
export class Response {
  constructor(
    readonly status: number,
    /** Names in lower case, and values. */
    readonly headers: [string, string][],
    readonly bytes: Uint8Array,
  ) {}

  /** Whether the status is 200 to 299. */
  get ok(): boolean {
    return this.status >= 200 && this.status < 300;
  }

  /** The first header with this name. */
  header(name: string): string | undefined {
    return this.headers.find(([known]) => known === name.toLowerCase())?.[1];
  }

  /** The body as text. */
  text(): string {
    return decodeUtf8(this.bytes);
  }

  /** The body as JSON. */
  json<T = unknown>(): T {
    return JSON.parse(this.text()) as T;
  }
}

/**
 * Sends a request, in a step, to a host that the manifest grants; answers the response whatever its status.
 *
 * @throws {Failure} with the codes `not-granted` (where the manifest says `otherwise = "fail"`), `http-bad-request`, `http-too-large`, and, worth another try, `http-unreachable` and
 * `http-timeout`.
 */
export async function fetch(url: string, options: FetchOptions = {}): Promise<Response> {
  const headers = Object.entries(options.headers ?? {});
  let body = options.body;
  if (options.json !== undefined) {
    body = JSON.stringify(options.json);
    if (!headers.some(([name]) => name.toLowerCase() === "content-type")) {
      headers.push(["content-type", "application/json"]);
    }
  }
  const made = new wit.Options();
  if (options.timeoutMs !== undefined) {
    made.setTimeout(u64(wholeMs(options.timeoutMs)));
  }
  if (options.redirects !== undefined) {
    made.setRedirects(options.redirects);
  }
  if (options.responseMax !== undefined) {
    made.setResponseMax(u64(options.responseMax));
  }
  if (options.idempotencyHeader !== undefined) {
    made.setIdempotencyHeader(options.idempotencyHeader);
  }
  const request = {
    method: options.method ?? (body === undefined ? "GET" : "POST"),
    url,
    headers,
    body: body === undefined ? none : ((typeof body === "string" ? encodeUtf8(body) : body) as never),
  };
  const answered = durable(() => wit.fetch(request, made as never));
  return new Response(answered.status, answered.headers, Uint8Array.from(answered.body));
}
