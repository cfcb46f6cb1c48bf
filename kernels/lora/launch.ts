/**
 * How a GPU makes low-rank updates of rows, each by its own adapter: A x first, then B times it.
 *
 * Neighbouring rows of one adapter share what is read of the adapter, up to eight of them: a step's rows stand in the order
 * of their adapters.
 *
 * @module
 */
import { type Binding, grid, type Launch, type Limits } from "../kernel.ts";
import { Kept } from "../kept.ts";
import { outsOf, type SideBySide, sideBySide } from "../side_by_side.ts";
import { hiddenWgsl, listed, outputsWgsl, phases, tile } from "./wgsl.ts";

/** Uniform words of `lora_linear`. */
export const uniforms = sideBySide;

/** Values of {@linkcode uniforms}. */
export type Words = SideBySide;

/** Ranks of an adapter at most. */
export const mostRank = 2 ** 16;

/** Inputs of a workgroup of the first dispatch, where there are few rows. */
const span = 256;
/** Sums of a linear's ranks that are kept at most, unless each row has one alone: many rows fill a GPU without more. */
const mostSums = 2048;

/** Workgroups among which a row's inputs are divided: each leaves a sum of its own. */
function splitsOf({ rows, in: inSize }: Words): number {
  return Math.max(1, Math.min(Math.floor(mostSums / rows), 32, Math.ceil(inSize / span)));
}

/** Outputs of a workgroup of the second dispatch, all of one linear. */
const chunkOf = (rows: number): number => rows <= tile ? 64 : 128;

const texts = new Kept<string>();

const read = (name: string): Binding => ({ name, access: "read" });

/** See the module's documentation. */
export function loraLaunch(words: Words, limits: Limits): Launch {
  const { rows } = words, outs = outsOf(words), tiles = Math.ceil(rows / tile);
  const splits = splitsOf(words), chunk = chunkOf(rows);
  const chunks = outs.reduce((sum, out) => sum + Math.ceil(out / chunk), 0);
  return {
    scratch: { hidden: 4 * splits * rows * outs.length * listed },
    dispatches: [{
      wgsl: texts.get(limits, `hidden ${splits}`, () => hiddenWgsl(splits)),
      bindings: [...["x", "slots", "records", "values"].map(read), { name: "hidden", access: "read_write" }],
      grid: grid(tiles * outs.length * splits * phases, limits),
    }, {
      wgsl: texts.get(limits, `outputs ${chunk} ${splits}`, () => outputsWgsl(chunk, splits)),
      bindings: [
        ...["x", "slots", "records", "values", "hidden"].map(read),
        { name: "y", access: "read_write" },
      ],
      grid: grid(tiles * chunks, limits),
    }],
  };
}
