/**
 * Memory and programs as two threads share them.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  decodeProgram,
  encodeProgram,
  newRing,
  putCommand,
  ringCapacity,
  type SentCall,
  takeCommand,
} from "../src/device/cpu_commands.ts";
import type { TeamStep } from "../src/device/team_steps.ts";
import { importingShared, sharedMemory, sharedModule } from "../src/device/shared_memory.ts";
import { ownWasmBytes } from "../src/device/wasm_module.ts";

const header = [0, 97, 115, 109, 1, 0, 0, 0];

test("importingShared gives the same functions over a memory that is shared", () => {
  const module = sharedModule()!;
  const own = new WebAssembly.Module(ownWasmBytes());
  assert.deepEqual(WebAssembly.Module.exports(module), WebAssembly.Module.exports(own));
  const { memory } = sharedMemory();
  assert.ok(memory.buffer instanceof SharedArrayBuffer);
  const { add } = new WebAssembly.Instance(module, { env: { memory } }).exports;
  assert.equal(typeof add, "function");
  assert.throws(() => new WebAssembly.Instance(own, { env: { memory } }), WebAssembly.LinkError);
  const unshared = new WebAssembly.Memory({ initial: 16 });
  assert.throws(() => new WebAssembly.Instance(module, { env: { memory: unshared } }), WebAssembly.LinkError);
});

test("importingShared keeps sections around the imports, and sizes of more than a byte", () => {
  // A custom section, a memory of at least 300 pages as "env" "memory", and another custom section.
  const custom = (name: number): number[] => [0, 3, 2, name, 7];
  const env = [3, 101, 110, 118], memory = [6, 109, 101, 109, 111, 114, 121];
  const imports = [1, ...env, ...memory, 2, 0, 0xac, 2];
  const bytes = Uint8Array.of(...header, ...custom(120), 2, imports.length, ...imports, ...custom(121));
  const module = new WebAssembly.Module(importingShared(bytes));
  assert.deepEqual(WebAssembly.Module.customSections(module, "x\u0007").length, 1);
  assert.deepEqual(WebAssembly.Module.customSections(module, "y\u0007").length, 1);
  const small = new WebAssembly.Memory({ initial: 299, maximum: 65536, shared: true });
  const enough = new WebAssembly.Memory({ initial: 300, maximum: 65536, shared: true });
  assert.throws(() => new WebAssembly.Instance(module, { env: { memory: small } }), WebAssembly.LinkError);
  assert.ok(new WebAssembly.Instance(module, { env: { memory: enough } }));
});

test("importingShared takes modules of any size", () => {
  const own = ownWasmBytes(), size = 2 ** 22;
  // A custom section without a name: its size in four bytes, then a name of no letters, and zeros.
  const section = Uint8Array.of(0, ...[0, 7, 14, 21].map((bit, i) => size >> bit & 127 | (i < 3 ? 128 : 0)));
  const large = new Uint8Array(own.length + section.length + size);
  large.set(own);
  large.set(section, own.length);
  assert.ok(WebAssembly.validate(large));
  const module = new WebAssembly.Module(importingShared(large));
  assert.deepEqual(WebAssembly.Module.exports(module), WebAssembly.Module.exports(sharedModule()!));
});

test("importingShared refuses modules that do not import one memory alone", () => {
  const refused = /Cannot share the memory of a WASM module/;
  assert.throws(() => importingShared(Uint8Array.from(header)), refused);
  const global = [1, 1, 101, 1, 103, 3, 0x7f, 0];
  assert.throws(() => importingShared(Uint8Array.of(...header, 2, global.length, ...global)), refused);
  const two = [2, 1, 101, 1, 109, 2, 0, 0, 1, 101, 1, 110, 2, 0, 0];
  assert.throws(() => importingShared(Uint8Array.of(...header, 2, two.length, ...two)), refused);
});

test("encodeProgram keeps every number of a program, and every name", () => {
  const numbers = fc.double();
  const names = fc.string({ unit: "binary", maxLength: 5 }).filter((name) => name !== "__proto__");
  const buffer = fc.record({
    dtype: fc.constantFrom("float32" as const, "uint32" as const),
    at: fc.nat(),
    count: fc.nat(),
  });
  const steps = fc.record({
    function: names,
    args: fc.array(numbers, { maxLength: 5 }),
    each: fc.array(fc.record({ arg: fc.nat(), bytes: fc.nat() }), { maxLength: 2 }),
    items: fc.nat(),
    chunks: fc.nat(),
  });
  const calls: fc.Arbitrary<SentCall> = fc.oneof(
    fc.record({ kernel: names, steps: fc.array(steps, { maxLength: 3 }) }),
    fc.record({
      kernel: names,
      buffers: fc.dictionary(names, buffer),
      uniforms: fc.dictionary(names, numbers),
    }),
  );
  const edges = [NaN, -0, Infinity, 2 ** 32 - 1];
  fc.assert(
    fc.property(fc.array(calls, { maxLength: 5 }), (program) => {
      assert.deepEqual(decodeProgram(encodeProgram(program)), JSON.parse("[]").concat(program.map(plain)));
    }),
    {
      examples: [[[{ kernel: "a", steps: [{ function: "b", args: edges, each: [], items: 1, chunks: 1 }] }]]],
    },
  );
});

const plainStep = (step: TeamStep): TeamStep => ({ ...step, each: step.each.map((one) => ({ ...one })) });

/** The same with objects as JSON makes them; the generator's have no prototype. */
function plain(call: SentCall): SentCall {
  if ("steps" in call) return { ...call, steps: call.steps.map(plainStep) };
  const buffers = Object.fromEntries(Object.entries(call.buffers).map(([name, b]) => [name, { ...b }]));
  return { ...call, buffers, uniforms: { ...call.uniforms } };
}

test("takeCommand gives what putCommand put, at any number, offsets beyond 2 GiB included", () => {
  const ring = newRing();
  for (const number of [0, ringCapacity - 1, ringCapacity, 2 ** 31 - 1, 2 ** 31, 2 ** 32 + 5]) {
    putCommand(ring, number, [2, 2 ** 32 - 64, number % 1000, 64]);
    assert.deepEqual(takeCommand(ring, number | 0), [2, 2 ** 32 - 64, number % 1000, 64]);
  }
});
