/**
 * Random adapters of methods that say dW in few numbers and have kernels of their own, or keep it whole, for the contract.
 *
 * @module
 */
import { normals } from "../kernels/kernel.ts";
import type { LinearShape } from "../src/adapters/method.ts";
import { hira } from "../src/adapters/methods/hira.ts";
import { loha } from "../src/adapters/methods/loha.ts";
import { lokr } from "../src/adapters/methods/lokr.ts";
import { missBat } from "../src/adapters/methods/miss_bat.ts";
import { randlora } from "../src/adapters/methods/randlora.ts";
import { shira } from "../src/adapters/methods/shira.ts";
import { uniforms } from "../src/engine/random.ts";
import { type HostTensor, tensor } from "../src/tensor.ts";
import { subjectOf } from "./folded_subjects.ts";
import type { Subject } from "./method_contract.ts";

const r = 3;

/** Rows of W1: a divisor of the outputs. */
const leftOf = ({ out }: LinearShape): number => [4, 3, 2, 1].find((rows) => out % rows === 0)!;

/** Numbers at random places, some of them twice; as many as PEFT's layers have for r = 1. */
const sparse: Subject = {
  method: shira,
  files(chosen, seed) {
    const random = uniforms(seed), tensors = new Map<string, HostTensor>();
    for (const { path, shape } of chosen) {
      const n = shape.out + shape.in;
      const place = (size: number) => () => Math.floor(random() * size);
      const rows = Array.from({ length: n }, place(shape.out)),
        columns = Array.from({ length: n }, place(shape.in));
      const prefix = `base_model.model.${path}.shira_`;
      tensors.set(`${prefix}weight`, tensor(normals(n, random), [n]));
      tensors.set(`${prefix}indices`, tensor(Int32Array.from([...rows, ...columns]), [2, n]));
    }
    return { config: { peft_type: "SHIRA", r: 1 }, tensors };
  },
};

/** One or more of each method. */
export const otherSubjects: readonly Subject[] = [
  subjectOf(loha, { alpha: 4 }, {
    own: ({ out, in: inSize }) => ({
      ".hada_w1_a": [out, r],
      ".hada_w1_b": [r, inSize],
      ".hada_w2_a": [out, r],
      ".hada_w2_b": [r, inSize],
    }),
  }),
  // W1 is square or not, and W2 whole or of factors.
  subjectOf(lokr, { alpha: 4, r: 2 }, {
    own: (shape) => ({
      ".lokr_w1": [leftOf(shape), 8],
      ...(shape.out % 2 === 0
        ? { ".lokr_w2": [shape.out / leftOf(shape), shape.in / 8] }
        : { ".lokr_w2_a": [shape.out / leftOf(shape), 2], ".lokr_w2_b": [2, shape.in / 8] }),
    }),
  }),
  // Of 20, 33 and 10 outputs; the bases are larger than any needs.
  subjectOf(randlora, { randlora_alpha: 1 }, {
    own: ({ out, in: inSize }) => {
      const min = Math.min(out, inSize), n = Math.ceil(min / r);
      return { ".randlora_lambda": [r, n], ".randlora_gamma": [n, min] };
    },
    shared: { randlora_A: [r, 1, 41], randlora_B: [44, 14, r] },
  }),
  subjectOf(hira, {}, { own: ({ out, in: inSize }) => ({ ".hira_A": [r, inSize], ".hira_B": [out, r] }) }),
  {
    ...subjectOf(missBat, { init_weights: "bat" }, {
      own: ({ out }) => ({ ".miss_block": [out / 5, 5, 5] }),
    }),
    takes: ({ out }) => out % 5 === 0,
  },
  sparse,
];
