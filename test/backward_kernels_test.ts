import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { adamw, adamwHyper } from "../kernels/adamw.ts";
import { casesOf } from "../kernels/cases/mod.ts";
import { causalAttention } from "../kernels/causal_attention.ts";
import { causalAttentionBackward } from "../kernels/causal_attention_backward.ts";
import { bounds, sizesOf } from "../kernels/cases/packed.ts";
import { clipFactor } from "../kernels/clip_factor.ts";
import { copy } from "../kernels/copy.ts";
import { crossEntropyHead } from "../kernels/cross_entropy_head.ts";
import { crossEntropyLoss } from "../kernels/cross_entropy_loss.ts";
import { noTarget } from "../kernels/cross_entropy/launch.ts";
import { fill } from "../kernels/fill.ts";
import { widen } from "../kernels/half.ts";
import { type Kernel, portableLimits, type TypedArray } from "../kernels/kernel.ts";
import { linear } from "../kernels/linear.ts";
import { linearTransposed } from "../kernels/linear_transposed.ts";
import { packedAttention } from "../kernels/packed_attention.ts";
import { packedAttentionBackward } from "../kernels/packed_attention_backward.ts";
import { scatterRows } from "../kernels/scatter_rows.ts";
import { softmaxCrossEntropy } from "../kernels/softmax_cross_entropy.ts";
import { squaredError } from "../kernels/squared_error.ts";
import { embedding } from "../kernels/embedding.ts";
import { gelu, geluBackward } from "../kernels/gelu.ts";
import { tanh, tanhBackward } from "../kernels/tanh.ts";
import { layerNorm } from "../kernels/layer_norm.ts";
import { layerNormBackward } from "../kernels/layer_norm_backward.ts";
import { loraBackward } from "../kernels/lora_backward.ts";
import { loraLinear } from "../kernels/lora_linear.ts";
import { bitsOf } from "../kernels/record.ts";
import { rmsNorm } from "../kernels/rms_norm.ts";
import { rmsNormBackward } from "../kernels/rms_norm_backward.ts";
import { geluGate, geluGateBackward } from "../kernels/gelu_gate.ts";
import { geluNewGate, geluNewGateBackward } from "../kernels/gelu_new_gate.ts";
import { multiplyByBackward } from "../kernels/multiply_by.ts";
import { reluGate, reluGateBackward } from "../kernels/relu_gate.ts";
import { rope } from "../kernels/rope.ts";
import { ropeBackward } from "../kernels/rope_backward.ts";
import { scaleColumns } from "../kernels/scale_columns.ts";
import { scaleColumnsBackward } from "../kernels/scale_columns_backward.ts";
import { siluGate } from "../kernels/silu_gate.ts";
import { siluGateBackward } from "../kernels/silu_gate.ts";
import { sumOfSquares } from "../kernels/sum_of_squares.ts";
import { tileFactors } from "../kernels/tile_factors.ts";
import { topSoftmax } from "../kernels/top_softmax.ts";
import { topSoftmaxBackward } from "../kernels/top_softmax_backward.ts";
import { unitRows } from "../kernels/unit_rows.ts";
import { unitRowsBackward } from "../kernels/unit_rows_backward.ts";
import { blockDiagonal } from "../kernels/block_diagonal.ts";
import { blockDiagonalBackward } from "../kernels/block_diagonal_backward.ts";
import { ownBlocks } from "../kernels/own_blocks.ts";
import { weightGradient } from "../kernels/weight_gradient.ts";
import { distance, randomSource } from "./kernel_contract.ts";

const training = [
  adamw,
  causalAttention,
  causalAttentionBackward,
  clipFactor,
  copy,
  crossEntropyHead,
  crossEntropyLoss,
  fill,
  linearTransposed,
  loraBackward,
  packedAttentionBackward,
  rmsNormBackward,
  scatterRows,
  softmaxCrossEntropy,
  squaredError,
  ropeBackward,
  scaleColumnsBackward,
  siluGateBackward,
  geluGateBackward,
  geluNewGateBackward,
  multiplyByBackward,
  reluGateBackward,
  sumOfSquares,
  tileFactors,
  topSoftmax,
  topSoftmaxBackward,
  weightGradient,
  unitRows,
  unitRowsBackward,
  blockDiagonal,
  blockDiagonalBackward,
  ownBlocks,
] as unknown as Kernel[];

