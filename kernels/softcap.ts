import { elementwise } from "./elementwise.ts";
import type { Kernel } from "./kernel.ts";

/** cap tanh(x / cap): near x where x is small beside the cap, and never beyond the cap. */
export const softcapped = (x: number, cap: number): number => cap * Math.tanh(x / cap);

/** The slope of `softcapped`, where it has the value `y`. */
export const softcapSlope = (y: number, cap: number): number => 1 - (y / cap) ** 2;

/** `fn softcapped(x: T, cap: f32) -> T`. exp of a number <= 0 cannot overflow. */
export const softcapText = (type: "f32" | "vec4f" | "T"): string => /* wgsl */ `
fn softcapped(x: ${type}, cap: f32) -> ${type} {
  let e = exp(-2 * abs(x) / cap);
  return cap * sign(x) * (1 - e) / (1 + e);
}`;

/** Soft capping of numbers, in place (Gemma 2, arXiv:2408.00118). */
export const softcap: Kernel<"y", "cap" | "count"> = elementwise({
  name: "softcap",
  doc: "y[i] = cap tanh(y[i] / cap)",
  buffers: { y: "update" },
  uniforms: { cap: "f32" },
  // exp of a number <= 0 cannot overflow.
  wgsl: `
  let e = exp(-2 * abs(y[i]) / uniforms.cap);
  y[i] = uniforms.cap * sign(y[i]) * (1 - e) / (1 + e);`,
  reference({ y }, { count, cap }) {
    for (let i = 0; i < count; i++) y[i] = softcapped(y[i], cap);
  },
  tolerance: 1e-5,
});
