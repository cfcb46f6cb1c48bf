/**
 * What GGUF files need of the library, loaded with the first of them.
 *
 * @module
 */
export { openGguf } from "fourierft";
