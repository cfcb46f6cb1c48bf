/**
 * Why a machine shows no Vulkan device, in words: the usual reason for "no adapter" on Linux.
 *
 * @module
 */
import { importOptional, runtimeGlobals } from "./runtime.ts";

interface FileSystem {
  existsSync(path: string): boolean;
  readdirSync(path: string): string[];
}

const loaderFolders = [
  "/lib/x86_64-linux-gnu",
  "/usr/lib/x86_64-linux-gnu",
  "/lib/aarch64-linux-gnu",
  "/usr/lib/aarch64-linux-gnu",
  "/usr/lib64",
  "/usr/lib",
  "/usr/local/lib",
];
const driverFolders = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"];

function drivers(fs: FileSystem, env: Readonly<Record<string, string | undefined>>): string[] {
  const named = env.VK_DRIVER_FILES ?? env.VK_ICD_FILENAMES;
  if (named) return named.split(":").filter((file) => fs.existsSync(file));
  return driverFolders.filter((folder) => fs.existsSync(folder)).flatMap((folder) => fs.readdirSync(folder));
}

/** What is missing for Vulkan on this machine, as one sentence; empty when nothing is, or when it cannot be told. */
export async function missingForVulkan(): Promise<string> {
  const env = runtimeGlobals.process?.env ?? {};
  if (runtimeGlobals.process?.platform !== "linux") return "";
  try {
    const fs = await importOptional<FileSystem>("node:fs");
    const folders = [...(env.LD_LIBRARY_PATH ?? "").split(":").filter(Boolean), ...loaderFolders];
    const missing: string[] = [];
    if (!folders.some((folder) => fs.existsSync(`${folder}/libvulkan.so.1`))) {
      missing.push("the Vulkan loader libvulkan.so.1 is not installed (Debian: libvulkan1)");
    }
    if (drivers(fs, env).length === 0) {
      missing.push(
        env.VK_DRIVER_FILES ?? env.VK_ICD_FILENAMES
          ? "VK_DRIVER_FILES names no file that exists"
          : "no Vulkan driver is installed (no file in /usr/share/vulkan/icd.d)",
      );
    }
    return missing.join(" and ");
  } catch {
    return ""; // no permission to read the disk or the environment: nothing to add to the error
  }
}
