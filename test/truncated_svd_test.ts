/** The truncated decomposition of weights whose singular values are known, alone and among linears that share an input. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { normals } from "../kernels/kernel.ts";
import { baseLinear } from "../src/adapters/base.ts";
import { truncatedSvd } from "../src/adapters/truncated_svd.ts";
import { inWorkspace } from "../src/adapters/workspace.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import { uniforms } from "../src/engine/random.ts";
import { tensor } from "../src/tensor.ts";
import { distance } from "./kernel_contract.ts";
import { baseOn, inSize, linears } from "./method_contract.ts";

const device = cpuDevice({ wasm: false });

/** Orthonormal rows, by Gram and Schmidt. */
function orthonormal(count: number, width: number, random: () => number): number[][] {
  const rows: number[][] = [];
  for (let r = 0; r < count; r++) {
    let own = [...normals(width, random)];
    for (const known of [...rows, ...rows]) {
      const along = own.reduce((sum, value, i) => sum + value * known[i], 0);
      own = own.map((value, i) => value - along * known[i]);
    }
    const norm = Math.hypot(...own);
    rows.push(own.map((value) => value / norm));
  }
  return rows;
}

/** The product B A of factors of a rank. */
function productOf({ a, b }: { a: Float32Array; b: Float32Array }, rank: number): Float64Array {
  const out = b.length / rank, width = a.length / rank;
  return Float64Array.from({ length: out * width }, (_, i) => {
    let sum = 0;
    for (let k = 0; k < rank; k++) sum += b[Math.floor(i / width) * rank + k] * a[k * width + i % width];
    return sum;
  });
}

test("truncatedSvd gives the greatest singular values in order, with orthonormal vectors", async () => {
  const random = uniforms(4), values = [9, 7, 4, 2, 1, 0.5, 0.1], rank = 4;
  for (const [out, width] of [[30, 50], [50, 30], [7, 9]]) {
    const u = orthonormal(7, out, random), v = orthonormal(7, width, random);
    const of = (count: number) =>
      Float32Array.from({ length: out * width }, (_, i) =>
        values.slice(0, count).reduce(
          (sum, s, k) => sum + s * u[k][Math.floor(i / width)] * v[k][i % width],
          0,
        ));
    const base = baseLinear(device, device.upload(tensor(of(7), [out, width])));
    const found = await inWorkspace(
      device,
      (workspace) => truncatedSvd({ base, workspace }, { rank, random }),
    );
    assert.ok(distance(productOf(found, rank), of(rank)) < 1e-5, "the best of its rank");
    for (let k = 0; k < rank; k++) {
      const own = found.a.subarray(k * width, (k + 1) * width);
      assert.ok(Math.abs(Math.hypot(...own) - values[k]) < 1e-4, `singular value ${k}`);
      for (let other = 0; other <= k; other++) {
        let dot = 0;
        for (let o = 0; o < out; o++) dot += found.b[o * rank + k] * found.b[o * rank + other];
        assert.ok(Math.abs(dot - Number(k === other)) < 1e-4, `vectors ${k} and ${other}`);
      }
    }
  }
});

test("truncatedSvd takes its own linear of those that share an input, and every rank of it", async () => {
  const base = baseOn(device);
  let first = 0;
  for (const { path, shape: { out } } of linears) {
    const own = base.floats.subarray(first * inSize, (first + out) * inSize);
    const found = await inWorkspace(
      device,
      (workspace) =>
        truncatedSvd({ base: base.baseOf(path)!, workspace }, { rank: out, random: uniforms(2) }),
    );
    assert.ok(distance(productOf(found, out), own) < 1e-5, path);
    first += out;
  }
});

test("truncatedSvd of a weight of a smaller rank has zeros beyond it", async () => {
  const [u, v] = [orthonormal(1, 12, uniforms(1))[0], orthonormal(1, 15, uniforms(2))[0]];
  const weight = Float32Array.from({ length: 180 }, (_, i) => 3 * u[Math.floor(i / 15)] * v[i % 15]);
  const base = baseLinear(device, device.upload(tensor(weight, [12, 15])));
  const found = await inWorkspace(
    device,
    (workspace) => truncatedSvd({ base, workspace }, { rank: 3, random: uniforms(3) }),
  );
  assert.ok(distance(productOf(found, 3), weight) < 1e-6);
  assert.ok([...found.a, ...found.b].every(Number.isFinite));
});
