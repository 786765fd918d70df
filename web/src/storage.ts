/** The storage, which is not the API: it gets a form or a part, and no cookie. Progress needs XMLHttpRequest still. */

type Progress = (bytes: number) => void;

/** The storage answered no, in its own words; `code` is S3's. */
export class Refusal extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(`The storage refused the file: ${message.replace(/\.$/, "")} (${code}).`);
    this.status = status;
    this.code = code;
  }

  /**
   * A fresh URL, or the same bytes once more, may be taken: the URL has run out, or they came damaged. Where parts are
   * taken no more, whoever is asked for a fresh one says why.
   */
  get mends(): boolean {
    const codes = ["BadDigest", "XAmzContentChecksumMismatch", "RequestTimeout", "NoSuchUpload"];
    return this.status === 403 || codes.includes(this.code);
  }

  /** It is not about this request. */
  get passes(): boolean {
    return this.status === 429 || this.status >= 500;
  }
}

/** Nobody answered, or not so that a page may read it. */
export class Unanswered extends Error {
  constructor() {
    super("The storage cannot be reached.");
  }
}

/** Put one part; its ETag. Throws Refusal, Unanswered, AbortError. */
export async function put(
  url: string,
  headers: Record<string, string>,
  part: Blob,
  progress: Progress,
  signal: AbortSignal,
): Promise<string> {
  return (await exchange("PUT", url, headers, part, progress, signal)).getResponseHeader("etag") ?? "";
}

/** Send the whole file, as the form says. Throws as `put` does. */
export async function post(
  url: string,
  fields: Record<string, string>,
  file: Blob,
  progress: Progress = () => {},
  signal: AbortSignal = new AbortController().signal,
): Promise<void> {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append("file", file); // the last one: what follows is not read
  await exchange("POST", url, {}, form, progress, signal);
}

function exchange(
  method: string,
  url: string,
  headers: Record<string, string>,
  body: Blob | FormData,
  progress: Progress,
  signal: AbortSignal,
): Promise<XMLHttpRequest> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const request = new XMLHttpRequest();
    const end = () => request.abort();
    signal.addEventListener("abort", end, { once: true });
    request.upload.onprogress = (event) => progress(event.loaded);
    request.onabort = () => reject(signal.reason);
    request.onerror = () => reject(new Unanswered());
    request.onload = () => (request.status < 300 ? resolve(request) : reject(refusal(request)));
    request.onloadend = () => signal.removeEventListener("abort", end);
    request.open(method, url);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.send(body);
  });
}

function refusal(request: XMLHttpRequest): Refusal {
  const said = new DOMParser().parseFromString(request.responseText, "application/xml");
  const text = (name: string) => said.querySelector(name)?.textContent?.trim();
  return new Refusal(request.status, text("Code") ?? String(request.status), text("Message") ?? "it gives no reason");
}
