import { defineKernel, grid, type Kernel } from "./kernel.ts";
import {
  checkDelta,
  deltaBuffers,
  deltaDoc,
  deltaGroups,
  deltaRows,
  type DeltaSequences,
  deltaUniforms,
  deltaWgsl,
} from "./recurrent/delta.ts";

type Buffers = keyof typeof deltaBuffers | "first" | "y";
type Uniforms = keyof typeof deltaUniforms;

const sequences: DeltaSequences = {
  uniforms: {},
  bindings: [
    ...["qkv", "beta", "dt", "decay", "first"].map((name) => ({ name, access: "read" as const })),
    { name: "y", access: "read_write" },
  ],
  types: { first: "u32" },
  enter: "  if (first[begin] != begin) { return; }",
  isSame: "first[row] == begin",
  load: "0",
  store: "",
};

/** The gated delta rule over packed sequences, which start from zeros. */
export const deltaRule: Kernel<Buffers, Uniforms> = defineKernel({
  name: "delta_rule",
  doc: `${deltaDoc}. S is 0 before the first row of each sequence`,
  buffers: {
    ...deltaBuffers,
    first: { access: "read", dtypes: ["uint32"], doc: "(rows): the row where this row's sequence starts" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, heads, valueDim), row-major" },
  },
  uniforms: deltaUniforms,
  launch({ uniforms, dtypes }, limits) {
    checkDelta(uniforms);
    return {
      dispatches: [{
        wgsl: deltaWgsl(uniforms.keyDim, dtypes.decay, sequences),
        bindings: sequences.bindings,
        grid: grid(deltaGroups(uniforms), limits),
      }],
    };
  },
  reference({ first, ...arrays }, words) {
    const { rows, heads, keyDim, valueDim } = words;
    for (let begin = 0, end = 0; begin < rows; begin = end) {
      for (end = begin + 1; end < rows && first[end] === first[begin]; end++);
      for (let head = 0; head < heads; head++) {
        deltaRows(arrays, { begin, end, head, s: new Float64Array(keyDim * valueDim) }, words);
      }
    }
  },
  tolerance: 1e-5,
});
