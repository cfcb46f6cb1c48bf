/**
 * What the view of pictures needs of the library, loaded when the view is first opened.
 *
 * @module
 */
export { adapterModuleData, adapterModuleNumbers } from "fourierft";