/** References are plain loops, so they run on float64 as well; the kernels' types do not say so. */
const asFloat32 = (array: Float64Array): Float32Array => array as unknown as Float32Array;

/** No cap, or one that scores of tests reach. */
const softcaps = fc.constantFrom(0, 0.7, 3);

const zeros = (n: number): Float32Array => asFloat32(new Float64Array(n));

/** Float64 numbers of about 1 from a source of uniform ones. */
const numbers = (n: number, random: () => number): Float32Array =>
  asFloat32(Float64Array.from({ length: n }, () => 3 * random() - 1.5));

const dot = (a: TypedArray, b: TypedArray): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
};

/** Asserts that `gradient` is that of `loss` by `x`, element by element, by central differences in float64. */
function assertGradient(gradient: TypedArray, x: TypedArray, loss: () => number): void {
  const step = 1e-5;
  const differences = Float64Array.from(x, (value, i) => {
    x[i] = value + step;
    const above = loss();
    x[i] = value - step;
    const below = loss();
    x[i] = value;
    return (above - below) / (2 * step);
  });
  for (let i = 0; i < x.length; i++) {
    const error = Math.abs(gradient[i] - differences[i]);
    assert.ok(
      error <= 1e-6 * (1 + Math.abs(differences[i])),
      `element ${i}: ${gradient[i]}, by differences ${differences[i]}`,
    );
  }
}

const seed = fc.integer({ min: 0, max: 2 ** 31 });
const size = (max: number) => fc.integer({ min: 1, max });
/** Checks `body` for random values; fast-check prints the seed where one fails. */
function property<T extends unknown[]>(
  arbitraries: { [K in keyof T]: fc.Arbitrary<T[K]> },
  body: (...values: T) => void,
): void {
  fc.assert(fc.property(fc.tuple<T>(...arbitraries), (values) => body(...values)), { numRuns: 20 });
}

test("linear_transposed is the gradient of linear by its input, added where asked", () => {
  property([seed, size(5), size(7), size(6)], (seed, rows, inSize, out) => {
    const random = randomSource(seed);
    const x = numbers(rows * inSize, random), weight = numbers(out * inSize, random);
    const dy = numbers(rows * out, random), y = zeros(rows * out), dx = zeros(rows * inSize);
    const uniforms = { rows, in: inSize, out, accumulate: 0 };
    linearTransposed.reference({ dy, weight, dx }, uniforms);
    assertGradient(dx, x, () => {
      linear.reference({ x, weight, y }, uniforms);
      return dot(y, dy);
    });
    const twice = dx.slice();
    linearTransposed.reference({ dy, weight, dx: twice }, { ...uniforms, accumulate: 1 });
    twice.forEach((value, i) => assert.ok(Math.abs(value - 2 * dx[i]) < 1e-12));
  });
});

test("rms_norm_backward adds the gradient of rms_norm by its input", () => {
  property([seed, size(4), size(9)], (seed, rows, dim) => {
    const random = randomSource(seed);
    const x = numbers(rows * dim, random), weight = numbers(dim, random), dy = numbers(rows * dim, random);
    const y = zeros(rows * dim), dx = zeros(rows * dim).fill(10);
    const uniforms = { rows, dim, eps: 0.01 };
    rmsNormBackward.reference({ dy, x, weight, dx }, uniforms);
    assertGradient(dx.map((value) => value - 10), x, () => {
      rmsNorm.reference({ x, weight, y }, uniforms);
      return dot(y, dy);
    });
  });
});

