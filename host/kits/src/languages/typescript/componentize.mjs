// Makes a component of one file of JavaScript, with SpiderMonkey.
import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [wit, world, source, made] = process.argv.slice(2);
// From the project's directory, where it is installed.
const require = createRequire(join(process.cwd(), "package.json"));
const { componentize } = await import(pathToFileURL(require.resolve("@bytecodealliance/componentize-js")).href);
const { component } = await componentize(await readFile(source, "utf8"), {
  witPath: wit,
  worldName: world,
  disableFeatures: ["http", "fetch-event"],
});
await writeFile(made, component);
