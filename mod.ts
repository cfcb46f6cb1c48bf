/**
 * fourierft: PEFT adapters at the edge. FourierFT's dW is applied without ever being built, on a GPU through WebGPU or
 * on the CPU. Each row of a batch may have its own adapter.
 *
 * This door needs only what the web has, and bundles for pages and Workers as it is. `fourierft/node` has files, Dawn and
 * ports; `fourierft/kernels`, `fourierft/safetensors`, `fourierft/server` and `fourierft/testing` are parts of their own.
 *
 * - {@linkcode openDevice} chooses a device; {@linkcode webgpuDevice} takes the caller's own `GPUDevice`.
 * - {@linkcode fourierModule}, {@linkcode deltaOf}, {@linkcode applyModule}, {@linkcode merge} and {@linkcode unmerge}
 *   work on one adapted linear; {@linkcode loadAdapter} reads a PEFT folder.
 * - {@linkcode adapterOn} applies an adapter to buffers of another library, on its `GPUDevice`; {@linkcode tensorOf} makes
 *   tensors of such buffers.
 * - {@linkcode moduleData}, {@linkcode ownProducts} and {@linkcode cosineOf} are the numbers of pictures, which
 *   `fourierft/pictures` draws.
 * - {@linkcode openModel} opens a model folder and answers requests, each with its own adapter.
 * - {@linkcode openEncoder} opens an encoder's folder: embeddings, hidden states and labels' scores, each sequence with its
 *   own adapter.
 * - {@linkcode quantizeFolder} writes a model's weights in 8 or 4 bits; {@linkcode perplexity} tells what that costs.
 * - {@linkcode train} makes an adapter of a model folder and a text; `openCheckpoints` of
 *   `fourierft/node` keeps its way on a disk. {@linkcode trainEncoder} makes one of an encoder and labelled examples, with
 *   its head.
 *
 * @module
 */
