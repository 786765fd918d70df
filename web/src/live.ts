/**
 * What is on the screen follows what the service knows: `usePoll` one resource, `usePages` a listing. Both ask with the
 * ETag that they have, as often as the service says, not while nobody looks, and go on by themselves after the
 * connection was lost; until then `error` is Offline and the last value stays.
 */
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { type Answer, type Asked, ask, type Path } from "./api";
import { Offline, Problem } from "./http";

const LONGEST = 15; // seconds between tries while nobody answers

interface Polled<Value> {
  value: Value | null;
  error: Problem | Offline | null;
  /** Ask now: something was done to it. */
  refresh: () => void;
}

/** One resource. `every` is how many seconds to wait where the service does not say; null: then it has ended. */
export function usePoll<P extends Path<"get">>(
  path: P,
  asked: Asked<"get", P>,
  every: number | null = null,
): Polled<Answer<"get", P>> {
  const [value, setValue] = useState<Answer<"get", P> | null>(null);
  const [error, setError] = useState<Problem | Offline | null>(null);
  const wake = useRef(() => {});
  const key = JSON.stringify([path, asked]);
  useEffect(() => {
    setValue(null);
    setError(null);
    let etag: string | null = null;
    return repeat(
      async (signal) => {
        const reply = await ask("get", path, { ...asked, etag, signal });
        if (signal.aborted) return null;
        etag = reply.etag;
        if (reply.value !== null) setValue(reply.value as Answer<"get", P>);
        setError(null);
        return reply.retryAfter ?? every;
      },
      setError,
      wake,
    );
  }, [key, every]);
  return { value, error, refresh: useCallback(() => wake.current(), []) };
}

/**
 * Do it at once and then again after as many seconds as it says (null: when woken), until the answer is called.
 * A hidden page does not ask, and asks at once when it is shown or the network is back.
 */
function repeat(
  act: (signal: AbortSignal) => Promise<number | null>,
  failed: (error: Problem | Offline) => void,
  wake: { current: () => void },
): () => void {
  const stop = new AbortController();
  let timer = 0;
  let tries = 0;
  let running = false;
  let again = false;
  async function turn(): Promise<void> {
    clearTimeout(timer);
    again = running;
    if (running || document.hidden || stop.signal.aborted) return;
    running = true;
    let wait: number | null = null;
    try {
      wait = await act(stop.signal);
      tries = 0;
    } catch (error) {
      if (stop.signal.aborted) return;
      wait = pause(error, tries++);
      failed(error as Problem | Offline);
    }
    running = false;
    if (again) turn();
    else if (wait !== null) timer = setTimeout(turn, wait * 1000);
  }
  wake.current = turn;
  addEventListener("online", turn, { signal: stop.signal });
  document.addEventListener("visibilitychange", turn, { signal: stop.signal });
  turn();
  return () => {
    stop.abort();
    clearTimeout(timer);
  };
}

/** Seconds until the next try, or null: trying again will not help. Throws what is no answer and no lack of one. */
function pause(error: unknown, tries: number): number | null {
  if (error instanceof Offline) return Math.min(2 ** tries, LONGEST);
  if (!(error instanceof Problem)) throw error;
  return error.retryAfter ?? (error.status >= 500 ? Math.min(2 ** tries, LONGEST) : null);
}

/** A listing's path, and an item of it. */
type Listing = {
  [P in Path<"get">]: Answer<"get", P> extends { items: unknown[]; next_cursor: string | null } ? P : never;
}[Path<"get">];
export type Item<P extends Listing> = Answer<"get", P> extends { items: (infer One)[] } ? One : never;

export interface Pages<One> {
  items: One[];
  /** There are no further items. */
  done: boolean;
  loading: boolean;
  error: Problem | Offline | null;
  /** Fetch the next page; does nothing while one is on its way, or none is left. */
  more: () => void;
  /** Begin again with the first page. */
  reload: () => void;
}

interface Following<One> {
  /** What tells items apart, for `every`. */
  key: (item: One) => string;
  /** Look at the first page every so many seconds: new items come first, changed ones are replaced. */
  every: number | null;
  /** Whether an item may be another by then: pages after the first are looked at down to the last such item. */
  moves: (item: One) => boolean;
}

interface Turns {
  cursor: string;
  wake: { current: () => void };
  end: () => void;
}

interface Page<One> {
  items: One[];
  next_cursor: string | null;
}

interface Held<One> {
  items: One[];
  /** Where the next page begins; null: nowhere. */
  cursor: string | null;
  begun: boolean;
}

