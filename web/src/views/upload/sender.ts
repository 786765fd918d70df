/**
 * One file on its way to the storage. Nothing is kept of how far it has come: the storage knows the parts it has, each
 * by its SHA-256, so whoever has the upload's id and the file goes on. Each try of a part is signed anew, so that a URL
 * that ran out, a link that broke and a computer that slept are one case, and only an upload that is itself too old ends.
 */
import { api, type Schema } from "../../api";
import { Offline, Problem } from "../../http";
import { post, put, Refusal, Unanswered } from "../../storage";
import { read, sha256, Unreadable } from "./hash";

const AT_ONCE = 4; // parts under way
const TRIES = 4; // of a part that the storage refuses
const LONGEST = 15; // seconds between tries while nobody answers

type Parts = Schema<"PartsTicket">;
type Form = Schema<"Form">;
type Sent = Schema<"SentParts">["parts"][number];

export interface Watcher {
  signal: AbortSignal;
  /** Bytes that are stored or on their way. */
  sent: (bytes: number) => void;
  /** Why nothing moves for now; null: it does. */
  waits: (why: string | null) => void;
}

/**
 * Send what is not there yet, and have the file made of it. Throws Problem (`upload_expired`), Refusal, Unreadable, and
 * AbortError when the signal says so; not for want of an answer: then it waits.
 */
export async function send(id: string, file: File, watcher: Watcher, first?: Parts | Form): Promise<void> {
  const ticket = first ?? (await patiently(() => sign(id, [], watcher.signal), watcher));
  if (ticket === null) return;
  if (ticket.method === "POST") return sendForm(id, ticket, file, watcher);
  try {
    const sent = await sendParts(id, ticket, file, watcher);
    await patiently(() => complete(id, sent, watcher.signal), watcher);
  } catch (error) {
    if (!(error instanceof Arrived)) throw error;
  }
}

/** The file is there before its last part was sent from here: another tab has sent it as well. */
class Arrived extends Error {}

/** Leave to send; null: the file has arrived. */
async function sign(
  id: string,
  parts: Schema<"WantedParts">["parts"],
  signal: AbortSignal,
): Promise<Parts | Form | null> {
  try {
    return await api.post("/v1/uploads/{upload_id}/parts", { path: { upload_id: id }, body: { parts }, signal });
  } catch (error) {
    if (error instanceof Problem && error.code === "state_conflict") return arrived(id, error, signal);
    throw error;
  }
}

/** What no longer waits for its file has it, unless somebody has ended it. */
async function arrived(id: string, conflict: Problem, signal: AbortSignal): Promise<null> {
  const upload = await api.get("/v1/uploads/{upload_id}", { path: { upload_id: id }, signal });
  if (upload.state === "canceled" || upload.state === "canceling") throw conflict;
  return null;
}

async function complete(id: string, parts: Sent[], signal: AbortSignal): Promise<void> {
  await api.post("/v1/uploads/{upload_id}/complete", { path: { upload_id: id }, body: { parts }, signal });
}

async function sendForm(id: string, first: Form, file: File, watcher: Watcher): Promise<void> {
  let ticket: Form | null = first;
  await patiently(async () => {
    await read(file.slice(0, 1));
    ticket ??= (await sign(id, [], watcher.signal)) as Form | null;
    if (ticket === null) return;
    const { url, fields } = ticket;
    ticket = null; // the next try has a fresh one, and learns whether this one got through
    await post(url, fields, file, (bytes) => watcher.sent(Math.min(bytes, file.size)), watcher.signal);
  }, watcher);
}

async function sendParts(id: string, ticket: Parts, file: File, watcher: Watcher): Promise<Sent[]> {
  const stop = new AbortController();
  const signal = AbortSignal.any([watcher.signal, stop.signal]);
  const stored = new Map(ticket.stored.map((part) => [part.number, part]));
  const under = new Array<number>(ticket.parts_total).fill(0); // bytes of each part that have gone
  const numbers = under.keys();

  function moved(number: number, bytes: number): void {
    under[number - 1] = bytes;
    watcher.sent(under.reduce((sum, one) => sum + one, 0));
  }

  async function deliver(number: number): Promise<Sent> {
    const part = file.slice((number - 1) * ticket.part_size, number * ticket.part_size);
    const there = stored.get(number);
    return patiently(
      async () => {
        const mine = await sha256(part); // each time: a file that has changed looks to a request like a broken link
        if (there?.sha256 && there.sha256 !== mine) throw new Unreadable(OTHER);
        const etag = there?.sha256 ? there.etag : await transfer(number, mine, part);
        moved(number, part.size);
        return { number, etag, sha256: mine };
      },
      { ...watcher, signal },
    );
  }

  async function transfer(number: number, mine: string, part: Blob): Promise<string> {
    moved(number, 0);
    const fresh = (await sign(id, [{ number, sha256: mine }], signal)) as Parts | null;
    if (fresh === null) throw new Arrived();
    const kept = fresh.stored.find((one) => one.sha256 === mine); // the answer was lost, not the part
    if (kept) return kept.etag;
    const { url, headers } = fresh.parts[0]!;
    return put(url, headers, part, (bytes) => moved(number, Math.min(bytes, part.size)), signal);
  }

  async function carry(): Promise<Sent[]> {
    const sent: Sent[] = [];
    for (const place of numbers) sent.push(await deliver(place + 1));
    return sent;
  }

  try {
    const carried = await Promise.all(Array.from({ length: AT_ONCE }, carry));
    return carried.flat().sort((one, other) => one.number - other.number);
  } finally {
    stop.abort();
  }
}

export const OTHER = "This is not the file that was being sent, or it has changed since.";

/** Try until it is done or cannot be. What the storage refuses is tried a few times, what nobody answers for ever. */
async function patiently<Result>(act: () => Promise<Result>, watcher: Watcher): Promise<Result> {
  let refused = 0;
  for (let tries = 0; ; tries++) {
    try {
      const result = await act();
      watcher.waits(null);
      return result;
    } catch (error) {
      watcher.signal.throwIfAborted();
      const mends = error instanceof Refusal && error.mends && ++refused < TRIES;
      const passes = isNobody(error) || isBusy(error);
      if (!mends && !passes) throw error;
      const pause = (error instanceof Problem && error.retryAfter) || Math.min(2 ** tries, LONGEST);
      watcher.waits(mends ? "The address to send to has run out: a fresh one is taken." : waiting(error));
      await rest(mends ? 0.2 : pause, watcher.signal);
    }
  }
}

function isNobody(error: unknown): boolean {
  return error instanceof Offline || error instanceof Unanswered;
}

function isBusy(error: unknown): boolean {
  if (error instanceof Problem) return error.status === 429 || error.status >= 500;
  return error instanceof Refusal && error.passes;
}

function waiting(error: unknown): string {
  return isNobody(error)
    ? "The connection is lost. Sending goes on by itself."
    : "The service is busy. Sending goes on by itself.";
}

/** Until the time is over, or the browser says that there is a network again. */
function rest(seconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(end, seconds * 1000);
    function end(): void {
      clearTimeout(timer);
      removeEventListener("online", end);
      signal.removeEventListener("abort", end);
      if (signal.aborted) reject(signal.reason);
      else resolve();
    }
    addEventListener("online", end);
    signal.addEventListener("abort", end);
  });
}
