/** What the kernel contract uses of node:assert/strict, for a page. */
function fail(message, fallback) {
  throw new Error(message ?? fallback);
}

const sameArray = (a, b) =>
  a.constructor === b.constructor && a.length === b.length && a.every((x, i) => Object.is(x, b[i]));

export default {
  ok(value, message) {
    if (!value) fail(message, "not truthy");
  },
  equal(actual, expected, message) {
    if (!Object.is(actual, expected)) fail(message, `${actual} is not ${expected}`);
  },
  /** Typed arrays only: the contract compares no other values. */
  deepEqual(actual, expected, message) {
    if (!ArrayBuffer.isView(expected)) fail("Cannot compare values that are not typed arrays in a page");
    if (!sameArray(actual, expected)) fail(message, "arrays differ");
  },
};
