/**
 * The version of this package.
 *
 * @module
 */

/** As in `package.json` and `deno.json`, which a test compares. */
export const version = "0.1.0";
