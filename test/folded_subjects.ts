/**
 * Random adapters of the methods that are served as factors, for the contract of methods: those methods make none themselves.
 *
 * @module
 */
import { normals } from "../kernels/kernel.ts";
import type { LinearShape, Method } from "../src/adapters/method.ts";
import { adalora } from "../src/adapters/methods/adalora.ts";
import { delora } from "../src/adapters/methods/delora.ts";
import { loraXs } from "../src/adapters/methods/lora_xs.ts";
import { miss } from "../src/adapters/methods/miss.ts";
import { tinylora } from "../src/adapters/methods/tinylora.ts";
import { vera } from "../src/adapters/methods/vera.ts";
import { vblora } from "../src/adapters/methods/vblora.ts";
import { uniforms } from "../src/engine/random.ts";
import { elements, type HostTensor, tensor } from "../src/tensor.ts";
import type { Subject } from "./method_contract.ts";

type Shapes = Readonly<Record<string, readonly number[]>>;

const normalRows = (shape: readonly number[], random: () => number): Float32Array =>
  normals(elements(shape), random);

/** In each row the numbers 0, 0.5, 1, ... in a random order. */
function spacedRows(shape: readonly number[], random: () => number): Float32Array {
  const width = shape.at(-1)!, rows = elements(shape) / width;
  return Float32Array.from(
    Array.from({ length: rows }, () => {
      const keys = Array.from({ length: width }, random);
      return keys.map((key) => keys.filter((other) => other < key).length / 2);
    }).flat(),
  );
}

/** A subject whose tensors hold normals: each module's by what follows its path, and those of all modules. */
export function subjectOf(
  method: Method,
  config: Readonly<Record<string, unknown>>,
  { own, shared = {}, curved, apart }: {
    readonly own: (shape: LinearShape) => Shapes;
    readonly shared?: Shapes;
    readonly curved?: boolean;
    /** Matches tensors whose rows have numbers far from each other: a small step must not change their order. */
    readonly apart?: RegExp;
  },
): Subject {
  return {
    method,
    curved,
    files(chosen, seed) {
      const random = uniforms(seed), tensors = new Map<string, HostTensor>();
      const fill = (start: string, shapes: Shapes): void => {
        for (const [name, shape] of Object.entries(shapes)) {
          const make = apart?.test(name) ? spacedRows : normalRows;
          tensors.set(`${start}${name}`, tensor(make(shape, random), shape));
        }
      };
      for (const { path, shape } of chosen) fill(`base_model.model.${path}`, own(shape));
      fill("base_model.", shared);
      return { config: { peft_type: method.peftType, ...config }, tensors };
    },
  };
}

const r = 3;

/** One of each method. */
export const foldedSubjects: readonly Subject[] = [
  subjectOf(vblora, { topk: 2 }, {
    own: ({ out, in: inSize }) => ({ ".vblora_logits_A": [r, inSize, 7], ".vblora_logits_B": [out, r, 7] }),
    shared: { vblora_vector_bank: [7, 1] },
    curved: true,
    apart: /logits/,
  }),
  subjectOf(loraXs, { lora_alpha: 4 }, {
    own: ({ out, in: inSize }) => ({
      ".lora_A.weight": [r, inSize],
      ".lora_B.weight": [out, r],
      "_lora_latent_mapping.weight": [r, r],
    }),
  }),
  subjectOf(vera, {}, {
    own: ({ out }) => ({ ".vera_lambda_b": [out], ".vera_lambda_d": [r] }),
    shared: { vera_A: [r, 50], vera_B: [40, r] },
  }),
  subjectOf(adalora, { init_r: 4 }, {
    own: ({ out, in: inSize }) => ({ ".lora_A": [r, inSize], ".lora_E": [r, 1], ".lora_B": [out, r] }),
  }),
  subjectOf(delora, {}, {
    own: ({ out, in: inSize }) => ({
      ".delora_A": [r, inSize],
      ".delora_B": [out, r],
      ".delora_lambda": [1],
      ".delora_w_norm": [inSize],
    }),
  }),
  subjectOf(tinylora, { weight_tying: 1 }, {
    own: ({ out, in: inSize }) => ({
      ".tinylora_A": [r, inSize],
      ".tinylora_B": [out, r],
      ".tinylora_P": [4, r, r],
    }),
    shared: { "tinylora_v.0": [4] },
  }),
  // Its rank does not divide the inputs.
  subjectOf(miss, {}, { own: ({ out }) => ({ ".miss_block": [r, out] }) }),
];
