/**
 * The tables of FourierFT's paper in small: trains each method on a table's task, beside PEFT's figures.
 *
 *     npx deno run -A examples/paper/tables.ts digits [--methods lora-1,head] [--seeds 0,1,2] [--device cpu]
 *     npx deno run -A examples/paper/tables.ts books --models DIR --data DIR
 *
 * README.md says what the folders hold.
 *
 * @module
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { openDevice } from "fourierft/node";
import { median, type Row, runOf } from "./run.ts";
import { peft, type PeftRun, type Task, type TaskName, tasks } from "./settings.ts";

/** A method's line: our median beside PEFT's. */
function line(method: string, rows: readonly Row[], metrics: readonly string[], theirs: PeftRun): string {
  const cells = metrics.filter((metric) => metric in rows[0].test).map((metric) =>
    `${metric} ${median(rows.map(({ test }) => test[metric])).toFixed(4)} (PEFT ${theirs.test[metric]})`
  );
  return `${method.padEnd(15)} ${cells.join("  ")}  bytes ${rows[0].bytes} (PEFT ${theirs.bytes})  ` +
    `${median(rows.map(({ stepMs }) => stepMs)).toFixed(1)} ms a step`;
}

/** A folder beside this file. */
const own = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      models: { type: "string", default: own("models") },
      data: { type: "string", default: own("data") },
      methods: { type: "string" },
      seeds: { type: "string", default: "0,1,2" },
      device: { type: "string", default: "auto" },
      out: { type: "string" },
    },
  });
  const name = positionals[0] as TaskName;
  if (positionals.length !== 1 || !(name in tasks)) {
    throw new Error(`Cannot run: give one table of ${Object.keys(tasks).join(", ")}`);
  }
  const task: Task = tasks[name], { methods, metrics } = peft[name];
  const device = await openDevice({ kind: values.device as "auto", log: console.error });
  const found: Record<string, readonly Row[]> = {};
  console.log(`${name}, ${task.model}, ${device.description}`);
  for (const method of values.methods?.split(",") ?? Object.keys(methods)) {
    const theirs = methods[method], rows: Row[] = [];
    if (!theirs) {
      throw new Error(`Cannot train "${method}": it must be one of ${Object.keys(methods).join(", ")}`);
    }
    for (const seed of values.seeds.split(",").map(Number)) {
      rows.push(
        await runOf({
          ...{
            device,
            models: values.models,
            data: values.data,
            task,
            name,
            method,
            setting: theirs.setting,
            seed,
          },
        }),
      );
    }
    found[method] = rows;
    console.log(line(method, rows, metrics, theirs));
    if (values.out) {
      writeFileSync(
        values.out,
        `${JSON.stringify({ table: name, device: device.description, found }, null, 1)}\n`,
      );
    }
  }
  device.destroy();
  process.exit(0);
}

await main();
