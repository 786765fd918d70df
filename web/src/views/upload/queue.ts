/**
 * The files that this tab sends, in turn; they go on while other views are looked at. What a file is to become is said
 * once, when it is taken up; what became of it is for its upload's own view.
 */
import { signal } from "@preact/signals";
import { api, type Schema } from "../../api";
import { Offline, Problem } from "../../http";
import { go, route } from "../../router";
import { user } from "../../session";
import { Refusal } from "../../storage";
import { announce } from "../../ui/announce";
import { print, sha256, Unreadable } from "./hash";
import { forget, recall, remember } from "./memory";
import { OTHER, send } from "./sender";

const AT_ONCE = 2; // files
const MOST_HASHED = 1 << 26; // bytes: what the parts under way may hold as well
const RATED = 8000; // ms that a rate is measured over

export type Options = Schema<"Options">;

/** Where rows go: into a dataset, into one that is made of a template first, or into one that the file itself makes. */
export interface Target {
  kind: "dataset" | "template" | "infer";
  name: string;
}

export type Phase = "queued" | "reading" | "sending" | "paused" | "sent" | "failed" | "duplicate";

export interface Item {
  key: string;
  file: File;
  handle?: FileSystemFileHandle;
  target: Target;
  options: Options;
  /** The upload whose rejects it corrects. */
  parent?: string;
  id: string | null;
  phase: Phase;
  sent: number;
  /** Bytes a second, lately. */
  rate: number | null;
  /** Why nothing moves, or why it ended. */
  why: string | null;
  /** The upload that brought the same file. */
  earlier: string | null;
  /** The Idempotency-Key under which it is announced: an answer that was lost makes no second upload. */
  once: string;
}

export type Chosen = Pick<Item, "file" | "handle" | "target" | "options" | "parent">;

export const items = signal<Item[]>([]);
/** What was sent from here, by its upload: to be read again in another way, without being chosen again. */
export const files = new Map<string, Chosen>();

const running = new Map<string, AbortController>();
const templates = new Map<string, Promise<unknown>>();

// Files are somebody's: whoever signs in next sees and sends none of them.
let owner = user.value;
user.subscribe((name) => {
  if (name === owner) return;
  owner = name;
  for (const stop of running.values()) stop.abort();
  for (const held of [files, templates]) held.clear();
  items.value = [];
  announce("");
});

export function add(chosen: Chosen[]): void {
  items.value = [...items.value.filter((one) => one.phase !== "sent"), ...chosen.map((one) => made(one, null))];
  pump();
}

/** Go on with an upload that waits for its file. Throws Unreadable if this is not the file. */
export async function takeUp(upload: Schema<"Upload">, file: File, handle?: FileSystemFileHandle): Promise<void> {
  const known = await recall(upload.id);
  const isOther = file.size !== upload.bytes_total || (known && known.print !== (await print(file)));
  if (isOther) throw new Unreadable(OTHER);
  const { infer, dataset: _, ...options } = upload.options as Options & { dataset?: string };
  if (infer) delete options.mode; // what was filled in does not go with it, should it be announced anew
  const target: Target = { kind: infer ? "infer" : "dataset", name: upload.dataset };
  const parent = upload.parent_id ?? undefined;
  items.value = [...items.value, made({ file, handle, target, options, parent }, upload.id)];
  pump();
}

function made(chosen: Chosen, id: string | null): Item {
  const key = crypto.randomUUID();
  return {
    ...chosen,
    key,
    id,
    phase: "queued",
    sent: 0,
    rate: null,
    why: null,
    earlier: null,
    once: crypto.randomUUID(),
  };
}

export function pause(key: string): void {
  change(key, { phase: "paused", why: null, rate: null });
  running.get(key)?.abort();
}

export function resume(key: string): void {
  change(key, { phase: "queued", why: null });
  pump();
}

export function sendAnyway(key: string): void {
  const options: Options = { ...find(key)?.options, on_duplicate_file: "allow" };
  change(key, { options, earlier: null, once: crypto.randomUUID() });
  resume(key);
}

/** Take it off the list; what was announced of it is canceled, if it is not sent. */
export async function drop(key: string): Promise<void> {
  const item = find(key);
  items.value = items.value.filter((one) => one.key !== key);
  running.get(key)?.abort();
  if (item?.id && item.phase !== "sent") await discard(item.id);
}

/** Cancel an upload that waits for its file; it may be over by itself. */
export async function discard(id: string): Promise<void> {
  await forget(id);
  try {
    await api.post("/v1/uploads/{upload_id}/cancel", { path: { upload_id: id } });
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
  }
}

function find(key: string): Item | undefined {
  return items.value.find((one) => one.key === key);
}