export type {
  Access,
  Arrays,
  Backward,
  BackwardStep,
  Binding,
  BufferSpec,
  ByteProducts,
  Call,
  Choice,
  Consume,
  Dispatch,
  Frequencies,
  GradientTarget,
  Kernel,
  Launch,
  Limits,
  LineText,
  Parts,
  PartsBank,
  Produce,
  ProductSizes,
  QuadText,
  ReadSource,
  ReadUnit,
  Relay,
  RowProduct,
  Table,
  TextSize,
  Together,
  UniformType,
  WasmCall,
  WasmStep,
  WasmWeight,
  WeightArrays,
  WeightFormat,
  WeightRows,
  WeightShape,
  WeightSteps,
  WeightTypes,
} from "./kernels/mod.ts";
export {
  type AdaptedLinear,
  applyModule,
  deltaOf,
  merge,
  mergedBias,
  unmerge,
} from "./src/adapters/apply.ts";
export type { DeltaCells, Reduction } from "./src/pictures/cells.ts";
export type { Histogram } from "./src/pictures/histogram.ts";
export type { ModuleNumber } from "./src/pictures/layers.ts";
export { type ModuleData, moduleData, type ModuleDataOptions } from "./src/pictures/module_data.ts";
export { cosineOf, type DeltaProducts, ownProducts } from "./src/pictures/products.ts";
export {
  adapterModuleData,
  adapterModuleNumbers,
  type AdapterNumbers,
  type AdapterNumbersOptions,
  type PictureService,
} from "./src/pictures/service.ts";
export type { SpectrumPoints } from "./src/pictures/spectrum.ts";
export type { LinearModule } from "./src/adapters/alone.ts";
export {
  type AdapterOn,
  adapterOn,
  type ModuleChoice,
  type OwnLinear,
  type PreparedModule,
} from "./src/adapter_on.ts";
export { Bank, type Linear, type LinearGroup, type Placed } from "./src/adapters/bank.ts";
export { type BaseOptions, baseOptions } from "./src/adapters/base_options.ts";
export { baseLinear } from "./src/adapters/base.ts";
export type {
  C3aOptions,
  EtherOptions,
  FourierOptions,
  Ia3Options,
  LoraOptions,
  NewAdapter,
  OwnAdapter,
  SavedOptions,
  SvftOptions,
  VbLoraOptions,
  VeraOptions,
  WaveftOptions,
} from "./src/adapters/create.ts";
export type {
  AdapterFiles,
  AdapterModule,
  AfterStep,
  BankTensors,
  BaseLinear,
  BeforeAllStep,
  BeforeStep,
  BesideStep,
  CombinedFiles,
  CombineIo,
  DeltaIo,
  DeltaMode,
  DeltaRows,
  Factors,
  LinearShape,
  Method,
  MethodFacts,
  Packed,
  Phase,
  ReadOptions,
  ReadyIo,
  SingularFactors,
  Summand,
  Term,
  Workspace,
} from "./src/adapters/method.ts";
export type {
  MethodTraining,
  NewModule,
  NumberSpec,
  OptionSpec,
  OptionValue,
  SharedNumbers,
  TrainableModule,
  TrainablePhase,
  TrainAfterIo,
  TrainBeforeIo,
  TrainIo,
  WordSpec,
} from "./src/adapters/training.ts";
export { boft } from "./src/adapters/methods/boft.ts";
export { adalora } from "./src/adapters/methods/adalora.ts";
export { delora } from "./src/adapters/methods/delora.ts";
export { dora } from "./src/adapters/methods/dora.ts";
export { ether } from "./src/adapters/methods/ether.ts";
export { fourierft, fourierModule, type Spectrum } from "./src/adapters/methods/fourierft.ts";
export { hira } from "./src/adapters/methods/hira.ts";
export { hra } from "./src/adapters/methods/hra.ts";
export { ia3 } from "./src/adapters/methods/ia3.ts";
export { loha } from "./src/adapters/methods/loha.ts";
export { lokr } from "./src/adapters/methods/lokr.ts";
export { lora } from "./src/adapters/methods/lora.ts";
export { loraXs } from "./src/adapters/methods/lora_xs.ts";
export { miss } from "./src/adapters/methods/miss.ts";
export { missBat } from "./src/adapters/methods/miss_bat.ts";
export { lazyMethods } from "./src/adapters/methods/lazy.ts";
export type { LazyMethod, ListedMethod } from "./src/adapters/method_list.ts";
export { methods } from "./src/adapters/methods/mod.ts";
export { oft } from "./src/adapters/methods/oft.ts";
export { randlora } from "./src/adapters/methods/randlora.ts";
export { road } from "./src/adapters/methods/road.ts";
export { shira } from "./src/adapters/methods/shira.ts";
export { svft } from "./src/adapters/methods/svft.ts";
export { tinylora } from "./src/adapters/methods/tinylora.ts";
export { vblora } from "./src/adapters/methods/vblora.ts";
export { vera } from "./src/adapters/methods/vera.ts";
export { loadAdapter, type LoadedAdapter, type LoadOptions } from "./src/adapters/peft.ts";
export {
  AdapterRegistry,
  type AdapterStore,
  type AdapterTerm,
  type Found,
  type FoundAdapter,
  type FullBank,
  type Holding,
  type Lease,
  type LeftOut,
  type OpenStoredOptions,
  type RegistryOptions,
  type StoredAdapter,
} from "./src/adapters/registry.ts";
export { refuseUnknown } from "./src/adapters/fields.ts";
export { finiteFloats } from "./src/adapters/numbers.ts";
export type { OwnBank, OwnTensors, ResidentTable } from "./src/adapters/own_bank.ts";
export type { OwnChanges, OwnNumbers, OwnTable } from "./src/adapters/own_changes.ts";
export type { Parameter, ParameterKind } from "./src/adapters/parameters.ts";
export type {
  Replacement,
  Replacements,
  TableFactors,
  TableRows,
  WholeParameter,
} from "./src/adapters/replacements.ts";
export { lnTuning } from "./src/adapters/methods/ln_tuning.ts";
export { trainableTokens } from "./src/adapters/methods/trainable_tokens.ts";
export type { BaseOf } from "./src/adapters/ready.ts";
export { AdapterAdmin } from "./src/adapters/admin.ts";
export type { AdapterChange } from "./src/adapters/change.ts";
export { RecentStore, type RecentStoreOptions } from "./src/adapters/recent_store.ts";
export { ManagedStore, type ManagedStoreOptions } from "./src/adapters/managed_store.ts";
export type { SentFiles } from "./src/adapters/uploads.ts";
export { type ObjectStorage, ObjectStore, type ObjectStoreOptions } from "./src/adapters/object_store.ts";
export type {
  AdapterCard,
  AdapterPage,
  AdapterService,
  AdapterStats,
  PageOptions,
  ResidentAdapter,
} from "./src/adapters/service.ts";
export { combineAdapters, type Combined, type CombineOptions, type WeightedAdapter } from "./src/combine.ts";
export { cpuDevice, type CpuDeviceOptions } from "./src/device/cpu.ts";
export type { CpuProducts } from "./src/device/wasm.ts";
export {
  type Device,
  DeviceError,
  type Program,
  type Range,
  type TensorUse,
  type Trace,
  type TracedLaunch,
} from "./src/device/device.ts";
export type { KnownWay } from "./src/device/known_ways.ts";
export { openCpuDevice } from "./src/device/open_cpu.ts";
export { openDevice, type OpenDeviceOptions } from "./src/device/open_device.ts";
export { type OpenGpu, openGpu, type OpenGpuOptions } from "./src/device/open_gpu.ts";
export type { Tuned, TuningOptions } from "./src/device/tuner.ts";
export { type WebGpuDevice, webgpuDevice, type WebGpuDeviceOptions } from "./src/device/webgpu.ts";
export type { KvCacheDtype } from "./kernels/caches/format.ts";
export { BatchEngine, type EngineOptions } from "./src/engine/batch_engine.ts";
export type { CacheCounts } from "./src/engine/paging.ts";
export type { ClassifierParameters } from "./src/engine/classifiers.ts";
export {
  Encoder,
  type EncodeRequest,
  type EncoderInput,
  type EncoderOptions,
  type EncoderOutput,
  type EncodingService,
  type Pooling,
} from "./src/engine/encoder.ts";
export type { ConstrainedRun, Constraint } from "./src/engine/constraint.ts";
export type { MergingMode } from "./src/engine/merging.ts";
export type {
  Engine,
  EngineStats,
  GenerateEvent,
  GenerateRequest,
  Owner,
  Sampling,
  TokenLogprobs,
} from "./src/engine/generate.ts";
export {
  generateText,
  type TextEvent,
  type TextLogprobs,
  type TextOptions,
  type TextToken,
} from "./src/engine/text.ts";
export {
  CombinationError,
  ConfigError,
  GrammarError,
  NonFiniteError,
  NotFoundError,
  OverloadedError,
  StoreError,
} from "./src/errors.ts";
export { MissingFileError, type ReadableFolder, readTextBy, type WritableFolder } from "./src/folder.ts";
export type { FileHandleLike, FolderHandleLike, ResponseCache, UrlCache } from "./src/url/cache.ts";
export { openUrlFolder, type OpenUrlFolderOptions, type UrlProgress } from "./src/url/folder.ts";
export { folderOptions, mergeFolder } from "./src/merge.ts";
export { openGguf } from "./src/models/gguf/folder.ts";
export type { ClassifierLinear, EncoderConfig, ModelConfig } from "./src/models/family.ts";
export type {
  Columns,
  EncoderTensors,
  Ending,
  Graph,
  Io,
  Operation,
  OwnIo,
  OwnSteps,
  ProjectionIo,
  Recorded,
  Rope,
  RowsOf,
  RowTensors,
  States,
  StepIo,
  Value,
  WholeIo,
  WholeStep,
} from "./src/models/graph.ts";
export { imagePixels, type ImageProcessing } from "./src/models/image_processing.ts";
export { type Image, resizedImage } from "./src/models/image_resize.ts";
export {
  trainEncoder,
  type TrainEncoderEvent,
  type TrainEncoderOptions,
  type TrainEncoderOutcome,
} from "./src/train/encoder.ts";
export type { Example, ImageExample, TextExample } from "./src/training/examples.ts";
export type { HeadTask } from "./src/training/head.ts";
export type { HeadReport } from "./src/training/head_report.ts";
export type { Label } from "./src/training/labels.ts";
export type { ClassMetrics, RegressionMetrics } from "./src/training/metrics.ts";
export type { EncoderModel, LoadedModel, Model, Projection } from "./src/models/model.ts";
export type { RopeConfig, RopeScaling } from "./src/models/rope_config.ts";
export type { LinearWeights, Weight } from "./src/models/weights.ts";
export type { Quantization, QuantizeTo } from "./src/models/quantization.ts";
export type { ChatMessage, PairTokenizer, Tokenizer, TypedTokens } from "./src/models/tokenizer_types.ts";
export {
  type OpenEncoder,
  openEncoder,
  type OpenEncoderOptions,
  type OpenModel,
  openModel,
  type OpenModelOptions,
} from "./src/open.ts";
export { type Perplexity, perplexity, type PerplexityOptions } from "./src/perplexity.ts";
export { type Plan, type Step, step } from "./src/plan.ts";
export { type ConvertedModule, convertFused, type ConvertOptions } from "./src/convert.ts";
export { quantizeFolder } from "./src/quantize.ts";
export type { ByteSource } from "./src/safetensors/mod.ts";
export {
  type BufferView,
  type DeviceBuffer,
  type DType,
  type HostTensor,
  type Tensor,
  tensor,
  tensorOf,
  type TypedArray,
} from "./src/tensor.ts";
export { train, type TrainEvent, type TrainOptions, type TrainOutcome } from "./src/train.ts";
export type { CheckpointStore, Files } from "./src/training/checkpoint.ts";
export type { TrainingText } from "./src/training/content.ts";
export type { ByteStream, DataCounts, DataFormat, LossOn, Packing } from "./src/training/data.ts";
export {
  type AdapterToContinue,
  trainDefaults,
  type TrainRunOptions,
  type TrainSettings,
} from "./src/training/options.ts";
export type { ScheduleName } from "./src/training/schedule.ts";
export { type PerplexityReport, type RunEvent, TrainingError } from "./src/training/run.ts";
export type { CopyFault } from "./src/adapters/copies.ts";
export type { TokenDecoder } from "./src/engine/detokenizer.ts";
export type { ChatOptions } from "./src/models/tokenizer_types.ts";
