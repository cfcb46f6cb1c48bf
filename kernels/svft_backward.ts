import {
  type Arrays,
  type Binding,
  defineKernel,
  type Dispatch,
  type Kernel,
  type Launch,
  type Limits,
  uniformStruct,
} from "./kernel.ts";
import { partialScratch, productLaunch } from "./linear/product.ts";
import { transposedProduct } from "./linear/transposed_cpu.ts";
import { patternView, patternWgsl } from "./svft/pattern.ts";
import {
  downOf,
  gateOf,
  gateWgsl,
  matrix,
  sizeOf,
  sparseRows,
  threads,
  uniforms,
  upBase,
  type Words,
} from "./svft/shared.ts";

type Buffers = "x" | "dy" | "factors" | "pattern" | "values" | "gradient" | "dx";
type Uniforms = keyof Words;

const read = (...names: readonly string[]): Binding[] => names.map((name) => ({ name, access: "read" }));
const write = (name: string): Binding => ({ name, access: "read_write" });

/** The gradient of each entry, and its share of the gate's. */
function entriesDispatch(words: Words, limits: Limits): Dispatch {
  return threads({
    count: words.entries,
    bindings: [...read("down", "back", "pattern", "values"), write("gradient"), write("shares")],
    body: /* wgsl */ `
  if (i >= uniforms.entries) { return; }
  let row = ${patternWgsl.row("i")};
  let column = ${patternWgsl.column("i")};
  var sum = 0.0;
  for (var r = 0u; r < uniforms.rows; r++) { sum += back[r * uniforms.n + row] * down[r * uniforms.n + column]; }
  gradient[uniforms.offset + i] += sum * (${gateWgsl});
  shares[i] = sum * values[uniforms.offset + i];`,
  }, limits);
}

