/**
 * `fourierft train`: an adapter from a text, or an encoder's adapter and head from labelled examples, on this machine.
 *
 * @module
 */
import process from "node:process";
import { openFile } from "../runtime/file.ts";
import { checkEmpty } from "../runtime/output.ts";
import { train as runTrain, type TrainEvent } from "../train.ts";
import { trainEncoder, type TrainEncoderEvent, type TrainEncoderOptions } from "../train/encoder.ts";
import type { TrainingText } from "../training/content.ts";
import { formatOf, streamOf } from "../training/data.ts";
import type { HeadReport } from "../training/head_report.ts";
import type { PerplexityReport } from "../training/run.ts";
import { defineCommand } from "./command.ts";
import { imageExamples, textExamples } from "./examples.ts";
import { openNamedFolder } from "./folder.ts";
import { metricLines } from "./metrics.ts";
import { log, parseDevice, parseNumber, tell } from "./open.ts";
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
import { counted } from "./words.ts";
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

const countedText = (start: Start<TrainEvent>): string =>
  `${start.peftType}: ${counted(start.parameters, "number")} in ${counted(start.modules, "module")}; data: ${
    counted(start.training.documents, "document")
  }, ` +
  `${counted(start.training.tokens, "token")}, ${counted(start.stepsPerEpoch, "step")} an epoch; held out: ${
    counted(start.heldOut.tokens, "token")
  }`;

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
    started: (start) => [countedText(start)],
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
    : `${peftType}: ${counted(parameters - headParameters, "number")} in ${counted(modules, "module")}; `;
  const classes = labels.length === 1 ? "a number" : `${labels.length} classes`;
  return [
    `${adapter}head: ${counted(headParameters, "number")}, ${classes}; data: ${
      counted(training, "example")
    }, ` +
    `${counted(stepsPerEpoch, "step")} an epoch; held out: ${counted(heldOut, "example")}`,
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
  examples: [
    {
      does: "Train a FourierFT adapter on a text, with held-out perplexity",
      line: "train --model examples/demo/base --data book.txt --out my-adapter --held-out 0.1",
    },
    {
      does: "A LoRA of rank 8 in place of it",
      line: "train --model examples/demo/base --data chats.jsonl --out my-lora --method lora --r 8",
    },
    {
      does: "Labels of texts, by an encoder",
      line: "train --task classify --model roberta-base --data reviews.csv --out sentiment",
    },
    {
      does: "Go on after a stop",
      line: "train --model examples/demo/base --data book.txt --out my-adapter --held-out 0.1 --resume",
    },
  ],
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
    tell(
      "done",
      finished
        ? `${out}: trained ${counted(step, "step")}`
        : `${out}: stopped after step ${step}; go on with --resume`,
      { out, step, finished },
    );
    process.exit(0);
  },
});
