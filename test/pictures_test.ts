/**
 * Pictures of adapters: their numbers by definition, and their SVG and PNG as readers of those formats see them.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { decode } from "fast-png";
import { frequencies } from "../kernels/frequencies.ts";
import { normals as normalsOf } from "../kernels/kernel.ts";
import type { LinearModule } from "../src/adapters/alone.ts";
import { type AdaptedLinear, deltaOf } from "../src/adapters/apply.ts";
import { fourierft, fourierModule } from "../src/adapters/methods/fourierft.ts";
import { lora } from "../src/adapters/methods/lora.ts";
import { loadAdapter } from "../src/adapters/peft.ts";
import { svd } from "../src/adapters/svd.ts";
import { inSlices } from "../src/breathe.ts";
import { cardSvg, pngOf } from "../src/cli/draw.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import { deltaCells } from "../src/pictures/cells.ts";
import { cosinesFigure, moduleFigures, normsFigure } from "../src/pictures/figures.ts";
import { histogram } from "../src/pictures/histogram.ts";
import { layerPlace } from "../src/pictures/layers.ts";
import { type ModuleData, moduleData } from "../src/pictures/module_data.ts";
import { cosineOf, deltaNorm, deltaProducts } from "../src/pictures/products.ts";
import { singularValues } from "../src/pictures/singular.ts";
import { adapterModuleData } from "../src/pictures/service.ts";
import { greatestOf, spectrumPoints } from "../src/pictures/spectrum.ts";
import { openFolder } from "../src/runtime/file.ts";
import { tensor } from "../src/tensor.ts";
import { root } from "./architecture.ts";
import { randomSource } from "./kernel_contract.ts";

const device = cpuDevice();
const normals = (count: number, seed: number): Float32Array => normalsOf(count, randomSource(seed));
const shape = { out: 12, in: 10 };

/** A FourierFT module with coefficients at most of the plane: mirror images and frequencies that are their own are there. */
const spectral = (seed: number, n = 90): AdaptedLinear => ({
  path: "h.0.attn",
  method: fourierft,
  shape,
  module: fourierModule({ coefficients: normals(n, seed), seed, scaling: 40 }),
});

const factors = (seed: number) => ({
  a: normals(3 * shape.in, seed),
  b: normals(shape.out * 3, seed + 1),
  rank: 3,
  scale: 0.5,
  ...shape,
});

/** A LoRA module. */
function lowRank(seed: number): AdaptedLinear {
  const { a, b, rank } = factors(seed), name = "base_model.model.h.0.attn.lora_";
  const modules = lora.read({
    config: { r: rank, lora_alpha: 1.5, target_modules: ["attn"] },
    tensors: new Map([
      [`${name}A.weight`, tensor(a, [rank, shape.in])],
      [`${name}B.weight`, tensor(b, [shape.out, rank])],
    ]),
    options: {},
  });
  return { path: "h.0.attn", method: lora, shape, module: modules.get("h.0.attn")! };
}

const dataOf = async (linear: AdaptedLinear): Promise<ModuleData> =>
  await moduleData(linear, Float32Array.from((await deltaOf(device, linear)).data));

const near = (found: number, expected: number, error: number, what = ""): void =>
  assert.ok(
    Math.abs(found - expected) <= error * Math.abs(expected),
    `${what} ${found}, expected ${expected}`,
  );

