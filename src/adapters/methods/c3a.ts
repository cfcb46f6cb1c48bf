/**
 * C3A (Chen et al. 2024, arXiv 2407.19342) as PEFT writes it: dW is made of circulant blocks, divided by the inputs' number.
 *
 * @module
 */
import { add } from "../../../kernels/add.ts";
import {
  checkBlocks,
  type CirculantShape,
  circulantSpectra,
  circulantTable,
} from "../../../kernels/circulant/blocks.ts";
import { circulantGradient } from "../../../kernels/circulant_gradient.ts";
import { circulantLinear } from "../../../kernels/circulant_linear.ts";
import { circulantSpectraOf } from "../../../kernels/circulant_spectra.ts";
import { copy } from "../../../kernels/copy.ts";
import { bitsOf } from "../../../kernels/record.ts";
import { CombinationError, ConfigError } from "../../errors.ts";
import { type Step, step } from "../../plan.ts";
import { type HostTensor, type Tensor, tensor } from "../../tensor.ts";
import { integerField, patternField, refuseUnknown } from "../fields.ts";
import type { AdapterModule, CombinedFiles, DeltaIo, LinearShape, Method, Summand } from "../method.ts";
import { checkReach } from "../numbers.ts";
import type { NewModule, TrainableModule, TrainIo } from "../training.ts";
import { takingScales } from "../scaled.ts";
import { piecesByPath, prefix, weightedSum, withPattern } from "./combined.ts";
import { shapeError, tensorsByModule } from "./module_tensors.ts";

const name = "c3a_kernel";

/** A module's kernels (out / block, in / block, block). */
interface Kernels extends CirculantShape {
  readonly values: Float32Array;
}

/** No element of a row's sum of blocks is greater: a row meets every number of its blocks once. */
function reachOf({ values, in: inSize }: Kernels): number {
  let reach = 0;
  for (let at = 0; at < values.length; at += inSize) {
    let sum = 0;
    for (let i = at; i < at + inSize; i++) sum += Math.abs(values[i]);
    reach = Math.max(reach, sum);
  }
  return reach;
}

/** A module, and its kernels for sums. */
interface C3aModule extends AdapterModule {
  readonly kernels: Kernels;
}

function c3aModule(kernels: Kernels): C3aModule {
  const { values, out, in: inSize, block } = kernels;
  return takingScales({
    kernels,
    parameters: values.length,
    summary: `blocks of ${block}`,
    shape: { out, in: inSize },
    check(path, shape) {
      if (shape.out === out && shape.in === inSize) return;
      throw new RangeError(
        `Cannot use module "${path}": its blocks of ${block} make a matrix (${out}, ${inSize}), the weight is ` +
          `(${shape.out}, ${shape.in})`,
      );
    },
    pack: () => ({
      values: circulantSpectra(values, kernels),
      table: { key: `c3a:${block}`, words: () => circulantTable(block) },
      count: block,
      scale: 1 / inSize,
    }),
    deltaStep: (_, io) => deltaStep(kernels, io),
    trainable: (_, upload) => trainableKernels(kernels, upload),
  }, () => reachOf(kernels));
}

/** Rows of dW are made on the host: each number of a block stands there once, in its own place. */
function deltaStep(
  { values, out, in: inSize, block }: Kernels,
  { upload, weight, mode, rows: { first, count } }: DeltaIo,
): Step {
  const rows = new Float32Array(count * inSize), factor = (mode === "subtract" ? -1 : 1) / inSize;
  for (let r = 0; r < count; r++) {
    const p = (first + r) % out, j = p % block, from = (p - j) / block * inSize;
    for (let q = 0; q < inSize; q++) {
      const i = q % block;
      rows[r * inSize + q] = factor * values[from + q - i + (i - j + block) % block];
    }
  }
  return step(mode === "write" ? copy : add, { x: upload(tensor(rows)), y: weight }, { count: rows.length });
}

/** Spectra are made from the kernels as they are in each pass; the gradient of x is the transposed matrix's product. */
function trainableKernels(kernels: Kernels, upload: (t: HostTensor) => Tensor): TrainableModule {
  const { values, ...shape } = kernels, { out, in: inSize, block } = shape;
  const { size, half } = checkBlocks(shape), scale = 1 / inSize;
  const tables = upload(tensor(circulantTable(block)));
  const records = upload(tensor(Uint32Array.of(0, 0, block, bitsOf(scale))));
  const spectraShape = [inSize / size, out / size, half, 2];
  /** y += x dW^T, or of the transposed matrix. */
  const product = (
    { x, y, slots, rows, params, at, scratch }: TrainIo,
    transposed: boolean,
  ): readonly Step[] => {
    const spectra = scratch("spectra", spectraShape);
    const words = { ...shape, offset: at, transposed: Number(transposed) };
    return [
      step(circulantSpectraOf, { kernels: params, tables, spectra }, words),
      step(circulantLinear, { x, slots, records, tables, values: spectra, y }, {
        ...{ rows, in: transposed ? out : inSize, out0: transposed ? inSize : out, out1: 0, out2: 0 },
        ...{ linear: 0, capacity: 1 },
      }),
    ];
  };
  return {
    values,
    beside: {
      forward: (io) => product(io, false),
      backward: ({ dy, dx, ...io }) => [
        step(circulantGradient, { x: io.x, dy, tables, gradient: io.gradients }, {
          ...{ rows: io.rows, ...shape, offset: io.at, scale },
        }),
        ...product({ ...io, x: dy, y: dx }, true),
      ],
    },
    tensors: (numbers) =>
      new Map([[`.${name}`, tensor(numbers.slice(0, values.length), [out / block, inSize / block, block])]]),
  };
}