test("rope_backward is the gradient of rope, and undoes it", () => {
  property([seed, size(3), size(3), size(4), fc.nat(2)], (seed, rows, heads, half, rest) => {
    const random = randomSource(seed);
    const rotaryDim = 2 * half, headDim = rotaryDim + 2 * rest;
    const positions = Uint32Array.from({ length: rows }, () => Math.floor(5 * random()));
    const table = numbers(5 * rotaryDim, random);
    for (let i = 0; i < table.length; i += 2) {
      const angle = table[i];
      table[i] = Math.cos(angle);
      table[i + 1] = Math.sin(angle);
    }
    const x = numbers(rows * heads * headDim, random), dy = numbers(x.length, random);
    const uniforms = { rows, heads, headDim, rotaryDim };
    const dx = dy.slice();
    ropeBackward.reference({ dx, table, positions }, uniforms);
    assertGradient(dx, x, () => {
      const y = x.slice();
      rope.reference({ x: y, table, positions }, uniforms);
      return dot(y, dy);
    });
    rope.reference({ x: dx, table, positions }, uniforms);
    dx.forEach((value, i) => assert.ok(Math.abs(value - dy[i]) < 1e-12));
  });
});

const gates = [
  [siluGate, siluGateBackward],
  [geluGate, geluGateBackward],
  [geluNewGate, geluNewGateBackward],
  [reluGate, reluGateBackward],
] as const;

for (const [gateKernel, gateBackward] of gates) {
  test(`${gateBackward.name} gives both gradients of ${gateKernel.name}`, () => {
    property([seed, size(20)], (seed, count) => {
      const random = randomSource(seed);
      const gate = numbers(count, random).map((value) => 4 * value), up = numbers(count, random);
      const dy = numbers(count, random), y = zeros(count), dgate = zeros(count), dup = zeros(count);
      gateBackward.reference({ dy, gate, up, dgate, dup }, { count });
      const loss = () => {
        gateKernel.reference({ gate, up, y }, { count });
        return dot(y, dy);
      };
      assertGradient(dgate, gate, loss);
      assertGradient(dup, up, loss);
    });
  });
}

test("causal_attention_backward gives the gradients of causal_attention over packed documents", () => {
  const documents = fc.array(size(4), { minLength: 1, maxLength: 3 });
  const shape = fc.record({ kvHeads: size(2), headDim: size(3), window: fc.nat(3), softcap: softcaps });
  property(
    [seed, documents, size(2), shape],
    (seed, documents, group, { kvHeads, headDim, window, softcap }) => {
      const random = randomSource(seed);
      const uniforms = sizesOf({ documents, heads: group * kvHeads, kvHeads, headDim, window, softcap });
      const { rows, heads } = uniforms;
      const own = rows * heads * headDim, shared = rows * kvHeads * headDim;
      const q = numbers(own, random), k = numbers(shared, random), v = numbers(shared, random);
      const dy = numbers(own, random), y = zeros(own), logsumexp = zeros(rows * heads);
      const { first, last } = bounds(documents);
      const loss = () => {
        causalAttention.reference({ q, k, v, first, y, logsumexp }, uniforms);
        return dot(y, dy);
      };
      loss();
      const dq = zeros(own), dk = zeros(shared), dv = zeros(shared);
      causalAttentionBackward.reference({ q, k, v, y, dy, logsumexp, first, last, dq, dk, dv }, uniforms);
      assertGradient(dq, q, loss);
      assertGradient(dk, k, loss);
      assertGradient(dv, v, loss);
    },
  );
});

test("packed_attention_backward gives the gradients of packed_attention", () => {
  const documents = fc.array(size(4), { minLength: 1, maxLength: 3 });
  property([seed, documents, size(2), size(3)], (seed, documents, heads, headDim) => {
    const random = randomSource(seed), { first, last } = bounds(documents);
    const uniforms = { rows: first.length, heads, headDim, scale: 0.7 }, stride = heads * headDim;
    const count = first.length * stride;
    const [q, k, v, dy] = [1, 2, 3, 4].map(() => numbers(count, random)), y = zeros(count);
    const loss = () => {
      packedAttention.reference({ q, k, v, first, last, y }, { ...uniforms, stride, qAt: 0, kAt: 0, vAt: 0 });
      return dot(y, dy);
    };
    loss();
    const dq = zeros(count), dk = zeros(count), dv = zeros(count);
    packedAttentionBackward.reference({ q, k, v, y, dy, first, last, dq, dk, dv }, uniforms);
    for (const [gradient, x] of [[dq, q], [dk, k], [dv, v]]) assertGradient(gradient, x, loss);
  });
});

