/**
 * What needs an operating system: files, stores and checkpoints on a disk, GPUs by Dawn, ports. For Deno, Bun and Node.
 *
 * ```ts
 * import { deltaOf, loadAdapter } from "fourierft";
 * import { openDevice, openFolder } from "fourierft/node";
 *
 * const device = await openDevice({ kind: "cpu" });
 * const { method, modules } = await loadAdapter(await openFolder("examples/demo/adapters/fourierft-kjv"));
 * const module = modules.get("model.layers.0.self_attn.q_proj")!;
 * const delta = await deltaOf(device, { method, module, shape: { out: 256, in: 256 } });
 * console.log(delta.shape); // [256, 256]
 * device.destroy();
 * ```
 *
 * @module
 */
export { openAdapterStore, type OpenAdapterStoreOptions, openSingleAdapter } from "./adapter_store.ts";
export { type CheckpointFolder, openCheckpoints } from "./checkpoints.ts";
export { openFile, openFolder, type OpenFolderOptions } from "./file.ts";
export { type GpuSource, openGpu, type OpenGpuOptions } from "./gpu.ts";
export { type HubProgress, openHubFolder, type OpenHubFolderOptions } from "./hub/folder.ts";
export { HubUnreachableError } from "./hub/repository.ts";
export { openGrammars } from "./grammars.ts";
export type { GrammarLimits, GrammarService, OpenGrammars } from "../grammar/grammars.ts";
export type { GrammarSpec, TagFormat } from "../grammar/spec.ts";
export { openObjectStore, type StorageOptions } from "./object_storage.ts";
export { openCpuDevice } from "./open_cpu.ts";
export { openDevice, type OpenDeviceOptions } from "./open_device.ts";
export { openPeers, type Peers, type PeersOptions } from "./redis/mod.ts";
export type { PeerStats } from "../server/peers.ts";
export type { QuotaLimits, SharedAnswer, SharedCounts, SharedLimits } from "../server/quota.ts";
export { createFolder } from "./output.ts";
export { type FetchHandler, serveApp, type Served, type ServeOptions } from "./serve.ts";
