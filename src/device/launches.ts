/**
 * Launches of one plan's steps: layers of a model make the same calls, and a launch's text takes long to write.
 *
 * @module
 */
import type { Launch, Limits } from "../../kernels/kernel.ts";
import type { Parts } from "../../kernels/parts.ts";
import { callOf, type Step } from "../plan.ts";
import type { GpuStep } from "./join.ts";

/** See the module's documentation. */
export class Launches {
  readonly #made = new Map<GpuStep["kernel"], Map<string, Launch>>();
  readonly #sliced = new Map<Launch, Parts | undefined>();
  readonly #reading = new Map<Parts["source"], Map<string, Launch | undefined>>();

  constructor(private readonly limits: Limits) {}

  /** A step's launch in a way; equal calls of a kernel share one. */
  of(step: GpuStep, way: string | undefined): Launch {
    const call = callOf(step), key = JSON.stringify([call, way]);
    const known = this.#made.get(step.kernel) ?? new Map<string, Launch>();
    this.#made.set(step.kernel, known);
    let launch = known.get(key);
    if (!launch) known.set(key, launch = step.kernel.launch(call, this.limits, way));
    return launch;
  }

  /** The parts that a step's launch can leave its result in; equal calls share them. */
  slicedOf(step: GpuStep, way: string | undefined): Parts | undefined {
    const launch = this.of(step, way);
    if (!this.#sliced.has(launch)) this.#sliced.set(launch, launch.sliced?.());
    return this.#sliced.get(launch);
  }

  /** The launch of a step whose kernel reads parts; equal calls that read parts of one source share one. */
  reading({ kernel, ...step }: Step, parts: Parts): Launch | undefined {
    const call = callOf(step), key = `${kernel.name} ${JSON.stringify(call)}`;
    const known = this.#reading.get(parts.source) ?? new Map<string, Launch | undefined>();
    this.#reading.set(parts.source, known);
    if (!known.has(key)) known.set(key, kernel.consume!.launch(call, this.limits, parts));
    return known.get(key);
  }
}