test("packed_attention refuses the gradient of columns of one buffer", () => {
  const uniforms = { rows: 1, heads: 1, headDim: 2, scale: 1, stride: 6, qAt: 0, kAt: 2, vAt: 4 };
  assert.throws(() => packedAttention.backward!(uniforms), /buffers of their own/);
});

test("scatter_rows adds the gradient of embedding by its table, and nothing for a row of none", () => {
  property([seed, size(4), size(3)], (seed, rows, dim) => {
    const random = randomSource(seed), entries = rows + 2;
    const ids = Uint32Array.from({ length: rows }, (_, r) => r === 1 ? 0xffffffff : entries - 1 - r);
    const weight = numbers(entries * dim, random), dy = numbers(rows * dim, random), y = zeros(rows * dim);
    const gradient = zeros(entries * dim).fill(3);
    scatterRows.reference({ x: dy, ids, y: gradient }, { rows, dim, entries });
    assertGradient(gradient.map((value) => value - 3), weight, () => {
      embedding.reference({ ids, weight, y }, { rows, dim, vocab: entries });
      return dot(y, dy);
    });
  });
});

test("softmax_cross_entropy gives the gradient of its losses", () => {
  property([seed, size(4), size(6)], (seed, rows, classes) => {
    const random = randomSource(seed);
    const logits = numbers(rows * classes, random).map((value) => 5 * value);
    const targets = Uint32Array.from({ length: rows }, () => Math.floor(random() * classes));
    const losses = zeros(rows), dlogits = zeros(rows * classes), sizes = { rows, classes };
    softmaxCrossEntropy.reference({ logits, targets, losses, dlogits }, sizes);
    assertGradient(dlogits, logits, () => {
      softmaxCrossEntropy.reference({ logits, targets, losses, dlogits: zeros(dlogits.length) }, sizes);
      return losses.reduce((a, b) => a + b, 0);
    });
    const even = new Float32Array(classes), loss = new Float32Array(1);
    softmaxCrossEntropy.reference(
      {
        logits: even,
        targets: Uint32Array.of(classes - 1),
        losses: loss,
        dlogits: new Float32Array(classes),
      },
      { rows: 1, classes },
    );
    assert.ok(Math.abs(loss[0] - Math.log(classes)) < 1e-6);
  });
});

test("squared_error gives the gradient of its losses", () => {
  property([seed, size(5)], (seed, count) => {
    const random = randomSource(seed);
    const predictions = numbers(count, random), targets = numbers(count, random);
    const losses = zeros(count), gradient = zeros(count);
    squaredError.reference({ predictions, targets, losses, gradient }, { count });
    assertGradient(gradient, predictions, () => {
      squaredError.reference({ predictions, targets, losses, gradient: zeros(count) }, { count });
      return losses.reduce((a, b) => a + b, 0);
    });
  });
});

test("gelu_backward, tanh_backward and layer_norm_backward give the gradients of their kernels", () => {
  property([seed, size(4), size(6)], (seed, rows, dim) => {
    const random = randomSource(seed), count = rows * dim;
    const x = numbers(count, random), dy = numbers(count, random), y = zeros(count), dx = zeros(count);
    geluBackward.reference({ dy, x, dx }, { count });
    assertGradient(dx, x, () => {
      gelu.reference({ x, y }, { count });
      return dot(y, dy);
    });
    tanh.reference({ x, y }, { count });
    tanhBackward.reference({ dy, y, dx }, { count });
    assertGradient(dx, x, () => {
      tanh.reference({ x, y }, { count });
      return dot(y, dy);
    });
    const weight = numbers(dim, random), bias = numbers(dim, random), sizes = { rows, dim, eps: 0.01 };
    dx.fill(0);
    layerNormBackward.reference({ dy, x, weight, dx }, sizes);
    assertGradient(dx, x, () => {
      layerNorm.reference({ x, weight, bias, y }, sizes);
      return dot(y, dy);
    });
  });
});

