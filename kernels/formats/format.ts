/**
 * A weight format: how the numbers of a linear's weight are stored, and how a kernel reads them.
 *
 * Products take a format as a value: `linear.of(format)`. A new one is a file in this folder and a line in its `mod.ts`.
 * A row of the weight is a run of elements in each of the format's buffers, so weights are cut and joined by rows.
 *
 * @module
 */
import type { BufferSpec, ByteProducts, DType, TypedArray, WasmCall } from "../kernel.ts";

/** A linear's weight: `out` rows of `in` numbers. */
export interface WeightShape {
  readonly out: number;
  readonly in: number;
}

/** A weight on a host, by its format's buffers. */
export type WeightArrays<W extends string = string> = Readonly<Record<W, TypedArray>>;

/** Element types of a weight's buffers. */
export type WeightTypes<W extends string = string> = Readonly<Record<W, DType>>;

/** Rows `begin` to `end` (by default all), to `into` (by default a new array; (end - begin, in), row-major). */
export interface WeightRows {
  readonly begin?: number;
  readonly end?: number;
  readonly into?: Float32Array;
}

/** A size as a number, for the grid, and as WGSL, for the text, which then serves all sizes. */
export interface TextSize {
  readonly count: number;
  readonly text: string;
}

/** Lines of a matrix that a text reads by quads: four neighbours. */
export interface LineText {
  /** What the names of the text's functions begin with. */
  readonly role: string;
  /** Elements of a line. */
  readonly length: TextSize;
  /** Whether quads that begin past a line's end are read as well: they must be zeros. */
  readonly padded: boolean;
}

/** WGSL that reads a matrix by quads. */
export interface QuadText {
  /** Element type of each buffer, in binding order. */
  readonly types: readonly string[];
  /**
   * `fn <role>_begin(line: u32) -> u32`: where a line begins, and `fn <role>_quad(begin: u32, quad: u32) -> vec4f`: its
   * elements 4 quad to 4 quad + 3, zeros in place of those past its end.
   */
  readonly functions: string;
}

/** WGSL that reads a weight along its rows, in steps of one load each; `uniforms.in` is the length of a row. */
export interface WeightSteps {
  /** Element type of each buffer, in binding order. */
  readonly types: readonly string[];
  /** Functions that the expressions call; may be empty. */
  readonly functions: string;
  /** Steps of a row, and the same as a WGSL expression. */
  readonly count: number;
  readonly steps: string;
  /** WGSL expression of where the row of the weight of a column begins. */
  readonly begin: (column: string) => string;
  /** WGSL expression of what step `k` reads of such a row. */
  readonly load: (begin: string, k: string) => string;
  /** WGSL expressions of the quads in what was read. */
  readonly quads: readonly ((loaded: string) => string)[];
  /** Of a weight whose numbers share a scale. */
  readonly scaled?: {
    /** WGSL expression of a step's scale. */
    readonly scale: (begin: string, k: string) => string;
    /** Whether that is a vec2f: the scale, and what each number is less once it is multiplied by the scale. */
    readonly hasMinimum?: boolean;
    /** The order of a quad's numbers, as a swizzle of x's, and what each is too large by. */
    readonly order: string;
    readonly offset: number;
  };
}

/** One row of x on a host, and where its products go. */
export interface RowProduct {
  /** Filled up with zeros to whole blocks. */
  readonly x: Float32Array;
  readonly y: TypedArray;
  /** Where the row of y begins. */
  readonly at: number;
  readonly accumulate: boolean;
}

/** Sizes of a product y (rows, out) = or += x (rows, in) W^T. */
export type ProductSizes = Readonly<Record<"rows" | "in" | "out" | "accumulate", number>>;

/** A weight as functions of the WASM module take it. */
export interface WasmWeight<W extends string = string> {
  /** Its numbers, and its scales or 0. */
  readonly args: readonly [W, W | 0];
  /** 32 for float32, 16 for bfloat16, else those of a number in a block. */
  readonly bits: number;
}

