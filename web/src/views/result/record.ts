/** A record as it stood in its file: cut into cells, and written again, corrected, as a retry takes it. */
import type { Upload } from "../watch/verbs";

/** What of a dialect says where cells begin and end. */
export interface Marks {
  delimiter: string;
  quote: string | null;
  escape: string | null;
}

export interface FileColumn {
  /** From 0. */
  place: number;
  name: string;
  field: string;
}

export function marks(upload: Upload): Marks {
  const said = upload.dialect ?? {};
  const one = (name: string) => (typeof said[name] === "string" ? (said[name] as string) : null);
  return { delimiter: one("delimiter") ?? ",", quote: one("quote"), escape: one("escape") };
}

/** The columns that are loaded, in the order of the file; none where they are too many for the service to name all. */
export function columns(upload: Upload): FileColumn[] {
  if (!isWhole(upload)) return [];
  const all = (upload.mapping ?? []).flatMap(({ position, name, field }) =>
    field === null ? [] : [{ place: position - 1, name: name || field, field }],
  );
  return all.sort((one, other) => one.place - other.place);
}

/** Of a wide file only columns are told whose names are not their fields'. */
function isWhole({ mapping, dialect }: Upload): boolean {
  const { columns } = (dialect?.detected ?? {}) as { columns?: number };
  return !mapping || mapping.some((one) => one.how === "exact") || mapping.length >= (columns ?? 0);
}

/** The cells of one record. */
export function cells(raw: string, marks: Marks): string[] {
  const { delimiter, quote } = marks;
  const escaping = marks.escape === quote ? null : marks.escape;
  const found: string[] = [];
  let cell = "";
  let quoted = false;
  let fresh = true; // nothing of the cell was read yet
  const end = raw.replace(/\r?\n$|\r$/, "").length;
  for (let at = 0; at < end; ) {
    const mark = raw[at]!;
    if (mark === escaping && at + 1 < end) {
      cell += raw[at + 1];
      at += 2;
      fresh = false;
    } else if (quoted && mark === quote) {
      const doubled = raw[at + 1] === quote && at + 1 < end;
      if (doubled) cell += quote;
      else quoted = false;
      at += doubled ? 2 : 1;
    } else if (!quoted && fresh && mark === quote) {
      quoted = true;
      fresh = false;
      at++;
    } else if (!quoted && raw.startsWith(delimiter, at)) {
      found.push(cell);
      cell = "";
      fresh = true;
      at += delimiter.length;
    } else {
      cell += mark;
      fresh = false;
      at++;
    }
  }
  return [...found, cell];
}

// As the service's formats/correction.py: of cells of a rejects file it takes an apostrophe that stands before these.
// biome-ignore lint/suspicious/noControlCharactersInRegex: Python takes these for white space, and U+FEFF for none
const RUNS = /^'*(?:[\t\r\n]|(?:(?!\ufeff)\s|[\x1c-\x1f\x85])*[=+\-@＝＋－＠﹢﹣﹦﹫])/;
const PLAIN_NUMBER = /^'*[+-](?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$/;

/** The file of a retry: which reject each row corrects, then its cells under the names of their fields. */
export function corrections(fields: string[], rows: Map<number, string[]>): string {
  const lines = [...rows].map(([row, values]) => [String(row), ...values.map(kept)]);
  return [["_row", ...fields], ...lines].map((line) => `${line.map(written).join(",")}\n`).join("");
}

function kept(cell: string): string {
  return cell.startsWith("'") && RUNS.test(cell) && !PLAIN_NUMBER.test(cell) ? `'${cell}` : cell;
}

function written(cell: string): string {
  return /[",\r\n]|^\s|\s$/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}
