import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "webgpu";
import type { Case } from "../kernels/cases/mod.ts";
import {
  anyKernel,
  type DType,
  type Kernel,
  type Limits,
  nans,
  normals,
  portableLimits,
} from "../kernels/kernel.ts";
import { narrow, widen } from "../kernels/half.ts";
import { linear } from "../kernels/linear.ts";
import { linearBias } from "../kernels/linear_bias.ts";
import { matrixLaunch, matrixTiles } from "../kernels/linear/matrix_launch.ts";
import { matrixBytes, matrixThreads, type MatrixTile } from "../kernels/linear/subgroup_matrix.ts";
import { hasMatrixUnits, matrixUnitsFeature } from "../src/device/matrix_units.ts";
import { webgpuDevice } from "../src/device/webgpu.ts";
import { step } from "../src/plan.ts";
import { inEveryGpuCase, testGpu, testGpuWithMatrixUnits } from "./devices.ts";
import { checkCase } from "./kernel_contract.ts";
import { emulated } from "./matrix_emulation.ts";

const gpu = await testGpu();
const units = await testGpuWithMatrixUnits();
const offered = units.limits.features.has(matrixUnitsFeature);
const plain = anyKernel(linear);
const biased = anyKernel(linearBias);

interface Sizes {
  readonly rows: number;
  readonly in: number;
  readonly out: number;
  readonly accumulate?: number;
}

/** Numbers that float16 holds, so that nothing but the order of sums differs. */
const exact = (values: Float32Array): Float32Array => widen(narrow(values, "float16"), "float16");

function sized({ rows, in: inSize, out, accumulate = 0 }: Sizes): Case {
  return {
    name: `${rows} x ${inSize} by ${out}${accumulate ? ", accumulated" : ""}`,
    uniforms: { rows, in: inSize, out, accumulate },
    dtypes: { weight: "float16" },
    make: (random) => ({
      x: exact(normals(rows * inSize, random)),
      weight: narrow(normals(out * inSize, random, 1 / Math.sqrt(inSize)), "float16"),
      bias: normals(out, random),
      y: accumulate ? normals(rows * out, random) : nans(rows * out),
    }),
  };
}

/** Less than a tile, one more than a tile, and whole ones. */
const whole = ({ rows, columns, inner }: MatrixTile): Case[] => [
  sized({ rows: 9, in: 8, out: 1 }),
  sized({ rows: rows + 1, in: inner + 8, out: columns + 1, accumulate: 1 }),
  sized({ rows, in: 2 * inner, out: columns }),
];

/** Four slices of three steps each, of nine and a part; of the tiles of y, one is whole. */
const sliced = ({ rows, columns, inner }: MatrixTile): Case =>
  sized({ rows: rows + 10, in: 8 * inner + 8, out: columns + 20, accumulate: 1 });

const launchOf = (tile: MatrixTile): Kernel["launch"] => ({ uniforms, dtypes }, limits) => {
  const { rows, in: inSize, out } = uniforms;
  return matrixLaunch({ rows, in: inSize, out }, { tile, bias: "bias" in dtypes }, limits);
};

/** The kernel with the text of its products written out. */
const emulatedBy = (tile: MatrixTile, kernel: Kernel): Kernel => ({
  ...kernel,
  launch: (call, limits) => emulated(launchOf(tile)(call, limits)),
});

/** A tile that fits a device: fewer inputs at a time or, where threads could not share those evenly, half the columns. */
function fitting(tile: MatrixTile, limits: Limits): MatrixTile {
  if (matrixBytes(tile) <= limits.workgroupStorageBytes) return tile;
  const even = tile.inner > 16 && tile.rows * tile.inner / 16 >= matrixThreads(tile);
  return fitting(
    even ? { ...tile, inner: tile.inner / 2 } : { ...tile, columns: tile.columns / 2 },
    limits,
  );
}

