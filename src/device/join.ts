/**
 * Joins neighbours of a plan, which a GPU then runs in fewer launches. Two calls make one result in parts; calls that change
 * the result element by element pass it on; the call that reads the result adds the parts up. Calls of one kernel whose tensors
 * follow each other are one launch. See kernels/parts.ts.
 *
 * A product that is made in slices leaves them to the call that reads the product, past calls that only add to it.
 *
 * @module
 */
import type { Kernel, Launch, Limits } from "../../kernels/kernel.ts";
import { heldParts, type Parts, storeParts } from "../../kernels/parts.ts";
import type { Launches } from "./launches.ts";
import { callOf, type Plan, type Step } from "../plan.ts";
import { bytesPerElement, elements, type Tensor } from "../tensor.ts";

/** What a GPU needs of a kernel to launch it. */
export type Launchable = Pick<Kernel, "name" | "buffers" | "uniforms" | "launch" | "ways">;

/** A step as a GPU runs it. Steps that were joined share scratch: they run one after the other, or not at all. */
export interface GpuStep extends Omit<Step, "kernel"> {
  readonly kernel: Launchable;
}

/** Steps whose result is in parts, as far as they are joined. */
interface Chain {
  readonly parts: Parts;
  /** The two that make the parts; left out where relays read what a buffer holds. */
  readonly made?: { readonly before: Step; readonly step: Step };
  /** The tensor of the result, and those that a text which reads the parts binds. */
  readonly result: Tensor;
  readonly reads: Readonly<Record<string, Tensor>>;
  /** The last step, the names of those that pass the result on, and how many steps there are in all. */
  readonly last: Step;
  readonly relays: readonly string[];
  readonly length: number;
}

function tensorsOf({ buffers }: Step, reads: Parts["reads"] = {}): Record<string, Tensor> {
  return Object.fromEntries(Object.entries(reads).map(([name, buffer]) => [name, buffers[buffer]]));
}

/** The parts that two calls make, if their kernels offer that and the calls fit. */
function produced(before: Step, step: Step | undefined, limits: Limits): Chain | undefined {
  const produce = step?.kernel.produce;
  if (!produce || produce.after !== before.kernel.name) return undefined;
  if (produce.same.some(([a, b]) => before.buffers[a] !== step.buffers[b])) return undefined;
  const parts = produce.parts(callOf(before), callOf(step), limits);
  if (!parts) return undefined;
  const result = step.buffers[produce.result];
  const reads = tensorsOf(step, parts.reads);
  return { parts, made: { before, step }, result, reads, last: step, relays: [], length: 2 };
}

/** Whether a step has its adapters in the bank of the call that made the parts. */
const inBank = ({ buffers }: Step, { made }: Chain): boolean =>
  ["slots", "records", "values"].every((name) => made?.step.buffers[name] === buffers[name]);

/** The chain with a step more, if the step's kernel passes its result on. */
function relayed(chain: Chain, step: Step | undefined): Chain | undefined {
  const relay = step?.kernel.relay;
  if (!relay || step.buffers[relay.from] !== chain.result) return undefined;
  const call = callOf(step);
  if (relay.count(call) !== chain.parts.count) return undefined;
  const known = inBank(step, chain) ? chain.parts : { ...chain.parts, bank: undefined };
  const parts = relay.parts(call, known), reads = tensorsOf(step, parts?.reads);
  // Two relays of a kind would have the same names.
  if (!parts || Object.keys(reads).some((name) => name in chain.reads)) return undefined;
  return {
    ...chain,
    parts,
    result: step.buffers[relay.to],
    reads: { ...chain.reads, ...reads },
    last: step,
    relays: [...chain.relays, step.kernel.name],
    length: chain.length + 1,
  };
}

/** Chains that each have a step more than the next, down to one that is given. */
function extended(chain: Chain | undefined, plan: Plan, at: number): Chain[] {
  const chains: Chain[] = [];
  for (; chain; chain = relayed(chain, plan[at + chain.length])) chains.unshift(chain);
  return chains;
}

/** The chains that begin at a step, the longest first; none where nothing is to be joined. */
function chainsAt(plan: Plan, at: number, limits: Limits): Chain[] {
  const step = plan[at], { relay } = step.kernel;
  let chain = produced(step, plan[at + 1], limits);
  if (!chain && relay) {
    const parts = heldParts(relay.count(callOf(step)), relay.from === relay.to ? "read_write" : "read");
    const held = { parts, result: step.buffers[relay.from], reads: {}, last: step, relays: [], length: 0 };
    chain = relayed(held, step);
  }
  return extended(chain, plan, at);
}

