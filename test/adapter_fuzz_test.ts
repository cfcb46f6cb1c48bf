/**
 * Adapters of every method with anything broken in their files: what reads is an adapter of finite numbers and of a bounded
 * size, and anything else is refused by an error that has a name.
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { deltaOf } from "../src/adapters/apply.ts";
import { baseOptions } from "../src/adapters/base_options.ts";
import { methods } from "../src/adapters/methods/mod.ts";
import { loadAdapter } from "../src/adapters/peft.ts";
import { madeReady } from "../src/adapters/ready.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import { modelBase } from "../src/engine/base.ts";
import { openWeights, readConfig } from "../src/models/families.ts";
import { loadModel } from "../src/models/model.ts";
import { openFolder } from "../src/runtime/file.ts";
import { parseSafetensors, type TensorView, writeSafetensors } from "../src/safetensors/mod.ts";
import { memoryFolder } from "../src/testing/mod.ts";
import { adapterBytes, methodFixture } from "./method_fixtures.ts";

const fixtures = fileURLToPath(new URL("fixtures/methods", import.meta.url));

/** An adapter's files, to be changed. */
interface Files {
  readonly name: string;
  readonly config: Record<string, unknown>;
  readonly tensors: Map<string, TensorView>;
}

function filesOf(name: string): Files {
  const weights = parseSafetensors(adapterBytes(name));
  return {
    name,
    config: JSON.parse(readFileSync(join(fixtures, name, "adapter_config.json"), "utf8")),
    tensors: new Map([...weights.tensors.keys()].map((one) => [one, weights.read(one)])),
  };
}

const adapters = readdirSync(fixtures).sort().filter((name) =>
  existsSync(join(fixtures, name, "adapter_config.json"))
).map(filesOf);

/** A change of files in place; what it does depends on numbers in [0, 1), so that it fits any adapter. */
type Change = (files: Files) => void;

const pick = <T>(list: readonly T[], at: number): T => list[Math.floor(at * list.length)];
const size = (shape: readonly number[]): number => shape.reduce((product, one) => product * one, 1);
const bytesOf = { F32: 4, F16: 2, BF16: 2, F64: 8, I64: 8, I32: 4, I16: 2, U8: 1 } as const;
type Dtype = keyof typeof bytesOf;

/** The bytes of a tensor, over and over: as many as are asked for. */
function repeated({ bytes }: TensorView, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, i) => bytes.length > 0 ? bytes[i % bytes.length] : 0);
}

const fields = [...new Set(adapters.flatMap(({ config }) => Object.keys(config)))].sort();
const at = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

/** A field of the adapter, of any other, or of none gets another value, or goes. */
const fieldChanges: fc.Arbitrary<Change> = fc.record({
  which: fc.oneof(at, fc.constantFrom(...fields), fc.constantFrom("new_field", "__proto__", "constructor")),
  value: fc.oneof(
    fc.constantFrom(undefined, null, true, false, 0, 1, -1, 2, 3, 0.5, 1e-40, 1e38, 1e300, 2 ** 31, 2 ** 53),
    fc.constantFrom<unknown>("", "none", "all", "bat", "mini", "ether", [], ["q_proj"], {}, { q_proj: 2 }, [[
      1,
    ]]),
    fc.integer({ min: -4, max: 70 }),
    fc.jsonValue({ maxDepth: 2 }),
  ),
}).map(({ which, value }) => ({ config }) => {
  const field = typeof which === "number" ? pick(Object.keys(config), which) : which;
  if (value === undefined) delete config[field];
  else Object.defineProperty(config, field, { value, enumerable: true, configurable: true, writable: true });
});

/** A tensor of the adapter is changed. */
const tensorChange =
  (change: (t: TensorView, files: Files) => TensorView | undefined, which: number): Change => (files) => {
    const name = pick([...files.tensors.keys()], which);
    if (name === undefined) return;
    const changed = change(files.tensors.get(name)!, files);
    files.tensors.delete(name);
    if (changed) files.tensors.set(changed.name, changed);
  };

/** Other sizes, one more or one less of them, with as many numbers. */
const shapeChanges: fc.Arbitrary<Change> = fc.record({
  which: at,
  axis: at,
  how: fc.constantFrom("more", "fewer", "none", "twice", "swapped", "flat", "wrapped", "cut"),
}).map(({ which, axis, how }) =>
  tensorChange((t) => {
    const i = Math.floor(axis * t.shape.length);
    const sized = (to: number): number[] => t.shape.map((one, j) => i === j ? to : one);
    const shape = {
      more: sized((t.shape[i] ?? 0) + 1),
      fewer: sized(Math.max(0, (t.shape[i] ?? 0) - 1)),
      none: sized(0),
      twice: sized(2 * (t.shape[i] ?? 0)),
      swapped: [...t.shape].reverse(),
      flat: [size(t.shape)],
      wrapped: [1, ...t.shape],
      cut: t.shape.slice(1),
    }[how];
    return { ...t, shape, bytes: repeated(t, size(shape) * bytesOf[t.dtype as Dtype]) };
  }, which)
);

/** A number of the tensor, or all of them, become special ones. */
const numberChanges: fc.Arbitrary<Change> = fc.record({
  which: at,
  place: at,
  all: fc.boolean(),
  value: fc.constantFrom(NaN, Infinity, -Infinity, 0, -0, 1, -1, 3e38, -3e38, 1e30, 1e-30, 1e-45),
}).map(({ which, place, all, value }) =>
  tensorChange((t) => {
    if (t.dtype !== "F32") return t;
    const numbers = new Float32Array(t.bytes.slice().buffer);
    if (all) numbers.fill(value);
    else if (numbers.length > 0) numbers[Math.floor(place * numbers.length)] = value;
    return { ...t, bytes: new Uint8Array(numbers.buffer) };
  }, which)
);

