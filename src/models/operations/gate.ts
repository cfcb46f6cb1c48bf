import { siluGate } from "../../../kernels/silu_gate.ts";
import { siluGateUp } from "../../../kernels/silu_gate_up.ts";
import { step } from "../../plan.ts";
import type { Value } from "../graph.ts";

/** silu(gate) * up, element by element; both are outputs of one projection. */
export function siluGated(gate: Value, up: Value): Value {
  const dim = gate.width;
  const y = gate.graph.value(dim);
  gate.graph.record({
    name: "silu_gated",
    reads: [gate, up],
    makes: [y],
    step: ({ rows, together, tensor }) => [
      step(siluGateUp, { gateUp: together([gate, up]), y: tensor(y) }, { rows, dim }),
    ],
    whole: ({ rows, tensor }) => [{
      forward: step(siluGate, { gate: tensor(gate), up: tensor(up), y: tensor(y) }, { count: rows * dim }),
    }],
  });
  return y;
}