/** A step with another launch than its kernel's own; undefined where a GPU could not bind what the launch has. */
function withLaunch(
  { kernel, ...step }: GpuStep,
  { launch, words = {}, name, limits }: {
    readonly launch: Launch;
    readonly words?: Parts["words"];
    readonly name: string;
    readonly limits: Limits;
  },
): GpuStep | undefined {
  const { buffers } = kernel;
  for (const { bindings } of launch.dispatches) {
    if (bindings.length > limits.storageBuffers) return undefined;
    const bound = bindings.flatMap(({ name, access }) => {
      const t = step.buffers[name];
      return t ? [{ memory: memoryOf(t), access }] : [];
    });
    // A GPU refuses to write to memory that is bound twice.
    const written = new Set(bound.flatMap(({ memory, access }) => access === "read" ? [] : [memory]));
    if (bound.filter(({ memory }) => written.has(memory)).length > written.size) return undefined;
  }
  const types = Object.fromEntries(Object.keys(words).map((word) => [word, "u32" as const]));
  const uniforms = { ...kernel.uniforms, ...types };
  return {
    ...step,
    uniforms: { ...step.uniforms, ...words },
    kernel: { name, buffers, uniforms, launch: () => launch },
  };
}

/** What tensors share whose elements lie in one buffer. */
function memoryOf({ data }: Tensor): unknown {
  return (data as { readonly buffer?: unknown }).buffer ?? data;
}

/** The step that reads a chain's result, if its kernel offers that and the call fits. */
function readerOf(
  next: Step | undefined,
  { parts, result, reads }: Chain,
  limits: Limits,
  launches?: Launches,
): GpuStep | undefined {
  const consume = next?.kernel.consume;
  if (!consume || next.buffers[consume.buffer] !== result) return undefined;
  const launch = launches ? launches.reading(next, parts) : consume.launch(callOf(next), limits, parts);
  if (!launch || Object.keys(reads).some((name) => name in next.buffers)) return undefined;
  const scratch = { ...parts.launch.scratch, ...launch.scratch };
  const step = { ...next, buffers: { ...reads, ...next.buffers } };
  return withLaunch(step, {
    launch: { ...launch, scratch },
    words: parts.words,
    name: next.kernel.name,
    limits,
  });
}

/** The step that leaves a chain's result in parts, or stores the result where no other step reads it. */
function makerOf(chain: Chain, store: boolean, limits: Limits): GpuStep | undefined {
  const { parts, made, last, relays, reads, result } = chain, own = made?.step ?? last;
  const { kernel } = own, taken = made ? tensorsOf(made.before, takenBy(made.step)) : {};
  const sum = store ? [storeParts(parts, stored, { uniforms: kernel.uniforms, limits })] : [];
  const launch = { ...parts.launch, dispatches: [...parts.launch.dispatches, ...sum] };
  const step = { ...own, buffers: { ...taken, ...reads, ...own.buffers, [stored]: result } };
  const names = [...(made ? [made.before.kernel.name, kernel.name] : []), ...(store ? relays : [])];
  return withLaunch(step, { launch, words: store ? parts.words : {}, name: names.join(" + "), limits });
}

/** The result's name in a dispatch that stores it; kernels have no buffer of this name. */
const stored = "stored";

const takenBy = ({ kernel }: Step): Record<string, string> =>
  Object.fromEntries(kernel.produce!.takes.map((name) => [name, name]));

/** Steps of a plan as a GPU runs them, and how many of the plan they are. */
interface Joined {
  readonly steps: readonly GpuStep[];
  readonly taken: number;
}

/** A chain and the step that reads its result; undefined where that gains nothing or cannot be. */
function joined(chain: Chain, next: Step | undefined, limits: Limits): Joined | undefined {
  const { made, length } = chain, reader = readerOf(next, chain, limits);
  if (reader && !made) return { steps: [reader], taken: length + 1 };
  if (length === 1) return undefined;
  const maker = makerOf(chain, reader === undefined, limits);
  return maker && { steps: reader ? [maker, reader] : [maker], taken: length + Number(reader !== undefined) };
}

/** Whether a tensor's elements begin where those of another end. */
function follows(before: Tensor, next: Tensor): boolean {
  if (before.dtype !== next.dtype || memoryOf(before) !== memoryOf(next)) return false;
  return offsetOf(next) === offsetOf(before) + elements(before.shape) * bytesPerElement[before.dtype];
}

