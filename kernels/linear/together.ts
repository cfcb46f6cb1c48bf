/**
 * Dense products of one row each, by weights that are parts of one weight, in one dispatch.
 *
 * Each product alone would leave most of a GPU idle while the next waits for it.
 *
 * @module
 */
import type { Call, Dispatch, Launch, Limits } from "../kernel.ts";
import { Kept } from "../kept.ts";
import type { Together } from "../parts.ts";
import { type Beside, besideDispatch, columnsAtOnce, type Dense } from "./beside.ts";
import { uniforms } from "./wgsl.ts";

function dispatchOf(parts: readonly number[], dense: Dense, limits: Limits): Dispatch {
  const columns = parts.reduce((sum, part) => sum + part, 0);
  const alone: Beside = {
    groups: 0,
    bindings: [{ name: "y", access: "read_write" }],
    types: { y: "f32" },
    text: "",
  };
  return besideDispatch(uniforms, alone, { columns, dense, put: "y[column] = value;", parts, limits });
}

const launches = new Kept<Launch>();

/** Whether a call is a product of one row that overwrites y, as long as the first's. */
const fits = ({ uniforms: { rows, in: inSize, accumulate } }: Call, first: Call): boolean =>
  rows === 1 && accumulate === 0 && inSize === first.uniforms.in && inSize % 4 === 0;

/** y, z, ... = x V^T, u W^T, ... where x, u; V, W; and y, z stand one after the other. */
export const productsTogether: Together<string, keyof typeof uniforms> = {
  follow: ["x", "weight", "y"],
  launch(calls, limits) {
    const [first] = calls, parts = calls.map(({ uniforms: { out } }) => out);
    if (!calls.every((call) => fits(call, first))) return undefined;
    if (parts.slice(0, -1).some((part) => part % columnsAtOnce !== 0)) return undefined;
    const dense = { in: first.uniforms.in, dtype: first.dtypes.weight };
    const key = `${dense.in}:${dense.dtype}:${parts}`;
    return launches.get(limits, key, () => ({ dispatches: [dispatchOf(parts, dense, limits)] }));
  },
};
