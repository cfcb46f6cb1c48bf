import { geluGate } from "../../../kernels/gelu_gate.ts";
import { geluGateUp } from "../../../kernels/gelu_gate_up.ts";
import { geluNewGate } from "../../../kernels/gelu_new_gate.ts";
import { geluNewGateUp } from "../../../kernels/gelu_new_gate_up.ts";
import { reluGate } from "../../../kernels/relu_gate.ts";
import { reluGateUp } from "../../../kernels/relu_gate_up.ts";
import { siluGate } from "../../../kernels/silu_gate.ts";
import { siluGateUp } from "../../../kernels/silu_gate_up.ts";
import { step } from "../../plan.ts";
import type { Value } from "../graph.ts";
import type { Activation } from "./activate.ts";

const geluNew = { gate: geluNewGate, gateUp: geluNewGateUp };
const silu = { gate: siluGate, gateUp: siluGateUp };

/** Kernels by the names that config.json has for activations: of two arrays, and of columns side by side. */
const gates = {
  gelu: { gate: geluGate, gateUp: geluGateUp },
  gelu_new: geluNew,
  gelu_pytorch_tanh: geluNew,
  relu: { gate: reluGate, gateUp: reluGateUp },
  silu,
  swish: silu,
} as const satisfies Record<Activation, unknown>;

/** activation(gate) * up, element by element; both are columns of one product. */
export function gated(gate: Value, up: Value, activation: Activation): Value {
  const dim = gate.width, kernels = gates[activation];
  const y = gate.graph.value(dim);
  gate.graph.record({
    name: `${activation}_gated`,
    reads: [gate, up],
    makes: [y],
    step: ({ rows, together, tensor }) => [
      step(kernels.gateUp, { gateUp: together([gate, up]), y: tensor(y) }, { rows, dim }),
    ],
    whole: ({ rows, tensor }) => [{
      forward: step(kernels.gate, { gate: tensor(gate), up: tensor(up), y: tensor(y) }, {
        count: rows * dim,
      }),
    }],
  });
  return y;
}