test("spectrum points are the file's frequencies, with negative ones", async () => {
  const folder = await openFolder(join(root, "examples/demo/adapters/fourierft-kjv"));
  const { modules } = await loadAdapter(folder);
  const module = modules.get("model.layers.0.mlp.down_proj")!;
  const size = { out: 256, in: 768 };
  const { u, v, c, uRange, vRange, mirroredPairs } = spectrumPoints(module.spectrum!(size), size);
  const drawn = frequencies(1000, size, { seed: 777 });
  assert.deepEqual(Array.from(u, (row) => (row + 256) % 256), [...drawn.u]);
  assert.deepEqual(Array.from(v, (column) => (column + 768) % 768), [...drawn.v]);
  assert.ok(
    u.every((row) => row >= -128 && row < 128) && v.every((column) => column >= -384 && column < 384),
  );
  assert.deepEqual([uRange, vRange], [[-128, 127], [-384, 383]]);
  assert.deepEqual(c, module.coefficients);
  const places = new Set(Array.from(u, (row, l) => `${row},${v[l]}`));
  const mirrored = Array.from(u, (row, l) => `${-row},${-v[l]}`).filter((place) => places.has(place));
  assert.equal(mirroredPairs, mirrored.length / 2);
});

test("spectrum points of an odd length end at the same frequency on both sides", () => {
  const size = { out: 5, in: 4 };
  const spectrum = {
    u: Uint32Array.of(0, 2, 3, 0),
    v: Uint32Array.of(2, 1, 3, 0),
    c: new Float32Array(4),
    scale: 1,
  };
  const { u, v, uRange, vRange, mirroredPairs } = spectrumPoints(spectrum, size);
  assert.deepEqual([[...u], [...v]], [[0, 2, -2, 0], [-2, 1, -1, 0]]);
  assert.deepEqual([uRange, vRange, mirroredPairs], [[-2, 2], [-2, 1], 1]);
});

test("places of wavelets stay as they are", () => {
  const spectrum = {
    u: Uint32Array.of(11),
    v: Uint32Array.of(9),
    c: Float32Array.of(1),
    scale: 1,
    wavelet: "db1",
  };
  const { u, v, uRange, wavelet } = spectrumPoints(spectrum, shape);
  assert.deepEqual([u[0], v[0], uRange, wavelet], [11, 9, [0, 11], "db1"]);
});

test("cells of dW are elements, or the mean or root mean square of blocks, also where a block is cut", async () => {
  const size = { out: 5, in: 7 }, delta = normals(35, 3);
  const all = await deltaCells(delta, size, { mostCells: 35, reduction: "mean" });
  assert.deepEqual([all.block, all.reduction, all.values], [1, undefined, delta]);
  for (const reduction of ["mean", "rms"] as const) {
    const { rows, columns, block, values } = await deltaCells(delta, size, { mostCells: 12, reduction });
    assert.deepEqual([rows, columns, block], [3, 4, 2]);
    for (let r = 0; r < rows; r++) {
      for (let k = 0; k < columns; k++) {
        const inside: number[] = [];
        delta.forEach((value, i) => {
          if (Math.floor(Math.floor(i / 7) / 2) === r && Math.floor((i % 7) / 2) === k) inside.push(value);
        });
        const mean = (part: (value: number) => number): number =>
          inside.reduce((sum, value) => sum + part(value), 0) / inside.length;
        const expected = reduction === "mean"
          ? mean((value) => value)
          : Math.sqrt(mean((value) => value ** 2));
        assert.equal(values[r * columns + k], Math.fround(expected), `${reduction} of cell ${r}, ${k}`);
      }
    }
  }
});

test("histogram counts every number once, and tells mean and deviation", async () => {
  const found = await histogram(Float32Array.of(-2, -1, 0, 0, 0.1, 2), { bins: 5 });
  assert.deepEqual([...found.counts], [1, 1, 3, 0, 1]);
  assert.deepEqual([found.total, found.most], [6, 2]);
  near(found.mean, -0.9 / 6, 1e-6);
  near(found.deviation ** 2, 9.01 / 6 - 0.15 ** 2, 1e-6);
  assert.deepEqual([...(await histogram(new Float32Array(3), { bins: 3 })).counts], [0, 3, 0]);
  await assert.rejects(histogram(new Float32Array(1), { bins: 4 }), /the rule is an odd number/);
});

