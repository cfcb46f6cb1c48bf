/**
 * `deno task wgsl NAME [CASE]`: the whole WGSL of a kernel, as a device of WebGPU's guaranteed limits would run it.
 *
 * @module
 */
import process from "node:process";
import { type Case, type Kernel, kernels, portableLimits } from "../../kernels/mod.ts";
import { NotFoundError } from "../errors.ts";

function findKernel(name: string | undefined): Kernel {
  const kernel = kernels.find((kernel) => kernel.name === name);
  if (kernel) return kernel;
  const names = kernels.map((kernel) => kernel.name).join(", ");
  throw new NotFoundError(`Cannot print kernel ${JSON.stringify(name ?? "")}: the kernels are ${names}`);
}

/** Sizes and element types decide the text; a kernel's own test and bench sizes stand for them. */
function findCase(kernel: Kernel, name: string | undefined): Case {
  const cases: readonly Case[] = [...kernel.cases, ...kernel.benches];
  const found = name === undefined ? cases[0] : cases.find((testCase) => testCase.name === name);
  if (found) return found;
  const names = cases.map((testCase) => `\n  ${testCase.name}`).join("");
  throw new NotFoundError(`Cannot print case "${name}" of ${kernel.name}: the cases are${names}`);
}

function wgslOf(kernel: Kernel, { uniforms, dtypes }: Case): string {
  const bound = Object.fromEntries(
    Object.entries(kernel.buffers).map(([name, buffer]) => [name, dtypes?.[name] ?? buffer.dtypes[0]]),
  );
  const { dispatches } = kernel.launch({ uniforms, dtypes: bound }, portableLimits);
  return dispatches.map(({ wgsl, bindings, constants, grid }, i) => {
    const bound = bindings.map((binding, at) => `${at + 1} ${binding.name} (${binding.access})`).join(", ");
    return [
      `// dispatch ${i + 1} of ${dispatches.length}: grid ${grid.join(" x ")}; bindings 0 uniforms, ${bound}`,
      ...(constants ? [`// overrides ${JSON.stringify(constants)}`] : []),
      wgsl,
    ].join("\n");
  }).join("\n");
}

const [name, caseName] = process.argv.slice(2);
try {
  const kernel = findKernel(name);
  const testCase = findCase(kernel, caseName);
  console.log(`// ${kernel.name}, case "${testCase.name}": ${JSON.stringify(testCase.uniforms)}`);
  console.log(wgslOf(kernel, testCase));
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
