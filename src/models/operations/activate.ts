import { gelu } from "../../../kernels/gelu.ts";
import { geluNew } from "../../../kernels/gelu_new.ts";
import { relu } from "../../../kernels/relu.ts";
import { silu } from "../../../kernels/silu.ts";
import { tanh } from "../../../kernels/tanh.ts";
import { step } from "../../plan.ts";
import type { Io, Value } from "../graph.ts";

/** Kernels by the names that config.json has for them. */
const activations = {
  gelu,
  gelu_new: geluNew,
  gelu_pytorch_tanh: geluNew,
  relu,
  silu,
  swish: silu,
} as const;

/** An activation that config.json can ask for. */
export type Activation = keyof typeof activations;

/** Their names. */
export const activationNames = Object.keys(activations) as readonly Activation[];

/** An activation of each number; `tanh` is for heads. */
export function activate(x: Value, activation: Activation | "tanh"): Value {
  const y = x.graph.value(x.width, x.of);
  const kernel = activation === "tanh" ? tanh : activations[activation];
  const bound = ({ rows, tensor }: Io) =>
    step(kernel, { x: tensor(x), y: tensor(y) }, { count: rows * x.width });
  x.graph.record({
    name: activation,
    reads: [x],
    makes: [y],
    step: (io) => [bound(io)],
    whole: (io) => [{ forward: bound(io) }],
  });
  return y;
}