test("greatestOf has the greatest magnitudes first, of few as of many", () => {
  const few = Float32Array.of(1, -3, 2, 3);
  assert.deepEqual([...greatestOf(few, 3)], [1, 3, 2]);
  const many = normals(1000, 5);
  assert.deepEqual([...greatestOf(many, 7)], [...greatestOf(many, 1000).subarray(0, 7)]);
});

test("norms and cosines by coefficients and by factors are those of the elements of dW", async () => {
  const pairs: readonly (readonly [AdaptedLinear, AdaptedLinear])[] = [
    [spectral(1), spectral(2)],
    [spectral(1), spectral(1, 40)],
    [lowRank(5), lowRank(9)],
    [spectral(1), lowRank(5)],
  ];
  for (const [i, [a, b]] of pairs.entries()) {
    const [one, other] = [(await deltaOf(device, a)).data, (await deltaOf(device, b)).data].map((data) =>
      Float64Array.from(data as Float32Array)
    );
    const dot = (x: Float64Array, y: Float64Array): number =>
      x.reduce((sum, value, k) => sum + value * y[k], 0);
    const expected = { aa: dot(one, one), ab: dot(one, other), bb: dot(other, other) };
    const found = await deltaProducts(device, a, b);
    near(found.aa, expected.aa, 1e-5, `aa of pair ${i}:`);
    near(found.bb, expected.bb, 1e-5, `bb of pair ${i}:`);
    assert.ok(
      Math.abs(found.ab - expected.ab) <= 1e-5 * Math.sqrt(expected.aa * expected.bb),
      `ab of pair ${i}`,
    );
    assert.equal(cosineOf(found), found.ab / (Math.sqrt(found.aa) * Math.sqrt(found.bb)));
    near(await deltaNorm(device, a), Math.sqrt(expected.aa), 1e-5);
  }
  assert.equal(cosineOf({ aa: 0, ab: 0, bb: 1 }), undefined);
  const narrow = { ...spectral(1), shape: { out: 10, in: 12 } };
  await assert.rejects(deltaProducts(device, spectral(1), narrow), /Cannot compare modules of shapes/);
});

test("singular values by factors are those of dW", async () => {
  const { data } = await deltaOf(device, lowRank(5));
  const whole = await svd(data as Float32Array, shape);
  const found = await singularValues(factors(5));
  assert.equal(found.length, 3);
  found.forEach((value, i) => near(value, whole.s[i], 1e-5, `value ${i}:`));
});

test("layers and kinds come from paths", () => {
  assert.deepEqual(layerPlace("model.layers.3.self_attn.q_proj"), { layer: 3, kind: "self_attn.q_proj" });
  assert.deepEqual(layerPlace("h.0.attn.c_attn"), { layer: 0, kind: "attn.c_attn" });
  assert.deepEqual(layerPlace("classifier"), { kind: "classifier" });
});

test("a module's figures are those that its method has, and their SVG has titles, axes and every point", async () => {
  const rows = moduleFigures([{ data: await dataOf(spectral(1)) }]);
  assert.deepEqual(rows.flat().map(({ name }) => name), ["spectrum", "delta", "distribution"]);
  const svg = await cardSvg({ rows, title: "a & <b>: h.0.attn", theme: "auto" });
  assert.match(svg, /<title>a &amp; &lt;b&gt;: h\.0\.attn<\/title>/);
  assert.match(svg, /role="img"/);
  assert.match(svg, /<desc>[^<]*12 by 10 places with 90 coefficients/);
  for (const label of ["v, cycles over 10 columns", "u, cycles over 12 rows", "coefficient c", "Spectrum"]) {
    assert.ok(svg.includes(`>${label}<`), label);
  }
  for (const label of ["column of dW: input feature", "row of dW: output feature", "values in a bin"]) {
    assert.ok(svg.includes(`>${label}<`), label);
  }
  assert.match(svg, /@media \(prefers-color-scheme:dark\)/);
  // A dot for each coefficient, and a ring for each that is not its own mirror image: (0 or -6, 0 or -5) are.
  const { u, v } = frequencies(90, shape, { seed: 1 });
  const own = Array.from(u, (row, l) => row % 6 === 0 && v[l] % 5 === 0).filter(Boolean).length;
  assert.ok(own > 0);
  assert.equal(svg.match(/<circle/g)?.length, 90 + 90 - own);
  const lowRankRows = moduleFigures([{ data: await dataOf(lowRank(5)) }]);
  assert.deepEqual(lowRankRows.flat().map(({ name }) => name), ["delta", "distribution", "singular-values"]);
});