/** The kernels of a sum. Circulant blocks of one size add up to such blocks; those of several sizes have no common one. */
function combined(adapters: readonly Summand[]): CombinedFiles {
  const tensors = new Map<string, HostTensor>(), blocks = new Map<string, number>();
  for (const [path, pieces] of piecesByPath<C3aModule>(adapters)) {
    const [{ module: { kernels: { out, in: inSize, block } } }] = pieces;
    const parts = pieces.map(({ module: { kernels }, summand: { name, weight } }) => {
      if (kernels.out === out && kernels.in === inSize && kernels.block === block) {
        return { values: kernels.values, factor: weight };
      }
      throw new CombinationError(
        `Cannot write module "${path}" of adapter "${name}" into a sum: it has blocks of ${kernels.block} for a ` +
          `(${kernels.out}, ${kernels.in}) weight, another has blocks of ${block} for (${out}, ${inSize}); a C3A file has one ` +
          "size of blocks for a module",
      );
    });
    const shape = [out / block, inSize / block, block];
    tensors.set(`${prefix}${path}.${name}`, weightedSum(path, parts, shape));
    blocks.set(path, block);
  }
  const { most, pattern } = withPattern(blocks);
  return { config: { block_size: most, block_size_pattern: pattern, init_weights: true }, tensors };
}

const divisor = (a: number, b: number): number => b === 0 ? a : divisor(b, a % b);

/** Refuses a block size that a new module cannot have. */
function checkDivides(
  block: number,
  { path, shape, shapes }: Pick<NewModule, "path" | "shapes"> & { readonly shape: LinearShape },
): void {
  if (shape.out % block === 0 && shape.in % block === 0) return;
  const longest = shapes.flatMap(({ out, in: inSize }) => [out, inSize]).reduce(divisor);
  throw new RangeError(
    `Cannot use blockSize ${block} in module "${path}": it must divide the weight's (${shape.out}, ${shape.in}); ` +
      `the greatest that divides all target modules is ${longest}`,
  );
}

/** See the module's documentation. */
export const c3a: Method = {
  name: "C3A",
  peftType: "C3A",
  facts: {
    tensors: ["c3a_kernel (out / b, in / b, b)"],
    formula: "dW = C / in in blocks of b; block (m, n) of C has w[m, n, (i - j) mod b] at [j, i]",
    cost: "2 in out / b, and real transforms of b for all of in and out",
    numbers: "in out / b, and a table that adapters of one block size share",
  },
  checkConfig(config) {
    // The tensors say the sizes of blocks.
    refuseUnknown(config, { known: ["block_size", "block_size_pattern", "init_weights"] });
    const block = integerField(config, "block_size", 256);
    if (block < 1) {
      throw new ConfigError(
        `Cannot read adapter_config.json field "block_size" = ${block}: it must be 1 or more`,
      );
    }
    patternField(config, "block_size_pattern");
  },
  read(files) {
    this.checkConfig(files.config);
    const modules = tensorsByModule(files, { method: "C3A", own: { [name]: "unchecked" } });
    return new Map(modules.map(({ path, tensor: tensorOf }) => {
      const kernel = tensorOf(name);
      const [rows, columns, block] = kernel.shape;
      if (kernel.shape.length !== 3 || kernel.values.length === 0) {
        throw shapeError(kernel, "(out / b, in / b, b) with block size b");
      }
      const kernels = { values: kernel.values, out: rows * block, in: columns * block, block };
      checkReach(reachOf(kernels), `the sum of a row of adapter tensor "${kernel.name}"`);
      return [path, c3aModule(kernels)];
    }));
  },
  training: {
    options: { block_size: { kind: "count", least: 1, default: 256, doc: "elements of a block" } },
    learningRate: 0.5,
    create(shape, { block_size: block }: Readonly<Record<string, number>>, { path, shapes }) {
      checkDivides(block, { path, shape, shapes });
      // Zeros, as PEFT's init_weights = true: the model starts as its base.
      return c3aModule({ values: new Float32Array(shape.out / block * shape.in), ...shape, block });
    },
    configFields: ({ block_size }) => ({
      block_size,
      block_size_pattern: {},
      init_weights: true,
      bias: "none",
    }),
  },
  takesScale: true,
  combined,
  beside({ x, y, slots, records, tables, values, rows, in: inSize, outs, linear, capacity }) {
    const [out0, out1, out2] = outs;
    return step(circulantLinear, { x, slots, records, tables, values, y }, {
      ...{ rows, in: inSize, out0, out1, out2, linear, capacity },
    });
  },
};
