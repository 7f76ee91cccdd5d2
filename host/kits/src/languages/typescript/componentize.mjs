// Makes a component of one file of JavaScript, with SpiderMonkey. It lies in the project, so that what is installed there is found.
import { readFile, writeFile } from "node:fs/promises";
import { componentize } from "@bytecodealliance/componentize-js";

const [wit, world, source, made] = process.argv.slice(2);
const { component } = await componentize(await readFile(source, "utf8"), {
  witPath: wit,
  worldName: world,
  disableFeatures: ["http", "fetch-event"],
});
await writeFile(made, component);
