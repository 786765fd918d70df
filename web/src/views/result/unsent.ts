/**
 * What is corrected of rejects and not sent yet, by its upload: there while other views are looked at, and asked about
 * before the page goes. It is kept in memory alone: cells may be of encrypted fields.
 */
import { user } from "../../session";

/** Cells by the reject's row, in the order of the columns that are loaded. */
export type Edits = Map<number, string[]>;

interface Unsent {
  /** Kept, to be sent. */
  edits: Edits;
  /** Being typed: neither kept nor given up. */
  typed: Edits;
}

const uploads = new Map<string, Unsent>();

// Whoever signs in next sees none of it.
user.subscribe(() => uploads.clear());

let saves = false;

addEventListener("beforeunload", (event) => {
  const stays = saves;
  saves = false;
  if (stays) return;
  if ([...uploads.values()].some(({ edits, typed }) => edits.size || typed.size)) event.preventDefault();
});

/** Go to a file that says itself that it is to be saved: the page stays, so nothing is asked. */
export function saveFrom(url: string): void {
  saves = true;
  location.assign(url);
}

/** Save what a `data:` or `blob:` URL holds: a browser goes to no such address. */
export function saveAs(name: string, url: string): void {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
}

export function unsentOf(upload: string): Unsent {
  const found = uploads.get(upload) ?? { edits: new Map(), typed: new Map() };
  uploads.set(upload, found);
  return found;
}
