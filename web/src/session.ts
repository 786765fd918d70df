/**
 * Who is signed in. The tokens are in cookies that no script can read; what is kept here is the name alone, for all tabs
 * of the browser. An access token that has run out is exchanged by one tab at a time: a refresh token shown twice ends
 * the session, as a copied one would.
 */
import { signal } from "@preact/signals";
import type { components } from "./contract";
import { problemOf, read, send } from "./http";

type Session = components["schemas"]["Session"];

const NAME = "rowmill.user";
const RENEWED = "rowmill.renewed"; // when a tab last did, in ms
const KEY = "rowmill.renewal"; // the Idempotency-Key of a renewal whose answer has not come

export const user = signal(localStorage.getItem(NAME));

addEventListener("storage", (event) => {
  if (event.key === NAME) user.value = event.newValue;
});

export async function signIn(username: string, password: string): Promise<void> {
  await enter("v1/auth/login", { username, password });
}

export async function signUp(username: string, password: string): Promise<void> {
  await enter("v1/auth/signup", { username, password });
}

export async function signOut(): Promise<void> {
  const answer = await send("v1/auth/logout", { method: "POST" });
  if (!answer.ok && answer.status !== 401) throw await problemOf(answer);
  forget();
}

/** Get the next tokens, unless a tab has since `began` (ms); whether there is a session still. Throws Offline, Problem. */
export async function renew(began: number): Promise<boolean> {
  return alone(async () => {
    const renewed = Number(localStorage.getItem(RENEWED));
    if (renewed >= began && renewed <= Date.now()) return true; // later than now: the clock was set back since
    const key = localStorage.getItem(KEY) ?? crypto.randomUUID();
    localStorage.setItem(KEY, key);
    const answer = await send("v1/auth/refresh", { method: "POST", headers: { "Idempotency-Key": key } });
    if (answer.ok) {
      localStorage.setItem(RENEWED, String(Date.now()));
      localStorage.removeItem(KEY);
    } else if (answer.status === 401) forget();
    else throw await problemOf(answer);
    return answer.ok;
  });
}

async function enter(path: string, credentials: { username: string; password: string }): Promise<void> {
  const headers = { "Content-Type": "application/json" };
  const answer = await send(path, { method: "POST", headers, body: JSON.stringify(credentials) });
  if (!answer.ok) throw await problemOf(answer);
  const session = (await read(answer)) as Session;
  localStorage.removeItem(KEY);
  localStorage.setItem(RENEWED, String(Date.now()));
  localStorage.setItem(NAME, session.username);
  user.value = session.username;
}

function forget(): void {
  for (const name of [NAME, RENEWED, KEY]) localStorage.removeItem(name);
  user.value = null;
}

async function alone(act: () => Promise<boolean>): Promise<boolean> {
  // Not there over plain HTTP to another machine, where browsers would not keep our cookies either.
  return navigator.locks ? await navigator.locks.request("rowmill.renewal", act) : act();
}
