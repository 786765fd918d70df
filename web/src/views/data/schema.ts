/** What a dataset's schema says of its rows: which field is asked for how, and by what a row is found. */
import type { Schema } from "../../api";

export type Dataset = Schema<"Dataset">;
export type Row = Schema<"Row">;
export type Value = Row[string];

export interface Field {
  name: string;
  type: string;
  format?: string;
  description?: string;
  encrypted?: boolean;
  constraints: {
    required?: boolean;
    unique?: boolean;
    enum?: (string | number)[];
    maxLength?: number;
  };
}

interface Keys {
  primaryKey?: string | string[];
  uniqueKeys?: (string | string[])[];
  identity?: string;
}

export function fieldsOf(dataset: Dataset): Field[] {
  return dataset.schema.fields.map((one) => ({
    ...one,
    type: one.type ?? "string",
    constraints: (one.constraints ?? {}) as Field["constraints"],
  }));
}

/** The number that each row gets, in a dataset that has one. */
export function identityOf(dataset: Dataset): string | null {
  return (dataset.schema as Keys).identity ?? null;
}

/** The keys, the one first by which a row is addressed. */
function keysOf(dataset: Dataset): string[][] {
  const { primaryKey = [], uniqueKeys = [] } = dataset.schema as Keys;
  const primary = [primaryKey].flat();
  const alone = fieldsOf(dataset).filter((one) => one.constraints.unique);
  const declared = uniqueKeys.map((one) => [one].flat());
  return [...(primary.length ? [primary] : []), ...alone.map((one) => [one.name]), ...declared];
}

/** The fields that rows can be sorted and filtered by without reading all of them. */
export function indexed(dataset: Dataset): Set<string> {
  const first = [...keysOf(dataset), ...dataset.indexes].flatMap((one) => one.slice(0, 1));
  return new Set(first.filter((name) => !isEncrypted(dataset, name)));
}

/** Whether nobody finds rows by this field, nor has it in an address. */
function isEncrypted(dataset: Dataset, name: string): boolean {
  return fieldsOf(dataset).some((one) => one.name === name && one.encrypted);
}

/** What stands in the address of a row, or null: it has none. */
export function keyOf(dataset: Dataset, row: Row): string | null {
  const identity = identityOf(dataset);
  const key = identity ? [identity] : keysOf(dataset)[0];
  if (!key?.every((name) => row[name] != null && typeof row[name] !== "object")) return null;
  if (key.some((name) => isEncrypted(dataset, name))) return null;
  return key.map((name) => escaped(String(row[name]))).join(",") || "~5"; // without it, all rows
}

const ESCAPES: Record<string, string> = { "~": "~0", "/": "~1", ",": "~2", "%": "~3" };

function escaped(value: string): string {
  if (value === "." || value === "..") return value.replaceAll(".", "~4");
  return value.replace(/[~/,%]/g, (one) => ESCAPES[one]!);
}

/** A value as it is read, and typed into a form. */
export function shown(value: Value | undefined): string {
  if (value === null || value === undefined) return "";
  return typeof value === "object" ? JSON.stringify(value, exact) : String(value);
}

/** A BigInt in a document as the number that it was in the answer. */
function exact(_: string, value: unknown): unknown {
  if (typeof value !== "bigint") return value;
  return (JSON as unknown as { rawJSON: (text: string) => unknown }).rawJSON(String(value));
}
