import * as witModule from "dacapo:workflow/secrets@0.1.0";

import { offered } from "./engine";
import { durable } from "./failure";

const wit = offered(witModule);

/** What stands for a secret in the header of a request; the host sends its bytes in that place, and they are never here. */
export function placeholder(name: string): string {
  return `{{dacapo.secret.${name}}}`;
}

/**
 * The bytes of a secret, in a step, if the manifest grants them with `reveal = true`.
 *
 * @throws {Failure} with the code `not-granted` if it does not.
 */
export function reveal(name: string): string {
  return durable(() => wit.reveal(name));
}
