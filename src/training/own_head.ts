/**
 * A language model's head that is trained, whole or by rows: its logits are made, for some rows at a time.
 *
 * @module
 */
import { add } from "../../kernels/add.ts";
import { embedding } from "../../kernels/embedding.ts";
import { embeddingPart } from "../../kernels/embedding_part.ts";
import { fill } from "../../kernels/fill.ts";
import { softmaxCrossEntropy } from "../../kernels/softmax_cross_entropy.ts";
import { weightGradient } from "../../kernels/weight_gradient.ts";
import type { Device } from "../device/device.ts";
import type { Model } from "../models/model.ts";
import { denseWeight, linearBackwardStep, linearStep } from "../models/weights.ts";
import { type Plan, type Step, step } from "../plan.ts";
import { elements, slice, type Tensor, tensor } from "../tensor.ts";
import { headRows, numbersIn, type OwnPart } from "./own_parameters.ts";
import type { PlacedOwn } from "./own_steps.ts";

/** What a head reads and writes. */
export interface HeadIo {
  readonly hidden: Tensor;
  readonly targets: Tensor;
  readonly losses: Tensor;
}

/** Losses by a head that is trained. */
export interface OwnHead {
  evaluate(io: HeadIo): Plan;
  /** Also writes the gradient of the hidden rows, and adds to the head's. */
  train(io: HeadIo, dhidden: Tensor): Plan;
  release(): void;
}

/** The weight that logits are made by, the gradient that it adds to, and what comes before and after all rows. */
interface HeadWeight {
  readonly weight: Tensor;
  readonly gradient: Tensor;
  readonly before: Plan;
  /** Steps before and after the gradients of rows. */
  readonly zero: Plan;
  readonly after: Plan;
  readonly uploads: readonly Tensor[];
}

/** Numbers of the logits of some rows at most. */
const mostLogits = 2 ** 24;

function wholeHead(part: OwnPart, { params, gradients, ownAt }: PlacedOwn): HeadWeight {
  const weight = numbersIn(params, part, ownAt), gradient = numbersIn(gradients, part, ownAt);
  return { weight, gradient, before: [], zero: [], after: [], uploads: [] };
}

/** A table of the whole head, in which the trained rows are put; the gradients of these rows are taken of the table's. */
function rowsOfHead(device: Device, part: OwnPart, placed: PlacedOwn): HeadWeight {
  const { params, gradients, ownAt, own, scratch } = placed, table = own.headTable!;
  const [vocab, dim] = table.shape, ids = part.ids!, [rows] = part.shape;
  const places = new Uint32Array(vocab);
  ids.forEach((id, place) => places[id] = place + 1);
  const [weight, placesOf, idsOf] = [table, tensor(places), tensor(ids)].map((t) => device.upload(t));
  const gradient = scratch("head gradient", [vocab, dim]), taken = scratch("head rows", [rows, dim]);
  const words = { rows: vocab, dim, vocab: rows, first: 1 };
  return {
    weight,
    gradient,
    before: [
      step(embeddingPart, { ids: placesOf, weight: numbersIn(params, part, ownAt), y: weight }, words),
    ],
    zero: [step(fill, { y: gradient }, { count: elements(table.shape), value: 0 })],
    after: [
      step(embedding, { ids: idsOf, weight: gradient, y: taken }, { rows, dim, vocab }),
      step(add, { x: taken, y: numbersIn(gradients, part, ownAt) }, { count: rows * dim }),
    ],
    uploads: [weight, placesOf, idsOf],
  };
}

/** The part that the head is trained by; undefined where the head stays as it is. */
function partOf({ parameters }: Model, { own }: PlacedOwn): OwnPart | undefined {
  const head = parameters[parameters.length - 1];
  const whole = own.parts.find(({ parameter }) => parameter === head);
  return whole ?? (own.headTable ? headRows(own.parts) : undefined);
}

/**
 * A head that is trained; undefined where the head stays as it is.
 *
 * @throws RangeError for a model that caps its logits.
 */
export function ownHead(device: Device, model: Model, placed: PlacedOwn, rows: number): OwnHead | undefined {
  const part = partOf(model, placed);
  if (!part) return undefined;
  if (model.graph.ending.softcap) {
    throw new RangeError(
      `Cannot train "${part.parameter.name}": the model caps its logits, and a capped head is not trained`,
    );
  }
  const { weight, gradient, before, zero, after, uploads } = part.ids
    ? rowsOfHead(device, part, placed)
    : wholeHead(part, placed);
  const [vocab, dim] = weight.shape;
  const most = Math.min(rows, Math.max(64, 64 * Math.floor(mostLogits / vocab / 64)));
  const logits = placed.alloc([most, vocab], "float32"), dlogits = placed.alloc([most, vocab], "float32");

  function chunk({ hidden, targets, losses }: HeadIo, at: number, dhidden?: Tensor): Step[] {
    const count = Math.min(most, rows - at), sizes = { rows: count, in: dim, out: vocab };
    const part = (t: Tensor): Tensor => slice(t, at, [count]);
    const wide = (t: Tensor): Tensor => slice(t, at * dim, [count, dim]), x = wide(hidden);
    const io = { logits, targets: part(targets), losses: part(losses), dlogits };
    return [
      linearStep({ weight: denseWeight(weight) }, { x, y: logits }, { ...sizes, accumulate: 0 }),
      step(softmaxCrossEntropy, io, { rows: count, classes: vocab }),
      ...dhidden
        ? [
          step(weightGradient, { dy: dlogits, x, gradient }, { ...sizes, offset: 0, scale: 1 }),
          linearBackwardStep(denseWeight(weight), { dy: dlogits, dx: wide(dhidden) }, {
            ...{ ...sizes, accumulate: 0 },
          }),
        ]
        : [],
    ];
  }
  const chunks = Array.from({ length: Math.ceil(rows / most) }, (_, i) => i * most);
  return {
    evaluate: (io) => [...before, ...chunks.flatMap((at) => chunk(io, at))],
    train: (io, dhidden) => [
      ...before,
      ...zero,
      ...chunks.flatMap((at) => chunk(io, at, dhidden)),
      ...after,
    ],
    release: () => uploads.forEach((t) => device.release(t)),
  };
}
