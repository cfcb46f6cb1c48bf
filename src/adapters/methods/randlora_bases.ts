/**
 * The frozen bases of RandLoRA: those that a file saves, or those that its seed draws.
 *
 * @module
 */
import { float32ToBfloat16, narrow, widen } from "../../../kernels/half.ts";
import { torchGenerator, torchUniform } from "../../../kernels/torch_draws.ts";
import { ConfigError } from "../../errors.ts";
import { flagField, integerField } from "../fields.ts";
import type { DType } from "../../tensor.ts";
import type { AdapterFiles, LinearShape } from "../method.ts";
import { finiteFloats, greatestSize } from "../numbers.ts";
import { mostNumbers } from "./folded.ts";
import type { ModuleTensors } from "./module_tensors.ts";

/** A (rank, columns) and B (rows, pieces, rank). */
export interface Bases {
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly rank: number;
  readonly columns: number;
  readonly rows: number;
  readonly pieces: number;
  /** The greatest size of a number of A, times that of B. */
  readonly reach: number;
  /** Equal for equal bases. */
  readonly key: string;
  /** Their table on a device. */
  readonly words: () => Uint32Array;
  /** The bases in a dtype: PEFT keeps those that it draws in the base weight's. Absent where that changes nothing. */
  readonly as?: (dtype: DType) => Bases;
}

/** Saved bases are told apart by their number: nobody compares them. */
let saved = 0;

const isEqual = (one: Float32Array, other: Float32Array): boolean =>
  one === other || one.length === other.length && one.every((value, i) => value === other[i]);

type Sizes = Pick<Bases, "rank" | "columns" | "rows" | "pieces">;

function withTable(numbers: Pick<Bases, "a" | "b">, sizes: Sizes, key: string): Bases {
  const { a, b } = numbers, { rank, columns, rows, pieces } = sizes;
  return {
    ...numbers,
    ...sizes,
    reach: greatestSize(a) * greatestSize(b),
    key,
    words() {
      const words = new Uint32Array(4 + a.length + b.length);
      words.set([rank, columns, pieces, rows]);
      new Float32Array(words.buffer).set(a, 4);
      new Float32Array(words.buffer).set(b, 4 + a.length);
      return words;
    },
  };
}

function checkSizes({ rank, columns, rows, pieces }: Sizes): void {
  const numbers = rank * columns + rows * pieces * rank;
  if (numbers <= mostNumbers) return;
  throw new ConfigError(
    `Cannot use bases of rank ${rank}: they have ${numbers} numbers, at most ${mostNumbers} are accepted`,
  );
}

/** PEFT writes the bases of all modules once more with each: they must be the same. */
function savedBases(modules: readonly ModuleTensors[], files: AdapterFiles): Bases {
  const [first] = modules;
  const numbers = { a: first.floats("randlora_A"), b: first.floats("randlora_B") };
  for (const one of modules.slice(1)) {
    for (const [name, own] of [["randlora_A", numbers.a], ["randlora_B", numbers.b]] as const) {
      if (isEqual(one.floats(name), own)) continue;
      throw new ConfigError(
        `Cannot use adapter module "${one.path}": its ${name} is not that of "${first.path}"`,
      );
    }
  }
  for (const [name, own] of [["randlora_A", numbers.a], ["randlora_B", numbers.b]] as const) {
    const whole = `base_model.${name}`, shared = files.tensors.get(whole);
    if (!shared || isEqual(finiteFloats(whole, shared), own)) continue;
    throw new ConfigError(
      `Cannot use adapter tensor "${whole}": it is not ${name} of module "${first.path}"`,
    );
  }
  const sizes = {
    rank: first.size("r", "randlora_A"),
    columns: first.size("columns", "randlora_A"),
    rows: first.size("rows", "randlora_B"),
    pieces: first.size("pieces", "randlora_B"),
  };
  checkSizes(sizes);
  return withTable(numbers, sizes, `saved ${saved++}`);
}

/** Numbers divided by their standard deviation, which is rounded first. */
function standardized(numbers: Float32Array, rounded: (values: Float32Array) => Float32Array): Float32Array {
  const { length } = numbers;
  let sum = 0, squares = 0;
  for (let i = 0; i < length; i++) sum += numbers[i];
  const mean = sum / length;
  for (let i = 0; i < length; i++) squares += (numbers[i] - mean) ** 2;
  const [deviation] = rounded(Float32Array.of(Math.sqrt(squares / (length - 1))));
  const divided = new Float32Array(length);
  for (let i = 0; i < length; i++) divided[i] = numbers[i] / deviation;
  return rounded(divided);
}

const toBfloat16 = (values: Float32Array): Float32Array => widen(float32ToBfloat16(values), "bfloat16");