test("matrixTiles are shared out evenly, and have room for the sums on their way", () => {
  for (const [name, tile] of Object.entries(matrixTiles)) {
    const { rows, columns, inner, across } = tile;
    const atOnce = matrixThreads(tile) / (inner / 8);
    for (const [lines, parts] of [[rows, 2], [columns, across]]) {
      const part = lines / parts;
      assert.equal(part % 16, 0, name);
      assert.equal(lines % atOnce, 0, name);
      assert.ok(part % atOnce === 0 || atOnce % part === 0, name);
    }
    // 1 KiB for each of two subgroups below each other, in the part of the weight that they share.
    assert.ok(2048 <= matrixBytes(tile) * columns / (rows + columns) / across, name);
  }
});

/** Halves and four subgroups, as in the fastest tile, with fewer sums: a text that software compiles sooner. */
const smallOfHalves: MatrixTile = { rows: 64, columns: 64, inner: 64, halves: true, across: 2 };

/** Software compiles a text for seconds; these have every way to load and to share out a tile among them. */
const emulatedTiles: Readonly<Record<string, MatrixTile>> = {
  "matrix 128 x 128": matrixTiles["matrix 128 x 128"],
  "matrix 32 x 128": matrixTiles["matrix 32 x 128"],
  "64 x 64 of halves, 4 subgroups": smallOfHalves,
};

for (const [name, wanted] of Object.entries(emulatedTiles)) {
  const tile = fitting(wanted, gpu.limits);
  test(
    `linear_bias on emulated matrix units gives the reference's numbers: ${name}`,
    inEveryGpuCase,
    async () => {
      for (const testCase of whole(tile)) {
        await checkCase(gpu, { kernel: emulatedBy(tile, biased), testCase, seed: 1 });
      }
    },
  );
}

test("linear on emulated matrix units adds slices, the last of them empty", inEveryGpuCase, async () => {
  const tile = fitting(matrixTiles["matrix 64 x 64"], gpu.limits);
  for (const kernel of [plain, biased]) {
    await checkCase(gpu, { kernel: emulatedBy(tile, kernel), testCase: sliced(tile), seed: 1 });
  }
});

test(
  "linear on emulated matrix units meets every tile of nine rows of them and more, and adds to whole ones",
  inEveryGpuCase,
  async () => {
    const tile = fitting(matrixTiles["matrix 32 x 64"], gpu.limits);
    const cases = [
      sized({ rows: 9 * 32 + 1, in: 16, out: 132 }),
      sized({ rows: 33, in: 16, out: 68, accumulate: 1 }),
    ];
    for (const testCase of cases) {
      await checkCase(gpu, { kernel: emulatedBy(tile, plain), testCase, seed: 1 });
    }
  },
);

/** x far outside of float16 here and there; the reference bounds it, and rounds nothing. */
const bounded: Kernel = {
  ...biased,
  tolerance: 1e-3,
  reference(arrays, uniforms) {
    const x = (arrays.x as Float32Array).map((value) => Math.max(-65504, Math.min(65504, value)));
    biased.reference({ ...arrays, x }, uniforms);
  },
};
const beyond: Case = {
  ...sized({ rows: 12, in: 16, out: 40 }),
  make: (random) => ({
    x: normals(12 * 16, random).map((value, i) => value * [1, 1e-3, 65504, 1e30][i % 4]),
    weight: narrow(normals(40 * 16, random), "float16"),
    bias: normals(40, random),
    y: nans(12 * 40),
  }),
};

test(
  "linear_bias on emulated matrix units takes numbers beyond float16 as its largest",
  inEveryGpuCase,
  async () => {
    for (const wanted of [matrixTiles["matrix 32 x 128"], smallOfHalves]) {
      const tile = fitting(wanted, gpu.limits);
      await checkCase(gpu, { kernel: emulatedBy(tile, bounded), testCase: beyond, seed: 1 });
    }
  },
);

/** What a GPU with matrix units has, as far as is known; no device here. */
const unitLimits: Limits = {
  ...portableLimits,
  workgroupStorageBytes: 49152,
  features: new Set(["chromium-experimental-subgroup-matrix", "shader-f16", "subgroups"]),
};
const onUnits = /subgroupMatrixMultiplyAccumulate/;

