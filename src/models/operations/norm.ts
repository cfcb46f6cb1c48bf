import { layerNorm as layerNormKernel } from "../../../kernels/layer_norm.ts";
import { rmsNorm as rmsNormKernel } from "../../../kernels/rms_norm.ts";
import { step } from "../../plan.ts";
import type { Tensor } from "../../tensor.ts";
import type { Io, Value } from "../graph.ts";

/** x / sqrt(mean of x^2 + eps) times a weight (width), row by row. */
export function rmsNorm(x: Value, weight: Tensor, eps: number): Value {
  const y = x.graph.value(x.width, x.of);
  const bound = ({ rows, tensor }: Io) =>
    step(rmsNormKernel, { x: tensor(x), weight, y: tensor(y) }, { rows, dim: x.width, eps });
  x.graph.record({
    name: "rms_norm",
    reads: [x],
    makes: [y],
    step: (io) => [bound(io)],
    whole: (io) => [{ forward: bound(io) }],
  });
  return y;
}

/** (x - mean) / sqrt(variance + eps) times a weight (width), and a bias (width), row by row. */
export function layerNorm(
  x: Value,
  { weight, bias }: { readonly weight: Tensor; readonly bias: Tensor },
  eps: number,
): Value {
  const y = x.graph.value(x.width, x.of);
  const bound = ({ rows, tensor }: Io) =>
    step(layerNormKernel, { x: tensor(x), weight, bias, y: tensor(y) }, { rows, dim: x.width, eps });
  x.graph.record({
    name: "layer_norm",
    reads: [x],
    makes: [y],
    step: (io) => [bound(io)],
    whole: (io) => [{ forward: bound(io) }],
  });
  return y;
}
