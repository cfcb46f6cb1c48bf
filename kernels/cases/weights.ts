/**
 * Weights of any format for the cases and benches of the kernels that multiply by them.
 *
 * @module
 */
import { narrow } from "../half.ts";
import { type DType, type Kernel, normals, type TypedArray } from "../kernel.ts";
import type { Bench, Case } from "./case.ts";
import { dense } from "../formats/dense.ts";
import type { WeightArrays, WeightFormat, WeightShape, WeightTypes } from "../formats/format.ts";

/** A case of a kernel by a weight of any format, by the type of the kernel by a dense one. */
export type CaseBy<K extends Pick<Kernel<never, never>, "uniforms">> = Case<
  string,
  keyof K["uniforms"] & string
>;

/** A bench size of such a kernel. */
export type BenchBy<K extends Pick<Kernel<never, never>, "uniforms">> = Bench<
  string,
  keyof K["uniforms"] & string
>;

/** What sizes of a case say of its weight. */
export interface WeightCase {
  /** Which of the format's element types it has; formats with fewer begin again. */
  readonly variant?: number;
  /** Of floats alone: sizes of texts in which only the weight's reads differ, and which compile for long. */
  readonly floats?: boolean;
}

/** The cases of a format. */
export function casesBy<S extends WeightCase>(format: WeightFormat, cases: readonly S[]): readonly S[] {
  return format === dense ? cases : cases.filter(({ floats }) => !floats);
}

/** The buffers of a format, by name. */
const buffersOf = ({ buffers }: WeightFormat) => Object.entries(buffers);

/** The element types that a format's weights may have, those it has usually first. */
function typesOf(format: WeightFormat): WeightTypes[] {
  return buffersOf(format).reduce<WeightTypes[]>(
    (all, [name, { dtypes }]) => dtypes.flatMap((dtype) => all.map((types) => ({ ...types, [name]: dtype }))),
    [{}],
  );
}

/** The element types of number `variant`. */
export function variantOf(format: WeightFormat, variant = 0): WeightTypes {
  const all = typesOf(format);
  return all[variant % all.length];
}

/**
 * A case's name: its sizes, the element types of its weight (`float16`, `bfloat16 scales`), and what else there is to say.
 * Types that all weights of the format have are left out.
 */
export function nameOf(
  size: string,
  format: WeightFormat,
  types: WeightTypes,
  more?: string | false,
): string {
  const chosen = buffersOf(format).filter(([, { dtypes }]) => dtypes.length > 1);
  const stored = chosen.map(([name]) => name === "weight" ? types[name] : `${types[name]} ${name}`);
  return [size, ...stored, ...(more ? [more] : [])].join(", ");
}

/** A weight to make. */
export interface MadeWeight {
  readonly format: WeightFormat;
  readonly shape: WeightShape;
  readonly types: WeightTypes;
  /** Of its numbers, which are normal. */
  readonly scale: number;
}

/** A random weight. */
export function randomWeight(
  { format, shape, types, scale }: MadeWeight,
  random: () => number,
): WeightArrays {
  return format.pack(normals(shape.out * shape.in, random, scale), shape, types);
}

function anyNumbers(count: number, dtype: DType, random: () => number): TypedArray {
  if (dtype !== "uint32") return narrow(normals(count, random), dtype);
  const words = new Uint32Array(count);
  for (let i = 0; i < count; i++) words[i] = 2 ** 32 * random();
  return words;
}

/** A weight made fast, of any bits: for times, which do not depend on the numbers. */
export function anyWeight({ format, shape, types }: MadeWeight, random: () => number): WeightArrays {
  const elements = format.rowElements(shape.in);
  return Object.fromEntries(
    Object.entries(elements).map((
      [name, count],
    ) => [name, anyNumbers(shape.out * count, types[name], random)]),
  );
}

/** Bytes of a weight. */
export function weightBytes({ format, shape, types }: Omit<MadeWeight, "scale">): number {
  const bytes = (dtype: DType): number => dtype === "float16" || dtype === "bfloat16" ? 2 : 4;
  const elements = Object.entries(format.rowElements(shape.in));
  return shape.out * elements.reduce((sum, [name, count]) => sum + count * bytes(types[name]), 0);
}
