/**
 * The first record of a file, read in the browser to bring columns and fields together before anything is sent. What it
 * says is a proposal: the service reads the file by its own rules, and refuses by name what does not fit.
 */
const FIRST = 1 << 16; // bytes that are looked at
const ALIKE = 0.6; // as in matching.py
const DELIMITERS = [",", ";", "\t", "|"];

/** The cells of the first line that is not blank; null if this is no delimited text. */
export async function readHeader(file: File): Promise<string[] | null> {
  const bytes = new Uint8Array(await file.slice(0, FIRST).arrayBuffer());
  const text = decoded(bytes);
  if (text === null) return null;
  const found = DELIMITERS.map((delimiter) => record(text.trimStart(), delimiter));
  const widest = found.reduce((best, one) => (one.length > best.length ? one : best));
  return widest.some((cell) => cell) ? widest : null;
}

function decoded(bytes: Uint8Array): string | null {
  const [first, second] = bytes;
  if (first === 0xff && second === 0xfe) return new TextDecoder("utf-16le").decode(bytes);
  if (first === 0xfe && second === 0xff) return new TextDecoder("utf-16be").decode(bytes);
  if (bytes.includes(0)) return null; // a workbook, or packed
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: true });
  } catch {
    return new TextDecoder("windows-1252").decode(bytes);
  }
}

function record(text: string, delimiter: string): string[] {
  const cells: string[] = [];
  let cell = "";
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    const letter = text[at]!;
    if (letter === '"' && quoted && text[at + 1] === '"') cell += text[++at];
    else if (letter === '"' && (quoted || !cell)) quoted = !quoted;
    else if (quoted) cell += letter;
    else if (letter === delimiter) {
      cells.push(cell);
      cell = "";
    } else if (letter === "\n" || letter === "\r") break;
    else cell += letter;
  }
  return [...cells, cell].map((one) => one.trim());
}

/** A name without case, accents, white space, `_` and `-`. */
function normalised(name: string): string {
  return name
    .normalize("NFKD")
    .toLowerCase()
    .normalize("NFKD")
    .replace(/[\p{Mn}\p{Cf}\p{Cc}\s_-]/gu, "");
}

export interface Column {
  /** What a mapping calls it: its name, or its place if the name is there twice. */
  key: string;
  name: string;
  /** The field that its name means. */
  met: string | null;
  /** The field that it is most like, of those that no other column means. */
  alike: string | null;
}

export function match(header: string[], fields: string[]): Column[] {
  const met = header.map((name) => meaning(name, fields));
  const free = fields.filter((field) => !met.includes(field));
  return header.map((name, place) => ({
    key: !name || header.indexOf(name) !== header.lastIndexOf(name) ? String(place + 1) : name,
    name,
    met: met[place]!,
    alike: met[place] ? null : nearest(name, free),
  }));
}

/** Whether every column has a field and every field a column. */
export function fits(header: string[], fields: string[]): boolean {
  const met = header.map((name) => meaning(name, fields));
  return met.every((field) => field !== null) && fields.every((field) => met.includes(field));
}

function meaning(name: string, fields: string[]): string | null {
  if (fields.includes(name)) return name;
  const meant = fields.filter((field) => normalised(field) === normalised(name));
  return meant.length === 1 && normalised(name) ? meant[0]! : null;
}

function nearest(name: string, fields: string[]): string | null {
  const rated = fields.map((field) => [alike(normalised(name), normalised(field)), field] as const);
  const [ratio, field] = rated.reduce((best, one) => (one[0] > best[0] ? one : best), [0, ""]);
  return ratio > ALIKE ? field : null;
}

/** From 0 to 1: letters that stand in both in the same order, or 0.9 where one holds the other. */
function alike(one: string, other: string): number {
  if (!one || !other) return 0;
  if (Math.min(one.length, other.length) > 2 && (one.includes(other) || other.includes(one))) return 0.9;
  let before = new Array<number>(other.length + 1).fill(0);
  for (const letter of one) {
    const now = [0];
    for (let at = 0; at < other.length; at++) {
      now.push(letter === other[at] ? before[at]! + 1 : Math.max(now[at]!, before[at + 1]!));
    }
    before = now;
  }
  return (2 * before[other.length]!) / (one.length + other.length);
}