test("causal_attention gives packed documents what each gets alone", () => {
  const random = randomSource(5);
  const documents = [3, 1, 4], width = 2 * 4;
  const run = (q: Float32Array, k: Float32Array, v: Float32Array, documents: readonly number[]) => {
    const uniforms = sizesOf({ documents, heads: 2, kvHeads: 1, headDim: 4 });
    const y = zeros(q.length), logsumexp = zeros(2 * uniforms.rows);
    causalAttention.reference({ q, k, v, first: bounds(documents).first, y, logsumexp }, uniforms);
    return y;
  };
  const q = numbers(8 * width, random), k = numbers(8 * 4, random), v = numbers(8 * 4, random);
  const packed = run(q, k, v, documents);
  let row = 0;
  for (const length of documents) {
    const end = row + length;
    const alone = run(
      q.slice(row * width, end * width),
      k.slice(row * 4, end * 4),
      v.slice(row * 4, end * 4),
      [length],
    );
    assert.deepEqual(packed.slice(row * width, end * width), alone);
    row = end;
  }
});

test("cross_entropy_head gives the gradient of its scaled losses, and zeros without a target", () => {
  property([seed, size(4), size(5), size(6), softcaps], (seed, rows, dim, vocab, softcap) => {
    const random = randomSource(seed);
    const hidden = numbers(rows * dim, random), weight = numbers(vocab * dim, random);
    const targets = Uint32Array.from(
      { length: rows },
      () => random() < 0.3 ? noTarget : Math.floor(random() * vocab),
    );
    const losses = zeros(rows).fill(NaN), dhidden = zeros(rows * dim).fill(NaN);
    const uniforms = { rows, dim, vocab, scale: 0.25, softcap };
    crossEntropyHead.reference({ hidden, weight, targets, losses, dhidden }, uniforms);
    targets.forEach((target, r) => {
      if (target !== noTarget) return;
      assert.equal(losses[r], 0);
      assert.ok(dhidden.slice(r * dim, (r + 1) * dim).every((value) => value === 0));
    });
    assertGradient(dhidden, hidden, () => {
      const alone = zeros(rows);
      crossEntropyLoss.reference({ hidden, weight, targets, losses: alone }, uniforms);
      return 0.25 * alone.reduce((a, b) => a + b, 0);
    });
  });
});

test("cross_entropy_loss of equal logits is the logarithm of the vocabulary", () => {
  for (const run of [crossEntropyLoss.reference, crossEntropyLoss.cpu!]) {
    const losses = new Float32Array(2).fill(NaN);
    const arrays = {
      hidden: new Float32Array([1, 2]),
      weight: new Float32Array(10),
      targets: new Uint32Array([3, 10]),
      losses,
    };
    run(arrays, { rows: 2, dim: 1, vocab: 10, scale: 1, softcap: 0 });
    assert.ok(Math.abs(losses[0] - Math.log(10)) < 1e-6);
    assert.equal(losses[1], 0);
  }
});

test("lora_backward adds the gradients of A, B and x of lora_linear", () => {
  property([seed, size(4), size(5), size(6), size(3)], (seed, rows, inSize, out, rank) => {
    const random = randomSource(seed);
    const offset = Math.floor(4 * random()), count = offset + rank * (inSize + out);
    const x = numbers(rows * inSize, random), dy = numbers(rows * out, random);
    const values = numbers(count, random);
    const gradient = zeros(count).fill(3), dx = zeros(x.length).fill(-2);
    const sizes = { rows, in: inSize, out };
    loraBackward.reference({ x, dy, values, gradient, dx }, { ...sizes, rank, offset, scale: 0.5 });
    const loss = () => {
      const y = zeros(rows * out);
      const records = Uint32Array.of(0, offset, rank, bitsOf(0.5));
      const slots = new Uint32Array(rows);
      // Of an adapter B is turned.
      const b = offset + rank * inSize, own = values.slice();
      for (let o = 0; o < out; o++) {
        for (let r = 0; r < rank; r++) own[b + r * out + o] = values[b + o * rank + r];
      }
      loraLinear.reference({ x, slots, records, values: own, y }, {
        rows,
        in: inSize,
        out0: out,
        out1: 0,
        out2: 0,
        linear: 0,
        capacity: 1,
      });
      return dot(y, dy);
    };
    assertGradient(gradient.map((value) => value - 3), values, loss);
    assertGradient(dx.map((value) => value + 2), x, loss);
  });
});