/** `tensor.uniform_(-bound, bound)` of a bfloat16 tensor: what rounds to the upper end, which is left out, is the lower one. */
function uniformBfloat16(
  random: ReturnType<typeof torchGenerator>,
  count: number,
  bound: number,
): Float32Array {
  const [high] = toBfloat16(Float32Array.of(bound));
  const values = toBfloat16(torchUniform(random, count, { low: -bound, high: bound }));
  for (let i = 0; i < count; i++) {
    if (values[i] === high) values[i] = -high;
  }
  return values;
}

/** -1 and 1 with one chance in six each, and 0. */
const sparse = (values: Float32Array): Float32Array =>
  values.map((value) => value < Math.fround(1 / 6) ? -1 : value > Math.fround(1 - 1 / 6) ? 1 : 0);

/** The shapes of the modules' linears. */
function shapesOf(modules: readonly ModuleTensors[], { options: { shapeOf } }: AdapterFiles): LinearShape[] {
  if (!shapeOf) {
    throw new ConfigError(
      `Cannot draw "base_model.randlora_A", which the adapter does not save, without its base model's shapes: give ` +
        `loadAdapter's shapeOf, or --model DIR`,
    );
  }
  return modules.map(({ path }) => {
    const shape = shapeOf(path);
    if (shape) return shape;
    throw new ConfigError(`Cannot use adapter module "${path}": the base model has no such linear layer`);
  });
}

/** A, then the pieces of B: in bfloat16, as PEFT draws them where there is such a type. */
function draw(
  { seed, isSparse, rank, columns, rows, pieces }: Sizes & {
    readonly seed: number;
    readonly isSparse: boolean;
  },
): Pick<Bases, "a" | "b"> {
  const random = torchGenerator(seed), rounded = isSparse ? (values: Float32Array) => values : toBfloat16;
  const drawn = (count: number, bound: number): Float32Array =>
    isSparse
      ? sparse(torchUniform(random, count, { low: 0, high: 1 }))
      : uniformBfloat16(random, count, bound);
  const a = drawn(rank * columns, 1 / Math.sqrt(columns));
  const b = new Float32Array(rows * pieces * rank);
  if (isSparse) b.set(drawn(b.length, 1));
  for (let piece = 0; piece < pieces && !isSparse; piece++) {
    const own = drawn(rows * rank, 1 / Math.sqrt(rank));
    for (let row = 0; row < rows; row++) {
      b.set(own.subarray(row * rank, (row + 1) * rank), (row * pieces + piece) * rank);
    }
  }
  return { a: standardized(a, rounded), b: standardized(b, rounded) };
}

/** What was drawn last, as long as an adapter has it: adapters of one seed and model have equal bases. */
let lastDrawn: WeakRef<Bases> | undefined;

/** The bases for the largest of the modules, drawn where the last ones are others. */
function drawnBases(modules: readonly ModuleTensors[], files: AdapterFiles): Bases {
  const { config } = files, shapes = shapesOf(modules, files);
  const rank = modules[0].size("r", "randlora_lambda");
  const most = [Math.max(...shapes.map(({ out }) => out)), Math.max(...shapes.map((shape) => shape.in))];
  const columns = Math.min(...most), rows = Math.max(...most), pieces = Math.ceil(columns / rank);
  const sizes = { rank, columns, rows, pieces };
  checkSizes(sizes);
  const seed = integerField(config, "projection_prng_key", 0), isSparse = flagField(config, "sparse");
  const key = `${isSparse ? "sparse" : "uniform"} ${seed} ${rank} ${columns} ${rows}`;
  const last = lastDrawn?.deref();
  if (last?.key === key) return last;
  const numbers = draw({ seed, isSparse, ...sizes }), drawn = withTable(numbers, sizes, key);
  const bases = isSparse ? { ...drawn, as: roundedBases(drawn) } : drawn;
  lastDrawn = new WeakRef(bases);
  return bases;
}

/** The same bases rounded to a dtype, made once for each. Uniform ones are bfloat16 numbers, which stay what they are. */
function roundedBases(drawn: Bases): (dtype: DType) => Bases {
  const made = new Map<DType, Bases>([["float32", drawn]]);
  return (dtype) => {
    const known = made.get(dtype);
    if (known) return known;
    const as = (values: Float32Array): Float32Array => widen(narrow(values, dtype), dtype);
    const one = withTable({ a: as(drawn.a), b: as(drawn.b) }, drawn, `${drawn.key} ${dtype}`);
    made.set(dtype, one);
    return one;
  };
}

/**
 * The bases of an adapter's modules.
 *
 * @throws ConfigError where they are not there, not the same for all modules, or too large; and without the base's shapes, where
 * they have to be drawn.
 */
export function basesOf(modules: readonly ModuleTensors[], files: AdapterFiles): Bases {
  const isSaved = modules.some((one) => one.has("randlora_A") || one.has("randlora_B"));
  return isSaved || (files.config.save_projection ?? true)
    ? savedBases(modules, files)
    : drawnBases(modules, files);
}
