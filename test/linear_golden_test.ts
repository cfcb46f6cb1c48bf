import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { linearBias } from "../kernels/mod.ts";
import {
  type AdaptedLinear,
  applyModule,
  deltaOf,
  type Device,
  fourierft,
  fourierModule,
  type HostTensor,
  merge,
  step,
  type Tensor,
  tensor,
  unmerge,
} from "../mod.ts";
import { frequencies } from "../kernels/mod.ts";
import { parseSafetensors } from "../src/safetensors/mod.ts";
import { devicesForLongTests } from "./devices.ts";
import { distance } from "./kernel_contract.ts";

/**
 * PEFT's layers in float64, and what PEFT itself computed in float32.
 *
 * The weights of the three largest layers have numbers in their first 16 rows alone. The file leaves out the other rows,
 * which are zeros. What these added to `y` and `peft_y` was taken out in float64. The adapter adds to every output.
 */
interface LinearGolden {
  readonly case: number;
  readonly out_features: number;
  readonly in_features: number;
  readonly n_frequency: number;
  readonly random_loc_seed: number;
  readonly scaling: number;
  readonly indices_first4: readonly (readonly [number, number])[];
  readonly delta_frobenius: number;
}

interface DeltaGolden {
  readonly out_features: number;
  readonly in_features: number;
  readonly n: number;
  readonly scaling: number;
  readonly seed: number;
  readonly flat_indices: readonly number[];
  readonly spectrum: readonly number[];
  readonly delta: readonly (readonly number[])[];
  readonly x: readonly (readonly number[])[];
  readonly y: readonly (readonly number[])[];
}

const fixture = (name: string): URL => new URL(`fixtures/${name}`, import.meta.url);
const goldens: readonly LinearGolden[] = JSON.parse(readFileSync(fixture("linear_golden.json"), "utf8"));
const file = parseSafetensors(new Uint8Array(readFileSync(fixture("linear_golden.safetensors"))));
const devices = await devicesForLongTests();

/** Float tensors as they are stored: forwards are float64's, weights and `delta_weight` are rounded to float32. */
function stored(name: string): Float32Array | Float64Array {
  const { dtype, bytes } = file.read(name);
  const own = bytes.slice().buffer;
  return dtype === "F64" ? new Float64Array(own) : new Float32Array(own);
}

function float32(name: string, shape: readonly number[]): HostTensor {
  const data = stored(name);
  assert.ok(data instanceof Float32Array, name);
  return tensor(data, shape);
}

/** A layer's weight. Rows that the file leaves out are zero. */
function weightOf({ case: number, out_features: out, in_features: inFeatures }: LinearGolden): HostTensor {
  const data = new Float32Array(out * inFeatures);
  data.set(stored(`${number}.weight`));
  return tensor(data, [out, inFeatures]);
}

function adapted(golden: LinearGolden): AdaptedLinear {
  const coefficients = stored(`${golden.case}.spectrum`) as Float32Array;
  assert.equal(coefficients.length, golden.n_frequency);
  return {
    method: fourierft,
    module: fourierModule({ coefficients, seed: golden.random_loc_seed, scaling: golden.scaling }),
    shape: { out: golden.out_features, in: golden.in_features },
  };
}

function near(actual: ArrayLike<number>, expected: ArrayLike<number>, { within = 1e-6, what = "" }): void {
  const d = distance(actual, expected);
  assert.ok(d <= within, `${what}: relative distance ${d} is above ${within}`);
}

function frobenius(values: ArrayLike<number>): number {
  return Math.sqrt(Array.from(values).reduce((sum, value) => sum + value * value, 0));
}

/** x W^T + b on a device, on the host. */
async function baseForward(
  device: Device,
  io: { x: HostTensor; weight: HostTensor; bias: HostTensor },
): Promise<HostTensor> {
  const [rows, inFeatures] = io.x.shape;
  const out = io.weight.shape[0];
  const buffers = {
    x: device.upload(io.x),
    weight: device.upload(io.weight),
    bias: device.upload(io.bias),
    y: device.alloc([rows, out], "float32"),
  };
  const program = await device.prepare([
    step(linearBias, buffers, { rows, in: inFeatures, out, accumulate: 0 }),
  ]);
  device.run(program);
  const y = tensor(await device.read(buffers.y), [rows, out]);
  program.release();
  for (const t of Object.values<Tensor>(buffers)) device.release(t);
  return y;
}