test("weight_gradient adds the gradient of linear by its weight", () => {
  property([seed, size(5), size(7), size(6), size(4)], (seed, rows, inSize, out, offset) => {
    const random = randomSource(seed);
    const x = numbers(rows * inSize, random), weight = numbers(out * inSize, random);
    const dy = numbers(rows * out, random), y = zeros(rows * out);
    const gradient = zeros(offset + weight.length).fill(3);
    weightGradient.reference({ dy, x, gradient }, { rows, in: inSize, out, offset, scale: 0.5 });
    assert.ok(gradient.subarray(0, offset).every((value) => value === 3));
    assertGradient(gradient.subarray(offset).map((value) => value - 3), weight, () => {
      linear.reference({ x, weight, y }, { rows, in: inSize, out, accumulate: 0 });
      return 0.5 * dot(y, dy);
    });
  });
});

test("scale_columns_backward adds the factors' gradient of scale_columns, and gives its input's", () => {
  property([seed, size(5), size(7), size(4)], (seed, rows, out, offset) => {
    const random = randomSource(seed), sizes = { rows, out, offset };
    const t = numbers(rows * out, random), values = numbers(offset + out, random);
    const c = numbers(rows * out, random), dy = c.slice(), gradient = zeros(values.length).fill(3);
    scaleColumnsBackward.reference({ t, values, gradient, dy }, sizes);
    const loss = () => {
      const y = t.slice();
      scaleColumns.reference({ values, y }, sizes);
      return dot(y, c);
    };
    assertGradient(gradient.map((value) => value - 3), values, loss);
    assertGradient(dy, t, loss);
  });
});

test("top_softmax_backward adds the gradient of top_softmax: none to numbers that it does not take", () => {
  property([seed, size(4), size(9), size(4), size(4)], (seed, rows, vectors, most, offset) => {
    const random = randomSource(seed), top = Math.min(most, vectors);
    const logits = numbers(offset + rows * vectors, random), dweights = numbers(rows * vectors, random);
    const weights = zeros(rows * vectors), gradient = zeros(logits.length).fill(3);
    topSoftmax.reference({ logits, weights }, { rows, vectors, top, offset });
    for (let r = 0; r < rows; r++) {
      const own = weights.subarray(r * vectors, (r + 1) * vectors);
      assert.equal(own.filter((weight) => weight > 0).length, top);
      assert.ok(Math.abs(own.reduce((sum, weight) => sum + weight, 0) - 1) < 1e-12);
    }
    topSoftmaxBackward.reference({ weights, dweights, gradient }, { rows, vectors, offset });
    const at = weights.slice();
    assertGradient(gradient.map((value) => value - 3), logits, () => {
      topSoftmax.reference({ logits, weights: at }, { rows, vectors, top, offset });
      return dot(at, dweights);
    });
  });
});

test("tile_factors puts vectors into the rows of A and the columns of B, and takes them back", () => {
  property([seed, size(4), size(3), size(3), size(4)], (seed, rank, tilesIn, tilesOut, length) => {
    const sizes = { rank, in: tilesIn * length, out: tilesOut * length, length };
    const x = numbers(rank * (sizes.in + sizes.out), randomSource(seed)),
      y = zeros(x.length),
      again = zeros(x.length);
    tileFactors.reference({ x, y }, { ...sizes, back: 0 });
    const middle = rank * sizes.in;
    assert.deepEqual(y.subarray(0, middle), x.subarray(0, middle));
    for (let t = 0; t < tilesOut; t++) {
      for (let k = 0; k < rank; k++) {
        for (let e = 0; e < length; e++) {
          const found = y[middle + (t * length + e) * rank + k];
          assert.equal(found, x[middle + (t * rank + k) * length + e]);
        }
      }
    }
    tileFactors.reference({ x: y, y: again }, { ...sizes, back: 1 });
    assert.deepEqual(again, x);
  });
});

