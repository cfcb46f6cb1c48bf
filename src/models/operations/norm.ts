import { rmsNorm as rmsNormKernel } from "../../../kernels/rms_norm.ts";
import { type Plan, step } from "../../plan.ts";
import type { Tensor } from "../../tensor.ts";
import type { Io, OwnIo, OwnSteps, Value } from "../graph.ts";

/** Both kinds of plans. */
export type OwnedIo = Io & { readonly own: OwnSteps };

/** What own parameters of a value's rows are given. */
export const ownIo = ({ rows, tensor }: Io, y: Value): OwnIo => ({ y: tensor(y), rows, of: y.of });

/** x / sqrt(mean of x^2 + eps) times a weight (width), row by row. */
export function rmsNorm(x: Value, weight: Tensor, eps: number): Value {
  const y = x.graph.value(x.width, x.of);
  const bound = ({ rows, tensor }: Io) =>
    step(rmsNormKernel, { x: tensor(x), weight, y: tensor(y) }, { rows, dim: x.width, eps });
  const steps = (io: OwnedIo): Plan => [
    bound(io),
    ...io.own.norm(weight, { ...ownIo(io, y), x: io.tensor(x), eps, centred: false }),
  ];
  x.graph.record({
    name: "rms_norm",
    reads: [x],
    makes: [y],
    parameters: [{ tensor: weight, kind: "norm" }],
    step: steps,
    whole: (io) => steps(io).map((forward) => ({ forward })),
  });
  return y;
}

/** `rmsNorm` of each head of a row by itself: of as many columns as the weight has. */
export function headNorm(x: Value, weight: Tensor, eps: number): Value {
  const [dim] = weight.shape, y = x.graph.value(x.width, x.of);
  const bound = ({ rows, tensor }: Io) =>
    step(rmsNormKernel, { x: tensor(x), weight, y: tensor(y) }, { rows: rows * x.width / dim, dim, eps });
  x.graph.record({
    name: "head_norm",
    reads: [x],
    makes: [y],
    step: (io) => [bound(io)],
    whole: (io) => [{ forward: bound(io) }],
  });
  return y;
}
