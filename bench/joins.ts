/**
 * A product and its FourierFT adapters for one row, as a device runs the two in a plan: a GPU joins them.
 *
 * @module
 */
import { mixedArrays, mixedBank } from "../kernels/cases/fourier_adapters.ts";
import { fourierLinears, linear } from "../kernels/mod.ts";
import { uniforms } from "../src/engine/random.ts";
import { type Plan, step } from "../src/plan.ts";
import { type Tensor, tensor } from "../src/tensor.ts";
import { copyRate, rates, times } from "./cells.ts";
import { coldBytes, normalTensor, prepareInTurn } from "./data.ts";
import type { BenchContext, Measurement } from "./measurement.ts";
import { timePrograms } from "./timer.ts";

/** Linears that share x: their inputs and outputs. */
interface Joined {
  readonly in: number;
  readonly outs: readonly [number, number?, number?];
}

/** The linears of a layer of Llama-3.2-1B's shape; small ones for a quick run. */
function sizes({ quick }: BenchContext): readonly Joined[] {
  if (quick) return [{ in: 64, outs: [64] }];
  return [
    { in: 2048, outs: [2048, 512, 512] },
    { in: 2048, outs: [2048] },
    { in: 2048, outs: [8192, 8192] },
    { in: 8192, outs: [2048] },
  ];
}

const mostSets = 64;

/** Rows of the joined steps; weights are read in turn until no cache holds one when its turn comes again. */
export async function* timeJoins(context: BenchContext, table: string): AsyncGenerator<Measurement> {
  const { device } = context, { median: copyGBs } = await copyRate(context);
  for (const { in: inSize, outs } of sizes(context)) {
    const [out0, out1 = 0, out2 = 0] = outs, out = out0 + out1 + out2;
    const made: Tensor[] = [];
    const keep = (t: Tensor): Tensor => {
      made.push(t);
      return t;
    };
    const size = { rows: 1, in: inSize, outs: [out0, out1, out2].filter((out) => out > 0), adapters: [1000] };
    const { x, y, slots, records, tables, values } = Object.fromEntries(
      Object.entries(mixedArrays(size, uniforms(3))).map(([name, data]) =>
        [name, keep(device.upload(tensor(data)))] as const
      ),
    );
    const planOf = (weight: Tensor): Plan => [
      step(linear, { x, weight, y }, { rows: 1, in: inSize, out, accumulate: 0 }),
      step(fourierLinears, { x, slots, records, tables, values, y }, {
        ...{ rows: 1, in: inSize, out0, out1, out2 },
        ...mixedBank(size),
      }),
    ];
    const bytes = 2 * inSize * out;
    const sets = Math.max(1, Math.min(mostSets, Math.ceil(coldBytes(context) / bytes)));
    const weights = Array.from({ length: sets }, () => keep(normalTensor(device, [out, inSize], "float16")));
    const programs = await prepareInTurn(device, weights.map(planOf));
    const timing = await timePrograms(device, programs, context);
    programs.forEach((program) => program.release());
    made.forEach((t) => device.release(t));
    const place = {
      table,
      row: `linear + fourier_linears, 1 x ${inSize} by ${size.outs.join(", ")}, ${weights[0].dtype}`,
    };
    const work = { bytes: bytes + 4 * (inSize + out), flops: 2 * inSize * out, copyGBs };
    yield* times(place, timing);
    yield* rates(place, timing, work);
  }
}
