/**
 * How each method is trained in each table: as PEFT's runs were, whose figures are in peft.json.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { NewAdapter } from "fourierft";

/** A table: its model, and the sizes of its runs. */
export type Task =
  & { readonly model: string; readonly batch: number; readonly metric: string }
  & ({ readonly kind: "classify" | "regress"; readonly epochs: number } | {
    readonly kind: "lm";
    readonly epochs: number;
    readonly packing: "concatenate" | "none";
    readonly contextLength: number;
    readonly lossOn: "all" | "completion";
    readonly steps?: number;
  });

/** By the tables' names. */
export const tasks = {
  books: { kind: "classify", model: "roberta-tiny", batch: 64, epochs: 3, metric: "accuracy" },
  year: { kind: "regress", model: "roberta-tiny", batch: 32, epochs: 8, metric: "pearson" },
  digits: { kind: "classify", model: "vit-tiny", batch: 50, epochs: 8, metric: "accuracy" },
  kjv: {
    ...{ kind: "lm", model: "gpt2-tiny", batch: 32, epochs: 0, steps: 240, metric: "perplexity" },
    ...{ packing: "concatenate", contextLength: 256, lossOn: "all" },
  },
  d2t: {
    ...{ kind: "lm", model: "gpt2-tiny", batch: 64, epochs: 5, metric: "perplexity" },
    ...{ packing: "none", contextLength: 128, lossOn: "completion" },
  },
} as const satisfies Record<string, Task>;

/** A table's name. */
export type TaskName = keyof typeof tasks;

/** What PEFT's runs of a method came to; tests are medians of up to three seeds. */
export interface PeftRun {
  /** The value that was chosen on a tenth of the training data. */
  readonly setting: Readonly<Record<string, number>>;
  /** Of the adapter, without its head. */
  readonly parameters: number;
  /** Of adapter_model.safetensors, head included. */
  readonly bytes: number;
  readonly steps: number;
  readonly seconds: number;
  readonly test: Readonly<Record<string, number>>;
}

/** PEFT's figures of a table. */
export interface PeftTable {
  readonly metrics: readonly string[];
  /** The model without an adapter, where it has the table's head. */
  readonly base?: Readonly<Record<string, number>>;
  readonly methods: Readonly<Record<string, PeftRun>>;
}

/** PEFT's figures by table. */
export const peft = JSON.parse(
  readFileSync(fileURLToPath(new URL("peft.json", import.meta.url)), "utf8"),
) as Readonly<Record<TaskName, PeftTable>>;

/** A method's adapter: FourierFT by its number of coefficients, others by their rank. */
export function adapterOf(method: string, setting: PeftRun["setting"], task: Task): NewAdapter | "head" {
  const [name, size] = method.split("-"), r = Number(size);
  const targetModules = task.kind === "lm" ? ["c_attn"] : undefined;
  switch (name) {
    case "head":
      return "head";
    case "fourierft":
      return { peftType: "FOURIERFT", nFrequency: r, scaling: setting.scaling, targetModules };
    case "lora":
      return { peftType: "LORA", r, loraAlpha: 2 * r, targetModules };
    case "dora":
      return { peftType: "LORA", r, loraAlpha: 2 * r, useDora: true, targetModules };
    case "vera":
      return { peftType: "VERA", r, saveProjection: false, targetModules };
    case "vblora":
      return { peftType: "VBLORA", r, numVectors: 64, vectorLength: 32, topk: 2, targetModules };
    default:
      throw new Error(
        `Cannot train method "${method}": it must be one of ${Object.keys(peft.books.methods)}`,
      );
  }
}

/** Learning rates of adapter and head: FourierFT has one of 0.05 and is swept by its scaling. */
export function ratesOf({ lr = 0.05, head_lr: headLr = 0.002 }: PeftRun["setting"]) {
  return { lr, headLr };
}
