/**
 * The API as its contract has it: `api.get("/v1/uploads/{upload_id}", { path: { upload_id } })` is an upload. Types
 * come from contract.d.ts, which is made from openapi.json, so a path, parameter or member that is none does not compile.
 */
import type { components, paths } from "./contract";
import { Offline, Problem, problemOf, read, seconds, send } from "./http";
import { renew } from "./session";

export type Schema<Name extends keyof components["schemas"]> = components["schemas"][Name];
type Method = "get" | "post" | "put" | "patch" | "delete";
export type Path<M extends Method> = { [P in keyof paths]: paths[P][M] extends undefined ? never : P }[keyof paths];
type Operation<M extends Method, P extends Path<M>> = NonNullable<paths[P][M]>;

type Json<Said> = Said extends { content: { "application/json": infer Body } } ? Body : never;
type Bodies<O> = O extends { responses: infer All } ? Json<All[keyof All & (200 | 201 | 202)]> : never;
/** What an operation answers when all is well; undefined where that is nothing. */
export type Answer<M extends Method, P extends Path<M>> = [Bodies<Operation<M, P>>] extends [never]
  ? undefined
  : Bodies<Operation<M, P>>;

type InPath<O> = O extends { parameters: { path: infer Names } } ? { path: Names } : { path?: undefined };
type InQuery<O> = O extends { parameters: { query?: infer Names } } ? { query?: Names } : { query?: undefined };
type InBody<O> = O extends { requestBody: { content: { "application/json": infer Body } } }
  ? { body: Body }
  : O extends { requestBody?: { content: { "application/json": infer Body } } }
    ? { body?: Body }
    : { body?: undefined };
interface Further {
  signal?: AbortSignal;
  /** The version that the client has: of a GET the reply may then be `null`, unchanged; else it must still hold. */
  etag?: string | null;
  /** Of a POST; a fresh one unless it is said, which a caller does who may try again. */
  idempotencyKey?: string;
}
export type Asked<M extends Method, P extends Path<M>> = InPath<Operation<M, P>> &
  InQuery<Operation<M, P>> &
  InBody<Operation<M, P>> &
  Further;
/** The arguments after a path: none need be given where none is required. */
type Given<M extends Method, P extends Path<M>> =
  Record<never, never> extends Asked<M, P> ? [asked?: Asked<M, P>] : [asked: Asked<M, P>];

interface Reply<Value> {
  /** null: it is as the client has it (304). */
  value: Value | null;
  etag: string | null;
  /** Seconds until it is worth asking again, of what is under way. */
  retryAfter: number | null;
}

/** Ask, and ask once more with other tokens where they have run out. Throws Problem and Offline. */
export async function ask<M extends Method, P extends Path<M>>(
  method: M,
  path: P,
  asked: Asked<M, P>,
): Promise<Reply<Answer<M, P>>> {
  const began = Date.now();
  const address = locate(path, asked.path, asked.query);
  const said = JSON.stringify([method, address, asked.body]);
  const idempotencyKey = asked.idempotencyKey ?? unanswered.get(said)?.idempotencyKey ?? crypto.randomUUID();
  const request = written(method, asked.body, { ...asked, idempotencyKey });
  try {
    const reply = await answered<Answer<M, P>>(address, request, began);
    unanswered.delete(said);
    if (method !== "get") outdate(address);
    return reply;
  } catch (failure) {
    if (method === "post" && isUnknown(failure)) unanswered.set(said, { address, idempotencyKey });
    throw failure;
  }
}

/** Of what was asked and may have been done, the Idempotency-Key by what was said: said again it is not done twice. */
const unanswered = new Map<string, { address: string; idempotencyKey: string }>();

/** What was done otherwise to the same dataset or upload since may have undone it: said again it is to be done again. */
function outdate(address: string): void {
  for (const [said, lost] of unanswered) {
    const thing = lost.address.split("/", 3).join("/");
    if (lost.address !== address && address.startsWith(thing)) unanswered.delete(said);
  }
}

function isUnknown(failure: unknown): boolean {
  return failure instanceof Problem
    ? failure.status >= 500 || failure.code === "idempotency_conflict"
    : failure instanceof Offline;
}

async function answered<Value>(address: string, request: RequestInit, began: number): Promise<Reply<Value>> {
  let answer = await send(address, request);
  if (answer.status === 401 && (await renew(began))) answer = await send(address, request);
  if (!answer.ok && answer.status !== 304) throw await problemOf(answer);
  const isEmpty = answer.status === 304 || answer.status === 204; // whatever type a gateway says it is of
  return {
    value: isEmpty ? null : ((await read(answer, request.signal)) as Value),
    etag: answer.headers.get("etag"),
    retryAfter: seconds(answer),
  };
}

async function value<M extends Method, P extends Path<M>>(method: M, path: P, given: Given<M, P>) {
  return (await ask(method, path, given[0] ?? ({} as Asked<M, P>))).value as Answer<M, P>;
}

export const api = {
  get: <P extends Path<"get">>(path: P, ...given: Given<"get", P>) => value("get", path, given),
  post: <P extends Path<"post">>(path: P, ...given: Given<"post", P>) => value("post", path, given),
  put: <P extends Path<"put">>(path: P, ...given: Given<"put", P>) => value("put", path, given),
  patch: <P extends Path<"patch">>(path: P, ...given: Given<"patch", P>) => value("patch", path, given),
  delete: <P extends Path<"delete">>(path: P, ...given: Given<"delete", P>) => value("delete", path, given),
};

/** Relative to the page, which may lie below some path. */
function locate(path: string, names: object | undefined, query: object | undefined): string {
  const filled = path.replace(/\{(\w+)\}/g, (_, name) =>
    encodeURIComponent(String((names as Record<string, unknown>)[name])),
  );
  const { further, ...named } = (query ?? {}) as { further?: object }; // `age.gte` and its like, as `further` has them
  const pairs = Object.entries({ ...named, ...further }).flatMap(([name, one]) =>
    one == null ? [] : [[name, String(one)]],
  );
  const search = new URLSearchParams(pairs).toString();
  return filled.slice(1) + (search ? `?${search}` : "");
}

function written(method: Method, body: unknown, further: Further & { idempotencyKey: string }): RequestInit {
  const headers: Record<string, string> = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method === "post") headers["Idempotency-Key"] = further.idempotencyKey;
  if (further.etag) headers[method === "get" ? "If-None-Match" : "If-Match"] = further.etag;
  return {
    method: method.toUpperCase(),
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: further.signal,
    cache: "no-store", // the ETag is ours to send
  };
}