test("a card's PNG is as wide as asked, in dark colours with the dark theme", async () => {
  const numbers = [0, 1].flatMap((layer) =>
    ["q", "v"].map((kind, i) => ({ path: `h.${layer}.${kind}`, value: layer + i }))
  );
  const rows = [[normsFigure(numbers)], [cosinesFigure(numbers.slice(0, 1), ["a", "b"])]];
  const svg = await cardSvg({ rows, title: "all", theme: "dark" });
  assert.doesNotMatch(svg, /#ffffff|#1f2328|prefers-color-scheme/);
  const [, width, height] = /viewBox="0 0 (\d+) (\d+)"/.exec(svg)!.map(Number);
  const png = decode(await pngOf(svg, 320));
  assert.equal(png.width, 320);
  assert.equal(png.height, Math.round(320 * height / width));
  // The card's background, in its middle column below the last axis.
  const at = png.channels * (png.width * (png.height - 4) + 160);
  assert.deepEqual([...png.data.subarray(at, at + 3)], [0x0d, 0x11, 0x17]);
});

test("adapters beside each other share the range of their colours, and must have one shape", async () => {
  const quiet = {
    ...spectral(2),
    module: fourierModule({ coefficients: normals(90, 2).map((c) => c / 9), seed: 2, scaling: 4 }),
  };
  const data = await Promise.all([spectral(1), quiet].map(dataOf));
  const rows = moduleFigures([{ name: "a", data: data[0] }, { name: "b", data: data[1] }]);
  assert.deepEqual(rows.map((row) => row.map(({ title }) => title)), [
    ["a: Spectrum", "b: Spectrum"],
    ["a: dW", "b: dW"],
    ["a: Distribution of coefficients", "b: Distribution of coefficients"],
  ]);
  const most = data.map(({ points }) => points!.c.reduce((all, c) => Math.max(all, Math.abs(c)), 0));
  const svg = await cardSvg({ rows: [[rows[0][1]]], title: "b", theme: "light" });
  const dots = [...svg.matchAll(/<circle[^>]*>/g)].flatMap(([dot]) =>
    /fill-opacity="([\d.]+)"/.exec(dot)?.[1] ?? []
  );
  assert.equal(dots.length, 90);
  near(Math.max(...dots.map(Number)), 0.15 + 0.85 * most[1] / most[0], 1e-9, "the darkest dot:");
  const other = await dataOf({ ...spectral(1), shape: { out: 10, in: 12 } });
  assert.throws(
    () => moduleFigures([{ data: data[0] }, { data: other }]),
    /Cannot compare modules of shapes/,
  );
});

test("inSlices goes on until its signal ends it", async () => {
  const stop = new AbortController(), reason = new Error("another module");
  function* endless(): Iterable<void> {
    for (let piece = 0;; piece++) {
      if (piece === 10) stop.abort(reason);
      yield;
    }
  }
  await assert.rejects(inSlices(endless(), stop.signal), reason);
});

test("adapterModuleData makes no numbers of a module that is given up", async () => {
  const stop = new AbortController(), reason = new Error("another module");
  const service = {
    modules: () => Promise.resolve(["a"]),
    module: () => Promise.resolve({} as LinearModule),
    delta() {
      stop.abort(reason);
      return Promise.resolve(tensor(new Float32Array(1), [1, 1]));
    },
  };
  const asked = adapterModuleData(service, { id: "a", path: "a" }, { signal: stop.signal });
  await assert.rejects(asked, reason);
});
