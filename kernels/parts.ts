/**
 * Joins by parts: a call leaves its result in scratch, in parts, and the call that reads the result adds them up.
 *
 * A kernel that can leave its result so offers `produce`, and a kernel that can read so offers `consume`. A GPU's device
 * joins any two that do, where a plan has one after the other: one dispatch less comes between them.
 *
 * @module
 */
import {
  type Binding,
  type Call,
  declareBindings,
  type Dispatch,
  grid,
  type Launch,
  type Limits,
  uniformStruct,
  type UniformType,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

/** What a text reads at once: one element, or four neighbours. */
export type ReadUnit = "f32" | "vec4f";

/** How a text reads one of its kernel's buffers. */
export interface ReadSource {
  /** What it binds in place of the buffer. */
  readonly bindings: readonly Binding[];
  /** WGSL element types of those bindings. */
  readonly types: (unit: ReadUnit) => Readonly<Record<string, string>>;
  /** Whether a read takes long: then more threads read, of unit f32 alone. */
  readonly slow?: boolean;
  /** Uniform words, u32, that the statements read beside those of the kernel whose text they are in. */
  readonly words?: readonly string[];
  /**
   * Statements that put the unit at `i` of all into a new variable `name`. Their own names begin with a word of their own: the
   * text around them has names, too.
   */
  readonly read: (name: string, i: string, unit: ReadUnit) => string;
}

/** The uniform words of a text that reads by a source. */
export function uniformsWith(
  uniforms: Readonly<Record<string, UniformType>>,
  { words = [] }: ReadSource,
): Readonly<Record<string, UniformType>> {
  return { ...uniforms, ...Object.fromEntries(words.map((word) => [word, "u32" as const])) };
}

/** Threads of a workgroup whose threads read an element or two each: few where reads take long, for more workgroups. */
export const threadsOf = ({ slow }: ReadSource): number => slow ? 64 : 256;

/** A buffer that holds what is read. */
export function held(name: string, access: Binding["access"] = "read"): ReadSource {
  return {
    bindings: [{ name, access }],
    types: (unit) => ({ [name]: unit }),
    read: (variable, i) => `let ${variable} = ${name}[${i}];`,
  };
}

/** Where a text that reads parts finds the row's adapter, in the bank of the call that made the parts. */
export interface PartsBank {
  /** The binding of the bank's values. */
  readonly values: string;
  /** Expressions for where the numbers after a linear's factors begin, and for the record's count. */
  readonly after: (linear: { readonly number: string; readonly out: string }) => string;
  readonly count: (linear: { readonly number: string }) => string;
}

/** A result that is left in parts. */
export interface Parts {
  /** Elements of the result. */
  readonly count: number;
  /** The dispatches that make the parts, and the scratch that the parts are in. */
  readonly launch: Launch;
  /** Bindings of the source that are buffers of this call, by the names that the source has for them. */
  readonly reads?: Readonly<Record<string, string>>;
  /** Values of the source's uniform words. */
  readonly words?: Readonly<Record<string, number>>;
  /** The bank of the parts' one row. */
  readonly bank?: PartsBank;
  /**
   * How a kernel reads the result that calls its buffer `name`. A read adds the parts up and stores the sum to the buffer:
   * so every element has to be read, and read once.
   */
  readonly source: (name: string) => ReadSource;
}

/** How a call and the one before it, onto whose result it adds, make that result in parts. */
export interface Produce<B extends string = string, U extends string = string> {
  /** The name of the kernel before. */
  readonly after: string;
  /** Buffers of the call before and of this one that must be the same. */
  readonly same: readonly (readonly [before: string, own: string])[];
  /** Buffers of the call before that the parts are made of as well; this kernel has none of these names. */
  readonly takes: readonly string[];
  /** The buffer that gets the result. */
  readonly result: string;
  /** The parts, whose dispatches have this call's uniforms; undefined where two launches are as good. */
  parts(before: Call, own: Call<B, U>, limits: Limits): Parts | undefined;
}

/** How calls of a kernel that follow each other are one launch. */
export interface Together<B extends string = string, U extends string = string> {
  /** Buffers in which each call's elements begin where those of the call before end. Calls share all others. */
  readonly follow: readonly string[];
  /** The launch, whose bindings reach from the first call's elements to the last call's; undefined where calls stay apart. */
  launch(calls: readonly Call<B, U>[], limits: Limits): Launch | undefined;
}

/** How a call reads one of its buffers in parts. */
export interface Consume<B extends string = string, U extends string = string> {
  readonly buffer: string;
  /** The launch with that source; undefined where its text does not take the sizes. */
  launch(call: Call<B, U>, limits: Limits, parts: Parts): Launch | undefined;
}

/**
 * How a call passes a result on, each element by itself: the call is made where the elements are read, by whoever reads the
 * call's own result.
 */
export interface Relay<B extends string = string, U extends string = string> {
  /** The buffer that may be in parts. */
  readonly from: string;
  /** The buffer that gets the result; the same one where the call works in place. */
  readonly to: string;
  /** Elements of both. */
  count(call: Call<B, U>): number;
  /**
   * The parts of the result, which take what makes those of `from`; undefined where the call has to stand alone. A read stores
   * `from`, too, where that is another buffer.
   */
  parts(call: Call<B, U>, parts: Parts): Parts | undefined;
}

/** A buffer as parts: what a relay reads that nobody left in parts. */
export function heldParts(count: number, access: Binding["access"]): Parts {
  return { count, launch: { dispatches: [] }, source: (name) => held(name, access) };
}

/** The relay of a call that copies x to y, or adds x to y. */
export function relayOfX(change: "=" | "+="): Relay<"x" | "y", "count"> {
  return {
    from: "x",
    to: "y",
    count: ({ uniforms: { count } }) => count,
    parts: (_, parts) => ({
      ...parts,
      reads: { relayed: "x" },
      source(result) {
        const before = parts.source("relayed");
        return {
          ...before,
          bindings: [...before.bindings, { name: result, access: "read_write" }],
          types: (unit) => ({ ...before.types(unit), [result]: unit }),
          read: (name, i, unit) => `
  ${before.read(`${name}_relayed`, i, unit)}
  let ${name} = ${change === "+=" ? `${result}[${i}] + ` : ""}${name}_relayed;
  ${result}[${i}] = ${name};`,
        };
      },
    }),
  };
}

/** The dispatch that stores a result which no call reads in parts. */
export function storeParts(
  { count, source }: Parts,
  result: string,
  { uniforms, limits }: {
    readonly uniforms: Readonly<Record<string, UniformType>>;
    readonly limits: Limits;
  },
): Dispatch {
  const from = source(result), { bindings, types, read } = from, threads = threadsOf(from);
  const wgsl = /* wgsl */ `
${uniformStruct(uniformsWith(uniforms, from))}
${declareBindings(bindings, types("f32"))}
@compute @workgroup_size(${threads})
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * ${threads} + local;
  if (i >= ${count}) { return; }
  ${read("total", "i", "f32")}
}
`;
  return { wgsl, bindings, grid: grid(Math.ceil(count / threads), limits) };
}