function callOf(sizes: Sizes, dtype: DType) {
  const dtypes = { x: "float32", weight: dtype, y: "float32" } as const;
  return { uniforms: { accumulate: 0, ...sizes }, dtypes };
}

test("linear takes matrix units for float16 weights and nine rows, on a device that has all they need", () => {
  const textOf = (sizes: Sizes, dtype: DType, on = unitLimits): string =>
    linear.launch(callOf(sizes, dtype), on).dispatches.map(({ wgsl }) => wgsl).join();
  const sizes = { rows: 9, in: 2048, out: 2048 };
  assert.match(textOf(sizes, "float16"), onUnits);
  assert.doesNotMatch(textOf({ ...sizes, rows: 8 }, "float16"), onUnits);
  assert.doesNotMatch(textOf({ ...sizes, in: 2044 }, "float16"), onUnits);
  assert.doesNotMatch(textOf(sizes, "float32"), onUnits);
  assert.doesNotMatch(textOf(sizes, "bfloat16"), onUnits);
  assert.doesNotMatch(textOf(sizes, "float16", { ...unitLimits, workgroupStorageBytes: 32768 }), onUnits);
  assert.doesNotMatch(textOf(sizes, "float16", { ...unitLimits, features: new Set(["subgroups"]) }), onUnits);
});

test("linear names at most four ways on matrix units, each of them another, and refuses any other", () => {
  for (const rows of [9, 33, 64, 65, 256, 4096]) {
    for (const out of [1, 512, 2048, 8192, 28672]) {
      const call = callOf({ rows, in: 2048, out }, "float16");
      const { ways } = linear.ways!(call, unitLimits);
      assert.ok(ways.length <= 4, `${ways}`);
      const launches = ways.map((way) => linear.launch(call, unitLimits, way));
      assert.match(launches[0].dispatches.map(({ wgsl }) => wgsl).join(), onUnits);
      assert.deepEqual(linear.launch(call, unitLimits), launches[0]);
      const different = new Set(launches.map(({ dispatches }) => JSON.stringify(dispatches)));
      assert.equal(different.size, ways.length, `${rows} rows, ${out} outputs: ${ways}`);
    }
  }
  assert.throws(
    () => linear.launch(callOf({ rows: 9, in: 8, out: 1 }, "float16"), unitLimits, "none"),
    RangeError,
  );
});

test("linear on matrix units stores matrices to y where it has a whole tile whose rows start at 16 bytes", () => {
  for (const [name, tile] of Object.entries(matrixTiles)) {
    const { rows, columns } = tile;
    const stores = (sizes: Sizes): boolean =>
      matrixLaunch(sizes, { tile, bias: false }, unitLimits).dispatches
        .some(({ wgsl }) => /subgroupMatrixStore<row_major>\(&(y|partials)/.test(wgsl));
    for (const inSize of [8, 4 * tile.inner]) {
      assert.ok(stores({ rows, in: inSize, out: columns }), name);
      assert.ok(!stores({ rows: rows - 1, in: inSize, out: columns }), name);
      assert.ok(!stores({ rows, in: inSize, out: columns - 4 }), name);
      assert.ok(!stores({ rows, in: inSize, out: columns + 2 }), name);
    }
  }
});

/** Kept for the life of the process: collected while a device lives, it takes the process with it. */
const nullBackend = create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]);

async function nullGpu(): Promise<GPUDevice> {
  const adapter = await nullBackend.requestAdapter();
  return await adapter!.requestDevice({ requiredFeatures: [matrixUnitsFeature, "shader-f16", "subgroups"] });
}

test("linear on matrix units is WGSL to Tint, in every tile", async () => {
  const device = await nullGpu();
  for (const [name, tile] of Object.entries(matrixTiles)) {
    const sizes = { rows: 200, in: 4096, out: 256 };
    for (const dispatch of matrixLaunch(sizes, { tile, bias: true }, portableLimits).dispatches) {
      const { messages } = await device.createShaderModule({ code: dispatch.wgsl }).getCompilationInfo();
      assert.deepEqual(messages.map(({ lineNum, message }) => `${lineNum}: ${message}`), [], name);
    }
  }
  device.destroy();
});

