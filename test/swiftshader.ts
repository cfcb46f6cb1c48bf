/**
 * A Vulkan driver for machines without a GPU: SwiftShader, from npm's or Debian's Chromium, unpacked on first use.
 *
 * @module
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { brotliDecompressSync } from "node:zlib";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const archive = join(root, "node_modules/@sparticuz/chromium/bin/swiftshader.tar.br");
const unpacked = join(root, "node_modules/.cache/fourierft/swiftshader");
const debianChromium = "/usr/lib/chromium";
const needed = ["libvulkan.so.1", "libvk_swiftshader.so", "vk_swiftshader_icd.json"];

/** Plain files of a ustar archive by base name: headers of 512 bytes, contents padded to as much. */
function tarFiles(tar: Uint8Array): Map<string, Uint8Array> {
  const text = (at: number, length: number): string =>
    new TextDecoder().decode(tar.subarray(at, at + length)).split("\0")[0];
  const files = new Map<string, Uint8Array>();
  let at = 0;
  while (at + 512 <= tar.length && tar[at] !== 0) {
    const size = parseInt(text(at + 124, 12), 8);
    const type = text(at + 156, 1);
    if (type === "" || type === "0") {
      files.set(basename(text(at, 100)), tar.subarray(at + 512, at + 512 + size));
    }
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return files;
}

const complete = (folder: string): boolean => needed.every((name) => existsSync(join(folder, name)));

/** Unpacks beside the final folder and renames, so that runs at the same time never see half of it. */
function unpack(): void {
  const files = tarFiles(brotliDecompressSync(readFileSync(archive)));
  mkdirSync(dirname(unpacked), { recursive: true });
  const folder = mkdtempSync(`${unpacked}-`);
  for (const name of needed) {
    const bytes = files.get(name);
    if (!bytes) throw new Error(`Cannot unpack SwiftShader: ${archive} holds no ${name}`);
    writeFileSync(join(folder, name), bytes);
  }
  try {
    renameSync(folder, unpacked);
  } catch (error) {
    rmSync(folder, { recursive: true });
    if (!complete(unpacked)) throw error;
  }
}

function swiftShaderFolder(): string {
  if (process.arch === "x64" && existsSync(archive)) {
    if (!complete(unpacked)) unpack();
    return unpacked;
  }
  if (complete(debianChromium)) return debianChromium;
  throw new Error(
    `Cannot test on a GPU: no software Vulkan driver in ${archive} or ${debianChromium}. ` +
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
  const driver = join(folder, "vk_swiftshader_icd.json");
  const inherited = process.env.LD_LIBRARY_PATH;
  return {
    LD_LIBRARY_PATH: inherited ? `${folder}:${inherited}` : folder,
    VK_DRIVER_FILES: driver,
    VK_ICD_FILENAMES: driver,
  };
}