test("unit_rows_backward adds the gradient of unit_rows", () => {
  property([seed, size(4), size(7), size(4)], (seed, rows, dim, offset) => {
    const random = randomSource(seed), sizes = { rows, dim, offset, norm: 1.5 };
    const values = numbers(offset + rows * dim, random).map((value) => value + Math.sign(value));
    const dy = numbers(rows * dim, random), y = zeros(rows * dim), gradient = zeros(values.length).fill(3);
    unitRowsBackward.reference({ values, dy, gradient }, sizes);
    assertGradient(gradient.map((value) => value - 3), values, () => {
      unitRows.reference({ values, y }, sizes);
      return dot(y, dy);
    });
  });
});

test("block_diagonal_backward adds the gradient of block_diagonal", () => {
  property([seed, size(4), size(5), size(4)], (seed, rows, dim, copies) => {
    const random = randomSource(seed), sizes = { rows, dim, copies };
    const x = numbers(rows * dim, random), dy = numbers(copies * rows * copies * dim, random);
    const y = zeros(dy.length), dx = zeros(x.length).fill(3);
    blockDiagonalBackward.reference({ dy, dx }, sizes);
    assertGradient(dx.map((value) => value - 3), x, () => {
      blockDiagonal.reference({ x, y }, sizes);
      return dot(y, dy);
    });
  });
});

test("adamw follows torch.optim.AdamW's steps", () => {
  // By the rule of torch/optim/adamw.py in another language's float64.
  const params = zeros(2).fill(1), m = zeros(2), v = zeros(2), clip = Float32Array.of(NaN, 1);
  [[0.5, -2], [1, 3]].forEach((grads, i) => {
    const hyper = adamwHyper({ step: i + 1, lr: 0.1, weightDecay: 0.05, eps: 1e-3 });
    adamw.reference({ params, grads: Float32Array.from(grads), m, v, hyper, clip }, { count: 2 });
  });
  const close = (actual: TypedArray, expected: readonly number[]) =>
    expected.forEach((value, i) =>
      assert.ok(Math.abs(actual[i] - value) < 1e-6, `${actual[i]}, expected ${value}`)
    );
  close(params, [0.794327314648704, 1.0647148041706207]);
  close(m, [0.145, 0.12]);
  close(v, [0.00124975, 0.012996]);
});

test("adamw's first step has the size of the learning rate, whatever the gradient's", () => {
  property([seed, fc.double({ min: 1e-3, max: 1e3, noNaN: true })], (seed, factor) => {
    const random = randomSource(seed);
    const grads = numbers(9, random), params = zeros(9), m = zeros(9), v = zeros(9);
    const hyper = adamwHyper({ step: 1, lr: 0.25, weightDecay: 0, eps: 1e-12 });
    adamw.reference({ params, grads, m, v, hyper, clip: Float32Array.of(0, factor) }, { count: 9 });
    params.forEach((value, i) => assert.ok(Math.abs(value + 0.25 * Math.sign(grads[i])) < 1e-3));
  });
});

test("clip_factor brings the norm of sum_of_squares down to the limit, and leaves smaller ones", () => {
  property([seed, size(50), fc.double({ min: 0.01, max: 10, noNaN: true })], (seed, count, maxNorm) => {
    const x = numbers(count, randomSource(seed));
    const sum = zeros(1), clip = zeros(2);
    sumOfSquares.reference({ x, sum }, { count });
    clipFactor.reference({ sums: sum, clip }, { count: 1, maxNorm });
    const norm = Math.hypot(...x);
    assert.ok(Math.abs(clip[0] - norm) < 1e-12 * (1 + norm));
    if (norm + 1e-6 <= maxNorm) assert.equal(clip[1], 1);
    else assert.ok(Math.abs(clip[1] * (norm + 1e-6) - maxNorm) < 1e-12 * maxNorm);
  });
});

