import { layerNorm as layerNormKernel } from "../../../kernels/layer_norm.ts";
import { type Plan, step } from "../../plan.ts";
import type { Tensor } from "../../tensor.ts";
import type { Io, Value } from "../graph.ts";
import { type OwnedIo, ownIo } from "./norm.ts";

/** (x - mean) / sqrt(variance + eps) times a weight (width), and a bias (width), row by row. */
export function layerNorm(
  x: Value,
  { weight, bias }: { readonly weight: Tensor; readonly bias: Tensor },
  eps: number,
): Value {
  const y = x.graph.value(x.width, x.of);
  const bound = ({ rows, tensor }: Io) =>
    step(layerNormKernel, { x: tensor(x), weight, bias, y: tensor(y) }, { rows, dim: x.width, eps });
  const steps = (io: OwnedIo): Plan => [
    bound(io),
    ...io.own.norm(weight, { ...ownIo(io, y), x: io.tensor(x), eps, centred: true }),
    ...io.own.bias(bias, ownIo(io, y)),
  ];
  x.graph.record({
    name: "layer_norm",
    reads: [x],
    makes: [y],
    parameters: [{ tensor: weight, kind: "norm" }, { tensor: bias, kind: "bias" }],
    step: steps,
    whole: (io) => steps(io).map((forward) => ({ forward })),
  });
  return y;
}
