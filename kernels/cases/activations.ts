import { gelu, geluBackward } from "../gelu.ts";
import { geluGate, geluGateBackward } from "../gelu_gate.ts";
import { geluNew, geluNewBackward } from "../gelu_new.ts";
import { geluNewGate, geluNewGateBackward } from "../gelu_new_gate.ts";
import { anyKernel, type Kernel, normals } from "../kernel.ts";
import { reluGate, reluGateBackward } from "../relu_gate.ts";
import { silu, siluBackward } from "../silu.ts";
import { siluGate, siluGateBackward } from "../silu_gate.ts";
import { tanh } from "../tanh.ts";
import type { KernelCases } from "./case.ts";
import { type ElementwiseCase, elementwiseCases } from "./elementwise.ts";

/** Sizes with inputs from usual ones to those beyond which exp would overflow. */
const reaching = (input: string): readonly ElementwiseCase[] => [
  { count: 1 },
  ...[1, 4, 100].map((scale, i) => {
    const count = [251, 256, 257][i];
    return { count, inputs: (random: () => number) => ({ [input]: normals(count, random, scale) }) };
  }),
];

const activations: readonly Kernel[] = [
  silu,
  siluBackward,
  gelu,
  geluBackward,
  geluNew,
  geluNewBackward,
  tanh,
].map(
  (kernel) => kernel as unknown as Kernel,
);

/** Cases of the activations in which large inputs matter. */
export const activationCases: readonly KernelCases[] = [
  ...activations.map((kernel) => elementwiseCases(kernel, { cases: reaching("x") })),
  ...[siluGate, geluGate, geluNewGate, reluGate].map((kernel) =>
    elementwiseCases(anyKernel(kernel), { cases: reaching("gate"), bench: { count: 256 * 14336 } })
  ),
  ...[siluGateBackward, geluGateBackward, geluNewGateBackward, reluGateBackward].map((kernel) =>
    elementwiseCases(anyKernel(kernel), { cases: reaching("gate"), bench: { count: 256 * 14336 } })
  ),
];
