/**
 * Kernels whose element i depends on element i alone: one function makes a kernel from its buffers and one statement.
 *
 * @module
 */
import {
  type Arrays,
  type Backward,
  type BackwardStep,
  type BufferSpec,
  type Call,
  declareBindings,
  grid,
  type Kernel,
  type Launch,
  type Limits,
  uniformStruct,
  type UniformType,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

/** How a kernel uses a buffer of one number for each element: `update` reads it and writes it. */
export type ElementAccess = "read" | "write" | "update";

/** A buffer that all elements read, by its index: its shape and meaning. */
export interface SharedBuffer {
  readonly shared: string;
}

/** What makes an elementwise kernel. All buffers are float32. */
export interface Elementwise<B extends string, U extends string> {
  readonly name: string;
  readonly doc: string;
  /** In binding order. A buffer that is `write` only starts as NaN in tests. */
  readonly buffers: Readonly<Record<B, ElementAccess | SharedBuffer>>;
  /** Uniform words after `count`. */
  readonly uniforms?: Readonly<Record<U, UniformType>>;
  /** Statements for element `i`. `T` is the element's type, f32 or vec4f: write `T(0)` where both sides must be of it. */
  readonly wgsl: string;
  /** The specification: a loop over `count` elements. */
  readonly reference: (arrays: Arrays<B>, uniforms: Readonly<Record<U | "count", number>>) => void;
  /** Whether the WASM module has a function of this name: buffers in order, count, then the other uniform words. */
  readonly wasm?: boolean;
  /**
   * The kernel of its gradients, by names: `dy` is the gradient of buffer `y`. Gradients that it reads are of outputs, those
   * that it writes of inputs; its other buffers are this kernel's own.
   */
  readonly gradient?: Kernel;
  /** In place of `gradient`, for calls whose gradient another kernel gives. */
  readonly backward?: Kernel<B, U | "count">["backward"];
  readonly relay?: Kernel<B, U | "count">["relay"];
  readonly tolerance: number;
}

/** A kernel that {@linkcode elementwise} makes. */
export interface ElementwiseKernel<B extends string = string, U extends string = string>
  extends Kernel<B, U> {
  /** How an element uses each buffer: what its inputs and outputs are in a test follows. */
  readonly uses: Readonly<Record<B, ElementAccess | SharedBuffer>>;
}

/** Whether a kernel's element i depends on element i alone. */
export function isElementwise(kernel: Kernel): kernel is ElementwiseKernel {
  return "uses" in kernel;
}

/** Invocations of a workgroup. */
const width = 256;

const isShared = (use: ElementAccess | SharedBuffer): use is SharedBuffer => typeof use === "object";

function specOf(use: ElementAccess | SharedBuffer): BufferSpec {
  if (isShared(use)) return { access: "read", dtypes: ["float32"], doc: use.shared };
  return { access: use === "read" ? "read" : "read_write", dtypes: ["float32"], doc: "(count)" };
}

/** Four elements an invocation where the count allows it: a GPU moves memory in words of 16 bytes. */
function launchOf<B extends string, U extends string>(
  { buffers, uniforms, wgsl }: Elementwise<B, U>,
  count: number,
  limits: Limits,
): Launch {
  const wide = count % 4 === 0;
  const uses = Object.entries<ElementAccess | SharedBuffer>(buffers);
  const bindings = uses.map(([name, use]) => ({ name, access: specOf(use).access }));
  const types = Object.fromEntries(uses.map(([name, use]) => [name, isShared(use) ? "f32" : "T"]));
  const text = /* wgsl */ `
alias T = ${wide ? "vec4f" : "f32"};
${uniformStruct({ count: "u32", ...uniforms })}
${declareBindings(bindings, types)}

@compute @workgroup_size(${width})
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * ${width} + local;
  if (i >= uniforms.count${wide ? " / 4" : ""}) { return; }
  ${wgsl.trim()}
}
`;
  const groups = Math.ceil(count / (wide ? 4 * width : width));
  return { dispatches: [{ wgsl: text, bindings, grid: grid(groups, limits) }] };
}

/** How gradients pass a call, by the names of the gradient kernel's buffers. */
function backwardBy(gradient: Kernel, forward: Readonly<Record<string, unknown>>): Backward["steps"][0] {
  const values: Record<string, string> = {};
  const gradients: Record<string, string> = {};
  const targets: Record<string, BackwardStep["targets"][string]> = {};
  for (const [name, { access }] of Object.entries(gradient.buffers)) {
    const of = name.startsWith("d") && name.slice(1) in forward ? name.slice(1) : undefined;
    if (of === undefined) values[name] = name;
    else if (access === "read") gradients[name] = of;
    else targets[name] = { of, mode: "write" };
  }
  return { kernel: gradient, values, gradients, targets, uniforms: {} };
}

function backwardOf<B extends string, U extends string>(
  { gradient, backward, buffers }: Elementwise<B, U>,
): Kernel<B, U | "count">["backward"] {
  if (!gradient) return backward;
  const step = backwardBy(gradient, buffers);
  const overwritten = Object.keys(buffers).filter((name) => buffers[name as B] === "write");
  return (uniforms) => ({ steps: [{ ...step, uniforms }], overwritten });
}

/** Makes a kernel from its description. */
export function elementwise<B extends string, U extends string = never>(
  description: Elementwise<B, U>,
): ElementwiseKernel<B, U | "count"> {
  const { name, doc, buffers, reference, wasm, tolerance } = description;
  const uniforms = { count: "u32", ...description.uniforms } as Record<U | "count", UniformType>;
  const backward = backwardOf(description);
  const others = Object.keys(description.uniforms ?? {}) as U[];
  const specs = Object.entries<ElementAccess | SharedBuffer>(buffers).map(([name, use]) =>
    [name, specOf(use)] as const
  );
  return {
    name,
    doc,
    uses: buffers,
    buffers: Object.fromEntries(specs) as Record<B, BufferSpec>,
    uniforms,
    launch: ({ uniforms: { count } }: Call<B, U | "count">, limits) => launchOf(description, count, limits),
    reference,
    ...(wasm
      ? {
        wasm: (values: Readonly<Record<U | "count", number>>) => ({
          function: name,
          args: [...Object.keys(buffers), values.count, ...others.map((other) => values[other])],
          items: Math.ceil(values.count / 64),
          work: 8 * values.count,
        }),
      }
      : {}),
    ...(backward ? { backward } : {}),
    ...(description.relay ? { relay: description.relay } : {}),
    tolerance,
  };
}
