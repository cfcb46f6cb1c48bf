/**
 * fast-check arbitraries of files: safetensors, and PEFT's adapter folders, as bytes.
 *
 * @module
 */
import fc from "fast-check";
import { frequencies } from "../../kernels/frequencies.ts";
import type { LinearShape } from "../adapters/method.ts";
import { dtypeBits, type SafetensorsDtype, type TensorView, writeSafetensors } from "../safetensors/mod.ts";
import type { HostTensor } from "../tensor.ts";
import { numbers, scalings, seeds, type ShapeOptions, shapes } from "./arbitraries.ts";
import {
  type AdapterFolderCase,
  common,
  folderOf,
  modulesOf,
  namesOf,
  stored,
  storedDtypes,
} from "./folder_parts.ts";
import { referenceDelta } from "./spectrum.ts";
import { c3aFolders, waveftFolders } from "./transform_folders.ts";

export type { AdapterFolderCase } from "./folder_parts.ts";

/** A safetensors file and what it holds. */
export interface SafetensorsCase {
  readonly bytes: Uint8Array;
  readonly tensors: readonly TensorView[];
  readonly metadata: Readonly<Record<string, string>>;
}

const anyTensor = fc.record({
  dtype: fc.constantFrom(...Object.keys(dtypeBits) as SafetensorsDtype[]),
  shape: fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 4 }),
  name: fc.string({ unit: "binary", maxLength: 12 }).filter((name) => name !== "__metadata__"),
  first: fc.nat(255),
}).map(({ dtype, shape, name, first }): TensorView => {
  // Four more of the elements of less than a byte, so that they fill bytes.
  const sizes = dtypeBits[dtype] < 8 ? [...shape, 4] : shape;
  const count = sizes.reduce((product, size) => product * size, dtypeBits[dtype] / 8);
  return { name, dtype, shape: sizes, bytes: Uint8Array.from({ length: count }, (_, i) => first + i) };
});

/** Safetensors files of every dtype, with names, shapes and metadata of every kind. */
export function safetensorsFiles(): fc.Arbitrary<SafetensorsCase> {
  return fc.record({
    tensors: fc.uniqueArray(anyTensor, { selector: ({ name }) => name, maxLength: 8 }),
    metadata: fc.dictionary(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), { maxKeys: 4 }),
  }).map((file) => ({ ...file, bytes: writeSafetensors(file.tensors, file) }));
}

const pieces = [
  "{",
  "}",
  "[",
  "]",
  ",",
  ":",
  '"',
  "\\",
  "\\u",
  "0",
  "-",
  "1e9",
  "99999999999999999999",
  "null",
  " ",
];

const edits = fc.array(
  fc.record({
    at: fc.nat(400),
    remove: fc.nat(3),
    insert: fc.oneof(
      fc.constantFrom(...pieces).map((piece) => new TextEncoder().encode(piece)),
      fc.uint8Array({ maxLength: 3 }),
    ),
    keepsSize: fc.boolean(),
  }),
  { minLength: 1, maxLength: 2 },
);

/** Safetensors files with an edit or two, most of them broken: a reader reads such a file, or refuses it by its error. */
export function damagedSafetensors(
  whole: fc.Arbitrary<Uint8Array> = safetensorsFiles().map(({ bytes }) => bytes),
): fc.Arbitrary<Uint8Array> {
  return fc.tuple(whole, edits).map(([start, list]) => {
    let bytes = start;
    for (const { at, remove, insert, keepsSize } of list) {
      if (bytes.length < 8) break;
      const from = at % bytes.length;
      const next = Uint8Array.from([...bytes.subarray(0, from), ...insert, ...bytes.subarray(from + remove)]);
      if (!keepsSize && next.length >= 8 && from >= 8) {
        const view = new DataView(bytes.buffer, bytes.byteOffset);
        const size = view.getBigUint64(0, true) + BigInt(next.length - bytes.length);
        new DataView(next.buffer).setBigUint64(0, BigInt.asUintN(64, size), true);
      }
      bytes = next;
    }
    return bytes;
  });
}