function offsetOf({ data }: Tensor): number {
  return ArrayBuffer.isView(data) ? data.byteOffset : data.offsetBytes;
}

/** Calls of one kernel whose tensors follow each other, as one; undefined where there is one such call. */
function togetherAt(plan: Plan, at: number, limits: Limits): Joined | undefined {
  const first = plan[at], { kernel } = first;
  if (!kernel.together) return undefined;
  const { follow, launch } = kernel.together;
  const fits = (before: Step, next: Step | undefined): next is Step =>
    next?.kernel === kernel &&
    Object.keys(kernel.buffers).every((name) =>
      follow.includes(name)
        ? follows(before.buffers[name], next.buffers[name])
        : before.buffers[name] === next.buffers[name]
    );
  const steps = [first];
  while (fits(steps.at(-1)!, plan[at + steps.length])) steps.push(plan[at + steps.length]);
  const made = steps.length > 1 ? launch(steps.map(callOf), limits) : undefined;
  if (!made) return undefined;
  const all = follow.map((name) => {
    const count = steps.reduce((sum, { buffers }) => sum + elements(buffers[name].shape), 0);
    return [name, { ...first.buffers[name], shape: [count] }] as const;
  });
  const step = { ...first, buffers: { ...first.buffers, ...Object.fromEntries(all) } };
  const name = `${steps.length} x ${kernel.name}`;
  const found = withLaunch(step, { launch: made, name, limits });
  return found && { steps: [found], taken: steps.length };
}

/** In which ways steps are launched; the usual ones where none are named. */
export interface Chosen {
  readonly ways: ReadonlyMap<GpuStep, string | undefined>;
  /** What makes the launches, and keeps them. */
  readonly launches: Launches;
}

/** Whether a step does nothing with a tensor's memory but add to the tensor. */
function addsTo(step: Step | undefined, result: Tensor): step is Step {
  const adds = step?.kernel.adds;
  return adds !== undefined &&
    Object.entries(step!.buffers).every(([name, t]) =>
      name === adds ? t === result : memoryOf(t) !== memoryOf(result)
    );
}

/** A product in slices, the steps that add to it, and the step that reads it; undefined where no dispatch is spared. */
function slicedAt(plan: Plan, at: number, limits: Limits, { ways, launches }: Chosen): Joined | undefined {
  const product = plan[at], { kernel } = product;
  // What is made in slices may be made in other ways, too: others need not be launched to see it.
  if (!kernel.ways) return undefined;
  const [written, ...others] = Object.keys(kernel.buffers).filter((name) =>
    kernel.buffers[name].access === "read_write"
  );
  const parts = others.length === 0 && launches.slicedOf(product, ways.get(product));
  if (!parts) return undefined;
  const { launch } = parts, result = product.buffers[written];
  const maker = withLaunch(product, { launch, name: kernel.name, limits });
  if (!maker) return undefined;
  let length = 1;
  while (addsTo(plan[at + length], result)) length++;
  const before = [maker, ...plan.slice(at + 1, at + length)];
  const left = { ...parts, launch: { dispatches: [], scratch: launch.scratch } };
  const first: Chain = { parts: left, result, reads: {}, last: plan[at + length - 1], relays: [], length };
  for (const chain of extended(first, plan, at)) {
    const reader = readerOf(plan[at + chain.length], chain, limits, launches);
    const last = reader ?? (chain.relays.length > 0 ? makerOf(chain, true, limits) : undefined);
    if (last) return { steps: [...before, last], taken: chain.length + Number(reader !== undefined) };
  }
  return undefined;
}

function joinedAt(plan: Plan, at: number, limits: Limits, chosen?: Chosen): Joined {
  for (const chain of chainsAt(plan, at, limits)) {
    const found = joined(chain, plan[at + chain.length], limits);
    if (found) return found;
  }
  return togetherAt(plan, at, limits) ??
    (chosen && slicedAt(plan, at, limits, chosen)) ??
    { steps: [plan[at]], taken: 1 };
}

/** The plan with neighbours joined: those that a way of a step decides about, too, where ways were chosen. */
export function joinNeighbours(plan: Plan, limits: Limits, chosen?: Chosen): readonly GpuStep[] {
  const steps: GpuStep[] = [];
  for (let at = 0; at < plan.length;) {
    const { steps: own, taken } = joinedAt(plan, at, limits, chosen);
    steps.push(...own);
    at += taken;
  }
  return steps;
}
