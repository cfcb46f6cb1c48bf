/**
 * Norms and embeddings that are trained, in a forward's steps: their numbers stand in the place of the model's, and the
 * backward adds to their gradients.
 *
 * @module
 */
import { add } from "../../kernels/add.ts";
import { copy } from "../../kernels/copy.ts";
import { embedding } from "../../kernels/embedding.ts";
import { embeddingGradient } from "../../kernels/embedding_gradient.ts";
import { embeddingPart } from "../../kernels/embedding_part.ts";
import { fill } from "../../kernels/fill.ts";
import { scaleColumnsBackward } from "../../kernels/scale_columns_backward.ts";
import { weightGradient } from "../../kernels/weight_gradient.ts";
import type { WholeStep } from "../models/graph.ts";
import { type Step, step } from "../plan.ts";
import type { Tensor } from "../tensor.ts";
import { kernelBackward, type Tape, type TrainStep } from "./backward.ts";
import { numbersIn, type OwnParameters, type OwnPart } from "./own_parameters.ts";

/** Where own parameters are, and what their steps work in. */
export interface PlacedOwn {
  readonly own: OwnParameters;
  /** All trained numbers and their gradients, float32; the own ones begin at `ownAt`. */
  readonly params: Tensor;
  readonly gradients: Tensor;
  readonly ownAt: number;
  /** (rows), uint32: of each row's token the place among the trained rows, from 1 on; 0 for other tokens. */
  readonly places: Tensor;
  /** (rows): ones. */
  readonly ones: Tensor;
  readonly scratch: (name: string, shape: readonly number[]) => Tensor;
  /** A tensor that lives as long as the plans. */
  alloc(shape: readonly number[], dtype: "float32"): Tensor;
}

/** A forward with own parameters. */
export interface OwnForward {
  /** What comes before the forward, in every plan. */
  readonly before: readonly Step[];
  /** Steps that read trained numbers, and pass gradients to them. */
  steps(forward: readonly WholeStep[]): TrainStep[];
  /** Throws RangeError where a parameter is in no step: the model does not have it in one buffer. */
  check(): void;
}

/** A vector as kernels read it: of some models the norms' weights are kept greater than their files' by a number. */
function vectorOf(part: OwnPart, { params, ownAt, alloc }: PlacedOwn): { weight: Tensor; before: Step[] } {
  const x = numbersIn(params, part, ownAt), { plus = 0 } = part.parameter.base!, [count] = part.shape;
  if (plus === 0) return { weight: x, before: [] };
  const weight = alloc([count], "float32");
  return {
    weight,
    before: [step(fill, { y: weight }, { count, value: plus }), step(add, { x, y: weight }, { count })],
  };
}

/** The gradient of a vector that is added to rows: the sum of the rows'. */
function biasGradient(part: OwnPart, dy: Tensor, rows: number, { gradients, ownAt, ones }: PlacedOwn): Step {
  return step(weightGradient, { dy, x: ones, gradient: numbersIn(gradients, part, ownAt) }, {
    ...{ rows, in: 1, out: part.shape[0], offset: 0, scale: 1 },
  });
}

/** The gradient of a norm's weight: the sum of the rows' gradients, each times the row that was normed. */
function normGradient(part: OwnPart, forward: Step, dy: Tensor, placed: PlacedOwn): Step[] {
  const { gradients, ownAt, scratch } = placed, [out] = part.shape;
  const { rows } = forward.uniforms, count = rows * out, shape = [rows, out];
  const t = scratch("normed", shape), dt = scratch("normed gradient", shape);
  const unit = scratch("unit", [out]), zero = scratch("zero", [out]);
  const buffers: Record<string, Tensor> = { ...forward.buffers, weight: unit, y: t };
  if (buffers.bias) buffers.bias = zero;
  return [
    step(fill, { y: unit }, { count: out, value: 1 }),
    step(fill, { y: zero }, { count: out, value: 0 }),
    { ...forward, buffers },
    step(copy, { x: dy, y: dt }, { count }),
    step(scaleColumnsBackward, { t, values: unit, gradient: numbersIn(gradients, part, ownAt), dy: dt }, {
      ...{ rows, out, offset: 0 },
    }),
  ];
}

