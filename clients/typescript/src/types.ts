/**
 * Names for the shapes of the HTTP API. All but the filter are the generated ones, so that a member
 * is called what `docs/openapi.json` calls it.
 */

import type { components } from "./openapi.js";

type Schemas = components["schemas"];

/** A JSON object: what is known of a fact beside its text. */
export type Metadata = Schemas["Metadata"];
/** A fact to store. */
export type Draft = Schemas["Draft"];
/** A stored fact. */
export type Fact = Schemas["Fact"];
/** What storing does where the fact's id is taken, and where it is not. */
export type StoreMode = Schemas["StoreMode"];
/** What to change of a fact; what is left out stays. */
export type Change = Schemas["Change"];
/** What a store or an update did. */
export type Stored = Schemas["Stored"];
/** What a deletion did. */
export type Deleted = Schemas["Deleted"];
/** What became of one draft of a batch; `status` tells which it is. */
export type BatchResult = Schemas["BatchResult"];
/** One page of a listing. */
export type FactPage = Schemas["FactPage"];
/** How many facts there are. */
export type Count = Schemas["Count"];
/** What one request of a deletion by filter did. */
export type FactsDeleted = Schemas["FactsDeleted"];
/** What a search found. */
export type SearchAnswer = Schemas["SearchAnswer"];
/** A fact that a search found. */
export type Hit = Schemas["Hit"];
/** One outcome of several searches: the answer, or an error, which has a `status`. */
export type SearchResult = Schemas["SearchResult"];
/** Figures of the tenant and of the server. */
export type Stats = Schemas["Stats"];
/** One line of an import: a draft, or a fact as an export has it. */
export type ImportFact = Schemas["ImportFact"];
/** A line that an import did not take, and why. */
export type RefusedLine = Schemas["RefusedLine"];
/** One change of a fact, or the gap in which changes are no longer kept. */
export type ChangeEvent = Schemas["ChangeEvent"];
/** The body of the server's errors. */
export type ErrorBody = Schemas["Error"];
/** The server's codes of errors. */
export type ErrorCode = Schemas["ErrorCode"];
/** Particulars of an error. */
export type ErrorDetails = Schemas["ErrorDetails"];
/** A condition on one field of the metadata, such as `{ gte: 2025 }`. */
export type Condition = Schemas["Condition"];

/** A value that a filter compares with. */
export type FilterValue = string | number | boolean | null;

/**
 * Which facts: `{ topic: "network", year: { gte: 2025 } }`, joined with `AND`, `OR` and `NOT`.
 *
 * The generated type says the same of each field, but TypeScript cannot exempt `AND`, `OR` and `NOT`
 * from what it says of all fields.
 */
export interface Filter {
  [field: string]: FilterValue | Condition | Filter | Filter[] | undefined;
}

/** What to search for. */
export type Query = Omit<Schemas["Query"], "filter"> & { filter?: Filter | null };
