/**
 * A Vulkan driver for machines without a GPU: SwiftShader, from npm's or Debian's Chromium.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { hasArchives, unpacked } from "./unpack.ts";

const debianChromium = "/usr/lib/chromium";
const driverFile = "vk_swiftshader_icd.json";

/** A folder with SwiftShader, its driver file, and the Vulkan loader. */
function swiftShaderFolder(): string {
  if (hasArchives()) return unpacked("swiftshader", ["swiftshader.tar.br"]);
  if (existsSync(join(debianChromium, driverFile))) return debianChromium;
  throw new Error(
    `Cannot test on a GPU: there is no software Vulkan driver in npm's @sparticuz/chromium or ${debianChromium}. ` +
      "Run `deno install`, install Debian's chromium, or set FOURIERFT_TEST_GPU=native to use this machine's GPU.",
  );
}

/**
 * Environment variables that must be set before a process starts for its WebGPU to find a Vulkan device.
 *
 * None are needed where FOURIERFT_TEST_GPU=native asks for the machine's own GPU, nor outside Linux, where WebGPU
 * does not stand on Vulkan.
 *
 * @throws Error when no software driver is there.
 */
export function vulkanEnvironment(): Record<string, string> {
  if (process.env.FOURIERFT_TEST_GPU === "native" || process.platform !== "linux") return {};
  const folder = swiftShaderFolder();
  const driver = join(folder, driverFile);
  const inherited = process.env.LD_LIBRARY_PATH;
  return {
    LD_LIBRARY_PATH: inherited ? `${folder}:${inherited}` : folder,
    VK_DRIVER_FILES: driver,
    VK_ICD_FILENAMES: driver,
  };
}
