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
import { clearStateless, sequenceBuffers, stretches } from "./recurrent/sequences.ts";

type Buffers = keyof typeof deltaBuffers | keyof typeof sequenceBuffers | "state" | "y";
type Uniforms = keyof typeof deltaUniforms | "states";

const sequences: DeltaSequences = {
  uniforms: { states: "u32" },
  bindings: [
    ...["qkv", "beta", "dt", "decay", "stateIndex", "positions"].map((name) => ({
      name,
      access: "read" as const,
    })),
    { name: "state", access: "read_write" },
    { name: "y", access: "read_write" },
  ],
  types: { stateIndex: "u32", positions: "u32", state: "f32" },
  enter: `  let number = stateIndex[begin];
  if (number >= uniforms.states) {
    if (inside && lane == 0) { y[begin * values + head * uniforms.valueDim + column] = 0; }
    return;
  }
  if (begin > 0 && stateIndex[begin - 1] == number) { return; }
  let fresh = positions[begin] == 0;
  let state_at = number * uniforms.keyDim * values;`,
  isSame: "stateIndex[row] == number",
  load: "select(state[state_at + index], 0.0, fresh)",
  store: "state[state_at + index] = value;",
};

/** `delta_rule` of rows of many sequences, each of which goes on from where its last step ended. */
export const deltaRuleStep: Kernel<Buffers, Uniforms> = defineKernel({
  name: "delta_rule_step",
  doc:
    `${deltaDoc}. S is the row's state, which the sequence's last row leaves. A row without a state gives 0`,
  buffers: {
    ...deltaBuffers,
    ...sequenceBuffers,
    state: {
      access: "read_write",
      dtypes: ["float32"],
      doc: "(states, heads, keyDim, valueDim), row-major: S of each sequence and head",
    },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, heads, valueDim), row-major" },
  },
  uniforms: { ...deltaUniforms, states: "u32" },
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
  reference({ stateIndex, positions, state, ...arrays }, words) {
    const { heads, keyDim, valueDim } = words, size = keyDim * valueDim;
    clearStateless(arrays.y, stateIndex, { ...words, dim: heads * valueDim });
    for (const { begin, end, state: number, isFresh } of stretches({ stateIndex, positions }, words)) {
      for (let head = 0; head < heads; head++) {
        const at = (number * heads + head) * size, s = new Float64Array(size);
        if (!isFresh) s.set(state.subarray(at, at + size));
        deltaRows(arrays, { begin, end, head, s }, words);
        state.set(s, at);
      }
    }
  },
  tolerance: 1e-5,
});