/** A norm's step with trained vectors. */
function normStep(
  { forward, also }: WholeStep,
  vectors: Readonly<Record<string, { readonly part: OwnPart; readonly weight: Tensor }>>,
  placed: PlacedOwn,
): TrainStep {
  const buffers = { ...forward.buffers };
  for (const [name, { weight }] of Object.entries(vectors)) buffers[name] = weight;
  const own: TrainStep = { forward: { ...forward, buffers }, also };
  return {
    ...own,
    backward(tape) {
      const dy = tape.target(buffers.y).gradient, { rows } = forward.uniforms;
      return [
        ...vectors.weight ? normGradient(vectors.weight.part, own.forward, dy, placed) : [],
        ...vectors.bias ? [biasGradient(vectors.bias.part, dy, rows, placed)] : [],
        ...kernelBackward(own, tape),
      ];
    },
  };
}

/** An embedding's steps with trained rows, or a trained table. */
function embeddingSteps(whole: WholeStep, part: OwnPart, placed: PlacedOwn): TrainStep[] {
  const { params, gradients, ownAt, places } = placed, { forward } = whole;
  const { ids, y } = forward.buffers, { rows, dim } = forward.uniforms, [entries] = part.shape;
  const weight = numbersIn(params, part, ownAt), gradient = numbersIn(gradients, part, ownAt);
  const first = part.ids ? 1 : 0, read = part.ids ? places : ids;
  const backward = (tape: Tape): Step[] => [
    step(embeddingGradient, { dy: tape.target(y).gradient, ids: read, gradient }, {
      ...{ rows, dim, first, entries },
    }),
  ];
  if (!part.ids) {
    return [{ forward: step(embedding, { ids, weight, y }, { rows, dim, vocab: entries }), backward }];
  }
  const words = { rows, dim, vocab: entries, first };
  return [
    { forward, backward: () => [] },
    { forward: step(embeddingPart, { ids: places, weight, y }, words), backward },
  ];
}

/** Puts own parameters into forwards. */
export function ownForward(placed: PlacedOwn): OwnForward {
  const vectors = new Map<Tensor, { readonly part: OwnPart; readonly weight: Tensor }>();
  const tables = new Map<Tensor, OwnPart>(), before: Step[] = [];
  for (const part of placed.own.parts) {
    const { kind, base } = part.parameter;
    if (kind === "embedding") tables.set(base!.tensor, part);
    if (kind !== "norm" && kind !== "bias") continue;
    const { weight, before: steps } = vectorOf(part, placed);
    vectors.set(base!.tensor, { part, weight });
    before.push(...steps);
  }
  const used = new Set<OwnPart>();
  return {
    before,
    check() {
      const parts = [...tables.values(), ...[...vectors.values()].map(({ part }) => part)];
      const missing = parts.find((part) => !used.has(part));
      if (!missing) return;
      throw new RangeError(
        `Cannot train "${missing.parameter.name}": no buffer of the device holds it whole`,
      );
    },
    steps: (forward) =>
      forward.flatMap((one): TrainStep[] => {
        const { weight, bias } = one.forward.buffers, table = weight && tables.get(weight);
        if (table) {
          used.add(table);
          return embeddingSteps(one, table, placed);
        }
        const found = Object.entries({ weight, bias }).flatMap(([name, t]) => {
          const vector = t && vectors.get(t);
          if (vector) used.add(vector.part);
          return vector ? [[name, vector] as const] : [];
        });
        return found.length === 0 ? [one] : [normStep(one, Object.fromEntries(found), placed)];
      }),
  };
}
