// Imports every door of the installed package, by whatever runs this: Node, Bun, Deno.
import * as fourierft from "fourierft";
import { kernelRunner, kernels } from "fourierft/kernels";
import { openCpuDevice, openFolder } from "fourierft/node";
import { parseSafetensors } from "fourierft/safetensors";
import { createApp } from "fourierft/server";
import { spectralProperties } from "fourierft/testing";

const module = fourierft.fourierModule({ coefficients: new Float32Array([1]), seed: 1, scaling: 6 });
const linear = { method: fourierft.fourierft, module, shape: { out: 2, in: 3 } };
const delta = await fourierft.deltaOf(fourierft.cpuDevice(), linear);
const names = [kernelRunner, parseSafetensors, createApp, spectralProperties.linearity].map((one) =>
  typeof one
).join();
await openFolder(".");
const cpu = await openCpuDevice();
const threaded = await fourierft.deltaOf(cpu, linear);
console.log(kernels.length > 10, delta.shape.join("x"), names);
console.log(cpu.description, threaded.data.join() === delta.data.join());
