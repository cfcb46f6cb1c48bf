/**
 * Activations that gate a feed-forward layer.
 *
 * @module
 */
import { below, belowText, density } from "../gelu.ts";
import { cubic, root, sigmoidOf, sigmoidText } from "../gelu_new.ts";
import type { GateActivation } from "./of.ts";

/** By the normal distribution. */
export const gelu: GateActivation = {
  name: "gelu",
  doc: "g P(g) of the normal distribution P",
  valueText: `${belowText("g")}
  let value = g * below;`,
  slopeText: `let slope = below + g * bell * ${1 / Math.sqrt(2 * Math.PI)};`,
  value: (g) => g * below(g),
  slope: (g) => below(g) + g * density(g),
};

const slopeOfCube = (g: number): number => 2 * root * (1 + 3 * cubic * g * g);

/** By a hyperbolic tangent. */
export const geluNew: GateActivation = {
  name: "gelu_new",
  doc: "g (1 + tanh(sqrt(2 / pi) (g + 0.044715 g^3))) / 2",
  valueText: `${sigmoidText("g")}
  let value = g * sigmoid;`,
  slopeText: `let rest = select(T(1), e, z >= T(0)) / (1 + e);
  let slope = sigmoid * (1 + g * rest * (${2 * root} * (1 + ${3 * cubic} * g * g)));`,
  value: (g) => g * sigmoidOf(g),
  slope: (g) => sigmoidOf(g) * (1 + g * sigmoidOf(-g) * slopeOfCube(g)),
};

/** None below 0. */
export const relu: GateActivation = {
  name: "relu",
  doc: "g where g is not below 0, else 0",
  // NaN is not below 0: it stays.
  valueText: "let value = select(g, T(0), g < T(0));",
  slopeText: "let slope = select(T(0), T(1), g > T(0));",
  value: (g) => g < 0 ? 0 : g,
  slope: (g) => g > 0 ? 1 : 0,
};
