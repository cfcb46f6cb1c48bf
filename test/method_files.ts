/**
 * Adapters of methods that are not trained here, with random numbers: PEFT's config and tensors, of every variant by a seed.
 *
 * @module
 */
import { normals } from "../kernels/kernel.ts";
import type { Linear } from "../src/adapters/bank.ts";
import type { LinearShape } from "../src/adapters/method.ts";
import { uniforms } from "../src/engine/random.ts";
import { elements, type HostTensor, tensor } from "../src/tensor.ts";

/** How adapters of a method are made. */
export interface Made {
  readonly files: (linears: readonly Linear[], seed: number) => {
    readonly config: Readonly<Record<string, unknown>>;
    readonly tensors: ReadonlyMap<string, HostTensor>;
  };
  /** Whether the method can adapt a linear; by default every one. */
  readonly takes?: (shape: LinearShape) => boolean;
}

/** Shapes of a module's tensors, by the names that follow its path. */
type Shapes = (shape: LinearShape, path: string) => Readonly<Record<string, readonly number[]>>;

/** Tensors of normal numbers times a factor. */
function drawn(
  linears: readonly Linear[],
  shapes: Shapes,
  { seed, factor = 1, prefix = "base_model.model." }: {
    readonly seed: number;
    readonly factor?: number;
    readonly prefix?: string;
  },
): Map<string, HostTensor> {
  const random = uniforms(seed);
  return new Map(
    linears.flatMap(({ path, shape }) =>
      Object.entries(shapes(shape, path)).map(([name, dims]) =>
        [
          `${prefix}${path}.${name}`,
          tensor(normals(elements(dims), random, factor), [...dims]),
        ] as const
      )
    ),
  );
}

/** By the methods' names. */
export const made: Readonly<Record<string, Made>> = {
  // Inputs of every second linear, outputs of the others; which ones depends on the seed.
  IA3: {
    files: (linears, seed) => ({
      config: { peft_type: "IA3" },
      tensors: drawn(
        linears,
        (shape, path) => ({
          ia3_l: (Number(path.at(-1)) + seed) % 2 === 0 ? [1, shape.in] : [shape.out, 1],
        }),
        { seed },
      ),
    }),
  },
  RoAd: {
    takes: ({ out }) => out % 10 === 0,
    files(linears, seed) {
      const [variant, angles] = ([["road_1", 0.5], ["road_2", 1], ["road_4", 2]] as const)[seed % 3];
      const shapes: Shapes = ({ out }) => ({ road_theta: [angles * out], road_alpha: [angles * out] });
      return {
        config: { peft_type: "ROAD", variant, group_size: 10 },
        tensors: drawn(linears, shapes, { seed }),
      };
    },
  },
  HRA: {
    files: (linears, seed) => ({
      config: { peft_type: "HRA", r: 3, apply_GS: seed % 2 === 1 },
      tensors: drawn(linears, (shape) => ({ hra_u: [shape.in, 3] }), { seed }),
    }),
  },
  OFT: {
    takes: (shape) => shape.in % 8 === 0,
    files(linears, seed) {
      const shared = seed % 2 === 1, size = shared ? 4 : 8;
      const shapes: Shapes = (shape) => ({
        "oft_R.weight": [shared ? 1 : shape.in / size, size * (size - 1) / 2],
      });
      return {
        config: {
          peft_type: "OFT",
          block_share: shared,
          coft: shared,
          eps: 2,
          use_cayley_neumann: !shared,
          num_cayley_neumann_terms: 5,
        },
        tensors: drawn(linears, shapes, { seed, factor: 0.2 }),
      };
    },
  },
  BOFT: {
    takes: (shape) => shape.in % 4 === 0,
    files: (linears, seed) => ({
      config: { peft_type: "BOFT", boft_block_size: 4, boft_n_butterfly_factor: 1 },
      tensors: drawn(linears, (shape) => ({ boft_R: [1, shape.in / 4, 4, 4], boft_s: [shape.out, 1] }), {
        seed,
      }),
    }),
  },
  // Of two blocks, and of one where the outputs are odd.
  ETHER: {
    files(linears, seed) {
      const blocks = linears.some(({ shape }) => shape.out % 2 === 1) ? 1 : 2;
      const Htype = (["ether", "etherplus", "etherplusHH"] as const)[seed % 3];
      const tensors = drawn(linears, ({ out, in: inSize }) => ({
        ether_R: [blocks, inSize / blocks],
        ...(Htype === "ether" ? {} : { ether_R2: [blocks, inSize / blocks] }),
        ...(Htype === "etherplusHH"
          ? { ether_R3: [blocks, out / blocks], ether_R4: [blocks, out / blocks] }
          : {}),
      }), { seed, prefix: "" });
      return { config: { peft_type: "ETHER", Htype, nb: blocks, flip_side: false }, tensors };
    },
  },
  Reflection: {
    files: (linears, seed) => ({
      config: { peft_type: "REFLECTION" },
      tensors: drawn(linears, (shape) => ({ reflection_u: [shape.in] }), { seed }),
    }),
  },
};