/** The gate's gradient, by one workgroup. */
function gateDispatch(): Dispatch {
  const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> shares: array<f32>;
@group(0) @binding(2) var<storage, read> values: array<f32>;
@group(0) @binding(3) var<storage, read_write> gradient: array<f32>;

var<workgroup> sums: array<f32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) local: u32) {
  var sum = 0.0;
  for (var e = local; e < uniforms.entries; e += 256) { sum += shares[e]; }
  sums[local] = sum;
  workgroupBarrier();
  for (var half = 128u; half > 0; half >>= 1) {
    if (local < half) { sums[local] += sums[local + half]; }
    workgroupBarrier();
  }
  if (local > 0) { return; }
  let gate = ${gateWgsl};
  gradient[uniforms.offset + uniforms.entries] += gate * (1 - gate) * sums[0];
}
`;
  return { wgsl, bindings: [...read("shares", "values"), write("gradient")], grid: [1, 1, 1] };
}

/** The gradient of V x: sigma(gate) M^T of the gradient of M (V x). */
function turnedDispatch(words: Words, limits: Limits): Dispatch {
  return threads({
    count: words.rows * words.n,
    bindings: [...read("back", "pattern", "values"), write("turned")],
    body: /* wgsl */ `
  if (i >= uniforms.rows * uniforms.n) { return; }
  let start = i / uniforms.n * uniforms.n;
  let own = i % uniforms.n;
  let end = ${patternWgsl.columnStart("own + 1")};
  var sum = 0.0;
  for (var k = ${patternWgsl.columnStart("own")}; k < end; k++) {
    let e = ${patternWgsl.ofColumn("k")};
    sum += values[uniforms.offset + e] * back[start + ${patternWgsl.row("e")}];
  }
  turned[i] = sum * (${gateWgsl});`,
  }, limits);
}

function launch(words: Words, limits: Limits): Launch {
  const size = sizeOf(words), rows = size("rows"), inSize = size("in"), out = size("out"), n = size("n");
  const hidden = (name: string) => ({ name, put: `${name}[row * uniforms.n + column] = value;` });
  const products = [
    productLaunch({
      uniforms,
      x: matrix("x", "inner", [rows, inSize]),
      weight: matrix("factors", "inner", [n, inSize]),
      y: hidden("down"),
      rows,
      columns: n,
      inner: inSize,
    }, limits),
    productLaunch({
      uniforms,
      x: matrix("dy", "inner", [rows, out]),
      weight: matrix("factors", "outer", [out, n], upBase(words)),
      y: hidden("back"),
      rows,
      columns: n,
      inner: out,
    }, limits),
    productLaunch({
      uniforms,
      x: matrix("turned", "inner", [rows, n]),
      weight: matrix("factors", "outer", [n, inSize]),
      y: { name: "dx", put: "dx[row * uniforms.in + column] += value;" },
      rows,
      columns: inSize,
      inner: n,
    }, limits),
  ];
  const [down, back, dx] = products.map(({ dispatches }) => dispatches), bytes = 4 * words.rows * words.n;
  return {
    dispatches: [
      ...down,
      ...back,
      entriesDispatch(words, limits),
      gateDispatch(),
      turnedDispatch(words, limits),
      ...dx,
    ],
    scratch: {
      down: bytes,
      back: bytes,
      turned: bytes,
      shares: 4 * words.entries,
      ...partialScratch(products),
    },
  };
}

/** The gradients of the entries and of the gate, from both sides of M. */
function addGradients(
  { down, back, values, gradient, pattern }: {
    readonly down: ArrayLike<number>;
    readonly back: ArrayLike<number>;
    readonly values: ArrayLike<number>;
    readonly gradient: Float32Array;
    readonly pattern: Uint32Array;
  },
  words: Words,
): void {
  const { rows, n, entries, offset } = words,
    view = patternView(pattern, entries),
    gate = gateOf(values, words);
  let shares = 0;
  for (let e = 0; e < entries; e++) {
    let sum = 0;
    for (let r = 0; r < rows; r++) sum += back[r * n + view.rows[e]] * down[r * n + view.columns[e]];
    gradient[offset + e] += gate * sum;
    shares += sum * values[offset + e];
  }
  gradient[offset + entries] += gate * (1 - gate) * shares;
}

function cpu(arrays: Arrays<Buffers>, words: Words): void {
  const { x, dy, factors, values, gradient, dx } = arrays as Record<Buffers, Float32Array>;
  const { rows, in: inSize, out, n } = words, pattern = arrays.pattern as Uint32Array;
  const down = downOf(x, factors, words),
    back = new Float32Array(rows * n),
    turned = new Float32Array(rows * n);
  const up = factors.subarray(n * inSize, n * (inSize + out));
  transposedProduct({ x: dy, weight: up, y: back }, { rows, inner: out, columns: n, accumulate: false });
  addGradients({ down, back, values, gradient, pattern }, words);
  sparseRows({ from: back, to: turned, values, pattern }, words, true);
  transposedProduct({ x: turned, weight: factors.subarray(0, n * inSize), y: dx }, {
    ...{ rows, inner: n, columns: inSize, accumulate: true },
  });
}

/** All gradients of an SVFT update that every row shares. */
export const svftBackward: Kernel<Buffers, Uniforms> = defineKernel({
  name: "svft_backward",
  doc:
    "of y += sigma(gate) U (M (V x)), with b[r] = U^T dy[r] and d[r] = V x[r]: of each entry (i, j) += sigma(gate) sum " +
    "over r of b[r]_i d[r]_j, of the gate += sigma'(gate) sum over r of b[r] . M d[r], dx[r] += sigma(gate) V^T M^T b[r]",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, in), row-major" },
    dy: { access: "read", dtypes: ["float32"], doc: "(rows, out), row-major" },
    factors: { access: "read", dtypes: ["float32"], doc: "V (n, in), then U (out, n), as in svft_product" },
    pattern: { access: "read", dtypes: ["uint32"], doc: "as in svft_product" },
    values: {
      access: "read",
      dtypes: ["float32"],
      doc: "from element `offset` on: the entries, then the gate",
    },
    gradient: { access: "read_write", dtypes: ["float32"], doc: "laid out as values, added to" },
    dx: { access: "read_write", dtypes: ["float32"], doc: "(rows, in), row-major, added to" },
  },
  uniforms,
  launch: ({ uniforms: words }, limits) => launch(words, limits),
  reference(arrays, words) {
    const { x, dy, factors, values, dx } = arrays, { rows, in: inSize, out, n } = words, up = n * inSize;
    const pattern = arrays.pattern as Uint32Array, gradient = arrays.gradient as Float32Array;
    const down = new Float64Array(rows * n),
      back = new Float64Array(rows * n),
      turned = new Float64Array(rows * n);
    for (let r = 0; r < rows; r++) {
      for (let k = 0; k < n; k++) {
        for (let i = 0; i < inSize; i++) down[r * n + k] += factors[k * inSize + i] * x[r * inSize + i];
        for (let o = 0; o < out; o++) back[r * n + k] += factors[up + o * n + k] * dy[r * out + o];
      }
    }
    addGradients({ down, back, values, gradient, pattern }, words);
    sparseRows({ from: back, to: turned, values, pattern }, words, true);
    for (let r = 0; r < rows; r++) {
      for (let i = 0; i < inSize; i++) {
        let sum = 0;
        for (let k = 0; k < n; k++) sum += turned[r * n + k] * factors[k * inSize + i];
        dx[r * inSize + i] += sum;
      }
    }
  },
  cpu,
  tolerance: 1e-5,
});
