/**
 * Tests the npm package as its users get it: builds it, installs it in an empty project, and runs a program on Node.
 *
 * @module
 */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { vulkanEnvironment } from "../swiftshader.ts";
import { buildPackage } from "./build.ts";

const here = import.meta.dirname!;
const project = mkdtempSync(join(tmpdir(), "fourierft-user-"));

/** A user's program for the type checker. */
const typed = `import { deltaOf, type Device, fourierft, fourierModule } from "fourierft";
import type { Kernel } from "fourierft/kernels";
export const check = async (device: Device, kernel: Kernel): Promise<number> => {
  const module = fourierModule({ coefficients: new Float32Array(4), seed: 1, scaling: 2 });
  const delta = await deltaOf(device, { method: fourierft, module, shape: { out: 4, in: 4 } });
  // @ts-expect-error: a shape is made of numbers; this fails where the package's types are lost
  const wrong: string = delta.shape[0];
  return wrong.length + kernel.tolerance;
};
`;

function run(command: string, args: readonly string[]): void {
  execFileSync(command, args, {
    cwd: project,
    stdio: "inherit",
    env: {
      ...process.env,
      ...vulkanEnvironment(),
      DEMO_MODEL: join(here, "../../examples/demo/base"),
    },
  });
}

try {
  const tarball = buildPackage();
  writeFileSync(join(project, "package.json"), '{ "private": true, "type": "module" }\n');
  run("npm", ["install", "--no-audit", "--no-fund", "--loglevel=error", tarball]);
  copyFileSync(join(here, "consumer.mjs"), join(project, "consumer.mjs"));
  writeFileSync(join(project, "typed.ts"), typed);
  run(process.execPath, ["check", "--node-modules-dir=manual", "typed.ts"]);
  run("node", ["--test", "consumer.mjs"]);
} finally {
  rmSync(project, { recursive: true });
}