/** See the module's documentation. On a host, arrays have 16-bit floats widened to float32. */
export interface WeightFormat<W extends string = string> {
  /** As kernels' names end with. */
  readonly name: string;
  /** What is stored, in a few words. */
  readonly doc: string;
  /** Neighbours of a row that are stored together; a row is filled up to a whole number of blocks. */
  readonly block: number;
  /** The buffers of a weight, in binding order; of their element types, the first is the usual one. */
  readonly buffers: Readonly<Record<W, BufferSpec>>;
  /** Bytes that a load of a product for few rows takes: the fewer, the more loads have to be under way. */
  readonly stepBytes: number;
  /** Elements of each buffer that a row takes; rows stand one after the other. */
  rowElements(inSize: number): Readonly<Record<W, number>>;
  /** Throws `RangeError` for a shape that a weight of this format cannot have. */
  check(shape: WeightShape): void;
  /** How a product reads a weight by quads. */
  quads(line: LineText, types: WeightTypes<W>): QuadText;
  /** How a product for few rows reads it at the speed of memory; left out or undefined where it reads by quads. */
  steps?(inSize: number, types: WeightTypes<W>): WeightSteps | undefined;
  /**
   * Float numbers (out, in), row-major, as a weight; element types are the buffers' usual ones where none are given.
   * Throws `RangeError` for numbers that the format cannot store.
   */
  pack(values: Float32Array, shape: WeightShape, types?: WeightTypes<W>): WeightArrays<W>;
  /** The numbers of a weight's rows, exactly; an array of the weight itself where it holds them as they are. */
  rows(weight: WeightArrays<W>, shape: WeightShape, range?: WeightRows): Float32Array;
  /** The weight's array on a host that holds its numbers as they are: nothing has to be made of it. */
  floats?(weight: WeightArrays<W>): Float32Array;
  /** One row's product on a host, where that is faster than making the weight float32 first. */
  multiplyRow?(product: RowProduct, weight: WeightArrays<W>, shape: WeightShape): void;
  /**
   * A product as a call of the WASM module, with buffers `x`, `y` and maybe `bias`; undefined for element types that it does
   * not take, and left out where there is none. `bytes` is given where products may have x of 8 bits.
   */
  wasm?(
    sizes: ProductSizes,
    bias: "bias" | 0,
    types: WeightTypes<W>,
    bytes?: ByteProducts,
  ): WasmCall | undefined;
  /** How other functions of the module are given a weight; as `wasm`. */
  wasmWeight?(types: WeightTypes<W>): WasmWeight<W> | undefined;
}

/**
 * How many items a product's outputs are in the WASM module: triples in tiles, else quadruples, and then the outputs left one
 * by one.
 */
export function outputsOf(out: number, inTiles: boolean): number {
  const together = inTiles ? 3 : 4;
  return Math.floor(out / together) + out % together;
}

/**
 * Checks that both sizes of a weight are positive.
 *
 * @throws RangeError where one is not.
 */
export function checkSizes({ out, in: inSize }: WeightShape): void {
  if (out < 1 || inSize < 1) {
    throw new RangeError(`Cannot multiply by a weight of (${out}, ${inSize}): both sizes must be positive`);
  }
}

/**
 * Checks that there are as many numbers as a weight has.
 *
 * @throws RangeError where there are more or fewer.
 */
export function checkCount({ length }: Float32Array, { out, in: inSize }: WeightShape): void {
  if (length !== out * inSize) {
    throw new RangeError(
      `Cannot store ${length} numbers as a weight of (${out}, ${inSize}): it has ${out * inSize}`,
    );
  }
}

/** A weight as a call's launch knows it. */
export interface StoredWeight {
  readonly format: WeightFormat;
  /** Of its buffers, maybe among others. */
  readonly types: WeightTypes;
}

/** Reads by quads, a quad a step: right for every format. */
function quadSteps({ format, types }: StoredWeight, inSize: number): WeightSteps {
  const length = { count: inSize, text: "uniforms.in" };
  return {
    ...format.quads({ role: "weight", length, padded: false }, types),
    count: inSize / 4,
    steps: "(uniforms.in + 3) / 4",
    begin: (column) => `weight_begin(${column})`,
    load: (begin, k) => `weight_quad(${begin}, ${k})`,
    quads: [(loaded) => loaded],
  };
}

/** How a product for few rows reads a weight. */
export function stepsOf(weight: StoredWeight, inSize: number): WeightSteps {
  return weight.format.steps?.(inSize, weight.types) ?? quadSteps(weight, inSize);
}
