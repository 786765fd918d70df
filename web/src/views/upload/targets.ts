/** Where the rows of a file may go, and which place its header speaks for. */
import { useEffect, useState } from "preact/hooks";
import { api, type Schema } from "../../api";
import { Offline, Problem } from "../../http";
import { fits } from "./header";
import type { Target } from "./queue";

const PAGE = 100;
const MOST = 2000; // names in the list
const LONGEST = 63; // bytes of a name

export type Fields = Schema<"TableSchema">["fields"];

export interface Place extends Target {
  fields: Fields;
  mode: Schema<"Dataset">["mode"];
  /** Whether rows can be told apart, as the modes other than insert need. */
  hasKey: boolean;
}

interface Places {
  all: Place[] | null;
  error: Problem | Offline | null;
  reload: () => void;
}

/** The datasets that the account may write to, then the templates of which it has none. */
export function usePlaces(): Places {
  const [all, setAll] = useState<Place[] | null>(null);
  const [error, setError] = useState<Problem | Offline | null>(null);
  const [tries, setTries] = useState(0);
  useEffect(() => {
    const stop = new AbortController();
    setError(null);
    load(stop.signal).then(setAll, (failure) => {
      if (stop.signal.aborted) return;
      if (!(failure instanceof Problem || failure instanceof Offline)) throw failure;
      setError(failure);
    });
    return () => stop.abort();
  }, [tries]);
  return { all, error, reload: () => setTries(tries + 1) };
}

async function load(signal: AbortSignal): Promise<Place[]> {
  const [own, templates] = await Promise.all([datasets(signal), api.get("/v1/templates", { signal })]);
  const missing = templates.items.filter(({ name }) => !own.some((one) => one.name === name));
  const made = missing.map(async ({ name }): Promise<Place> => {
    const definition = await api.get("/v1/templates/{template}", { path: { template: name }, signal });
    return place("template", name, definition, definition.mode ?? "insert");
  });
  return [...own, ...(await Promise.all(made))];
}

async function datasets(signal: AbortSignal): Promise<Place[]> {
  const found: Place[] = [];
  let cursor: string | undefined;
  do {
    const page = await api.get("/v1/datasets", { query: { limit: PAGE, cursor }, signal });
    const own = page.items.filter((one) => one.role !== "reader");
    found.push(...own.map((one) => place("dataset", one.name, one.schema, one.mode)));
    cursor = page.next_cursor ?? undefined;
  } while (cursor && found.length < MOST);
  return found;
}

function place(kind: Place["kind"], name: string, schema: Schema<"TableSchema">, mode: Place["mode"]): Place {
  const further = schema as { primaryKey?: unknown; uniqueKeys?: unknown };
  const isUnique = schema.fields.some((field) => field.constraints?.unique);
  return {
    kind,
    name,
    fields: schema.fields,
    mode,
    hasKey: Boolean(further.primaryKey || further.uniqueKeys || isUnique),
  };
}

/** The place that a header fits, column by column; of several none. */
export function fitting(header: string[] | null, places: Place[]): Place | null {
  if (!header) return null;
  const found = places.filter((one) => fits(header, names(one)));
  const own = found.filter((one) => one.kind === "dataset");
  const [only, ...others] = own.length ? own : found;
  return only && !others.length ? only : null;
}

export function names(place: Place): string[] {
  return place.fields.map((field) => field.name);
}

/** A name for the dataset that a file makes, which no other has. */
export function named(filename: string, taken: string[]): string {
  const stem = filename
    .replace(/(\.\w{1,5}){1,2}$/, "")
    .normalize("NFKD")
    .toLowerCase();
  const plain =
    stem
      .replace(/[^a-z0-9]+/g, "_")
      .replace(/^_+|_+$/g, "")
      .slice(0, LONGEST - 4) || "rows";
  let name = plain;
  for (let n = 2; taken.includes(name); n++) name = `${plain}_${n}`;
  return name;
}
