/**
 * A request to the API, which lies where the page does, and how it may fail: `Problem`, what the API refuses, and
 * `Offline`, nobody answered. `online` tells the latter of the whole page.
 */
import { signal } from "@preact/signals";
import type { components } from "./contract";

type Details = components["schemas"]["Problem"];

/** Whether the last request was answered, by whomever. */
export const online = signal(true);

/** RFC 9457: a refusal with its stable code. `fields` has what is wrong by the place that is named. */
export class Problem extends Error {
  readonly status: number;
  readonly code: string;
  readonly errors: NonNullable<Details["errors"]>;
  readonly retryAfter: number | null;

  constructor(status: number, details: Partial<Details>, retryAfter: number | null) {
    super(details.detail ?? `The API answered ${status}.`);
    this.status = status;
    this.code = details.code ?? "unknown";
    this.errors = details.errors ?? [];
    this.retryAfter = retryAfter;
  }

  get fields(): Record<string, string> {
    const found: Record<string, string> = Object.create(null); // a field may be called `constructor`
    for (const one of this.errors) if (one.column) found[one.column] = one.detail;
    return found;
  }
}

/** Nobody answered, or not to the end: the network is gone, or the service is. */
export class Offline extends Error {
  constructor() {
    super("The service cannot be reached.");
  }
}

/** The answer, also a refusal. Throws Offline, and AbortError where the caller has given up. */
export async function send(path: string, request: RequestInit): Promise<Response> {
  try {
    const answer = await fetch(new URL(path, document.baseURI), { ...request, credentials: "same-origin" });
    online.value = true;
    return answer;
  } catch (error) {
    if (request.signal?.aborted) throw error;
    online.value = false;
    throw new Offline();
  }
}

/**
 * What an answer says. Throws as `send` does, Offline also where the connection went in the middle of it, or where
 * something on the way has answered for the service: all that this says is JSON.
 */
export async function read(answer: Response, signal?: AbortSignal | null): Promise<unknown> {
  try {
    return JSON.parse(await answer.text(), whole);
  } catch (error) {
    if (signal?.aborted) throw error;
    online.value = false;
    throw new Offline();
  }
}

/** As JSON says it: a whole number that a number here would round is a BigInt. */
function whole(_: string, value: unknown, said?: { source?: string }): unknown {
  if (typeof value !== "number" || Number.isSafeInteger(value) || !said?.source) return value;
  return /^-?\d+$/.test(said.source) ? BigInt(said.source) : value;
}

/** The refusal that an answer is. */
export async function problemOf(answer: Response): Promise<Problem> {
  const details = await answer.json().catch(() => ({}));
  return new Problem(answer.status, details, seconds(answer));
}

/** How many seconds to wait before asking again, if the answer says so. */
export function seconds(answer: Response): number | null {
  const said = Number.parseInt(answer.headers.get("retry-after") ?? "", 10);
  return Number.isNaN(said) ? null : said;
}