test("training kernels' cpu forms agree with their references on every case", () => {
  for (const kernel of training) {
    if (!kernel.cpu) continue;
    for (const { name, uniforms, dtypes, make } of casesOf(kernel).cases) {
      const made = make(randomSource(11));
      const [expected, actual] = [kernel.reference, kernel.cpu].map((run) => {
        const arrays = Object.fromEntries(
          Object.entries(made).map(([name, array]) => {
            const dtype = dtypes?.[name] ?? kernel.buffers[name].dtypes[0];
            return [name, array instanceof Uint16Array ? widen(array, dtype) : array.slice()];
          }),
        );
        run(arrays, uniforms);
        return arrays;
      });
      for (const [buffer, { access }] of Object.entries(kernel.buffers)) {
        if (access === "read") continue;
        const d = distance(actual[buffer], expected[buffer]);
        assert.ok(d <= 1e-6, `${kernel.name}, case "${name}", output "${buffer}": relative distance ${d}`);
      }
    }
  }
});

test("training kernels launch within WebGPU's guaranteed limits in every case and bench", () => {
  for (const kernel of training) {
    const { cases, benches } = casesOf(kernel);
    for (const { name, uniforms, dtypes } of [...cases, ...benches]) {
      const all = Object.fromEntries(
        Object.entries(kernel.buffers).map(([buffer, spec]) => [buffer, dtypes?.[buffer] ?? spec.dtypes[0]]),
      );
      const { dispatches, scratch = {}, tables = {} } = kernel.launch(
        { uniforms, dtypes: all },
        portableLimits,
      );
      const known = new Set([
        ...Object.keys(kernel.buffers),
        ...Object.keys(scratch),
        ...Object.keys(tables),
      ]);
      for (const { bindings, grid } of dispatches) {
        const where = `${kernel.name}, "${name}"`;
        assert.ok(bindings.length <= 8, `${where}: ${bindings.length} storage buffers`);
        assert.ok(bindings.every((binding) => known.has(binding.name)), where);
        assert.ok(grid.every((n) => n >= 1 && n <= 65535), `${where}: grid ${grid}`);
      }
      const most = 32 * 2 ** 20;
      assert.ok(Object.values(scratch).every((bytes) => bytes <= most), `${kernel.name}, "${name}": scratch`);
    }
  }
});

test("training kernels refuse sizes that no launch can hold for", () => {
  const float32 = new Proxy({}, { get: () => "float32" as const }) as Record<string, "float32">;
  const launch =
    <B extends string, U extends string>(kernel: Kernel<B, U>, uniforms: Record<U, number>) => () =>
      kernel.launch({ uniforms, dtypes: float32 as Record<B, "float32"> }, portableLimits);
  const sizes = { rows: 1, heads: 2, kvHeads: 1, headDim: 4, window: 0, scale: 1, softcap: 0 };
  for (const kernel of [causalAttention, causalAttentionBackward]) {
    assert.throws(launch(kernel as unknown as Kernel, { ...sizes, headDim: 257 }), RangeError);
    assert.throws(launch(kernel as unknown as Kernel, { ...sizes, kvHeads: 3 }), RangeError);
  }
  assert.throws(launch(linearTransposed, { rows: 1, in: 0, out: 1, accumulate: 0 }), RangeError);
  assert.throws(launch(ropeBackward, { rows: 1, heads: 1, headDim: 3, rotaryDim: 3 }), RangeError);
  assert.throws(launch(crossEntropyHead, { rows: 1, dim: 1, vocab: 0, scale: 1, softcap: 0 }), RangeError);
  assert.throws(launch(loraBackward, { rows: 1, in: 1, out: 1, rank: 0, offset: 0, scale: 1 }), RangeError);
});