/** A listing, a page at a time: `more()` when the end of what is there comes into sight. */
export function usePages<P extends Listing>(
  path: P,
  asked: Asked<"get", P>,
  following?: Following<Item<P>>,
): Pages<Item<P>> {
  const [held, setHeld] = useState<Held<Item<P>>>({ items: [], cursor: null, begun: false });
  const [error, setError] = useState<Problem | Offline | null>(null);
  const [loading, setLoading] = useState(false);
  const wake = useRef(() => {});
  const next = useRef<Turns | null>(null); // the next page on its way
  const etag = useRef<string | null>(null);
  const top = useRef<Page<Item<P>> | null>(null); // the first page, as the ETag has it
  const generation = useRef(0);
  const there = useRef(0); // items that are looked at again
  const asking = JSON.stringify([path, asked]);
  const { key, every = null } = following ?? {};
  there.current = following ? held.items.findLastIndex(following.moves) + 1 : held.items.length;

  /** The next page that holds something: where few pass a filter, one may be empty and lead on. */
  async function page(cursor: string, signal: AbortSignal): Promise<Page<Item<P>>> {
    const query = { ...asked.query, cursor };
    const reply = await ask("get", path, { ...asked, query, signal } as Asked<"get", P>);
    const found = reply.value as Page<Item<P>>;
    return found.items.length || found.next_cursor === null ? found : page(found.next_cursor, signal);
  }

  useEffect(() => {
    const mine = ++generation.current;
    setHeld({ items: [], cursor: null, begun: false });
    setError(null);
    setLoading(true);
    etag.current = top.current = null;
    const end = repeat(
      async (signal) => {
        const reply = await ask("get", path, { ...asked, etag: etag.current, signal });
        if (mine !== generation.current) return null;
        etag.current = reply.etag;
        const isNew = reply.value !== null;
        if (isNew) top.current = reply.value as Page<Item<P>>;
        const first = top.current;
        const wanted = Math.max(first?.next_cursor ? 1 : 0, there.current);
        if (first && (isNew || first.items.length < wanted)) {
          let fresh = longer(null, first);
          // Begun again, it is as long as it was, or what somebody looks at would go from under their eyes.
          while (fresh.cursor !== null && fresh.items.length < wanted) {
            fresh = longer(fresh, await page(fresh.cursor, signal));
            if (mine !== generation.current) return null;
          }
          setHeld((old) => (key && old.begun ? merged(old, fresh, key) : fresh));
        }
        setLoading(false);
        setError(null);
        return every;
      },
      (failure) => {
        setLoading(false);
        setError(failure);
      },
      wake,
    );
    return () => {
      generation.current++;
      end();
      next.current?.end();
      next.current = null;
    };
  }, [asking, every]);

  /** Until it is there: where the connection is lost nobody need scroll once more. */
  function more(): void {
    const { cursor } = held;
    if (next.current && next.current.cursor === cursor) {
      next.current.wake.current();
      return;
    }
    next.current?.end();
    next.current = null;
    if (cursor === null) return;
    setLoading(true);
    const wake = { current: () => {} };
    const end = repeat(
      async (signal) => {
        const found = await page(cursor, signal);
        if (signal.aborted) return null;
        end();
        next.current = null;
        setLoading(false);
        setError(null);
        setHeld((old) =>
          old.cursor === cursor // else it was begun again meanwhile
            ? longer(old, found)
            : old,
        );
        return null;
      },
      (failure) => {
        setLoading(false);
        setError(failure);
      },
      wake,
    );
    next.current = { cursor, wake, end };
  }

  function reload(): void {
    etag.current = null; // what has changed may stand on another page than the first
    wake.current();
  }

  const { items, cursor, begun } = held;
  return { items, done: begun && cursor === null, loading, error, more, reload };
}

/** What is held, and the page after it. */
function longer<One>(held: Held<One> | null, page: Page<One>): Held<One> {
  return { items: [...(held?.items ?? []), ...page.items], cursor: page.next_cursor, begun: true };
}

/** What is held, after another look at its beginning: what is no longer in that is gone, or stands further down. */
function merged<One>(old: Held<One>, first: Held<One>, key: (item: One) => string): Held<One> {
  const last = first.items.at(-1);
  const place = last ? old.items.findIndex((one) => key(one) === key(last)) : -1;
  if (place < 0 || first.cursor === null) return first;
  const fresh = new Set(first.items.map(key));
  const further = old.items.slice(place + 1).filter((one) => !fresh.has(key(one)));
  return { ...old, items: [...first.items, ...further] };
}
