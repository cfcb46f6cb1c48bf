/**
 * The time that adapters of several methods add to a linear of 4096 x 4096: C3A, WaveFT, FourierFT, LoRA and DoRA side by side.
 *
 * @module
 */
import { Bank } from "../src/adapters/bank.ts";
import { baseLinear } from "../src/adapters/base.ts";
import type { AdapterModule, LinearShape, Method } from "../src/adapters/method.ts";
import { c3a } from "../src/adapters/methods/c3a.ts";
import { dora } from "../src/adapters/methods/dora.ts";
import { fourierft } from "../src/adapters/methods/fourierft.ts";
import { lora } from "../src/adapters/methods/lora.ts";
import { waveft } from "../src/adapters/methods/waveft.ts";
import { readyModule } from "../src/adapters/ready.ts";
import { tensor } from "../src/tensor.ts";
import { newModule } from "../test/new_module.ts";
import { copyRate, rates, times } from "./cells.ts";
import { coldBytes, normalTensor, prepareInTurn } from "./data.ts";
import type { Bench, BenchContext, Measurement } from "./measurement.ts";
import { timePrograms } from "./timer.ts";

const table = "transforms";

/** A method with options of its new modules, and what a row calls it. */
interface Subject {
  readonly name: string;
  readonly method: Method;
  readonly options: Readonly<Record<string, number | string>>;
}

function subjects(quick: boolean): Subject[] {
  const blocks = (quick ? [32] : [64, 256, 1024]).map((b) => ({
    name: `C3A, b = ${b}`,
    method: c3a,
    options: { block_size: b },
  }));
  const wavelets = ["db1", "db4"].map((family) => ({
    name: `WaveFT, ${family}, n = 2592`,
    method: waveft,
    options: { n_frequency: 2592, wavelet_family: family },
  }));
  return [
    ...blocks,
    ...wavelets,
    { name: "FourierFT, n = 1000", method: fourierft, options: { n_frequency: 1000 } },
    { name: "LoRA, r = 16", method: lora, options: { r: 16 } },
    { name: "DoRA, r = 16", method: dora, options: { r: 16 } },
  ];
}

/** Layers at most, as in a bench of one method: their numbers are read from memory, where they are many. */
const mostLayers = 128;

/** A new module; one that depends on its base is made ready with a random weight. */
async function readyOf(
  { device }: BenchContext,
  { method, options }: Subject,
  shape: LinearShape,
): Promise<AdapterModule> {
  const module = newModule(method, shape, options);
  if (!module.ready) return module;
  const weight = normalTensor(device, [shape.out, shape.in]);
  const ready = await readyModule(device, {
    ...{ path: "linear", module, method },
    base: baseLinear(device, weight),
  });
  device.release(weight);
  return ready;
}

async function* timeSubject(
  context: BenchContext,
  subject: Subject,
  { d, rows }: { readonly d: number; readonly rows: number },
): AsyncGenerator<Measurement> {
  const { device } = context, { name, method } = subject, shape = { out: d, in: d };
  const module = await readyOf(context, subject, shape), { values } = module.pack(shape);
  const count = Math.max(1, Math.min(mostLayers, Math.ceil(coldBytes(context) / (16 * values.length))));
  const linears = Array.from({ length: count }, (_, i) => ({ path: `layers.${i}`, shape }));
  const bank = new Bank(device, method, { linears, capacity: 1 });
  const slot = bank.load(new Map(linears.map(({ path }) => [path, module])))!;
  const io = {
    x: normalTensor(device, [rows, d]),
    y: device.alloc([rows, d], "float32"),
    slots: device.upload(tensor(new Uint32Array(rows).fill(slot))),
  };
  const steps = linears.map((_, first) => {
    const group = { first, count: 1 };
    const beside = bank.beside(group, { ...io, rows });
    return method.after ? [beside, bank.after(group, { ...io, rows })] : [beside];
  });
  const programs = await prepareInTurn(device, steps);
  const timing = await timePrograms(device, programs, context);
  programs.forEach((program) => program.release());
  bank.release();
  for (const t of Object.values(io)) device.release(t);
  const place = { table, row: `${name}, T = ${rows}` };
  const { median: copyGBs } = await copyRate(context);
  yield* times(place, timing);
  yield* rates(place, timing, { bytes: (method.after ? 20 : 12) * rows * d + 4 * values.length, copyGBs });
}

/** See the module's documentation. */
export const transformsBench: Bench = {
  name: "transforms",
  doc: "what C3A, WaveFT, FourierFT, LoRA and DoRA add to a linear, side by side",
  peers: ["peft_transforms.py"],
  async *measure(context) {
    const { device, quick } = context;
    yield await copyRate(context);
    const d = quick ? 256 : 4096;
    for (const rows of quick ? [1, 8] : device.kind === "cpu" ? [1, 64] : [1, 64, 512, 4096]) {
      for (const subject of subjects(quick)) yield* timeSubject(context, subject, { d, rows });
    }
  },
};
