/** In what the two engines differ that a guest may be built for. */

declare const DACAPO_ENGINE: "quickjs" | "spidermonkey";

/** The small engine. */
export const isQuickJs = DACAPO_ENGINE === "quickjs";

/** What stands for an option that is none. */
export const none = (isQuickJs ? null : undefined) as never;

/** A 64-bit integer as the engine's bindings take it. */
export function u64(value: number): never {
  return (isQuickJs ? value : BigInt(value)) as never;
}

/** What an imported function threw that returns a result. */
export function thrown(error: unknown): unknown {
  return typeof error === "object" && error !== null && "payload" in error ? error.payload : error;
}

/** What the host offers under a name: one engine's modules export it as their default, the other's by its names. */
export function offered<T>(module: { default: T }): T {
  return isQuickJs ? module.default : (module as unknown as T);
}
