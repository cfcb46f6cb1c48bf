// Imports every door of the installed package, by whatever runs this: Node, Bun, Deno.
import * as fourierft from "fourierft";
import { kernelRunner, kernels } from "fourierft/kernels";
import { openCpuDevice, openFolder } from "fourierft/node";
import { parseSafetensors } from "fourierft/safetensors";
import { createClient } from "fourierft/client";
import { createApp } from "fourierft/server";
import { cardOf } from "fourierft/pictures";
import { spectralProperties } from "fourierft/testing";

const module = fourierft.fourierModule({ coefficients: new Float32Array([1]), seed: 1, scaling: 6 });
const linear = { method: fourierft.fourierft, module, shape: { out: 2, in: 3 } };
const delta = await fourierft.deltaOf(fourierft.cpuDevice(), linear);
const device = fourierft.cpuDevice();
const store = { list: async () => [], open: async () => undefined };
const app = createApp({ adapters: new fourierft.AdapterRegistry(device, store) });
const client = createClient({
  baseUrl: "http://localhost",
  fetch: async (url, init) => app.request(url, init),
});
const { data } = await client.models();
const refused = await client.model("none").catch((error) => error.code);
const names = [kernelRunner, parseSafetensors, createApp, cardOf, spectralProperties.linearity].map((one) =>
  typeof one
).join();
await openFolder(".");
const cpu = await openCpuDevice();
const threaded = await fourierft.deltaOf(cpu, linear);
console.log(kernels.length > 10, delta.shape.join("x"), names);
console.log(data.length, refused);
console.log(cpu.description, threaded.data.join() === delta.data.join());