function change(key: string, what: Partial<Item>): void {
  items.value = items.value.map((one) => (one.key === key ? { ...one, ...what } : one));
}

function pump(): void {
  const next = items.value.find((one) => one.phase === "queued" && !running.has(one.key));
  if (!next || running.size >= AT_ONCE) return;
  const stop = new AbortController();
  running.set(next.key, stop);
  run(next, stop.signal)
    .catch((error) => fail(next.key, stop.signal, error))
    .finally(() => {
      running.delete(next.key);
      pump();
    });
  pump();
}

function fail(key: string, signal: AbortSignal, error: unknown): void {
  if (signal.aborted) return;
  if (error instanceof Problem && error.code === "duplicate_file") {
    change(key, { phase: "duplicate", earlier: error.errors[0]?.detail ?? null, why: error.message });
  } else if (error instanceof Problem && error.code === "upload_expired") {
    const why = "The upload has expired: its file did not come in time. Try again to send it anew.";
    change(key, { phase: "failed", id: null, sent: 0, once: crypto.randomUUID(), why });
  } else if ([Problem, Offline, Refusal, Unreadable].some((kind) => error instanceof kind)) {
    change(key, { phase: "failed", why: (error as Error).message });
  } else {
    change(key, { phase: "failed", why: "Something went wrong in this page." });
    throw error;
  }
}

async function run(item: Item, signal: AbortSignal): Promise<void> {
  const { key, file } = item;
  change(key, { phase: "reading" });
  const known = item.id === null ? await announced(item, signal) : { id: item.id, ticket: undefined };
  const { id, ticket } = known;
  if (!find(key)) return discard(id); // it was taken off the list before anybody knew of this one
  change(key, { id });
  files.set(id, item);
  await remember({ id, print: await print(file), handle: item.handle });
  signal.throwIfAborted();
  change(key, { phase: "sending", sent: 0 });
  const meter = rated();
  const sent = (bytes: number) => change(key, { sent: bytes, rate: meter(bytes) });
  await send(id, file, { signal, sent, waits: (why) => change(key, why ? { why, rate: null } : { why }) }, ticket);
  await forget(id);
  change(key, { phase: "sent", sent: file.size, why: null });
  arrive(item, id);
}

async function announced(item: Item, signal: AbortSignal) {
  const { file, target, options, parent, once: idempotencyKey } = item;
  const checksum = file.size <= MOST_HASHED ? await sha256(file) : null;
  signal.throwIfAborted();
  if (target.kind === "template") await makeOnce(target.name);
  const said = {
    filename: file.name,
    size: file.size,
    content_type: media(file.name),
    checksum,
    options: target.kind === "infer" ? { ...options, infer: true } : options,
  };
  const { id, upload } = parent
    ? await api.post("/v1/uploads/{upload_id}/retries", { path: { upload_id: parent }, body: said, idempotencyKey })
    : await api.post("/v1/uploads", { body: { dataset: target.name, ...said }, idempotencyKey });
  return { id, ticket: upload };
}

/** A template's dataset, if the account has none of that name. */
function makeOnce(name: string): Promise<unknown> {
  const made = templates.get(name) ?? makeOf(name);
  templates.set(name, made);
  made.catch(() => templates.delete(name));
  return made;
}

async function makeOf(name: string): Promise<void> {
  const definition = await api.get("/v1/templates/{template}", { path: { template: name } });
  await api.put("/v1/datasets/{name}", { path: { name }, body: definition });
}

/** One file alone: its view is where to go now, unless another one is looked at. */
function arrive(item: Item, id: string): void {
  if (items.value.length !== 1 || route.value.path !== "/upload") return;
  items.value = [];
  if (item.target.kind === "infer") go("/upload", { review: id });
  else go(`/uploads/${id}`);
}

const MEDIA: Record<string, string> = {
  csv: "text/csv",
  tsv: "text/tab-separated-values",
  txt: "text/plain",
  gz: "application/gzip",
  json: "application/json",
  jsonl: "application/x-ndjson",
  ndjson: "application/x-ndjson",
  xlsx: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
};

function media(name: string): string {
  return MEDIA[name.split(".").pop()!.toLowerCase()] ?? "application/octet-stream";
}

/** Bytes a second of the last moments. */
function rated(): (bytes: number) => number | null {
  let seen: [number, number][] = [];
  return (bytes) => {
    const now = performance.now();
    seen = [...seen.filter(([at]) => now - at < RATED), [now, bytes]];
    const [at, then] = seen[0]!;
    return now - at > 500 ? Math.max(0, ((bytes - then) * 1000) / (now - at)) : null;
  };
}