/** Integers get other values. */
const integerChanges: fc.Arbitrary<Change> = fc.record({
  which: at,
  place: at,
  value: fc.constantFrom(0, 1, 63, 64, 65, 95, 255, -1, 2 ** 31 - 1, -(2 ** 31)),
}).map(({ which, place, value }) => (files) => {
  const integers = [...files.tensors.values()].filter(({ dtype }) => dtype === "I32" || dtype === "I64");
  const t = pick(integers, which);
  if (!t) return;
  const words = new Int32Array(t.bytes.slice().buffer);
  words[Math.floor(place * words.length)] = value;
  files.tensors.set(t.name, { ...t, bytes: new Uint8Array(words.buffer) });
});

/** A tensor goes, or has another type or name; or another adapter's is put beside it. */
const tensorChanges: fc.Arbitrary<Change> = fc.oneof(
  at.map((which) => tensorChange(() => undefined, which)),
  fc.tuple(at, fc.constantFrom<Dtype>("F16", "BF16", "F64", "I64", "I32", "U8")).map(([which, dtype]) =>
    tensorChange((t) => ({ ...t, dtype, bytes: repeated(t, size(t.shape) * bytesOf[dtype]) }), which)
  ),
  fc.tuple(at, fc.constantFrom("q_proj", "weight", "", "x", "..", "constructor")).map(([which, word]) =>
    tensorChange((t) => ({ ...t, name: t.name.replace(/[^.]+$/, word) }), which)
  ),
  fc.tuple(at, fc.constantFrom("k_proj", "v_proj", "nothing", "__proto__")).map(([which, word]) =>
    tensorChange((t) => ({ ...t, name: t.name.replace(/[a-z]_proj/, word) }), which)
  ),
  fc.tuple(at, at).map(([which, other]): Change => ({ tensors }) => {
    const own = pick([...pick(adapters, which).tensors.values()], other);
    tensors.set(own.name, own);
  }),
);

const changes = fc.array(
  fc.oneof(fieldChanges, fieldChanges, shapeChanges, numberChanges, integerChanges, tensorChanges),
  { minLength: 1, maxLength: 3 },
);

/** Numbers that a module of this small model may take on a device: LoHa's factors of rank 16, dW whole, shared bases. */
const mostNumbers = 2 ** 16;

const isRefusal = (error: unknown): error is Error =>
  error instanceof Error && ["ConfigError", "RangeError"].includes(error.name) &&
  /^Cannot /.test(error.message);

async function opened() {
  const device = cpuDevice({ wasm: false }), folder = await openFolder(join(fixtures, "base"));
  const config = await readConfig(folder), source = await openWeights(folder, config);
  const model = await loadModel(device, { config, source });
  await source.close();
  return { device, base: modelBase(device, model), options: baseOptions(model.linears) };
}

/** What a registry does to read an adapter, and the change of each module's weight. Returns how many modules and replaced
 * parameters there were.
 */
async function readWhole(
  { config, tensors }: Files,
  { device, base, options }: Awaited<ReturnType<typeof opened>>,
): Promise<number> {
  const folder = memoryFolder(
    new Map([
      ["adapter_config.json", new TextEncoder().encode(JSON.stringify(config))],
      ["adapter_model.safetensors", writeSafetensors([...tensors.values()])],
    ]),
  );
  const adapter = await loadAdapter(folder, options);
  for (const [path, module] of adapter.modules) {
    const shape = options.shapeOf(path);
    // A registry refuses modules that the model does not have.
    if (!shape) return 0;
    module.check(path, shape);
  }
  const { method, modules } = await madeReady(device, adapter, base);
  for (const [path, module] of modules) {
    const shape = options.shapeOf(path)!, { values, table, count, scale } = module.pack(shape);
    assert.ok(values.every(Number.isFinite), `${method.name}: a number of "${path}" is not finite`);
    assert.ok(Number.isSafeInteger(count) && count >= 0 && Number.isFinite(Math.fround(scale)), `"${path}"`);
    const numbers = values.length + (table?.words().length ?? 0);
    assert.ok(numbers <= mostNumbers, `${method.name}: "${path}" takes ${numbers} numbers`);
    const { data } = await deltaOf(device, { method, module, shape, base: base(path) });
    assert.ok((data as Float32Array).every(Number.isFinite), `${method.name}: dW of "${path}" is not finite`);
  }
  return modules.size + adapter.replacements.size;
}

test("every method has an adapter here, which reads as it is", async () => {
  const all = await opened(), seen = new Set<string>();
  for (const files of adapters) {
    assert.ok(await readWhole(files, all) > 0, files.name);
    seen.add((await loadAdapter(await methodFixture(files.name), all.options)).method.name);
  }
  assert.deepEqual([...seen].sort(), methods.map(({ name }) => name).sort());
});

test("loadAdapter: changed files give an adapter of finite numbers, or an error that says what is wrong", async () => {
  const all = await opened();
  let read = 0, refused = 0;
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...adapters.map(({ name }) => name)), changes, async (name, list) => {
      const own = adapters.find((one) => one.name === name)!;
      const files = { name, config: { ...own.config }, tensors: new Map(own.tensors) };
      for (const change of list) change(files);
      try {
        await readWhole(files, all);
        read++;
      } catch (error) {
        if (!isRefusal(error)) throw error;
        refused++;
      }
    }),
    { numRuns: 600 },
  );
  assert.ok(read > 30 && refused > 30, `${read} were read, ${refused} refused`);
});
