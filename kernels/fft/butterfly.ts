/**
 * Straight-line WGSL of small transforms on named registers, with the sign +.
 *
 * @module
 */

/** Statements, and the names that hold outputs 0, 1, ... afterwards: values stay where they are, names move. */
export interface Butterfly {
  readonly code: string;
  readonly outputs: readonly string[];
}

const straightRadices: readonly number[] = [16, 8, 4, 2, 3, 5, 7, 11, 13];

/** Whether a radix has a butterfly; any other runs as a loop over its inputs. */
export const isStraight = (radix: number): boolean => straightRadices.includes(radix);

function radix2([a, b]: readonly string[]): Butterfly {
  return { code: `{ let t = ${a} - ${b}; ${a} += ${b}; ${b} = t; }\n`, outputs: [a, b] };
}

function radix4([a, b, c, d]: readonly string[]): Butterfly {
  const code = `{ let s = ${a} + ${c}; let t = ${a} - ${c}; let u = ${b} + ${d}; let v = times_i(${b} - ${d});
${a} = s + u; ${b} = t + v; ${c} = s - u; ${d} = t - v; }\n`;
  return { code, outputs: [a, b, c, d] };
}

/** An odd radix by sums and differences of mirrored inputs. */
function radixOdd(v: readonly string[]): Butterfly {
  const r = v.length;
  const half = (r - 1) / 2;
  const lines = ["{ "];
  for (let j = 1; j <= half; j++) {
    lines.push(`let p${j} = ${v[j]} + ${v[r - j]}; let q${j} = times_i(${v[j]} - ${v[r - j]});\n`);
  }
  const terms = (k: number, name: string, wave: (angle: number) => number): string =>
    Array.from({ length: half }, (_, i) => `${wave(2 * Math.PI * ((i + 1) * k % r) / r)} * ${name}${i + 1}`)
      .join(" + ");
  for (let k = 1; k <= half; k++) {
    lines.push(`let c${k} = ${v[0]} + ${terms(k, "p", Math.cos)}; let s${k} = ${terms(k, "q", Math.sin)};\n`);
  }
  lines.push(`${v[0]} += ${Array.from({ length: half }, (_, i) => `p${i + 1}`).join(" + ")};\n`);
  for (let k = 1; k <= half; k++) lines.push(`${v[k]} = c${k} + s${k}; ${v[r - k]} = c${k} - s${k};\n`);
  return { code: lines.join("") + "}\n", outputs: v };
}

/** `name` times e^{2 pi i turn}, in place. */
function turned(name: string, turn: number): string {
  const eighths = turn * 8;
  if (eighths === 0) return "";
  if (eighths === 1) return `${name} = times_w8(${name});\n`;
  if (eighths === 2) return `${name} = times_i(${name});\n`;
  if (eighths === 3) return `${name} = times_i(times_w8(${name}));\n`;
  const angle = 2 * Math.PI * turn;
  return `${name} = cmul(${name}, vec2f(${Math.cos(angle)}, ${Math.sin(angle)}));\n`;
}

/** A composite radix: `outer` transforms of `inner` points, turns, then the other way round. */
function composite(v: readonly string[], inner: number): Butterfly {
  const outer = v.length / inner;
  const lines: string[] = [];
  const columns = Array.from({ length: outer }, (_, q) => {
    const { code, outputs } = butterfly(Array.from({ length: inner }, (_, j) => v[q + j * outer]));
    lines.push(code, ...outputs.map((name, k) => turned(name, q * k / v.length)));
    return outputs;
  });
  const outputs: string[] = [];
  for (let k = 0; k < inner; k++) {
    const row = butterfly(columns.map((column) => column[k]));
    lines.push(row.code);
    row.outputs.forEach((name, l) => outputs[k + inner * l] = name);
  }
  return { code: lines.join(""), outputs };
}

/** The transform of the values named `v`, of a radix that is {@linkcode isStraight}. */
export function butterfly(v: readonly string[]): Butterfly {
  if (v.length === 2) return radix2(v);
  if (v.length === 4) return radix4(v);
  if (v.length === 8 || v.length === 16) return composite(v, 4);
  return radixOdd(v);
}
