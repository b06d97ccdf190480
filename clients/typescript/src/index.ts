/** Client of Kenning, a knowledge base for AI agents. */

export { Kenning } from "./client.js";
export type {
  CountOptions,
  DeletedFacts,
  FactList,
  ListOptions,
  RawRequest,
  StoreOptions,
  UpdateOptions,
} from "./client.js";
export type { ChangesOptions } from "./changes.js";
export { ImportError, KenningError, isKenningError } from "./errors.js";
export type { ClientErrorCode, ErrorBlame, ImportReport } from "./errors.js";
export type { ExportOptions } from "./exporting.js";
export type { ImportOptions, ImportPiece, ImportSource } from "./importing.js";
export type { components, operations, paths } from "./openapi.js";
export type { CallOptions, KenningOptions } from "./transport.js";
export type * from "./types.js";