test("linear golden: all ten cases are there, and the frequencies are PEFT's", () => {
  assert.equal(goldens.length, 10);
  for (const golden of goldens) {
    const { u, v } = frequencies(golden.n_frequency, {
      out: golden.out_features,
      in: golden.in_features,
    }, { seed: golden.random_loc_seed });
    const drawn = golden.indices_first4.map((_, l) => [u[l], v[l]]);
    assert.deepEqual(drawn, golden.indices_first4, `case ${golden.case}`);
  }
});

for (const device of devices) {
  for (const golden of goldens) {
    const { case: number, out_features: out, in_features: inFeatures } = golden;
    const name = `${out} x ${inFeatures}, n = ${golden.n_frequency}, on ${device.kind}`;

    test(`deltaOf is float64's dW: ${name}`, async () => {
      const delta = await deltaOf(device, adapted(golden));
      assert.deepEqual(delta.shape, [out, inFeatures]);
      assert.ok(Math.abs(frobenius(delta.data) / golden.delta_frobenius - 1) <= 1e-6);
      if (file.tensors.has(`${number}.delta_weight`)) {
        near(delta.data, stored(`${number}.delta_weight`), { what: "delta_weight" });
      }
    });

    test(`applyModule after the base layer is float64's forward: ${name}`, async () => {
      const x = float32(`${number}.x`, [3, inFeatures]);
      const weight = weightOf(golden);
      const base = await baseForward(device, { x, weight, bias: float32(`${number}.bias`, [out]) });
      const y = await applyModule(device, adapted(golden), { x, y: base });
      near(y.data, stored(`${number}.y`), { what: "y" });
      near(y.data, stored(`${number}.peft_y`), { what: "PEFT's own y", within: 2e-6 });
    });

    test(`merge gives the adapted forward, and unmerge the weight again: ${name}`, async () => {
      const x = float32(`${number}.x`, [3, inFeatures]);
      const bias = float32(`${number}.bias`, [out]);
      const original = weightOf(golden);
      const linear = adapted(golden);
      const weight = device.upload(original);
      await merge(device, linear, weight);
      const merged = tensor(await device.read(weight), [out, inFeatures]);
      assert.ok(distance(merged.data, original.data) > 1e-3, "merge changed nothing");
      const y = await baseForward(device, { x, weight: merged, bias });
      // The weight is rounded once more than where the two are applied apart.
      near(y.data, stored(`${number}.y`), { what: "y of the merged weight", within: 2e-6 });
      await unmerge(device, linear, weight);
      const restored = await device.read(weight);
      const magnitude = (t: HostTensor): number =>
        Array.from(t.data).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      const largest = magnitude(merged) + magnitude(original);
      for (let i = 0; i < restored.length; i++) {
        const difference = Math.abs(restored[i] - original.data[i]);
        assert.ok(difference <= 2 ** -22 * largest, `element ${i} differs by ${difference} of ${largest}`);
      }
      device.release(weight);
    });
  }
}

test("fourierft delta golden: frequencies, dW and forward of torch 2.6, on every device", async () => {
  const { cases } = JSON.parse(readFileSync(fixture("fourierft_delta_golden.json"), "utf8")) as {
    cases: readonly DeltaGolden[];
  };
  assert.equal(cases.length, 5);
  for (const golden of cases) {
    const shape = { out: golden.out_features, in: golden.in_features };
    const what = `${shape.out} x ${shape.in}`;
    const { u, v } = frequencies(golden.n, shape, { seed: golden.seed });
    assert.deepEqual(Array.from(u, (row, l) => row * shape.in + v[l]), golden.flat_indices, what);
    const coefficients = Float32Array.from(golden.spectrum);
    const module = fourierModule({ coefficients, seed: golden.seed, scaling: golden.scaling });
    const rows = golden.x.length;
    const x = tensor(Float32Array.from(golden.x.flat()), [rows, shape.in]);
    for (const device of devices) {
      const linear = { method: fourierft, module, shape };
      near((await deltaOf(device, linear)).data, golden.delta.flat(), { what });
      near((await applyModule(device, linear, { x })).data, golden.y.flat(), { what });
    }
  }
});
