/**
 * `deno task wgsl NAME`: the whole WGSL of a kernel, as a device of WebGPU's guaranteed limits would run it.
 *
 * @module
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { type DType, type Kernel, kernels, portableLimits, type UniformType } from "../../kernels/mod.ts";
import { UsageError } from "./arguments.ts";

const usage = "deno task wgsl NAME [--uniform WORD=NUMBER]... [--dtype BUFFER=TYPE]... [--way WAY]";

/** Sizes where none are given. */
const usualSize = 64;

/** Uniform words that are no sizes but places and switches: 0 where none is given. */
const noSizes = new Set(["accumulate", "at", "column", "factors", "first", "linear", "offset", "skipped"]);

const quoted = (names: readonly string[]): string => names.map((name) => `"${name}"`).join(", ");

function findKernel([name, ...more]: readonly string[]): Kernel {
  if (name === undefined || more.length > 0) {
    throw new UsageError(`Cannot print ${more.length + (name ? 1 : 0)} kernels, it must be 1: ${usage}`);
  }
  const kernel = kernels.find((kernel) => kernel.name === name);
  if (kernel) return kernel;
  const names = kernels.map((kernel) => kernel.name).join(", ");
  throw new UsageError(`Cannot print kernel ${JSON.stringify(name)}: the kernels are ${names}`);
}

/** The values of a flag by their names, which must be among those of the kernel. */
function named(flag: string, given: readonly string[], known: readonly string[]): [string, string][] {
  return given.map((text) => {
    const [, name, value] = /^([^=]*)=(.*)$/.exec(text) ?? [];
    if (name === undefined) throw new UsageError(`Cannot use --${flag} ${text}: it must be NAME=VALUE`);
    if (known.includes(name)) return [name, value];
    throw new UsageError(`Cannot use --${flag} ${text}: the kernel has ${quoted(known)}`);
  });
}

function wordOf(name: string, text: string, type: UniformType): number {
  const value = text.trim() === "" ? NaN : Number(text);
  const holds = type === "f32"
    ? Number.isFinite(value)
    : Number.isInteger(value) && value >= 0 && value < 2 ** 32;
  if (holds) return value;
  const rule = type === "f32" ? "a number" : "a whole number of 0 to 4294967295";
  throw new UsageError(`Cannot use --uniform ${name}=${text}: it must be ${rule}`);
}

/** Every uniform word: those given, and usual ones. */
function uniformsOf({ uniforms }: Kernel, given: readonly string[]): Record<string, number> {
  const usual = Object.entries(uniforms).map(([name, type]): [string, number] => [
    name,
    type === "f32" ? 1 : noSizes.has(name) ? 0 : usualSize,
  ]);
  const own = named("uniform", given, Object.keys(uniforms));
  return Object.fromEntries([
    ...usual,
    ...own.map(([name, text]) => [name, wordOf(name, text, uniforms[name])] as const),
  ]);
}

/** Every buffer's element type: those given, and usual ones. */
function dtypesOf({ buffers }: Kernel, given: readonly string[]): Record<string, DType> {
  const usual = Object.entries(buffers).map(([name, { dtypes }]) => [name, dtypes[0]] as const);
  const own = named("dtype", given, Object.keys(buffers)).map(([name, text]) => {
    const dtype = buffers[name].dtypes.find((known) => known === text);
    if (dtype) return [name, dtype] as const;
    throw new UsageError(`Cannot use --dtype ${name}=${text}: it may be ${buffers[name].dtypes.join(", ")}`);
  });
  return Object.fromEntries([...usual, ...own]);
}

/**
 * What `deno task wgsl` prints.
 *
 * @throws UsageError for arguments that name no kernel, no word, no type or no way.
 * @throws RangeError for sizes that the kernel refuses.
 */
export function wgslText(args: readonly string[]): string {
  const { values, positionals } = parse(args);
  const kernel = findKernel(positionals);
  const call = { uniforms: uniformsOf(kernel, values.uniform), dtypes: dtypesOf(kernel, values.dtype) };
  const ways = kernel.ways?.(call, portableLimits).ways ?? [];
  if (values.way !== undefined && !ways.includes(values.way)) {
    throw new UsageError(
      `Cannot use --way ${values.way}: the ways of this call are ${quoted(ways) || "one"}`,
    );
  }
  const { dispatches } = kernel.launch(call, portableLimits, values.way);
  const texts = dispatches.flatMap(({ wgsl, bindings, constants, grid }, i) => {
    const bound = bindings.map((binding, at) => `${at + 1} ${binding.name} (${binding.access})`).join(", ");
    return [
      `// dispatch ${i + 1} of ${dispatches.length}: grid ${grid.join(" x ")}; bindings 0 uniforms, ${bound}`,
      ...(constants ? [`// overrides ${JSON.stringify(constants)}`] : []),
      wgsl,
    ];
  });
  return [
    `// ${kernel.name}: uniforms ${JSON.stringify(call.uniforms)}, dtypes ${JSON.stringify(call.dtypes)}`,
    ...(ways.length > 1 ? [`// ways: ${quoted(ways)}; this one is "${values.way ?? ways[0]}"`] : []),
    ...texts,
  ].join("\n");
}

function parse(args: readonly string[]) {
  const several = { type: "string", multiple: true, default: [] as string[] } as const;
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { uniform: several, dtype: several, way: { type: "string" } },
    });
  } catch (error) {
    throw new UsageError(`${(error as Error).message}: ${usage}`);
  }
}

if (import.meta.main) {
  try {
    console.log(wgslText(process.argv.slice(2)));
  } catch (error) {
    console.error((error as Error).message);
    process.exitCode = error instanceof UsageError ? 2 : 1;
  }
}
