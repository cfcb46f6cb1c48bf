/**
 * `fourierft train`: an adapter from a text, or an encoder's adapter and head from labelled examples, on this machine.
 *
 * @module
 */
import process from "node:process";
import { defineCommand } from "citty";
import { openFile } from "../runtime/file.ts";
import { checkEmpty } from "../runtime/output.ts";
import { train as runTrain, type TrainEvent } from "../train.ts";
import { trainEncoder, type TrainEncoderEvent, type TrainEncoderOptions } from "../train/encoder.ts";
import type { TrainingText } from "../training/content.ts";
import { formatOf, streamOf } from "../training/data.ts";
import type { HeadReport } from "../training/head_report.ts";
import type { PerplexityReport } from "../training/run.ts";
import { imageExamples, textExamples } from "./examples.ts";
import { openNamedFolder } from "./folder.ts";
import { metricLines } from "./metrics.ts";
import { log, parseDevice, parseNumber } from "./open.ts";
import {
  adapterOf,
  headAdapterOf,
  headSettingsOf,
  settingsOf,
  type TaskName,
  taskOf,
  type TrainArgs,
  trainArgs,
  unreadArgs,
} from "./train_args.ts";
import { namedDevice, reporter, type RunEnd, runIn } from "./train_run.ts";

type Start<Event> = Event & { readonly kind: "start" };

async function textOf(path: string): Promise<TrainingText> {
  return { content: streamOf(await openFile(path)), format: formatOf(path) };
}

/** The file or folder of `--eval-data`, read by a function, or the part that `--held-out` says. */
async function evaluationOf<T>(a: TrainArgs, read: (path: string) => Promise<T> | T): Promise<T | number> {
  const { "eval-data": path, "held-out": part } = a;
  return typeof path === "string"
    ? await read(path)
    : parseNumber("held-out", String(part), { least: 0, most: 1 });
}

const counted = (start: Start<TrainEvent>): string =>
  `${start.peftType}: ${start.parameters} numbers in ${start.modules} modules; data: ${start.training.documents} documents, ` +
  `${start.training.tokens} tokens, ${start.stepsPerEpoch} steps an epoch; held out: ${start.heldOut.tokens} tokens`;

const perplexityLine = ({ loss, perplexity }: PerplexityReport): string =>
  `held-out loss ${loss.toFixed(4)}, perplexity ${perplexity.toFixed(2)}`;

/** Tells what was given and is not read, once nothing else can be wrong with the arguments. */
interface Prepared {
  readonly notes: () => void;
}

/** Trains on a text. */
async function trainText(a: TrainArgs, { notes }: Prepared): Promise<RunEnd> {
  const settings = settingsOf(a), adapter = await adapterOf(a);
  const folder = await openNamedFolder(String(a.model));
  const data = await textOf(String(a.data)), evaluation = await evaluationOf(a, textOf);
  notes();
  const report = reporter<Start<TrainEvent>, PerplexityReport>(settings.steps, {
    unit: "tokens",
    started: (start) => [counted(start)],
    evaluated: (found) => [perplexityLine(found)],
  });
  return await runIn(
    a,
    report,
    (device, run) => runTrain(device, { ...settings, ...run, folder, data, evaluation, adapter }),
  );
}

function countedHead(start: Start<TrainEncoderEvent>): string[] {
  const { peftType, parameters, headParameters, modules, labels, training, heldOut, stepsPerEpoch } = start;
  const adapter = peftType === undefined
    ? ""
    : `${peftType}: ${parameters - headParameters} numbers in ${modules} modules; `;
  const classes = labels.length === 1 ? "a number" : `${labels.length} classes`;
  return [
    `${adapter}head: ${headParameters} numbers, ${classes}; data: ${training} examples, ${stepsPerEpoch} steps an epoch; ` +
    `held out: ${heldOut} examples`,
  ];
}

/** Trains an encoder's adapter and head. */
async function trainHead(
  a: TrainArgs,
  { notes, task }: Prepared & { readonly task: TaskName },
): Promise<RunEnd> {
  const { packing: _packing, lossOn: _lossOn, ...settings } = settingsOf(a), own = headSettingsOf(a);
  const adapter = await headAdapterOf(a), folder = await openNamedFolder(String(a.model));
  const read = (path: string): TrainEncoderOptions["examples"] | Promise<TrainEncoderOptions["examples"]> =>
    task === "images" ? imageExamples(path) : textExamples(path);
  const examples = await read(String(a.data)), evaluation = await evaluationOf(a, read);
  notes();
  let labels: readonly string[] = [];
  const report = reporter<Start<TrainEncoderEvent>, HeadReport>(settings.steps, {
    unit: "examples",
    started(start) {
      labels = start.labels;
      return countedHead(start);
    },
    evaluated: (found) => metricLines(found, labels),
  });
  return await runIn(a, report, (device, run) =>
    trainEncoder(device, {
      ...{ ...settings, ...own, ...run, folder, examples, evaluation, adapter },
      task: task === "regress" ? "regress" : "classify",
    }));
}

/** See the module's documentation. */
export const train = defineCommand({
  meta: {
    name: "train",
    description:
      "Fine-tune an adapter on a text, or an encoder on labelled examples; the result is a PEFT folder",
  },
  args: trainArgs,
  async run({ args: given, rawArgs }) {
    const a = given as TrainArgs, out = String(a.out), task = taskOf(a);
    settingsOf(a);
    parseNumber("held-out", String(a["held-out"]), { least: 0, most: 1 });
    parseDevice(namedDevice(a));
    await (task === "lm" ? adapterOf(a) : headAdapterOf(a));
    if (!a.resume && !a.overwrite) {
      await checkEmpty(out, "; go on with --resume, or replace them with --overwrite");
    }
    const notes = (): void => {
      for (const line of unreadArgs(a, (name) => rawArgs.some((one) => one.startsWith(`--${name}=`)))) {
        log(line);
      }
    };
    const { step, finished } = task === "lm"
      ? await trainText(a, { notes })
      : await trainHead(a, { notes, task });
    log(
      finished
        ? `${out}: trained ${step} step${step === 1 ? "" : "s"}`
        : `${out}: stopped after step ${step}; go on with --resume`,
    );
    process.exit(0);
  },
});
