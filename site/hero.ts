/**
 * The picture of the first page: dW of a small spectrum, a dot for each number.
 *
 * @module
 */
import { cpuDevice, deltaOf, fourierft, fourierModule } from "fourierft";

const [size, step] = [26, 12];

/** An SVG: the larger a dot, the larger the number's magnitude; positive ones are violet, negative ones blue. */
export async function hero(): Promise<string> {
  // The places that PEFT draws of this seed are all low frequencies.
  const coefficients = new Float32Array([0.7, 1, -0.8, 0.6]);
  const module = fourierModule({ coefficients, seed: 541, scaling: 1 });
  const linear = { method: fourierft, module, shape: { out: size, in: size } };
  const delta = Array.from((await deltaOf(cpuDevice(), linear)).data);
  const largest = Math.max(...delta.map(Math.abs));
  const dots = delta.map((value, i) => {
    const [x, y] = [
      (i % size + 0.5) * step,
      (Math.floor(i / size) + 0.5) * step,
    ];
    const radius = (step / 2 - 0.4) * Math.sqrt(Math.abs(value) / largest);
    const colour = value > 0 ? "#7a63ee" : "#15aabf";
    return `<circle cx="${x}" cy="${y}" r="${radius.toFixed(2)}" fill="${colour}"/>`;
  });
  const side = size * step;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${side} ${side}">${dots.join("")}</svg>\n`;
}