/** FourierFT adapters' folders as PEFT writes them: one to four modules that share seed and scaling. */
export function fourierftFolders({ longest = 16 }: ShapeOptions = {}): fc.Arbitrary<AdapterFolderCase> {
  const module = shapes({ longest }).chain((shape) =>
    fc.record({
      shape: fc.constant(shape),
      coefficients: fc.integer({ min: 1, max: Math.min(24, shape.out * shape.in) }).chain(numbers),
      dtype: storedDtypes,
    })
  );
  return fc.tuple(modulesOf(module), seeds, scalings).map(([list, seed, scaling]) => {
    const tensors = new Map<string, HostTensor>();
    const modules = list.map(([path, { shape, coefficients, dtype }]) => {
      const n = coefficients.length;
      const { t, worth } = stored(coefficients, [n], dtype);
      tensors.set(`${path}.fourierft_spectrum`, t);
      const spectrum = { coefficients: worth, ...frequencies(n, shape, { seed }), scaling };
      return [path, { shape, delta: referenceDelta(spectrum, shape) }] as const;
    });
    const config = {
      ...common,
      peft_type: "FOURIERFT",
      target_modules: namesOf(list),
      n_frequency: list[0][1].coefficients.length,
      n_frequency_pattern: Object.fromEntries(
        list.map(([path, { coefficients }]) => [path, coefficients.length]),
      ),
      random_loc_seed: seed,
      scaling,
      fan_in_fan_out: false,
      init_weights: true,
    };
    return { files: folderOf(config, tensors), peftType: "FOURIERFT" as const, modules: new Map(modules) };
  });
}

/** scale * B A in float64: A (rank, in), B (out, rank). */
function lowRankDelta(
  { a, b, scale }: { readonly a: Float32Array; readonly b: Float32Array; readonly scale: number },
  { out, in: inFeatures }: LinearShape,
): Float64Array {
  const rank = a.length / inFeatures;
  return Float64Array.from({ length: out * inFeatures }, (_, i) => {
    const [p, q] = [Math.floor(i / inFeatures), i % inFeatures];
    let sum = 0;
    for (let r = 0; r < rank; r++) sum += b[p * rank + r] * a[r * inFeatures + q];
    return scale * sum;
  });
}

/** LoRA adapters' folders as PEFT writes them: one to four modules of one rank, 1 to 4. */
export function loraFolders({ longest = 16 }: ShapeOptions = {}): fc.Arbitrary<AdapterFolderCase> {
  const settings = fc.record({
    r: fc.integer({ min: 1, max: 4 }),
    alpha: fc.constantFrom(1, 8, 16),
    rslora: fc.boolean(),
  });
  return settings.chain(({ r, alpha, rslora }) => {
    const module = shapes({ longest }).chain((shape) =>
      fc.record({
        shape: fc.constant(shape),
        a: numbers(r * shape.in),
        b: numbers(shape.out * r),
        dtype: storedDtypes,
      })
    );
    return modulesOf(module).map((list) => {
      const tensors = new Map<string, HostTensor>();
      const modules = list.map(([path, { shape, a, b, dtype }]) => {
        const [storedA, storedB] = [stored(a, [r, shape.in], dtype), stored(b, [shape.out, r], dtype)];
        tensors.set(`${path}.lora_A.weight`, storedA.t);
        tensors.set(`${path}.lora_B.weight`, storedB.t);
        const scale = alpha / (rslora ? Math.sqrt(r) : r);
        const delta = lowRankDelta({ a: storedA.worth, b: storedB.worth, scale }, shape);
        return [path, { shape, delta }] as const;
      });
      const config = {
        ...common,
        peft_type: "LORA",
        target_modules: namesOf(list),
        r,
        lora_alpha: alpha,
        use_rslora: rslora,
        lora_dropout: 0,
        bias: "none",
        init_lora_weights: true,
      };
      return { files: folderOf(config, tensors), peftType: "LORA" as const, modules: new Map(modules) };
    });
  });
}

/** Adapter folders of FourierFT, LoRA, C3A and WaveFT. */
export function adapterFolders(options: ShapeOptions = {}): fc.Arbitrary<AdapterFolderCase> {
  return fc.oneof(
    fourierftFolders(options),
    loraFolders(options),
    c3aFolders(options),
    waveftFolders(options),
  );
}