test("linear on matrix units runs with a y that is smaller than a matrix, in every tile", async () => {
  const gpu = await nullGpu();
  const device = webgpuDevice(gpu, { matrixUnits: true });
  for (const [name, wanted] of Object.entries(matrixTiles)) {
    const tile = fitting(wanted, device.limits);
    const kernel = { ...plain, launch: launchOf(tile) };
    const smallSlices = sized({ rows: 9, in: 4 * tile.inner, out: 1 });
    for (const { name: size, uniforms } of [...whole(tile), smallSlices, sliced(tile)]) {
      const { rows, in: inSize, out } = uniforms;
      const buffers = {
        x: device.alloc([rows, inSize], "float32"),
        weight: device.alloc([out, inSize], "float16"),
        y: device.alloc([rows, out], "float32"),
      };
      gpu.pushErrorScope("validation");
      device.run(await device.prepare([step(kernel, buffers, uniforms)]));
      assert.equal((await gpu.popErrorScope())?.message, undefined, `${name}: ${size}`);
    }
  }
  gpu.destroy();
});

test("openGpu uses no matrix units unless asked to, and says whether the GPU has them", () => {
  assert.ok(!gpu.limits.features.has(matrixUnitsFeature));
  assert.match(units.description, offered ? /, with matrix units$/ : /, without matrix units$/);
});

// Only where the GPU has them; nothing stands in for these tests elsewhere but the emulation above.
const real: readonly Case[] = [
  sized({ rows: 64, in: 8192, out: 136 }),
  sized({ rows: 31, in: 512, out: 512, accumulate: 1 }),
];
for (const [name, tile] of offered ? Object.entries(matrixTiles) : []) {
  // Units may cut off what a sum does not hold, not round it: 512 times for 8192 inputs.
  const onUnits = (kernel: Kernel): Kernel => ({ ...kernel, launch: launchOf(tile), tolerance: 1e-4 });
  test(`linear and linear_bias on the GPU's matrix units give the reference's numbers: ${name}`, async () => {
    for (const kernel of [plain, biased]) {
      for (const testCase of [...whole(tile), sliced(tile), ...real]) {
        await checkCase(units, { kernel: onUnits(kernel), testCase, seed: 1 });
      }
    }
    const clamping = { ...bounded, launch: launchOf(tile) };
    await checkCase(units, { kernel: clamping, testCase: beyond, seed: 1 });
  });
}

test("webgpuDevice uses no matrix units of a caller's GPUDevice unless told to", () => {
  const { limits } = gpu.gpu;
  const features = new Set([matrixUnitsFeature, "subgroups"]);
  const caller = { limits, features, lost: new Promise(() => {}), addEventListener() {} } as never;
  assert.deepEqual([...webgpuDevice(caller).limits.features], ["subgroups"]);
  assert.deepEqual(webgpuDevice(caller, { matrixUnits: true }).limits.features, features);
});

test("hasMatrixUnits wants subgroups of 32 and 16 x 16 x 16 float16 with float32 sums", () => {
  const config = { componentType: "f16", resultComponentType: "f32", M: 16, N: 16, K: 16 };
  const info = (changes: object): GPUAdapterInfo =>
    ({ subgroupMinSize: 32, subgroupMaxSize: 32, subgroupMatrixConfigs: [config], ...changes }) as never;
  assert.ok(hasMatrixUnits(info({})));
  assert.ok(!hasMatrixUnits(info({ subgroupMaxSize: 64 })));
  assert.ok(!hasMatrixUnits(info({ subgroupMatrixConfigs: [{ ...config, resultComponentType: "f16" }] })));
  assert.ok(!hasMatrixUnits(info({ subgroupMatrixConfigs: [{ ...config, M: 8, N: 8, K: 8 }] })));
  assert.ok(!hasMatrixUnits(info({ subgroupMatrixConfigs: undefined })));
});
