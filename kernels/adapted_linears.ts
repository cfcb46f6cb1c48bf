/**
 * `adapted_linears`: what `linear` and then `fourier_linears` compute, in one call. For one row of decoding the two run
 * side by side, see fourier/beside.ts; a device puts the two together where a plan has them one after the other.
 *
 * @module
 */
import { dense } from "./formats/dense.ts";
import { besideLaunch, type Finish, runsBeside } from "./fourier/beside.ts";
import { launchLinears, type Linears, type LinearsBuffer, shapeOf } from "./fourier/linears.ts";
import { mixedArrays, mixedBank, type MixedSize } from "./fourier/linears_case.ts";
import { cpuLinears, referenceLinears } from "./fourier/linears_cpu.ts";
import type { Shape } from "./fourier/shape.ts";
import { fourierLinear } from "./fourier_linear.ts";
import { Kept } from "./kept.ts";
import { narrow } from "./half.ts";
import {
  anyKernel,
  type Arrays,
  type Bench,
  type Call,
  type Case,
  defineKernel,
  type DType,
  type Join,
  type Kernel,
  type Launch,
  type Limits,
  nans,
  normals,
} from "./kernel.ts";
import { linear } from "./linear.ts";
import { linearLaunch } from "./linear/launch.ts";
import { uniforms as linearUniforms } from "./linear/wgsl.ts";

/** Uniform words; those of `linear` first, whose text reads the beginning of them. */
export const adaptedUniforms = {
  ...linearUniforms,
  out0: "u32",
  out1: "u32",
  out2: "u32",
  layer: "u32",
  capacity: "u32",
} as const;
const uniforms = adaptedUniforms;

/** A call's uniform words. */
export type AdaptedWords = Readonly<Record<keyof typeof uniforms, number>>;

/** Its buffers. */
export type AdaptedBuffer = LinearsBuffer | "weight";

/** The linears of a call. */
export function linearsOf({ rows, in: inSize, out0, out1, out2, layer, capacity }: AdaptedWords): Linears {
  return { rows, in: inSize, outs: [out0, out1, out2].filter((out) => out > 0), layer, capacity };
}

const launches = new Kept<Launch>();

/** The shape of what runs side by side; undefined for what does not. */
export function besideShape(linears: Linears, limits: Limits): Shape | undefined {
  const shape = shapeOf(linears, { uniforms, limits });
  return runsBeside(shape) ? shape : undefined;
}

/** Both side by side, with what finishes them, which `name` says beside their sizes; undefined where they cannot be. */
export function adaptedLaunch(
  linears: Linears,
  weight: DType,
  { limits, finish, name = "" }: {
    readonly limits: Limits;
    readonly finish?: Finish;
    readonly name?: string;
  },
): Launch | undefined {
  const { rows, in: inSize, outs } = linears;
  const shape = besideShape(linears, limits);
  if (!shape) return undefined;
  const key = `beside:${rows}:${inSize}:${outs}:${weight}:${name}`;
  return launches.get(
    limits,
    key,
    () => besideLaunch(shape, { in: inSize, dtype: weight }, { limits, finish }),
  );
}

function launch(words: AdaptedWords, weight: DType, limits: Limits): Launch {
  const linears = linearsOf(words);
  const beside = adaptedLaunch(linears, weight, { limits });
  if (beside) return beside;
  const product = linearLaunch(words, {
    weight: { format: dense, types: { weight } },
    bias: false,
  }, { limits });
  const adapters = launchLinears(linears, { uniforms, limits });
  return {
    dispatches: [...product.dispatches, ...adapters.dispatches],
    tables: adapters.tables,
    scratch: { ...product.scratch, ...adapters.scratch },
  };
}

/** Uniform words of a call of `linear` and one of `fourier_linears`, where the two run side by side. */
function joinedWords(first: Call, second: Call, limits: Limits): AdaptedWords | undefined {
  const words = { ...first.uniforms, ...second.uniforms } as AdaptedWords;
  const linears = linearsOf(words);
  const same = (["rows", "in"] as const).every((name) => first.uniforms[name] === second.uniforms[name]) &&
    linears.outs.reduce((sum, out) => sum + out, 0) === words.out;
  return same && besideShape(linears, limits) ? words : undefined;
}

/** Sizes of a case. */
export interface AdaptedSize extends MixedSize {
  readonly weight?: DType;
  readonly accumulate?: number;
}

/** A case of the kernel. */
export function adaptedCase(size: AdaptedSize): Case<AdaptedBuffer, keyof typeof uniforms> {
  const { rows, in: inSize, outs, adapters, weight = "float32", accumulate = 0 } = size;
  const [out0, out1 = 0, out2 = 0] = outs, out = out0 + out1 + out2;
  return {
    name: `${rows} x ${inSize} by ${outs.join(", ")}, ${weight}, ${adapters.length} adapters${
      accumulate ? ", accumulated" : ""
    }`,
    uniforms: { rows, in: inSize, out, accumulate, out0, out1, out2, ...mixedBank(size) },
    dtypes: { weight },
    make: (random) => ({
      ...mixedArrays(size, random),
      weight: narrow(normals(out * inSize, random, 1 / Math.sqrt(inSize)), weight),
      y: accumulate ? normals(rows * out, random) : nans(rows * out),
    }),
  };
}

function bench(size: AdaptedSize): Bench<AdaptedBuffer, keyof typeof uniforms> {
  const { rows, in: inSize, outs } = size;
  const out = outs.reduce((sum, one) => sum + one, 0);
  const made = adaptedCase({ ...size, weight: "float16" });
  return {
    ...made,
    make: (random) => ({ ...made.make(random), slots: new Uint32Array(rows) }),
    bytes: 2 * inSize * out + 4 * rows * (inSize + out),
    flops: 2 * rows * inSize * out,
  };
}

const adapters = [1000];

/** See the module's documentation. */
export const adaptedLinears: Kernel<AdaptedBuffer, keyof typeof uniforms> = defineKernel({
  name: "adapted_linears",
  doc:
    "y (rows, out) = x W^T + x dW^T, or y += it where accumulate is not 0, with out = out0 + out1 + out2 columns of up " +
    "to three linears, side by side; an out of 0 is absent. Linear i of row r has the dW of adapter slots[r] at " +
    "layer + i, or none, as in fourier_linears.",
  buffers: {
    ...fourierLinear.buffers,
    weight: linear.buffers.weight,
    y: { ...linear.buffers.y, doc: "(rows, out), row-major" },
  },
  uniforms,
  launch: ({ uniforms, dtypes }, limits) => launch(uniforms, dtypes.weight, limits),
  reference: (arrays, words) => {
    linear.reference(arrays, words);
    referenceLinears(arrays, linearsOf(words));
  },
  cpu: (arrays: Arrays<AdaptedBuffer>, words) => {
    linear.cpu!(arrays, words);
    cpuLinears(arrays, linearsOf(words));
  },
  tolerance: 1e-5,
  cases: [
    adaptedCase({ rows: 1, in: 16, outs: [12], adapters: [0] }),
    adaptedCase({ rows: 1, in: 12, outs: [7, 16, 6], adapters: [30], accumulate: 1 }),
    adaptedCase({ rows: 1, in: 256, outs: [256, 64, 64], adapters: [3], weight: "float16" }),
    adaptedCase({ rows: 1, in: 256, outs: [768, 768], adapters: [200], weight: "bfloat16" }),
    adaptedCase({ rows: 1, in: 2048, outs: [260], adapters: [1000], weight: "float16", accumulate: 1 }),
    adaptedCase({ rows: 9, in: 24, outs: [30], adapters: [40, 3] }),
  ],
  benches: [
    bench({ rows: 1, in: 2048, outs: [2048, 512, 512], adapters }),
    bench({ rows: 1, in: 2048, outs: [2048], adapters }),
    bench({ rows: 1, in: 2048, outs: [8192, 8192], adapters }),
    bench({ rows: 1, in: 8192, outs: [2048], adapters }),
  ],
});

/** `linear`, and then `fourier_linears` onto the same y. */
export const adaptedLinearsJoin: Join = {
  first: "linear",
  second: "fourier_linears",
  same: [["x", "x"], ["y", "y"]],
  kernel: anyKernel(adaptedLinears),
  buffers: {
    x: [0, "x"],
    weight: [0, "weight"],
    slots: [1, "slots"],
    records: [1, "records"],
    tables: [1, "tables"],
    values: [1, "values"],
    y: [0, "y"],
  },
  uniforms: joinedWords,
};
